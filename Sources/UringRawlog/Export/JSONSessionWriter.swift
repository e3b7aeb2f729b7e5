/// Sessions as lines of JSON: one for each piece, one for each gap, and the end record last.
final class JSONSessionWriter: SessionWriter {
  private var file: NewFile
  private var clock = Clock()

  init(_ path: String) throws(StartError) {
    file = try NewFile(path)
  }

  func begin(_ session: ExportedSession) throws(StartError) {
    try line("begin", session, session.time) { text in
      guard let record = session.record else { return }
      text.append(",\"client\":")
      text.append(jsonString(record.client))
      text.append(",\"server\":")
      text.append(jsonString(record.server))
    }
  }

  func add(_ piece: RecordedPiece, of session: ExportedSession) throws(StartError) {
    let said = String(validating: piece.bytes, as: UTF8.self)
    try line("data", session, piece.time) { text in
      text.append(piece.direction == .in ? ",\"direction\":\"in\"" : ",\"direction\":\"out\"")
      if let said {
        text.append(",\"text\":")
        text.append(jsonString(said))
      } else {
        text.append(",\"base64\":\"")
        text.append(base64: piece.bytes)
        text.append("\"")
      }
    }
  }

  func add(_ gap: RecordingGap, of session: ExportedSession) throws(StartError) {
    try line("gap", session, nil) { text in
      text.append(gap.direction == .in ? ",\"direction\":\"in\"" : ",\"direction\":\"out\"")
      text.append(",\"offset\":")
      text.append(decimal: gap.offset)
      text.append(",\"bytes\":")
      text.append(decimal: gap.bytes)
    }
  }

  func end(_ session: ExportedSession) throws(StartError) {
    guard !session.recordText.isEmpty else { return }
    try file.write { text in
      text.append(session.recordText)
      text.append("\n")
    }
  }

  func finish() throws(StartError) { try file.flush() }

  private func line(
    _ event: StaticString, _ session: ExportedSession, _ time: Int64?, _ fields: (inout Bytes) -> Void
  ) throws(StartError) {
    var bytes = Bytes()
    bytes.append("{\"event\":\"")
    bytes.append(event)
    bytes.append("\",\"id\":")
    bytes.append(jsonString(session.id))
    bytes.append(",\"time\":")
    if let time {
      bytes.append("\"")
      clock.appendIndexTime(time, to: &bytes)
      bytes.append("\"")
    } else {
      bytes.append("null")
    }
    fields(&bytes)
    bytes.append("}\n")
    try file.write { $0.append(bytes) }
  }
}
