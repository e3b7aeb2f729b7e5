/// The answers that are outstanding, for protocols that answer in the order of the commands (all but IMAP).
///
/// Equal ones in a row take one place, so that a thousand recipients do. When there is no place left, it is lost: it
/// knows of no answer until one comes that speaks for itself.
struct AnswerQueue {
  private static let mostRuns = 20
  private static let mostInRun: UInt32 = 0xFF_FFFF

  /// An answer in the low 8 bits, above it how often.
  private var runs = InlineArray<20, UInt32>(repeating: 0)
  private var first: UInt8 = 0
  private var count: UInt8 = 0
  private(set) var isLost = false

  var isEmpty: Bool { count == 0 }

  @inline(__always)
  var front: ExpectedAnswer? { count == 0 ? nil : answer(0) }

  @inline(__always)
  private func slot(_ place: Int) -> Int {
    let slot = Int(first) &+ place
    return slot < Self.mostRuns ? slot : slot &- Self.mostRuns
  }

  private func answer(_ place: Int) -> ExpectedAnswer {
    ExpectedAnswer(rawValue: UInt8(truncatingIfNeeded: runs[slot(place)]))!
  }

  mutating func push(_ answer: ExpectedAnswer) {
    guard !isLost else { return }
    if count > 0 {
      let last = slot(Int(count) - 1)
      if UInt8(truncatingIfNeeded: runs[last]) == answer.rawValue, runs[last] &>> 8 < Self.mostInRun {
        runs[last] &+= 0x100
        return
      }
    }
    guard count < Self.mostRuns else {
      isLost = true
      count = 0
      return
    }
    runs[slot(Int(count))] = 0x100 | UInt32(answer.rawValue)
    count += 1
  }

  mutating func popFront() {
    guard count > 0 else { return }
    let slot = Int(first)
    if runs[slot] &>> 8 > 1 {
      runs[slot] &-= 0x100
      return
    }
    dropRun()
  }

  private mutating func dropRun() {
    first = UInt8(slot(1))
    count -= 1
  }

  mutating func removeAll() {
    count = 0
    isLost = false
  }

  /// Commands in a row that the first of these answers would be for; nothing comes before it then. False, and no
  /// change, when none is expected.
  mutating func skip(to wanted: (ExpectedAnswer) -> Bool) -> Bool {
    for place in 0..<Int(count) where wanted(answer(place)) {
      for _ in 0..<place { dropRun() }
      return true
    }
    return false
  }

  /// How many of these are outstanding.
  func number(of wanted: (ExpectedAnswer) -> Bool) -> Int {
    var number = 0
    for place in 0..<Int(count) where wanted(answer(place)) { number += Int(runs[slot(place)] &>> 8) }
    return number
  }
}
