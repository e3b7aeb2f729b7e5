import Glibc

/// One run of `show`: where it writes, what the index says, and how it ends.
struct ShowRun: ~Copyable {
  let configuration: ShowConfiguration
  let target: ReadingTarget
  var transcript: Transcript
  private(set) var status = ExitStatus.ok
  private var report: Report

  init(_ configuration: ShowConfiguration, _ target: ReadingTarget, _ transcript: consuming Transcript, errors: Int32) {
    self.configuration = configuration
    self.target = target
    self.transcript = transcript
    report = Report(descriptor: errors)
  }

  /// Shows what there is.
  ///
  /// - Throws: `StartError` or `TextOutput.End`.
  mutating func show() throws {
    switch target {
    case .recording(let files):
      let table = try index()
      try table?.read(only: files.id)
      for files in files.layouts { try show(files, title: files.id, table) }
    case .capture(let path):
      let table = try index()
      try table?.read()
      // When it is all that there is to show, it must be one.
      _ = try CaptureReader(try CaptureLibrary.open(path, followsLinks: true))
      let shown = try showCaptures([path], configuration.session, table)
      if shown == 0, let session = configuration.session {
        throw StartError(
          .noInput, "--session: '\(session)' is no session of '\(path)'; leave the option out to see all")
      }
    case .directory(let path):
      let table = try index()
      try table?.read()
      let captures = CaptureLibrary.captures(in: path)
      if !captures.isEmpty, try showCaptures(captures, configuration.session, table) > 0, configuration.session != nil {
        break
      }
      let listing = try RecordingListing(path)
      if listing.entries.isEmpty, !captures.isEmpty, configuration.session == nil { break }
      let sessions = try SessionChoice(listing, table).chosen(configuration.session)
      for problem in listing.problems { complain(StartError(.noInput, problem)) }
      guard !sessions.isEmpty else { throw Self.nothing(in: path, listing) }
      for entry in sessions {
        for files in listing.files(entry).layouts { try show(files, title: listing.title(entry), table) }
      }
    }
    try transcript.output.flush()
  }

  /// Shows one session, or says why it cannot be shown and goes on.
  mutating func show(_ files: RecordingFiles, title: String, _ table: IndexTable?) throws {
    let records = try table?.records(of: files.id) ?? IndexTable.Records()
    var source = RecordingSource(files, ending: records.ending, isFollowed: false)
    for kind in RecordingName.Kind.allCases where files.has(kind) { try open(kind, &source) }
    var session = ShownSession(title: title, records: records, isMerged: files.has(.merged))
    guard let reader = source.reader else { return }
    try session.begin(&transcript)
    try session.sayEnd(&transcript)
    if files.followsLinks {
      try sayOther(files)
    } else {
      try session.sayMissing(files, &transcript)
    }
    while let event = head(of: reader, .whole) {
      try session.show(event, &transcript)
      reader.removeHead()
    }
    try session.end(source.fileBytes, &transcript)
    complain(of: session, files)
  }

  /// What comes next in a recording. One that cannot be read any further ends there.
  mutating func head(of reader: any RecordingReader, _ tail: FileTail) -> RecordingEvent? {
    do throws(StartError) {
      return try reader.head(tail)
    } catch {
      complain(error)
      return nil
    }
  }

  /// Opens one file of a session. When it is all that there is to show, it must work.
  mutating func open(_ kind: RecordingName.Kind, _ source: inout RecordingSource) throws(StartError) {
    do throws(StartError) {
      try source.open(kind)
    } catch {
      if case .recording(let files) = target, files.kinds == RecordingFiles.Kinds(kind) { throw error }
      complain(error)
    }
  }

  mutating func complain(of session: ShownSession, _ files: RecordingFiles) {
    let path = files.has(.merged) ? files.path(of: .merged) : files.path
    for damage in session.damages {
      complain(StartError(.dataError, "'\(path)' is damaged: \(damage)"))
    }
  }

  mutating func complain(_ error: StartError) {
    // What was shown so far stands in front of the complaint where both go to one place.
    try? transcript.output.flush()
    report.say(error.message)
    if status != .dataError { status = error.status }
  }

  /// Of a pair, one was named: where the other is.
  private mutating func sayOther(_ files: RecordingFiles) throws(TextOutput.End) {
    for (kind, other) in [(RecordingName.Kind.in, RecordingName.Kind.out), (.out, .in)] where files.has(kind) {
      var status = stat()
      guard lstat(files.path(of: other), &status) == 0 else { continue }
      try transcript.note("only '\(kind.suffix)' is shown; name the stem, '\(files.id)', for both directions")
    }
  }

  var indexDirectory: String {
    if let given = configuration.indexDirectory { return given }
    switch target {
    case .recording(let files): return ReadingTarget.directory(of: files.path(of: files.anyKind))
    case .capture(let path): return ReadingTarget.directory(of: path)
    case .directory(let path): return path
    }
  }

  /// The index of what is read; nil when there is none. One that was not asked for and cannot be read does not keep from
  /// showing recordings.
  ///
  /// - Throws: 66 when it was asked for and is not there.
  mutating func index() throws(StartError) -> IndexTable? {
    let isAskedFor = configuration.indexDirectory != nil
    do throws(StartError) {
      if let table = try IndexTable.open(directory: indexDirectory) { return table }
    } catch {
      guard !isAskedFor else { throw error }
      complain(error)
    }
    guard !isAskedFor else { throw IndexReader.missing(in: indexDirectory, option: "--index: ") }
    return nil
  }

  private static func nothing(in path: String, _ listing: RecordingListing) -> StartError {
    StartError(
      .noInput,
      "there is no recording in '\(path)'\(listing.directories.count > 1 ? ", nor in a directory below it" : ""); "
        + "name the directory that --dir of the relay named")
  }
}
