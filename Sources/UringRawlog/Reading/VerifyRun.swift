import Glibc

/// One run of `verify`: the index, what was looked at, and what was found.
struct VerifyRun: ~Copyable {
  let table: IndexTable
  private var output: TextOutput
  private(set) var findings: UInt64 = 0
  private var sessions: UInt64 = 0
  private var files: UInt64 = 0
  /// Sessions of the index whose files lie in another part of its tree.
  private var elsewhere: UInt64 = 0

  init(_ table: IndexTable, _ output: consuming TextOutput) {
    self.table = table
    self.output = output
  }

  /// - Throws: `StartError` or `TextOutput.End`.
  mutating func verify(_ target: ReadingTarget, indexDirectory: String) throws {
    switch target {
    case .recording(let files):
      try table.read(only: files.id)
      try verify([files], id: files.id, isWhole: !files.followsLinks)
    case .directory(let path):
      let listing = try RecordingListing(path)
      try verifyIndex()
      for problem in listing.problems { try found(problem) }
      for name in listing.strangeNames {
        try found("\(listing.path(name)): the name is not that of a recording; move what is none elsewhere")
      }
      let isPart = Self.lies(path, below: indexDirectory)
      let captured = try verifyCaptures(CaptureLibrary.captures(in: path))
      try verify(listing, isPart: isPart, captured: Set(captured.keys))
    case .capture(let path):
      try table.read()
      _ = try verifyCaptures([path])
    }
    try sumUp()
  }

  // MARK: The index

  private mutating func verifyIndex() throws {
    if table.fileMode & 0o7777 != 0o600 { try found("\(table.path): \(Self.words(mode: table.fileMode))") }
    // The closure must not touch what is being written to meanwhile.
    var found: [String] = []
    let path = table.path
    try table.read(isWhole: true) { (line, number, isRepeated) in
      switch line {
      case .nothing: break
      case .unended: found.append("\(path): line \(number) is torn: it has no line feed")
      case .wrong: found.append("\(path): line \(number) is torn, or no record of a session")
      case .tooLong: found.append("\(path): line \(number) is longer than \(Limits.indexLineBytes) bytes")
      case .record(let record):
        if isRepeated { found.append("\(path): line \(number) is another '\(record.event.name)' of '\(record.id)'") }
        if case .delete = record.event { break }
        if RecordingName.Parts(record.id) == nil {
          found.append("\(path): line \(number) has the id '\(record.id)', which is no stem of a recording")
        }
      }
    }
    for text in found { try self.found(text) }
  }

  // MARK: Sessions

  /// - Parameter isPart: the index has sessions of other directories too.
  private mutating func verify(_ listing: RecordingListing, isPart: Bool, captured: Set<String>) throws {
    var seen = captured
    for entry in listing.entries {
      seen.insert(entry.stem)
      let files = listing.files(entry)
      try verify(files.layouts, id: entry.stem, isWhole: true)
    }
    for id in table.sessions.keys.sorted() where !seen.contains(id) {
      if isPart {
        elsewhere += 1
      } else if try isDeleted(id) {
        continue
      } else if let end = try table.records(of: id).ending, let capture = end.capture {
        // What a recording that failed lacks may be all of it.
        guard end.recording != "failed" else { continue }
        sessions += 1
        try found("\(listing.path(capture)): session \(id): missing, as the capture may be; the index names it")
      } else {
        // Without files, the layout is not known.
        try verify([RecordingFiles(path: listing.path(id), id: id, kinds: [])], id: id, isWhole: true)
      }
    }
  }

