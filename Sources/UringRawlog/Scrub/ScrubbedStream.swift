/// One direction in a file of its own (layout pair), written without its credentials.
struct ScrubbedStream: ScrubbedLayout, ~Copyable {
  private let output: OutputFile
  /// `<<<` was read, and no byte of its read was written yet.
  private var isReadHeld = false
  /// The stamp of the line that begins, until a byte of it is written.
  private var stamp = Bytes(capacity: 32)
  private var isAtLineStart = true

  init(_ output: OutputFile) {
    self.output = output
  }

  mutating func markup(_ bytes: UnsafeRawBufferPointer) throws(StartError) {
    switch bytes[0] {
    case Boundary.open.rawValue: isReadHeld = true
    case Boundary.close.rawValue:
      // A read of which nothing was written has no end either.
      if !isReadHeld { try output.append(bytes) }
      isReadHeld = false
    default:
      stamp.removeAll()
      stamp.append(bytes)
    }
  }

  mutating func piece(
    _ piece: DecodedPiece, _ bytes: UnsafeRawBufferPointer, _ replacements: inout Replacements
  ) throws(StartError) {
    var rest = bytes
    while let part = replacements.next(&rest) {
      if isReadHeld { try output.append("<<<\n") }
      isReadHeld = false
      // A line that began within a credential begins no more.
      if isAtLineStart { try output.append(stamp.span) }
      stamp.removeAll()
      switch part {
      case .bytes(let bytes):
        try output.append(bytes)
        isAtLineStart = bytes[bytes.count - 1] == .lineFeed
      case .mark:
        try output.append(DialogueStep.mark)
        isAtLineStart = false
      }
    }
  }

  mutating func gap(_ gap: RecordingGap, _ bytes: UnsafeRawBufferPointer) throws(StartError) {
    try output.append(bytes)
  }

  mutating func end() throws(StartError) {}
}
