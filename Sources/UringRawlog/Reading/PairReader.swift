/// The two files of a session, as one recording.
///
/// With stamps in both, what is earlier comes first. What came at the same time could have been either way round (one
/// turn of the relay, and one of Dovecot's rawlog, has one time for all that it finds): then all of `in` comes first, so
/// that a question stands before its answer where the clock was too coarse to tell. Within a file nothing changes its
/// place, also where the clock was set back.
final class PairReader: RecordingReader {
  private enum Order {
    case byTime
    /// All of `in`, then all of `out`.
    case oneAfterTheOther
    /// As they are found, while files are followed.
    case asFound
  }

  private let input: StreamReader
  private let output: StreamReader
  /// More is to come, and the order must be said without knowing the end.
  private let isFollowed: Bool
  private var order: Order?
  /// Which of the two has the head.
  private var headOf: Direction?
  private var headTime = Int64.min
  private var remark: RecordingEvent?
  /// The time of what was given last of each: what has none comes right behind it.
  private var lastTime: InlineArray<2, Int64> = [.min, .min]

  /// Whose turn it is where no stamp says so.
  private let turn: (() -> Direction)?

  init(in input: StreamReader, out output: StreamReader, isFollowed: Bool, turn: (() -> Direction)? = nil) {
    self.input = input
    self.output = output
    self.isFollowed = isFollowed
    self.turn = turn
  }

  var isHolding: Bool { remark != nil || input.isHolding || output.isHolding }

  func head(_ tail: FileTail) throws(StartError) -> RecordingEvent? {
    if let remark { return remark }
    if let headOf { return try reader(headOf).head(tail) }
    if try decideOrder(tail) {
      remark = .remark(.orderUnknown(isFollowed: isFollowed))
      return remark
    }
    let (first, second) = (try input.head(tail), try output.head(tail))
    switch (first, second) {
    case (nil, nil): return nil
    case (let event?, nil): return choose(.in, event, isAlone: true, tail)
    case (nil, let event?): return choose(.out, event, isAlone: true, tail)
    case (let first?, let second?):
      let isFirst =
        order == .byTime ? time(of: first, .in) <= time(of: second, .out) : (turn?() ?? .in) == .in
      return isFirst ? choose(.in, first, isAlone: false, tail) : choose(.out, second, isAlone: false, tail)
    }
  }

  /// Makes an event the head; not yet when it is alone and the other direction may still have an earlier one.
  private func choose(_ direction: Direction, _ event: RecordingEvent, isAlone: Bool, _ tail: FileTail)
    -> RecordingEvent?
  {
    if isAlone, tail == .growing, order == nil || order == .byTime { return nil }
    headOf = direction
    headTime = time(of: event, direction)
    return event
  }

  func removeHead() {
    guard remark == nil, let headOf else {
      remark = nil
      return
    }
    lastTime[headOf.rawValue] = headTime
    reader(headOf).removeHead()
    self.headOf = nil
  }

  func lookAgain() {
    input.lookAgain()
    output.lookAgain()
  }

  func rest() {
    input.rest()
    output.rest()
  }

  private func reader(_ direction: Direction) -> StreamReader {
    switch direction {
    case .in: input
    case .out: output
    }
  }

  private func time(of event: RecordingEvent, _ direction: Direction) -> Int64 {
    if case .piece(let piece) = event, let time = piece.time { return time }
    return lastTime[direction.rawValue]
  }

  /// - Returns: whether it must be said that the order is not known.
  private func decideOrder(_ tail: FileTail) throws(StartError) -> Bool {
    guard order == nil else { return false }
    let (first, second) = (try input.hasStamps(tail), try output.hasStamps(tail))
    if isFollowed {
      // As long as one is empty, the other tells.
      if first == false || second == false {
        order = .asFound
      } else if first != nil && second != nil {
        order = .byTime
      }
      return order == .asFound
    }
    // A file without bytes has no order to be known.
    let (inHead, outHead) = (try input.head(tail), try output.head(tail))
    order = inHead == nil || outHead == nil || (first == true && second == true) ? .byTime : .oneAfterTheOther
    return order == .oneAfterTheOther
  }
}
