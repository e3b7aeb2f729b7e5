import Glibc

/// Reads a recording to its end to count what it holds.
enum RecordingContent {
  /// - Returns: what was found, and what is damaged in words.
  /// - Throws: 66 when it cannot be read.
  static func read(_ file: RecordingFiles.Opened, _ kind: RecordingName.Kind) throws(StartError) -> (
    SessionFindings.Content, damages: [String]
  ) {
    switch kind {
    case .in: try count(file, StreamDecoder(.in))
    case .out: try count(file, StreamDecoder(.out))
    case .merged: try count(file, MergedDecoder())
    }
  }

  private static func count<Decoder: RecordingDecoder>(_ file: RecordingFiles.Opened, _ decoder: Decoder)
    throws(StartError) -> (SessionFindings.Content, damages: [String])
  {
    let reader = FileReader(file, limit: file.bytes, decoder)
    var relayed = SessionRecord.Counts()
    var damages: [String] = []
    while let event = try reader.head(.whole) {
      switch event {
      case .piece(let piece):
        switch piece.direction {
        case .in: relayed.in += UInt64(piece.bytes.count)
        case .out: relayed.out += UInt64(piece.bytes.count)
        }
      case .gap: break
      case .remark(.stampMissing(_, let line)): damages.append("line \(line) has no stamp")
      case .remark(let remark): if remark.isDamage { damages.append(remark.text) }
      }
      reader.removeHead()
    }
    return (SessionFindings.Content(bytes: file.bytes, relayed: relayed, isLeast: reader.isAmbiguous), damages)
  }
}
