import Glibc

/// Following: what there is, and then what is added to it, until it is told to stop.
///
/// A line is shown when the other direction cannot have an earlier one any more: because it has a later one, or because
/// nothing earlier came for a while. So nothing is shown too early, and everything soon.
extension ShowRun {
  /// - Parameters:
  ///   - output: where the transcript goes; it ends when nobody reads there any more.
  ///   - stop: becomes readable when it is to end.
  /// - Throws: `StartError` or `TextOutput.End`.
  mutating func follow(output: Int32, stop: Int32) throws {
    var state = FollowState(try DirectoryWatch())
    // Watching begins before looking, so that nothing comes in between.
    try watchTarget(&state)
    state.table = try index()
    do throws(StartError) {
      try state.watchIndex(indexDirectory)
    } catch {
      // Recordings in a directory that may not be listed can be followed without their index.
      if configuration.indexDirectory != nil { throw error }
    }
    try state.table?.read(only: onlyID)
    try showExisting(&state)
    state.table?.forgetEnded()
    while true {
      if case .capture = target, state.captures.isEmpty {
        try transcript.note("the capture was ended; name its directory to go on with the next")
        return try transcript.output.flush()
      }
      try transcript.output.flush()
      var ready = [
        pollfd(fd: state.watch.descriptor, events: Int16(POLLIN), revents: 0),
        pollfd(fd: stop, events: Int16(POLLIN), revents: 0), pollfd(fd: output, events: 0, revents: 0),
      ]
      _ = poll(&ready, nfds_t(ready.count), state.waitMilliseconds(at: now))
      if ready[2].revents != 0 { throw TextOutput.End.closed }
      if ready[1].revents != 0 { return try sayGoodbye(&state, stop) }
      // Files are made before the index tells of them: whatever it tells of by now has come by then.
      let records = try newRecords(&state)
      try take(state.watch.changes(), &state)
      for record in records { try take(record, &state) }
      for session in state.sessions.values where session.isDirty { try drain(session, .growing, &state) }
      try drainCaptures(&state)
      try giveHeld(&state)
    }
  }

