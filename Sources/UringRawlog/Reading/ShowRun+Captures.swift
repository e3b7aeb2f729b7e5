/// Sessions of captures.
extension ShowRun {
  /// Shows the sessions that captures have.
  ///
  /// - Parameter chosen: only those whose id this is, or begins; nil for all.
  /// - Returns: how many were shown.
  @discardableResult
  mutating func showCaptures(_ paths: [String], _ chosen: String?, _ table: IndexTable?) throws -> Int {
    let library = CaptureLibrary(paths, chosen: chosen)
    for problem in library.problems { complain(problem) }
    for session in library.sessions { try show(session, table) }
    return library.sessions.count
  }

  private mutating func show(_ session: CaptureLibrary.Session, _ table: IndexTable?) throws {
    let records = try table?.records(of: session.id) ?? IndexTable.Records()
    let lines = CapturedLines(CapturedSessionReader(session.parts))
    var shown = ShownSession(title: session.id, records: records, isMerged: true)
    try shown.begin(&transcript)
    if records.ending != nil { try shown.sayEnd(&transcript) }
    if !session.hasBeginning { try transcript.note("the beginning is in an earlier capture") }
    while let event = head(of: lines, .whole) {
      try shown.show(event, &transcript)
      lines.removeHead()
    }
    if records.ending != nil {
      try shown.end([:], &transcript)
    } else if let record = lines.record.withUnsafeBytes({ try? SessionRecord($0) }) {
      try shown.end(record, &transcript)
    } else {
      try transcript.note("there is no end: the session goes on in a later capture, or the relay was killed")
    }
    for damage in shown.damages {
      complain(StartError(.dataError, "'\(session.parts[0].source.path)' is damaged: \(damage)"))
    }
  }
}
