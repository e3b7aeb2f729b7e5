/// Following captures: their packets are in the order of time already, so each is shown as it comes.
extension ShowRun {
  /// Shows the captures of a directory that were ended, and begins to follow the others.
  mutating func followCaptures(in directory: String, _ state: inout FollowState) throws {
    let paths = CaptureLibrary.captures(in: directory)
    let ended = paths.filter { !$0.hasSuffix(".part") }
    for path in ended { state.knownCaptures.insert(FollowedCapture.stem(of: Sweep.name(path)) ?? path) }
    if !ended.isEmpty { try showCaptures(ended, configuration.session, state.table) }
    for path in paths where path.hasSuffix(".part") { addCapture(path, &state) }
  }

  /// Follows one that was named itself, to its end.
  mutating func followNamedCapture(_ path: String, _ state: inout FollowState) throws(StartError) {
    state.captures.append(
      FollowedCapture(try CaptureLibrary.open(path, followsLinks: true), stem: path))
  }

  /// A capture has come, or one has got its final name.
  mutating func addCapture(_ path: String, _ state: inout FollowState) {
    guard let stem = FollowedCapture.stem(of: Sweep.name(path)) else { return }
    state.noteCapture(stem)
    guard state.knownCaptures.insert(stem).inserted else { return }
    do throws(StartError) {
      state.captures.append(FollowedCapture(try CaptureLibrary.open(path), stem: stem))
    } catch {
      complain(error)
    }
  }

  /// Shows what has come to captures. One that was ended is not followed any more.
  mutating func drainCaptures(_ state: inout FollowState) throws {
    for capture in state.captures where capture.isDirty {
      capture.isDirty = false
      var isOver = false
      do {
        guard let reader = try capture.open() else { continue }
        while let step = try reader.next() { try show(step, of: capture, &state) }
        isOver = reader.tail == .complete
      } catch let error as StartError {
        complain(error)
        isOver = true
      }
      if isOver { state.captures.removeAll { $0 === capture } }
    }
  }

  private mutating func show(_ step: CaptureReader.Step, of capture: FollowedCapture, _ state: inout FollowState)
    throws
  {
    switch step {
    case .packet(let packet): try show(packet, of: capture, &state)
    case .damage(let damage):
      complain(StartError(.dataError, "'\(capture.source.path)' is damaged: \(damage.text)"))
    case .end: break
    case .section: capture.sessions.removeAll()
    }
  }

  private mutating func show(_ packet: CapturedPacket, of capture: FollowedCapture, _ state: inout FollowState) throws {
    let session = capture.sessions[packet.session] ?? begin(packet, of: capture, &state)
    var events: [CapturedEvent] = []
    session.content.take(packet, to: &events)
    for event in events where session.isWanted {
      switch event {
      case .beginning(_, let continues, _, _, _): if !continues { try turn(to: session, &state) }
      case .bytes(let direction, let bytes, let time):
        try turn(to: session, &state)
        var left = bytes
        while !left.isEmpty {
          try session.shown.show(.piece(session.lines.next(&left, direction, at: time)), &transcript)
        }
      case .gap(let gap, _):
        try turn(to: session, &state)
        try session.shown.show(.gap(gap), &transcript)
      case .damage(let damage):
        try turn(to: session, &state)
        try session.shown.show(.remark(.capture(damage)), &transcript)
        complain(StartError(.dataError, "'\(capture.source.path)' is damaged: \(damage.text)"))
      case .record(let text, _):
        guard let record = try? SessionRecord(text) else { break }
        try turn(to: session, &state)
        try session.shown.end(record, &transcript)
      case .finished, .reset: break
      }
    }
    if events.contains(where: \.isEnd) { end(packet.session, of: capture, &state) }
  }

  /// The session of a packet that is the first in its capture.
  private mutating func begin(_ packet: CapturedPacket, of capture: FollowedCapture, _ state: inout FollowState)
    -> FollowedCapture.Session
  {
    var id = "session-\(packet.session)"
    packet.forEachComment { comment in
      if case .session(let name, _) = comment { id = name }
    }
    // It may have begun in a capture before this one.
    let session = state.capturedSessions[id] ?? makeSession(id, packet)
    state.capturedSessions[id] = session
    capture.sessions[packet.session] = session
    return session
  }

  private func makeSession(_ id: String, _ packet: CapturedPacket) -> FollowedCapture.Session {
    let records = IndexTable.Records(start: packet.startRecord(of: id), end: nil)
    return FollowedCapture.Session(
      ShownSession(title: id, records: records, isMerged: true),
      isWanted: configuration.session.map { id.hasPrefix($0) } ?? true)
  }

  private func end(_ number: UInt64, of capture: FollowedCapture, _ state: inout FollowState) {
    guard let session = capture.sessions.removeValue(forKey: number) else { return }
    state.capturedSessions[session.shown.title] = nil
  }

  /// Writes the heading of a session when another was shown before.
  private mutating func turn(to session: FollowedCapture.Session, _ state: inout FollowState) throws(TextOutput.End) {
    guard state.current !== session else { return }
    state.current = session
    try session.shown.begin(&transcript, isBegun: session.isBegun)
    session.isBegun = true
  }
}

extension CapturedEvent {
  /// Nothing of the session comes behind it.
  fileprivate var isEnd: Bool {
    switch self {
    case .record: true
    case .beginning, .bytes, .gap, .finished, .reset, .damage: false
    }
  }
}
