/// Looks for the credentials in one recording, and remembers where in the client's bytes they are.
final class CredentialSearch {
  /// A part of what the client sent that must not be written.
  struct Place: Equatable {
    var start: UInt64
    var end: UInt64
    /// `<redacted>` stands for it; otherwise it belongs to the one before it.
    var isMarked: Bool
  }

  /// Which direction the client's is.
  let client: Direction
  /// In their order, not overlapping.
  private(set) var places: [Place] = []
  /// Bytes seen so far, by direction.
  private(set) var seen: [UInt64] = [0, 0]
  private var dialogue: Dialogue
  private let memory = UnsafeMutablePointer<LoginMemory>.allocate(capacity: 1)
  /// Where bytes are missing, by direction, as far as they are not behind.
  private var gaps: [[(place: UInt64, bytes: UInt64)]]

  /// - Parameter gaps: where in what was recorded bytes are missing, by direction; in their order.
  init(_ mailProtocol: MailProtocol, client: Direction, gaps: [[(place: UInt64, bytes: UInt64)]] = [[], []]) {
    self.client = client
    self.gaps = gaps
    dialogue = Dialogue(mailProtocol, readsRecording: true)
    memory.initialize(to: LoginMemory())
  }

  deinit { memory.deallocate() }

  /// Who would speak next if both waited for one another.
  var turn: Direction { dialogue.awaitsServer ? client.reverse : client }

  /// What comes next of one direction.
  func take(_ bytes: UnsafeRawBufferPointer, _ direction: Direction) {
    var rest = bytes
    while !rest.isEmpty {
      var count = rest.count
      if let gap = gaps[direction.rawValue].first {
        guard gap.place > seen[direction.rawValue] else {
          gaps[direction.rawValue].removeFirst()
          lose(gap.bytes, direction)
          continue
        }
        count = min(count, Int(clamping: gap.place - seen[direction.rawValue]))
      }
      scan(UnsafeRawBufferPointer(rebasing: rest[..<count]), direction)
      rest = UnsafeRawBufferPointer(rebasing: rest[count...])
    }
  }

  /// The recording says that bytes are missing here.
  func lose(_ count: UInt64, _ direction: Direction) {
    let withheld = dialogue.withheldCount
    let step = dialogue.lose(count, from: direction == client ? .client : .server)
    if direction == client { note(step, withheldBefore: withheld) }
  }

  /// Nothing more comes.
  func finish() {
    let withheld = dialogue.withheldCount
    note(dialogue.finish(), withheldBefore: withheld)
  }

  private func scan(_ bytes: UnsafeRawBufferPointer, _ direction: Direction) {
    let speaker: Dialogue.Speaker = direction == client ? .client : .server
    var rest = bytes
    while !rest.isEmpty {
      let withheld = dialogue.withheldCount
      let step = dialogue.scan(rest, from: speaker, memory: memory)
      if speaker == .client { note(step, withheldBefore: withheld) }
      seen[direction.rawValue] += UInt64(step.count)
      rest = UnsafeRawBufferPointer(rebasing: rest[step.count...])
    }
  }

  /// The bytes of a step, and those that were withheld right before them.
  private func note(_ step: DialogueStep, withheldBefore: UInt16) {
    let start = seen[client.rawValue]
    let count = UInt64(step.count)
    let kept = start - UInt64(withheldBefore) + UInt64(step.released)
    // Those that are still withheld are the last.
    let settled = kept &+ UInt64(withheldBefore) &- UInt64(step.released) &- UInt64(dialogue.withheldCount)
    switch step.treatment {
    case .record: add(kept, settled, isMarked: false)
    case .omit, .withhold: add(kept, settled &+ count, isMarked: false)
    case .redact: add(kept, settled &+ count, isMarked: true)
    }
  }

  private func add(_ start: UInt64, _ end: UInt64, isMarked: Bool) {
    guard end > start else { return }
    if !isMarked, let last = places.last, last.end == start {
      places[places.count - 1].end = end
    } else {
      places.append(Place(start: start, end: end, isMarked: isMarked))
    }
  }
}
