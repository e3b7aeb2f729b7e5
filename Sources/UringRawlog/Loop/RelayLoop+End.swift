import Glibc

/// What a session does next, and how it ends: *terminate* (nothing more is relayed), *join* (wait until its operations
/// came home), *close*.
extension RelayLoop where R: ~Copyable {
  /// Looks at a session that something happened to.
  mutating func advance(_ slot: Int) {
    switch sessions[slot].phase {
    case .free, .connecting:
      break
    case .handshaking:
      pumpHandshake(FlowIndex(slot, .in))
    case .securing:
      pumpHandshake(FlowIndex(slot, .out))
    case .relaying:
      pump(FlowIndex(slot, .in))
      pump(FlowIndex(slot, .out))
      if sessions[flow: FlowIndex(slot, .in)].isFinished, sessions[flow: FlowIndex(slot, .out)].isFinished {
        terminate(slot, .none)
        join(slot)
      } else if sessions[slot].hasUndeliverable {
        checkLinger(slot)
      }
    case .terminating:
      join(slot)
    case .closing:
      finish(slot)
    }
  }

  /// The leg that a handshake is going on with: what waits for it is sent, and it is listened to.
  private mutating func pumpHandshake(_ flow: FlowIndex) {
    let tls = tls(flow.slot, flow.source)
    if let tls { seal(flow.reverse, tls) }
    guard sessions[flow.slot].phase == .handshaking || sessions[flow.slot].phase == .securing else { return }
    // A handshake that waits for its turn is not read on.
    if sessions[flow: flow].mayReceive, tls?.isQueued != true { receive(flow) }
  }

  /// Ends relaying: everything of the session that is with the kernel is called back.
  mutating func terminate(_ slot: Int, _ reason: Session.Reason) {
    switch sessions[slot].phase {
    case .handshaking, .connecting, .securing, .relaying: break
    case .free, .terminating, .closing: return
    }
    if sessions[slot].reason == .none { sessions[slot].reason = reason }
    sessions[slot].phase = .terminating
    activeSessions -= 1
    if sessions[slot].isLimited { clientLimits.end(sessions[slot].client) }
    mustArmAccepts = true
    if sessions[slot].socketOperations > 0 {
      cancelAll(slot, on: sessions[slot].clientSocket)
      if sessions[slot].serverSocket >= 0 { cancelAll(slot, on: sessions[slot].serverSocket) }
    }
    touch(slot)
  }

  mutating func cancelAll(_ slot: Int, on socket: Int32) {
    sessions[slot].socketOperations += 1
    ring.cancelAll(on: socket, token: token(.cancel, slot))
  }

  /// Closes the sockets once nothing is in flight on them.
  private mutating func join(_ slot: Int) {
    guard sessions[slot].socketOperations == 0 else { return }
    ring.close(sessions[slot].clientSocket, token: Token(.close))
    if sessions[slot].serverSocket >= 0 { ring.close(sessions[slot].serverSocket, token: Token(.close)) }
    sessions[slot].phase = .closing
    forgetTLS(slot)
    for direction in 0..<2 {
      let flow = FlowIndex(rawValue: slot << 1 | direction)
      giveUpPipe(flow)
      // What could not be delivered is needed only by a recording that waits for memory.
      sessions[flow: flow].sinkFailed()
      sessions[flow: flow].discardQueued()
      release(flow)
    }
    finish(slot)
  }

  /// Writes the rest of the recording, then the end record, and gives the slot back.
  private mutating func finish(_ slot: Int) {
    guard finishFiles(slot), sessions[slot].fileOperations == 0 else { return }
    for direction in 0..<2 {
      let flow = FlowIndex(rawValue: slot << 1 | direction)
      release(flow)
      closeFile(flow)
      assert(sessions[queue: flow].head < 0, "a span stayed behind")
      assert(!sessions[file: flow].isDirty, "a file stayed on the list of those to be flushed")
      assert(!sessions[file: flow].isWaiting, "a file stayed on the list of those that wait for memory")
      assert(waitingEdits[flow.rawValue] == nil, "edits of a recording that waits for nothing")
    }
    if !isAbandoning { writeEnd(slot) }
    heap.remove(slot, in: &sessions)
    forgetProxied(slot)
    sessions.remove(slot)
    mustArmAccepts = true
  }

  /// The program ends while the session waits for its disk: the index says what is known.
  mutating func abandon(_ slot: Int) {
    for direction in 0..<2 {
      let flow = FlowIndex(rawValue: slot << 1 | direction)
      let isUnfinished =
        sessions[file: file(of: flow)].stagedBytes > 0 || sessions[file: flow].line != nil
        || sessions[file: flow].gathered > 0 || isCaptured && conversations[slot].phase != .settled
        || sessions[file: flow].gatheredInFlight > 0 || sessions[file: flow].isWaiting
      if sessions[file: flow].state == .opening || sessions[file: flow].state != .none && isUnfinished {
        sessions[file: flow].state = .failed
      }
    }
    writeEnd(slot)
  }
}