  /// - Parameters:
  ///   - layouts: the files of one session; several when it has more than one layout.
  ///   - isWhole: a direction without a file is missing; otherwise one file was named, and the other is left aside.
  private mutating func verify(_ layouts: [RecordingFiles], id: String, isWhole: Bool) throws {
    sessions += 1
    let records = try table.records(of: id)
    var checks = SessionFindings()
    if let end = records.ending { checks.check(end) }
    for files in layouts {
      for kind in RecordingName.Kind.allCases where files.has(kind) { try check(files, kind, records, &checks) }
      if isWhole, layouts.count == 1, !files.has(.merged), let end = records.ending {
        for kind in [RecordingName.Kind.in, .out] where !files.has(kind) { checks.checkMissing(kind, end) }
      }
    }
    let path = layouts[0].path
    if records.last == nil {
      try found("\(path): no entry in the index '\(table.path)'")
    } else if records.end == nil {
      try found("\(path): no end in the index: the session is under way, or the relay was killed")
    }
    for text in checks.session { try found("\(path): \(text)") }
    for (kind, text) in checks.files {
      let name = layouts.first { $0.has(kind) }?.path(of: kind) ?? path + kind.suffix
      try found("\(name): \(text)")
    }
  }

  private mutating func check(
    _ files: RecordingFiles, _ kind: RecordingName.Kind, _ records: IndexTable.Records, _ checks: inout SessionFindings
  ) throws {
    self.files += 1
    do throws(StartError) {
      let file = try files.open(kind)
      if file.status.st_mode & 0o7777 != 0o600 { checks.add(Self.words(mode: file.status.st_mode), to: kind) }
      guard let end = records.ending else {
        close(file.descriptor)
        return
      }
      var content = SessionFindings.Content(bytes: file.bytes)
      let isPlain = kind != .merged && SessionFindings.directions(kind).allSatisfy { end.file[$0] == end.recorded[$0] }
      let expected = SessionFindings.fileBytes(kind, end)
      let isWhole = file.bytes == expected || file.bytes > expected && end.recording == "failed"
      if isPlain || end.redacted > 0 || !isWhole {
        close(file.descriptor)
      } else {
        let (counted, damages) = try RecordingContent.read(file, kind)
        content = counted
        for damage in damages where end.recording != "failed" { checks.add(damage, to: kind) }
      }
      checks.check(content, of: kind, end)
    } catch {
      checks.add(error.message, to: kind)
    }
  }

  // MARK: Words

  /// The recording was deleted to keep within limits, and the index says so.
  private func isDeleted(_ id: String) throws -> Bool {
    guard !table.deleted.isEmpty else { return false }
    if RecordingName.Kind.allCases.contains(where: { table.deleted.contains(id + $0.suffix) }) { return true }
    guard let capture = try table.records(of: id).ending?.capture else { return false }
    return table.deleted.contains(capture) || table.deleted.contains(capture + ".zst")
  }

  mutating func countFile() { files += 1 }
  mutating func countSession() { sessions += 1 }

  mutating func found(_ text: String) throws(TextOutput.End) {
    findings += 1
    output.text.append(text: text.escapedForMessage)
    output.text.append("\n")
    try output.flushIfFull()
  }

  private mutating func sumUp() throws(TextOutput.End) {
    func count(_ number: UInt64, _ one: String, _ many: String) -> String { "\(number) \(number == 1 ? one : many)" }
    var text = "\(count(sessions, "session", "sessions")), \(count(files, "file", "files")): "
    text += findings == 0 ? "all as the index says" : count(findings, "finding", "findings")
    if elsewhere > 0 {
      text += "; \(count(elsewhere, "session", "sessions")) of the index without files here not looked at"
    }
    output.text.append(text: text)
    output.text.append("\n")
    try output.flush()
  }

  static func words(mode: UInt32) -> String {
    let digits = String(mode & 0o7777, radix: 8)
    return "mode 0\(digits) and not 0600: \(mode & 0o077 != 0 ? "others may use it" : "it was changed")"
  }

  /// Whether a directory is a part of another one.
  private static func lies(_ path: String, below other: String) -> Bool {
    guard let real = realpath(path, nil), let realOther = realpath(other, nil) else { return false }
    defer {
      free(real)
      free(realOther)
    }
    let (inner, outer) = (String(cString: real), String(cString: realOther))
    return inner != outer && inner.hasPrefix(outer == "/" ? "/" : outer + "/")
  }
}
