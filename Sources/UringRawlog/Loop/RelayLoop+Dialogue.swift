import Glibc

/// What a session's dialogue says of its bytes: what of them is no part of the recording, who logs in, and where with
/// `--pre-login` the recording ends.
extension RelayLoop where R: ~Copyable {
  /// Begins to listen to a session.
  mutating func beginDialogue(_ slot: Int) {
    guard let mailProtocol = configuration.mailProtocol else { return }
    sessions[slot].isObserved = true
    dialogues.begin(slot, Dialogue(mailProtocol))
  }

  /// Looks at a span before it is passed on: its edits are in `edits` afterwards.
  @inline(never)
  mutating func observe(_ flow: FlowIndex, span: Int32, from start: UInt64) {
    let slot = flow.slot
    let memory = dialogues.memory(slot)
    let speaker: Dialogue.Speaker = flow.direction == .in ? .client : .server
    var rest = UnsafeRawBufferPointer(start: spans[span].memory, count: Int(spans[span].count))
    var place = start
    while !rest.isEmpty, sessions[slot].isObserved {
      let step = dialogues[slot].scan(rest, from: speaker, memory: memory)
      if step != DialogueStep(count: step.count) {
        edit(flow, step, at: place)
        note(flow, step, endingAt: place + UInt64(step.count))
      }
      place += UInt64(step.count)
      rest = UnsafeRawBufferPointer(rebasing: rest[step.count...])
    }
  }

  /// The edits that a step asks for. Those of a direction that is not recorded are counted only.
  private mutating func edit(_ flow: FlowIndex, _ step: DialogueStep, at place: UInt64) {
    guard redacts else { return }
    let isRecording = sessions[file: flow].isRecording
    if step.released > 0, isRecording {
      let withheld = UnsafeRawPointer(dialogues.memory(flow.slot)) + MemoryLayout<LoginMemory>.offset(of: \.withheld)!
      edits.insert(UnsafeRawBufferPointer(start: withheld, count: Int(step.released)), at: place)
    }
    switch step.treatment {
    case .record:
      break
    case .redact:
      sessions[flow.slot].redacted &+= 1
      guard isRecording else { break }
      edits.insertRedacted(at: place)
      edits.omit(step.count, at: place)
    case .omit, .withhold:
      if isRecording { edits.omit(step.count, at: place) }
    }
  }

  private mutating func note(_ flow: FlowIndex, _ step: DialogueStep, endingAt end: UInt64) {
    let slot = flow.slot
    switch step.event {
    case .none, .startTLSRequested, .startTLSAccepted, .startTLSRefused, .compressed:
      break
    case .userNamed:
      noteUser(slot)
    case .loginSucceeded:
      noteUser(slot)
      sessions[slot].login = .ok
      if sessions[slot].awaitsUser { openForUser(slot) }
      if configuration.preLogin { endAtLogin(flow, at: end) }
      stopListening(slot)
    case .loginFailed:
      noteUser(slot)
      if sessions[slot].login != .ok { sessions[slot].login = .failed }
      sessions[slot].failedLogins &+= 1
    case .mailWithoutLogin:
      if configuration.preLogin { endAtLogin(flow, at: end) }
      stopListening(slot)
    }
  }

  /// Keeps who the last attempt was for, for the index.
  private mutating func noteUser(_ slot: Int) {
    switch dialogues[slot].authenticationIdentity(dialogues.memory(slot)) {
    case .absent: break
    case .unusable: users[slot] = nil
    case .known(let name): users[slot] = jsonString(String(decoding: name, as: UTF8.self))
    }
  }

  /// A session that is not recorded, or not any more, is heard out only until it is known who logs in.
  private mutating func stopListening(_ slot: Int) {
    let isRecorded =
      sessions[file: FlowIndex(slot, .in)].isRecording || sessions[file: FlowIndex(slot, .out)].isRecording
    if !isRecorded || sessions[slot].isEndedAtLogin { sessions[slot].isObserved = false }
  }

  // MARK: Pre-login

  /// The recording ends here: in one direction behind the line that says so, in the other with what came before it.
  private mutating func endAtLogin(_ flow: FlowIndex, at end: UInt64) {
    let slot = flow.slot
    guard !sessions[slot].isEndedAtLogin else { return }
    sessions[slot].isEndedAtLogin = true
    limit(flow, to: end)
    limit(flow.reverse, to: sessions[flow: flow.reverse].received)
    endIfComplete(flow.reverse)
  }

  private mutating func limit(_ flow: FlowIndex, to place: UInt64) {
    sessions[file: flow].limit = min(sessions[file: flow].limit, place)
  }

  /// Ends a recording that has come to its limit, instead of waiting for a byte behind it.
  mutating func endIfComplete(_ flow: FlowIndex) {
    guard sessions[file: flow].isRecording, !sessions[file: flow].isWaiting else { return }
    if sessions[file: flow].gathered > 0 { stageGathered(flow, to: sessions[flow: flow].received) }
    guard sessions[file: flow].position >= sessions[file: flow].limit else { return }
    truncate(flow)
    release(flow)
  }

  // MARK: The end of the bytes

  /// What is still withheld when the client is gone will never be known to be harmless; false without memory to say so.
  mutating func finishDialogue(_ slot: Int) -> Bool {
    guard sessions[slot].isObserved else { return true }
    let flow = FlowIndex(slot, .in)
    let end = sessions[flow: flow].received
    edit(flow, dialogues[slot].finish(), at: end)
    sessions[slot].isObserved = false
    guard !edits.isEmpty else { return true }
    defer { edits.removeAll() }
    guard sessions[file: flow].state == .open, !sessions[file: flow].isOver, !sessions[file: flow].isDropping else {
      return true
    }
    return stageEnd(flow)
  }

  // MARK: A directory for each user

  /// The name of the directory's component for a user: whose mailbox it is.
  private func mailboxUser(_ slot: Int) -> [UInt8]? {
    let memory = dialogues.memory(slot)
    var name = dialogues[slot].authorizationIdentity(memory)
    if case .absent = name { name = dialogues[slot].authenticationIdentity(memory) }
    guard case .known(let bytes) = name, !bytes.isEmpty, bytes.count <= 255, bytes[0] != UInt8(ascii: ".") else {
      return nil
    }
    let isHarmless = bytes.allSatisfy { $0 >= 0x20 && $0 != 0x7F && $0 != UInt8(ascii: "/") }
    return isHarmless ? Array(bytes) : nil
  }

  /// Somebody has logged in: the files are made in the directory that is theirs.
  private mutating func openForUser(_ slot: Int) {
    sessions[slot].awaitsUser = false
    guard let user = mailboxUser(slot) else {
      leaveUnrecorded(slot)
      return
    }
    mailboxes[slot] = user
    openFiles(slot)
    if sessions[slot].fileOperations == 0 { openingEnded(slot) }
  }

  /// A session in a directory for each user, of whose user nothing was learnt.
  mutating func leaveUnrecorded(_ slot: Int) {
    sessions[slot].awaitsUser = false
    sessions[slot].isRecorded = false
    for direction in 0..<2 {
      let flow = FlowIndex(rawValue: slot << 1 | direction)
      if sessions[file: flow].state == .opening { stopRecording(flow, .none) }
    }
    if !gaps.isEmpty { gaps[slot] = nil }
  }
}
