/// Sessions as pairs of files in a directory.
final class PairSessionWriter: SessionWriter {
  private let directory: String
  private let timestamps: Bool
  private var input: NewFile
  private var output: NewFile
  /// By direction, whether the last byte ended its line.
  private var atLineStart: InlineArray<2, Bool> = [true, true]
  private var isOpen = false

  init(_ directory: String, timestamps: Bool) throws(StartError) {
    self.directory = directory
    self.timestamps = timestamps
    // Nothing is created before there is a session.
    input = try NewFile("-")
    output = try NewFile("-")
  }

  func begin(_ session: ExportedSession) throws(StartError) {
    input = try NewFile("\(directory)/\(session.id).in")
    output = try NewFile("\(directory)/\(session.id).out")
    atLineStart = [true, true]
  }

  func add(_ piece: RecordedPiece, of session: ExportedSession) throws(StartError) {
    var isStart = atLineStart[piece.direction.rawValue]
    let stamp = timestamps ? Encoder.Stamp(microseconds: piece.time ?? session.time) : nil
    func compose(_ text: inout Bytes) {
      var rest = piece.bytes
      while !rest.isEmpty {
        if isStart, let stamp { stamp.append(to: &text) }
        let end = rest.firstIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? rest.count
        text.append(UnsafeRawBufferPointer(rebasing: rest[..<end]))
        isStart = rest[end - 1] == UInt8(ascii: "\n")
        rest = UnsafeRawBufferPointer(rebasing: rest[end...])
      }
    }
    switch piece.direction {
    case .in: try input.write(compose)
    case .out: try output.write(compose)
    }
    atLineStart[piece.direction.rawValue] = isStart
  }

  /// The files go on as if what is missing had never been there.
  func add(_ gap: RecordingGap, of session: ExportedSession) {}

  func end(_ session: ExportedSession) throws(StartError) {
    try input.flush()
    try output.flush()
  }

  func finish() {}
}

extension Encoder.Stamp {
  func append(to bytes: inout Bytes) {
    let count = count
    text.span.withUnsafeBytes { bytes.append(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
  }
}
