/// Both directions in one file (layout merged), written without their credentials.
///
/// A line whose end was a part of a credential becomes a piece, `I> `, and ends with a line feed that was not sent.
struct ScrubbedMerged: ScrubbedLayout, ~Copyable {
  private enum Line {
    case none
    case whole
    case piece
    /// It has no header.
    case strange
  }

  private let output: OutputFile
  /// What stands in front of a line, until a byte of it is written.
  private var header = Bytes(capacity: 32)
  /// What was begun and has no end yet.
  private var line = Line.none
  /// Something of the line was replaced.
  private var isChanged = false
  /// Where in the output the line's kind stands.
  private var kindOffset: UInt64 = 0
  private var current = Direction.in
  /// Bytes written of the lines of each direction.
  private(set) var written: [UInt64] = [0, 0]

  init(_ output: OutputFile) {
    self.output = output
  }

  mutating func markup(_ bytes: UnsafeRawBufferPointer) throws(StartError) {
    guard bytes.count > 1 else {
      // The line feed of a piece, unless nothing of it was written.
      if line != .none { try append(bytes) }
      line = .none
      header.removeAll()
      return
    }
    try endLine()
    header.append(bytes)
  }

  mutating func piece(
    _ piece: DecodedPiece, _ bytes: UnsafeRawBufferPointer, _ replacements: inout Replacements
  ) throws(StartError) {
    current = piece.direction
    var rest = bytes
    var endsInLineFeed = false
    var expected = replacements.taken
    while let part = replacements.next(&rest) {
      try beginLine()
      switch part {
      case .bytes(let bytes):
        expected += UInt64(bytes.count)
        if replacements.taken != expected { isChanged = true }
        try append(bytes)
        endsInLineFeed = bytes[bytes.count - 1] == .lineFeed
      case .mark:
        isChanged = true
        try append(DialogueStep.mark)
        endsInLineFeed = false
      }
      expected = replacements.taken
    }
    if replacements.taken != expected { isChanged = true }
    if replacements.taken == expected, endsInLineFeed, line != .piece { line = .none }
  }

  mutating func gap(_ gap: RecordingGap, _ bytes: UnsafeRawBufferPointer) throws(StartError) {
    try endLine()
    current = gap.direction
    try append(bytes)
  }

  mutating func end() throws(StartError) { try endLine() }

  /// The next byte to be written may be the first of its line.
  private mutating func beginLine() throws(StartError) {
    guard line == .none else { return }
    isChanged = false
    line = .strange
    guard header.count > 0 else { return }
    let kind = header.span[header.count - 2]
    line = kind == MergedLine.Kind.piece.rawValue ? .piece : .whole
    kindOffset = output.count + UInt64(header.count - 2)
    try append(header.span)
    header.removeAll()
  }

  /// Ends a line whose own end was left out. One that had none, as Dovecot 2.3 writes pieces, stays so, unless it has
  /// become too short to be told from what follows.
  private mutating func endLine() throws(StartError) {
    header.removeAll()
    defer { line = .none }
    guard line != .none, isChanged else { return }
    if line == .whole { try output.replace(MergedLine.Kind.piece.rawValue, at: kindOffset) }
    try append("\n")
  }

  private mutating func append(_ text: StaticString) throws(StartError) {
    try append(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
  }

  private mutating func append(_ bytes: UnsafeRawBufferPointer) throws(StartError) {
    try output.append(bytes)
    written[current.rawValue] += UInt64(bytes.count)
  }
}
