import Glibc

/// A session of captures as the lines that were sent in it: what `show` and the like read.
///
/// What one packet has is cut behind each line feed, and what is too long for one piece into several. A packet is what
/// one read returned, or a part of it, and says nothing about lines: one that it does not end is gone on with by the
/// direction's next.
final class CapturedLines: RecordingReader {
  private let session: CapturedSessionReader
  private var event: RecordingEvent?
  /// What was not given yet of a packet.
  private var left = UnsafeRawBufferPointer(start: nil, count: 0)
  private var direction = Direction.in
  private var time: Int64 = 0
  /// The last bytes of a direction did not end their line.
  private var continues: InlineArray<2, Bool> = [false, false]
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
    event = .piece(piece())
    return event
  }

  private func piece() -> RecordedPiece {
    var count = min(left.count, Limits.pieceBytes)
    let found = memchr(left.baseAddress!, Int32(UInt8(ascii: "\n")), count)
    if let found { count = UnsafeRawPointer(found) - left.baseAddress! + 1 }
    let piece = RecordedPiece(
      direction: direction, time: time, continuesLine: continues[direction.rawValue], beginsRead: false,
      bytes: UnsafeRawBufferPointer(rebasing: left[..<count]))
    continues[direction.rawValue] = found == nil
    left = UnsafeRawBufferPointer(rebasing: left[count...])
    return piece
  }

  func removeHead() { event = nil }

  /// What is read of a capture is what was found in it before: it does not grow.
  func lookAgain() {}

  func rest() {}
}
