/// A piece of what one side sent, as a recording has it: a line, or a part of one.
struct RecordedPiece {
  var direction: Direction
  /// When the line began, in microseconds since the epoch; nil when no stamp says so.
  var time: Int64?
  /// It goes on in the line of the piece before it, of the same direction.
  var continuesLine: Bool
  /// With it begins what one read returned (`-b`).
  var beginsRead: Bool
  /// Valid until the reader that gave it moves on.
  var bytes: UnsafeRawBufferPointer
}
