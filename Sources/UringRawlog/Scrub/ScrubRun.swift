import Glibc

/// One run of `scrub`: where it writes, what the index says, and what was done.
struct ScrubRun: ~Copyable {
  private let mailProtocol: MailProtocol
  private let output: OutputDirectory
  private var report: Report
  private(set) var status = ExitStatus.ok
  private var sessions: UInt64 = 0
  private var files: UInt64 = 0
  private var redacted: UInt64 = 0
  /// What became of the sessions, by their ids.
  private var results: [String: ScrubbedSession.Result] = [:]

  init(_ mailProtocol: MailProtocol, _ output: consuming OutputDirectory, errors: Int32) {
    self.mailProtocol = mailProtocol
    self.output = output
    report = Report(descriptor: errors)
  }

  /// - Throws: `StartError` when nothing can be read, or something cannot be written.
  mutating func scrub(_ target: ReadingTarget) throws(StartError) {
    switch target {
    case .capture(let path): throw Self.isCapture(path)
    case .recording(let files):
      let table = try index(in: ReadingTarget.directory(of: files.path(of: files.anyKind)))
      try table?.read(only: files.id)
      for files in files.layouts { try scrub(files, title: files.id, table) }
    case .directory(let path):
      let listing = try RecordingListing(path)
      let table = try index(in: path)
      try table?.read()
      for problem in listing.problems { complain(StartError(.noInput, problem)) }
      for capture in CaptureLibrary.captures(in: path) { complain(Self.isCapture(capture)) }
      for name in listing.strangeNames {
        let text = "'\(listing.path(name))' is left out: the name is not that of a recording; name it itself"
        complain(StartError(.dataError, text))
      }
      for entry in listing.entries {
        for files in listing.files(entry).layouts { try scrub(files, title: listing.title(entry), table) }
      }
      if table == nil, listing.entries.isEmpty {
        throw StartError(
          .noInput, "there is no recording in '\(path)'; name the directory that --dir of the relay named")
      }
      if table != nil { try writeIndex(from: path) }
    }
  }

  private static func isCapture(_ path: String) -> StartError {
    StartError(
      .dataError,
      "'\(path)' is left out: captures are not scrubbed; write its sessions with 'export --format merged' first")
  }

  /// What was done, in one line.
  var summary: String {
    func count(_ number: UInt64, _ one: String, _ many: String) -> String { "\(number) \(number == 1 ? one : many)" }
    return count(sessions, "session", "sessions") + ", " + count(files, "file", "files") + ": "
      + count(redacted, "credential", "credentials") + " redacted\n"
  }

  /// The index in a directory; nil when there is none. One that cannot be read is none.
  private mutating func index(in directory: String) throws(StartError) -> IndexTable? {
    do throws(StartError) {
      return try IndexTable.open(directory: directory)
    } catch {
      complain(error)
    }
    return nil
  }

  /// Writes one session anew, or says why it cannot be read and goes on.
  private mutating func scrub(_ files: RecordingFiles, title: String, _ table: IndexTable?) throws(StartError) {
    do throws(StartError) {
      let session = ScrubbedSession(files, try table?.records(of: files.id) ?? IndexTable.Records(), mailProtocol)
      let result = try session.write(title, to: output)
      sessions += 1
      self.files += result.files
      redacted += result.redacted
      results[files.id] = result
    } catch {
      guard error.status == .noInput || error.status == .dataError else { throw error }
      complain(error)
    }
  }

  private mutating func complain(_ error: StartError) {
    report.say(error.message)
    if status != .dataError { status = error.status }
  }

  // MARK: The index

  /// Writes the index anew. What is no record of a session is left out: nobody knows what it is.
  private mutating func writeIndex(from directory: String) throws(StartError) {
    guard var reader = try IndexReader.open(directory: directory) else { return }
    let file = try output.create(IndexReader.name)
    var text = Bytes(capacity: 4096)
    while let line = try reader.next(isWhole: true) {
      guard case .record(let record) = line else { continue }
      if case .delete = record.event { continue }
      text.removeAll()
      do throws(JSONError) {
        try AmendedIndexLine.append(reader.lineBytes, fields(of: record), to: &text)
      } catch {
        continue
      }
      text.append(UInt8.lineFeed)
      try file.append(text.span)
    }
    try file.finish()
  }

  /// What the end of a session says otherwise now.
  private func fields(of record: SessionRecord) -> [String: UInt64] {
    guard case .end(let end) = record.event, let result = results[record.id] else { return [:] }
    // What was redacted before may be more than is found again.
    return [
      "in_file": result.fileBytes[0], "out_file": result.fileBytes[1], "redacted": max(end.redacted, result.redacted),
    ]
  }
}
