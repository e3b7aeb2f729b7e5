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
    guard isWorthHearing(slot) else {
      sessions[slot].isObserved = false
      return
    }
    let memory = dialogues.memory(slot)
    let speaker: Dialogue.Speaker = flow.direction == .in ? .client : .server
    var rest = UnsafeRawBufferPointer(start: spans[span].memory, count: Int(spans[span].count))
    var place = start
    while !rest.isEmpty, sessions[slot].isObserved, sessions[slot].phase != .terminating {
      let withheld = dialogues[slot].withheldCount
      let step = dialogues[slot].scan(rest, from: speaker, memory: memory)
      if step != DialogueStep(count: step.count) || withheld != dialogues[slot].withheldCount {
        edit(flow, step, at: place, withheldBefore: Int(withheld))
        note(flow, step, endingAt: place + UInt64(step.count))
      }
      place += UInt64(step.count)
      rest = UnsafeRawBufferPointer(rebasing: rest[step.count...])
    }
    dialogues.settleMemory(slot)
    if warnsOfMechanisms { warnOfMechanisms(slot) }
    if dialogues[slot].isQuiet { sessions[slot].isObserved = false }
  }

  /// Something that may still be said matters: of a session that is recorded, everything, of another, who logs in.
  ///
  /// Inlined, as what does not change the loop: for a call the whole loop would be copied.
  @inline(__always)
  private func isWorthHearing(_ slot: Int) -> Bool {
    isAnyRecorded(slot) || awaitsStartTLS(slot)
      || sessions[slot].login != .ok && configuration.mailProtocol != .lmtp && !dialogues[slot].isMailSeen
  }

  @inline(__always)
  private func isAnyRecorded(_ slot: Int) -> Bool {
    sessions[file: FlowIndex(slot, .in)].isRecording || sessions[file: FlowIndex(slot, .out)].isRecording
  }

  /// The edits that a step asks for.
  private mutating func edit(_ flow: FlowIndex, _ step: DialogueStep, at place: UInt64, withheldBefore: Int) {
    guard redacts, sessions[file: flow].isRecording else { return }
    var settled = withheldBefore - Int(dialogues[flow.slot].withheldCount)
    if step.treatment == .withhold { settled += step.count }
    if step.released > 0 {
      let withheld = UnsafeRawPointer(dialogues.memory(flow.slot)) + MemoryLayout<LoginMemory>.offset(of: \.withheld)!
      edits.release(UnsafeRawBufferPointer(start: withheld, count: Int(step.released)), at: place)
      settled -= Int(step.released)
    }
    // Of what the step withholds the first bytes may have turned out to belong to a credential.
    let omitted = max(0, settled - withheldBefore)
    settled -= omitted
    switch step.treatment {
    case .redact: edits.mark(settling: settled, at: place)
    case .record, .omit, .withhold: if settled > 0 { edits.settle(settled, at: place) }
    }
    switch step.treatment {
    case .record: break
    case .redact, .omit: edits.omit(step.count, at: place)
    case .withhold:
      edits.omit(omitted, at: place)
      edits.omit(step.count - omitted, at: place + UInt64(omitted), isWithheld: true)
    }
  }

  private mutating func note(_ flow: FlowIndex, _ step: DialogueStep, endingAt end: UInt64) {
    let slot = flow.slot
    switch step.event {
    case .none, .compressed:
      break
    case .startTLSRequested:
      startTLSRequested(flow, at: end)
    case .startTLSAccepted:
      startTLSAccepted(flow, at: end)
    case .startTLSRefused:
      startTLSRefused(slot)
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
      if configuration.preLogin {
        // Whoever logs in later does so behind the end of the recording.
        if sessions[slot].awaitsUser { leaveUnrecorded(slot) }
        endAtLogin(flow, at: end)
      }
      stopListening(slot)
    }
  }

  /// Keeps who the last attempt was for, for the index.
  private mutating func noteUser(_ slot: Int) {
    switch dialogues[slot].authenticationIdentity(dialogues.memory(slot)) {
    case .absent, .unusable: users[slot] = nil
    case .known(let name): users[slot] = jsonString(name)
    }
  }

  /// A session that is not recorded, or not any more, is heard out only until it is known who logs in.
  private mutating func stopListening(_ slot: Int) {
    guard !isAnyRecorded(slot) || sessions[slot].isEndedAtLogin, !awaitsStartTLS(slot) else { return }
    sessions[slot].isObserved = false
  }

  // MARK: Pre-login

  /// The recording ends here: in one direction behind the line that says so, in the other with what came before it.
  private mutating func endAtLogin(_ flow: FlowIndex, at end: UInt64) {
    guard !sessions[flow.slot].isEndedAtLogin else { return }
    sessions[flow.slot].isEndedAtLogin = true
    limit(flow, to: end)
    limit(flow.reverse, to: sessions[flow: flow.reverse].received)
  }

  private mutating func limit(_ flow: FlowIndex, to place: UInt64) {
    guard place <= sessions[file: flow].limit else { return }
    sessions[file: flow].limit = place
    sessions[file: flow].isLimitLogin = true
  }

  /// Somebody has logged in: what is recorded of both directions is complete, or waits for memory.
  ///
  /// Called when the edits of the span that told so are recorded, since there is room for one direction's only.
  mutating func endRecording(_ slot: Int) {
    finishDialogue(slot)
    endIfComplete(FlowIndex(slot, .in))
    endIfComplete(FlowIndex(slot, .out))
  }

  /// Ends a recording that has come to its limit, instead of waiting for a byte behind it.
  mutating func endIfComplete(_ flow: FlowIndex) {
    guard sessions[file: flow].isRecording, !sessions[file: flow].isWaiting else { return }
    if sessions[file: flow].gathered > 0 { stageGathered(flow, to: sessions[flow: flow].received) }
    guard sessions[file: flow].isRecording, sessions[file: flow].position >= sessions[file: flow].limit else { return }
    truncate(flow)
    release(flow)
  }

  // MARK: The end of the bytes

  /// The client's recording ends behind what came: what is withheld will never be known to be harmless.
  mutating func finishDialogue(_ slot: Int) {
    let flow = FlowIndex(slot, .in)
    guard redacts, dialogues[slot].withheldCount > 0, sessions[file: flow].isRecording else { return }
    let end = sessions[flow: flow].received
    if sessions[file: flow].gathered > 0 { stageGathered(flow, to: end) }
    let withheld = Int(dialogues[slot].withheldCount)
    edit(flow, dialogues[slot].finish(), at: end, withheldBefore: withheld)
    if !sessions[file: flow].isWaiting, !sessions[file: flow].isDropping, !stageEnd(flow) {
      memoryMissing(flow, for: end)
    }
    keepEdits(flow)
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
    guard let user = mailboxUser(slot) else {
      leaveUnrecorded(slot)
      return
    }
    endAwaiting(slot)
    mailboxes[slot] = user
    openFiles(slot)
    if sessions[slot].fileOperations == 0 { openingEnded(slot) }
  }

  private mutating func endAwaiting(_ slot: Int) {
    guard sessions[slot].awaitsUser else { return }
    sessions[slot].awaitsUser = false
    awaitingBytes -= sessions[slot].stagingBytes
  }

  /// A session that turns out not to be recorded: there is no directory for it, or it is not known which.
  mutating func leaveUnrecorded(_ slot: Int) {
    endAwaiting(slot)
    sessions[slot].isRecorded = false
    sessions[slot].redacted = 0
    for direction in 0..<2 {
      let flow = FlowIndex(rawValue: slot << 1 | direction)
      if sessions[file: flow].state == .opening { stopRecording(flow, .none) }
      sessions[file: flow].recorded = 0
      sessions[file: flow].dropped = 0
    }
    if !gaps.isEmpty { gaps[slot] = nil }
  }
}

extension Dialogue {
  /// What comes next may belong to a credential, or to what may be one.
  @inline(__always)
  var isInCredential: Bool { client == .credential || client == .opaqueSecret || withheldCount > 0 }
}