  private var now: UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
  }

  // MARK: What is followed

  private var onlyID: String? {
    guard case .recording(let files) = target else { return nil }
    return files.id
  }

  private mutating func watchTarget(_ state: inout FollowState) throws(StartError) {
    switch target {
    case .recording(let files) where files.followsLinks:
      // The file itself: a symbolic link may lead to another directory.
      state.namedWatch = try state.watch.add(files.path(of: files.anyKind), isDirectory: false)
    case .capture(let path): state.namedWatch = try state.watch.add(path, isDirectory: false)
    case .recording(let files):
      // The other direction may still come.
      let prefix = String(decoding: files.path.utf8.dropLast(files.id.utf8.count), as: UTF8.self)
      try state.watchDirectory(ReadingTarget.directory(of: files.path), prefix: prefix, below: "")
    case .directory(let path):
      try state.watchDirectory(path, prefix: RecordingListing.path("", below: path), below: "")
    }
  }

  /// Shows what there is already, and remembers those sessions that have no end.
  private mutating func showExisting(_ state: inout FollowState) throws {
    switch target {
    case .capture(let path):
      try followNamedCapture(path, &state)
      try drainCaptures(&state)
    case .recording(let files):
      for files in files.layouts { try showOrFollow(files, title: files.id, &state) }
    case .directory(let path):
      try followCaptures(in: path, &state)
      try drainCaptures(&state)
      let listing = try RecordingListing(path)
      for problem in listing.problems { complain(StartError(.noInput, problem)) }
      for directory in listing.directories.dropFirst() {
        try state.watchDirectory(listing.path(directory), prefix: listing.path(directory), below: directory)
      }
      let choice = SessionChoice(listing, state.table)
      // Where there are captures it may be a session of theirs, or become one.
      let chosen =
        state.knownCaptures.isEmpty
        ? try choice.chosen(configuration.session) : (try? choice.chosen(configuration.session)) ?? []
      for entry in chosen {
        let title = listing.title(entry)
        if configuration.session != nil { state.onlyTitle = title }
        for files in listing.files(entry).layouts { try showOrFollow(files, title: title, &state) }
      }
    }
  }

  /// One that has ended is shown as ever, and does not grow any more.
  private mutating func showOrFollow(_ files: RecordingFiles, title: String, _ state: inout FollowState) throws {
    if state.table?.hasEnded(files.id) == true {
      try show(files, title: title, state.table)
    } else {
      try begin(files, title: title, &state)
    }
  }

  private mutating func begin(_ files: RecordingFiles, title: String, _ state: inout FollowState) throws {
    let records = try state.table?.records(of: files.id) ?? IndexTable.Records()
    let session = FollowedSession(files, title: title, records: records)
    for kind in RecordingName.Kind.allCases where files.has(kind) { try open(kind, &session.source) }
    try follow(session, &state)
    try drain(session, .resting, &state)
  }

  // MARK: What happened

  private mutating func take(_ changes: [DirectoryWatch.Change], _ state: inout FollowState) throws {
    for change in changes {
      switch change {
      case .written(let watch, let name):
        if name == IndexReader.name, watch == state.indexWatch { state.hasNewLines = true }
        guard let name else {
          guard watch == state.namedWatch else { continue }
          for session in state.sessions.values { state.note(session) }
          for capture in state.captures { capture.isDirty = true }
          continue
        }
        if let stem = FollowedCapture.stem(of: name) { state.noteCapture(stem) }
        guard let directory = state.directories[watch], let recording = RecordingName(name) else { continue }
        if let session = state.sessions[recording.key(in: directory.prefix)] { state.note(session) }
      case .added(let watch, let name):
        if name == IndexReader.name, watch == state.indexWatch { state.hasNewIndex = true }
        if let directory = state.directories[watch], directory.below.isEmpty, case .directory = target {
          addCapture(directory.prefix + name, &state)
        }
        try add(name, watch, &state)
      case .directoryAdded(let watch, let name):
        guard case .directory = target, let below = state.directories[watch]?.below else { continue }
        try addDirectory(below + name + "/", &state)
      case .overflow:
        for session in state.sessions.values { state.note(session) }
        for capture in state.captures { capture.isDirty = true }
        if case .directory(let path) = target {
          for capture in CaptureLibrary.captures(in: path) { addCapture(capture, &state) }
        }
        state.hasNewLines = true
        try lookAgain(&state)
      }
    }
  }

  /// A file has come: a session of its own, or the other direction of one.
  private mutating func add(_ name: String, _ watch: Int32, _ state: inout FollowState) throws {
    guard let recording = RecordingName(name), let directory = state.directories[watch] else { return }
    let key = recording.key(in: directory.prefix)
    if let session = state.sessions[key] {
      state.note(session)
      guard !session.source.has(recording.kind) else { return }
      session.files.kinds.insert(RecordingFiles.Kinds(recording.kind))
      return try open(recording.kind, &session.source)
    }
    let title = directory.below + recording.stem
    guard state.isWanted(title, target), RecordingName.Parts(recording.stem) != nil else { return }
    let files = RecordingFiles(
      path: directory.prefix + recording.stem, id: recording.stem, kinds: RecordingFiles.Kinds(recording.kind))
    let session = FollowedSession(files, title: title, records: IndexTable.Records())
    try open(recording.kind, &session.source)
    try follow(session, &state)
  }

  private mutating func follow(_ session: FollowedSession, _ state: inout FollowState) throws {
    state.add(session)
    guard state.keepToLimit(), !state.hasSaidLimit else { return }
    state.hasSaidLimit = true
    try transcript.note(
      "more than \(Limits.followedSessions) sessions have no end: those that were silent for longest are followed no more"
    )
  }

  /// Too much has happened to be told: all is listed anew. What has ended, and whose end was not told of just now, was
  /// shown.
  private mutating func lookAgain(_ state: inout FollowState) throws {
    let ended = try IndexTable.open(directory: indexDirectory)
    try ended?.read()
    let justTold = state.justTold
    try addDirectory("", &state) { ended?.hasEnded($0) != true || justTold.contains($0) }
  }

  /// A directory has come, with all that is in it.
  private mutating func addDirectory(
    _ below: String, _ state: inout FollowState, where isNew: (String) -> Bool = { _ in true }
  ) throws {
    guard case .directory(let root) = target else { return }
    let path = below.isEmpty ? root : String(RecordingListing.path(below, below: root).dropLast())
    guard let listing = try? RecordingListing(path) else { return }
    var watches: [Int32] = []
    for directory in listing.directories {
      let prefix = listing.path(directory)
      watches.append(try state.watchDirectory(prefix, prefix: prefix, below: below + directory))
    }
    for entry in listing.entries where isNew(entry.stem) {
      for kind in RecordingName.Kind.allCases where entry.kinds.contains(RecordingFiles.Kinds(kind)) {
        try add(entry.stem + kind.suffix, watches[Int(entry.directory)], &state)
      }
    }
  }

  /// What was added to the index, which may have been moved away meanwhile.
  private mutating func newRecords(_ state: inout FollowState) throws -> [SessionRecord] {
    var records: [SessionRecord] = []
    let id = onlyID
    func read(_ table: IndexTable?) throws(StartError) {
      try table?.read(only: id) { (line, _, _) throws(StartError) in
        if case .record(let record) = line { records.append(record) }
      }
    }
    state.hasNewLines = false
    try read(state.table)
    if state.hasNewIndex {
      state.hasNewIndex = false
      state.table = nil
      state.table = try index()
      try read(state.table)
    }
    if !records.isEmpty { state.table?.forgetEnded() }
    state.justTold = Set(records.map(\.id))
    return records
  }

  private mutating func take(_ record: SessionRecord, _ state: inout FollowState) throws {
    for session in state.sessions.values where session.files.id == record.id {
      switch record.event {
      case .start: try learnStart(record, session, &state)
      case .end: try end(session, record, &state)
      case .delete: break
      }
    }
  }

  // MARK: What is shown

  private mutating func learnStart(_ record: SessionRecord, _ session: FollowedSession, _ state: inout FollowState)
    throws
  {
    guard !session.saysStart else { return }
    session.saysStart = true
    session.shown.records.start = record
    let isBegun = session.isBegun
    try turn(to: session, &state)
    if isBegun { try session.shown.sayStart(&transcript) }
  }

  /// The index has the end of a session, so its files are complete.
  private mutating func end(_ session: FollowedSession, _ record: SessionRecord, _ state: inout FollowState) throws {
    state.note(session)
    try drain(session, .whole, &state)
    try turn(to: session, &state)
    try session.shown.end(record, &transcript)
    complain(of: session.shown, session.files)
    if case .directory = target { state.remove(session) }
  }

  /// Shows what can be shown of a session.
  private mutating func drain(_ session: FollowedSession, _ tail: FileTail, _ state: inout FollowState) throws {
    if session.isDirty { session.source.reader?.lookAgain() }
    session.isDirty = false
    guard let reader = session.source.reader else { return }
    while let event = head(of: reader, tail) {
      try turn(to: session, &state)
      try session.shown.show(event, &transcript)
      reader.removeHead()
    }
    reader.rest()
    // What is held after a rest waits for more.
    if !reader.isHolding || tail == .resting {
      session.deadline = nil
    } else if session.deadline == nil {
      session.deadline = now + Limits.followNanoseconds
    }
  }

  /// Gives what was held for long enough. A line without an end waits once more when it has just grown.
  private mutating func giveHeld(_ state: inout FollowState) throws {
    let now = now
    for session in state.sessions.values {
      guard let deadline = session.deadline, deadline <= now else { continue }
      session.deadline = nil
      let tail: FileTail = session.hasGrown ? .settled : .resting
      session.hasGrown = false
      try drain(session, tail, &state)
    }
  }

  /// Writes the heading of a session when another was shown before.
  private mutating func turn(to session: FollowedSession, _ state: inout FollowState) throws(TextOutput.End) {
    guard state.current !== session else { return }
    state.current = session
    try session.shown.begin(&transcript, isBegun: session.isBegun)
    if !session.isBegun, !session.files.followsLinks, case .recording = target {
      try session.shown.sayMissing(session.files, &transcript)
    }
    session.isBegun = true
  }

  /// It was told to stop: what was held is shown first.
  private mutating func sayGoodbye(_ state: inout FollowState, _ stop: Int32) throws {
    var told = [UInt8](repeating: 0, count: 256)
    _ = read(stop, &told, told.count)
    for session in state.sessions.values where session.deadline != nil { try drain(session, .resting, &state) }
    try transcript.output.flush()
  }
}
