import Glibc

extension CaptureSample {
  /// Writes the captures of random sessions into a directory, and beside them what they must hold: `ID.in` and `ID.out`
  /// for each session, and a line for each in `expected.jsonl`.
  ///
  /// - Throws: `StartError` (73) when a file cannot be made.
  func write(to directory: String) throws(StartError) -> String {
    for capture in captures {
      let stem = "20260131-080000.4711.\(capture.number)"
      try Self.write(capture.bytes, "\(directory)/\(stem).pcapng")
      try Self.write(capture.index, "\(directory)/\(stem).idx")
    }
    var expected = ""
    for session in sessions {
      try Self.write(session.streams[0].bytes, "\(directory)/\(session.id).in")
      try Self.write(session.streams[1].bytes, "\(directory)/\(session.id).out")
      let gaps = session.streams.map { "[\($0.gaps.map { "[\($0.recorded),\($0.bytes)]" }.joined(separator: ","))]" }
      let protocolName = session.dialogue.map { "\"\($0.mailProtocol.rawValue)\"" } ?? "null"
      let reset = session.resetBy.map { "\"\($0)\"" } ?? "null"
      expected += "{\"id\":\"\(session.id)\",\"opener\":\"\(session.opener)\",\"protocol\":\(protocolName),"
      expected += "\"reset\":\(reset),\"in_gaps\":\(gaps[0]),\"out_gaps\":\(gaps[1]),\"captures\":"
      expected += "[\(session.captures.map { "\(captures[$0].number)" }.joined(separator: ","))]}\n"
    }
    try Self.write(Array(expected.utf8), "\(directory)/expected.jsonl")
    return "\(sessions.count) sessions in \(captures.count) captures"
  }

  private static func write(_ bytes: [UInt8], _ path: String) throws(StartError) {
    let descriptor = openFile(path, flags: O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode: 0o600)
    var written = 0
    while descriptor >= 0, written < bytes.count {
      let result = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress! + written, bytes.count - written) }
      if result < 0 && errno != EINTR { break }
      written += max(0, result)
    }
    let error = Errno.current
    if descriptor >= 0 { close(descriptor) }
    guard descriptor >= 0, written == bytes.count else {
      throw StartError(.cannotCreate, "cannot write '\(path)': \(error.text); name an empty directory")
    }
  }
}

extension Rehearsal {
  /// Writes captures of random sessions and what they must hold into a directory.
  ///
  /// - Parameter rotateBytes: how long a capture becomes before the next one is begun.
  /// - Throws: `StartError` (73) when a file cannot be made.
  public static func writeCaptures(sessions: Int, seed: UInt64, rotateBytes: Int, to directory: String)
    throws(StartError) -> String
  {
    try CaptureSample(sessions: sessions, seed: seed, rotateBytes: UInt64(rotateBytes)).write(to: directory)
  }

  /// Writes one capture of very many short sessions, and its side file, into a directory.
  ///
  /// - Throws: `StartError` (73, 74) when a file cannot be made or written.
  public static func writeLargeCapture(sessions: Int, to directory: String) throws(StartError) -> String {
    try LargeCapture.write(sessions: sessions, to: directory)
  }
}
