import Glibc

/// Cuts what packets of a session have behind each line feed, and what is too long for one piece into several.
///
/// A packet is what one read returned, or a part of it, and says nothing about lines: one that it does not end is gone on
/// with by the direction's next.
struct PacketLines {
  /// The last bytes of a direction did not end their line.
  private var continues: InlineArray<2, Bool> = [false, false]

  /// The next piece of what is left of a packet, which is not empty.
  mutating func next(_ left: inout UnsafeRawBufferPointer, _ direction: Direction, at time: Int64) -> RecordedPiece {
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
}
