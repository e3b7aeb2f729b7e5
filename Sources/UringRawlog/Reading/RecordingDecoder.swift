/// What a decoder makes of the beginning of the bytes that it is given.
enum DecoderStep {
  /// It takes more bytes to say.
  case needsMore
  /// So many bytes are stamps and marks of the layout.
  case markup(Int)
  /// So many bytes were sent.
  case piece(DecodedPiece)
  /// So many bytes say that bytes are missing.
  case gap(RecordingGap, Int)
  /// Something to be said; nothing is used up.
  case remark(Remark)
}

/// The first `count` bytes of what a decoder was given, and what it knows about them.
struct DecodedPiece: Equatable {
  var direction: Direction
  var time: Int64?
  var continuesLine: Bool
  var beginsRead: Bool
  var count: Int
}

/// A layout of recordings, read forwards. Pure: what it says depends only on the bytes, not on how they are cut.
protocol RecordingDecoder {
  /// - Parameters:
  ///   - window: what lies behind all that was used up. It holds at least `Limits.pieceBytes` and some more before
  ///     `needsMore` is given for the last time.
  ///   - tail: what the end of `window` means.
  mutating func next(_ window: UnsafeRawBufferPointer, _ tail: FileTail) -> DecoderStep
  /// Whether lines have a time; nil as long as too little was seen.
  var hasStamps: Bool? { get }
  /// What was taken for marks of the layout may have been data.
  var isAmbiguous: Bool { get }
  /// What was not used up may be overwritten with something else while the file grows.
  var mayBeOverwritten: Bool { get }
  /// The direction of all that it reads; nil when it reads both.
  var direction: Direction? { get }
}
