import Glibc

/// A session of captures as the lines that were sent in it: what `show` and the like read.
final class CapturedLines: RecordingReader {
  private let session: CapturedSessionReader
  private var event: RecordingEvent?
  /// What was not given yet of a packet.
  private var left = UnsafeRawBufferPointer(start: nil, count: 0)
  private var direction = Direction.in
  private var time: Int64 = 0
  private var cutter = PacketLines()
  /// The session's end record, as soon as it was come to: a line of the index.
  private(set) var record: [UInt8] = []

  init(_ session: CapturedSessionReader) {
    self.session = session
  }

  var isHolding: Bool { event != nil || !left.isEmpty }

  func head(_ tail: FileTail) throws(StartError) -> RecordingEvent? {
    if let event { return event }
    while left.isEmpty {
      guard let next = try session.next() else { return nil }
      switch next {
      case .bytes(let direction, let bytes, let time):
        (self.direction, left, self.time) = (direction, bytes, time)
      case .gap(let gap, _):
        event = .gap(gap)
        return event
      case .damage(let damage):
        event = .remark(.capture(damage))
        return event
      case .record(let text, _): record = Array(text)
      case .beginning, .finished, .reset: break
      }
    }
    event = .piece(cutter.next(&left, direction, at: time))
    return event
  }

  func removeHead() { event = nil }

  /// What is read of a capture is what was found in it before: it does not grow.
  func lookAgain() {}

  func rest() {}
}
