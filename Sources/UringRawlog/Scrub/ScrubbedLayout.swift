/// A recording on its way into a file of the same layout, without its credentials.
///
/// What belongs to the layout is written as it was, where the bytes that it belongs to are: a stamp goes with the first
/// byte of its line, boundaries with those of their read.
protocol ScrubbedLayout: ~Copyable {
  /// Stamps and marks of the layout.
  mutating func markup(_ bytes: UnsafeRawBufferPointer) throws(StartError)
  /// What was sent. `replacements` is that of its direction.
  mutating func piece(
    _ piece: DecodedPiece, _ bytes: UnsafeRawBufferPointer, _ replacements: inout Replacements
  ) throws(StartError)
  /// A line that says where bytes are missing.
  mutating func gap(_ gap: RecordingGap, _ bytes: UnsafeRawBufferPointer) throws(StartError)
  mutating func end() throws(StartError)
}

extension ScrubbedLayout where Self: ~Copyable {
  /// Writes all of a file.
  ///
  /// - Parameter replacements: those of each direction.
  /// - Throws: 65 when it is not what was searched.
  mutating func write<Decoder: RecordingDecoder>(
    _ file: RecordingFiles.Opened, limit: UInt64, _ decoder: Decoder, _ replacements: inout [Replacements]
  ) throws(StartError) {
    var reader = LayoutReader(file, limit: limit, decoder)
    while true {
      let count: Int
      switch try reader.next(.whole) {
      case .needsMore: return try end()
      case .remark: count = 0
      case .markup(let bytes):
        count = bytes
        try markup(reader.first(count))
      case .piece(let piece):
        count = piece.count
        try self.piece(piece, reader.first(count), &replacements[piece.direction.rawValue])
      case .gap(let gap, let bytes):
        count = bytes
        try self.gap(gap, reader.first(count))
      }
      reader.window.drop(count)
    }
  }
}
