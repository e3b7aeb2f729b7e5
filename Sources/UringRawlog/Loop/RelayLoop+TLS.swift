import COpenSSL
import Glibc

/// TLS on either leg: the engines stand between the sockets and the queues. What is queued, recorded and counted is
/// plaintext; ciphertext is only on its way.
extension RelayLoop where R: ~Copyable {
  /// The leg's TLS; nil while it is in the clear.
  @inline(__always)
  func tls(_ slot: Int, _ leg: Leg) -> TLSLeg? {
    let place = slot << 1 | (leg == .client ? 0 : 1)
    return place < tlsLegs.count ? tlsLegs[place] : nil
  }

  // MARK: Beginning

  /// Begins TLS with a peer behind what it has sent until now.
  ///
  /// - Parameter clearUntil: what is sent to it before this place still goes in the clear.
  mutating func beginTLS(_ slot: Int, _ leg: Leg, clearUntil: UInt64 = 0) {
    let place = sessions[flow: FlowIndex(slot, leg == .client ? .in : .out)].received
    let new: TLSLeg
    switch leg {
    case .client:
      renewTicketKeys()
      new = TLSLeg(
        TLSEngine(serving: environment.front!.identity, from: place), from: place, clearUntil: clearUntil)
    case .server:
      new = TLSLeg(TLSEngine(connecting: environment.back!.trust, from: place), from: place, clearUntil: clearUntil)
    }
    let index = slot << 1 | (leg == .client ? 0 : 1)
    while tlsLegs.count <= index { tlsLegs.append(nil) }
    tlsLegs[index] = new
    sessions[slot].sealing = .handshaking
    awaitHandshake(slot)
    // Who connects speaks first.
    if leg == .server { queueHandshake(slot, leg, new) }
    touch(slot)
  }

  /// From now on the handshake's time runs.
  mutating func awaitHandshake(_ slot: Int) {
    guard configuration.handshakeNanoseconds > 0 else { return }
    sessions[slot].handshakeDeadline = clock.now.nanoseconds + configuration.handshakeNanoseconds
    heap.tighten(slot, to: sessions[slot].handshakeDeadline, in: &sessions)
  }

  /// Tickets for resuming sessions are sealed with new keys from time to time: whoever comes to know one reads little.
  private mutating func renewTicketKeys() {
    let now = clock.now.nanoseconds
    if ticketKeysUntil == 0 { ticketKeysUntil = now + Limits.ticketKeyNanoseconds }
    guard now >= ticketKeysUntil else { return }
    ticketKeysUntil = now + Limits.ticketKeyNanoseconds
    environment.front!.identity.rotateTicketKeys()
  }

  // MARK: Ciphertext in

  /// Takes what a leg with TLS received; false when it is in the clear.
  mutating func takeSealed(_ flow: FlowIndex, _ completion: Completion) -> Bool {
    let slot = flow.slot
    guard let tls = tls(slot, flow.source) else { return takeBesideTLS(flow, completion) }
    switch sessions[slot].phase {
    case .handshaking, .connecting, .securing, .relaying: break
    case .free, .terminating, .closing:
      returnBuffers(completion)
      return true
    }
    guard sessions[flow: flow].sink != .failed else {
      sessions[slot].hasUndeliverable = true
      returnBuffers(completion)
      return true
    }
    sessions[slot].activeNanoseconds = clock.now.nanoseconds
    takeBuffers(flow, completion, tls)
    takeOpened(flow)
    noteSourceState(flow, tls)
    return true
  }

  /// Takes what lies in the buffers of a receive, and gives them back.
  ///
  /// - Parameter tls: nil when it is plaintext.
  private mutating func takeBuffers(_ flow: FlowIndex, _ completion: Completion, _ tls: TLSLeg?) {
    var buffer = Int(completion.buffer)
    var rest = Int(completion.result)
    while rest > 0 {
      let bytes = UnsafeRawBufferPointer(start: ring.bufferAddress(buffer), count: min(rest, ring.bufferBytes))
      if let tls { takeCiphertext(flow, tls, bytes) } else { takeClear(flow, bytes) }
      rest -= bytes.count
      let next = rest > 0 ? ring.bufferAfter(buffer) : -1
      ring.returnBuffer(buffer)
      buffer = next
    }
  }

  /// Queues one buffer of what came in the clear, unless the buffer before it in the same receive ended the session, or
  /// began TLS: then this one was not protected by it.
  private mutating func takeClear(_ flow: FlowIndex, _ bytes: UnsafeRawBufferPointer) {
    guard sessions[flow.slot].phase == .relaying else { return }
    guard tls(flow.slot, flow.source) == nil else {
      clearBytesFound(flow.slot, flow.source)
      return
    }
    takeUnsealed(flow, bytes)
  }

  /// Bytes of a leg that is in the clear, where that is not the usual case; false when they are to be relayed as usual.
  private mutating func takeBesideTLS(_ flow: FlowIndex, _ completion: Completion) -> Bool {
    switch sessions[flow.slot].sealing {
    case .requested where flow.direction == .in:
      returnBuffers(completion)
      clearBytesFound(flow.slot, .client)
      return true
    case .asking where flow.direction == .out:
      takeAnswer(flow, completion)
      return true
    case .none, .requested, .asking:
      return false
    case .offered, .handshaking, .open:
      guard offerings[flow.slot] != nil, sessions[flow.slot].phase == .relaying, sessions[flow: flow].sink != .failed
      else { return false }
    }
    sessions[flow.slot].activeNanoseconds = clock.now.nanoseconds
    takeBuffers(flow, completion, nil)
    return true
  }

  /// Queues plaintext, through whoever looks for STARTTLS in it.
  private mutating func takeUnsealed(_ flow: FlowIndex, _ bytes: UnsafeRawBufferPointer) {
    if !takeOffered(flow, bytes) { takeCopied(flow, bytes) }
  }

  /// Records bytes that only one leg has seen, if it is the one that is recorded.
  mutating func recordUnrelayed(
    _ flow: FlowIndex, _ bytes: UnsafeRawBufferPointer, on leg: RelayConfiguration.RecordedLeg
  ) {
    guard (leg == .back) == isBackLegRecorded, sessions[file: flow].isRecording, !bytes.isEmpty else { return }
    let end = sessions[flow: flow].received
    if sessions[file: flow].gathered > 0 { stageGathered(flow, to: end) }
    edits.insert(bytes, at: end)
    if !sessions[file: flow].isWaiting, !sessions[file: flow].isDropping, !stageEnd(flow) {
      memoryMissing(flow, for: end)
    }
    keepEdits(flow)
  }

  /// Bytes of the peer: for the handshake in its turn, otherwise at once. Plaintext is in `opened` afterwards.
  private mutating func takeCiphertext(_ flow: FlowIndex, _ tls: TLSLeg, _ bytes: UnsafeRawBufferPointer) {
    guard tls.isSettled else {
      tls.held.append(contentsOf: bytes)
      guard tls.held.count <= Limits.handshakeBytes else {
        tlsFailed(flow.slot, flow.source, "more than \(Limits.handshakeBytes >> 10)K in a handshake")
        return
      }
      queueHandshake(flow.slot, flow.source, tls)
      return
    }
    var rest = bytes
    repeat {
      if opened.memory.count - openedBytes < TLSEngine.recordBytes { takeOpened(flow) }
      let moved = tls.engine.receive(
        rest, at: tls.place, into: UnsafeMutableRawBufferPointer(rebasing: opened.memory[openedBytes...]))
      tls.place += UInt64(moved.taken)
      openedBytes += moved.made
      rest = UnsafeRawBufferPointer(rebasing: rest[moved.taken...])
    } while !rest.isEmpty || tls.engine.hasPlaintext
  }

  /// Takes what a client sent behind its PROXY header, or instead of one.
  mutating func takeUnproxied(_ flow: FlowIndex, _ bytes: UnsafeRawBufferPointer) {
    guard let tls = tls(flow.slot, flow.source) else {
      takeUnsealed(flow, bytes)
      return
    }
    takeCiphertext(flow, tls, bytes)
    takeOpened(flow)
    noteSourceState(flow, tls)
  }

  /// Queues the plaintext that was opened.
  private mutating func takeOpened(_ flow: FlowIndex) {
    guard openedBytes > 0 else { return }
    let bytes = UnsafeRawBufferPointer(rebasing: opened.memory[..<openedBytes])
    openedBytes = 0
    takeUnsealed(flow, bytes)
  }

  /// What the peer said of its own end.
  private mutating func noteSourceState(_ flow: FlowIndex, _ tls: TLSLeg) {
    switch tls.engine.state {
    case .handshaking, .open, .truncated: break
    case .ended:
      guard sessions[flow: flow].source == .open else { break }
      flushOffered(flow)
      sessions[flow: flow].sourceEnded()
      noteEnd(flow.slot, of: flow.source, .clean)
    case .failed:
      tlsFailed(flow.slot, flow.source, tls.engine.failure?.text ?? "no reason given")
    }
    touch(flow.slot)
  }

  /// The peer's stream ended below TLS; false when the leg is in the clear.
  mutating func sealedEnd(_ flow: FlowIndex) -> Bool {
    guard let tls = tls(flow.slot, flow.source) else {
      if sessions[flow.slot].sealing == .asking, flow.direction == .out {
        tlsFailed(flow.slot, .server, "the server closed the connection before it began TLS")
        return true
      }
      flushOffered(flow)
      return false
    }
    tls.isInputEnded = true
    if !tls.isSettled {
      queueHandshake(flow.slot, flow.source, tls)
      return true
    }
    guard tls.engine.state == .open else { return true }
    tls.engine.inputEnded()
    flushOffered(flow)
    sessions[flow: flow].sourceEnded()
    noteEnd(flow.slot, of: flow.source, .cut)
    return true
  }

  // MARK: Handshakes

  private mutating func queueHandshake(_ slot: Int, _ leg: Leg, _ tls: TLSLeg) {
    guard !tls.isQueued else { return }
    tls.isQueued = true
    handshakes.append(entry(FlowIndex(slot, leg == .client ? .in : .out)))
  }

  /// Goes on with handshakes, for a bounded time: relaying does not wait for them.
  mutating func workHandshakes() {
    let end = ring.now().nanoseconds + Limits.handshakeNanosecondsPerTurn
    for _ in 0..<min(handshakes.count, Limits.handshakesPerTurn) {
      guard let flow = flow(handshakes.removeFirst()), let tls = tls(flow.slot, flow.source), tls.isQueued else {
        continue
      }
      tls.isQueued = false
      touch(flow.slot)
      switch sessions[flow.slot].phase {
      case .handshaking, .securing, .relaying: break
      case .free, .connecting, .terminating, .closing: continue
      }
      if stepHandshake(flow, tls), ring.now().nanoseconds >= end { return }
    }
  }

  /// One step, at most to the end of the peer's flight; true when it was costly.
  private mutating func stepHandshake(_ flow: FlowIndex, _ tls: TLSLeg) -> Bool {
    let held = tls.held
    let step = held.withUnsafeBytes { tls.engine.handshake($0, at: tls.place) }
    tls.place += UInt64(step.taken)
    tls.held.removeFirst(step.taken)
    switch tls.engine.state {
    case .handshaking:
      guard tls.isInputEnded else { break }
      tls.engine.inputEnded()
      tlsFailed(flow.slot, flow.source, tls.engine.failure?.text ?? "no reason given")
    case .open, .ended, .truncated:
      handshakeEnded(flow, tls)
    case .failed:
      tlsFailed(flow.slot, flow.source, tls.engine.failure?.text ?? "no reason given")
    }
    return step.isCostly
  }

  /// The leg is under TLS: what waits behind the handshake is plaintext.
  private mutating func handshakeEnded(_ flow: FlowIndex, _ tls: TLSLeg) {
    let slot = flow.slot
    tls.isSettled = true
    tlsFacts[slot << 1 | (flow.source == .client ? 0 : 1)] = tls.facts
    let isSettled = self.tls(slot, flow.source == .client ? .server : .client)?.isSettled ?? true
    if isSettled {
      sessions[slot].sealing = .open
      sessions[slot].handshakeDeadline = 0
    }
    switch sessions[slot].phase {
    case .handshaking: beginRelaying(slot)
    case .securing: relayFromNowOn(slot)
    case .free, .connecting, .relaying, .terminating, .closing: break
    }
    let held = tls.held
    tls.held = []
    if !held.isEmpty {
      held.withUnsafeBytes { takeCiphertext(flow, tls, $0) }
      takeOpened(flow)
      noteSourceState(flow, tls)
    }
    if tls.isInputEnded { _ = sealedEnd(flow) }
  }

  /// A handshake took too long.
  mutating func workTLSDeadline(_ slot: Int) {
    for leg in [Leg.client, .server] {
      guard let tls = tls(slot, leg), !tls.isSettled else { continue }
      tlsFailed(slot, leg, "the handshake took longer than --handshake-timeout")
      return
    }
    if sessions[slot].sealing == .asking {
      tlsFailed(slot, .server, "STARTTLS took longer than --handshake-timeout")
    }
  }

  // MARK: Failing

  /// TLS with a peer failed, or cannot begin: it gets the alert that is waiting for it, the other side a clean end.
  mutating func tlsFailed(_ slot: Int, _ leg: Leg, _ reason: @autoclosure () -> String) {
    switch sessions[slot].phase {
    case .handshaking, .connecting, .securing, .relaying: break
    case .free, .terminating, .closing: return
    }
    path.removeAll()
    let peer = leg == .client ? sessions[slot].client : sessions[slot].server
    peer.append(to: &path)
    let name = String(decoding: path.span, as: UTF8.self)
    report.say(
      at: clock.now.nanoseconds, "TLS with the \(leg == .client ? "client" : "server") '\(name)' failed: \(reason())")
    sessions[slot].handshakeDeadline = 0
    sayLast(slot, leg)
    let other: Leg = leg == .client ? .server : .client
    if let tls = tls(slot, other), tls.isSettled { tls.engine.close() }
    sayLast(slot, other)
    terminate(slot, .tlsError)
  }

  /// Bytes in the clear stand behind the command or the answer that starts TLS (RFC 3207 section 6): whoever put them
  /// there wants them to be taken for protected.
  mutating func clearBytesFound(_ slot: Int, _ leg: Leg) {
    tlsFailed(
      slot, leg,
      "bytes in the clear came behind the \(leg == .client ? "command" : "answer") that starts TLS; they were not relayed"
    )
  }

  /// Sends an engine's last words, if the socket takes them at once: the session is over.
  private mutating func sayLast(_ slot: Int, _ leg: Leg) {
    let flow = FlowIndex(slot, leg == .client ? .out : .in)
    guard let tls = tls(slot, leg), !tls.isBusy, tls.engine.pendingBytes > 0, !sessions[flow: flow].isSending,
      sessions[flow: flow].sent >= tls.clearUntil, sessions[flow: flow].sink == .open
    else { return }
    let output = tls.makeOutput(for: 0)
    let none = UnsafeRawBufferPointer(start: nil, count: 0)
    tls.filled(tls.engine.send(none, into: output).made)
    if tls.isBusy { ring.sendNow(socket(slot, leg), tls.unsent) }
    tls.releaseOutput()
  }

  // MARK: Plaintext out

  /// Sends what waits for a leg with TLS, and what its engine wants to say by itself.
  mutating func seal(_ flow: FlowIndex, _ tls: TLSLeg) {
    guard !tls.isSending, !sessions[flow: flow].isSending, !sessions[flow: flow].isResting,
      sessions[flow: flow].sink == .open
    else { return }
    if sessions[flow: flow].sent < tls.clearUntil {
      if sessions[flow: flow].maySend { sendClear(flow, to: tls.clearUntil) }
      return
    }
    if tls.isBusy {
      sendSealed(flow, tls)
      return
    }
    let mayTake = tls.isSettled && !tls.engine.isClosed && sessions[flow: flow].maySend
    guard mayTake || tls.engine.pendingBytes > 0 else { return }
    let most = sealedBytes > Limits.sealedBytesScarce ? TLSEngine.recordBytes : Limits.sealedBytes
    let wanted = mayTake ? Int(min(sessions[flow: flow].queued, UInt64(most))) : 0
    let output = tls.makeOutput(for: wanted)
    let moved = fill(flow, tls, output, wanted)
    tls.filled(moved.made)
    if tls.isBusy { sealedBytes += output.count }
    if moved.taken > 0 {
      // What is sealed is as good as sent: it cannot be taken back, and the queue needs it no more.
      sessions[flow: flow].sendStarted(moved.taken, at: clock.now.nanoseconds)
      sessions[flow: flow].sendEnded(moved.taken)
      release(flow)
    }
    if tls.engine.state == .failed {
      tlsFailed(flow.slot, flow.sink, tls.engine.failure?.text ?? "no reason given")
    } else if tls.isBusy {
      sendSealed(flow, tls)
    }
  }

  /// Makes records of what is queued.
  private mutating func fill(
    _ flow: FlowIndex, _ tls: TLSLeg, _ output: UnsafeMutableRawBufferPointer, _ wanted: Int
  ) -> TLSEngine.Moved {
    guard wanted > 0 else { return tls.engine.send(UnsafeRawBufferPointer(start: nil, count: 0), into: output) }
    var sum = TLSEngine.Moved()
    var span = sessions[queue: flow].head
    var place = sessions[queue: flow].base
    let sent = sessions[flow: flow].sent
    while span >= 0, sum.taken < wanted {
      let count = Int(spans[span].count)
      let skipped = sent > place ? Int(min(sent - place, UInt64(count))) : 0
      if skipped < count {
        let bytes = UnsafeRawBufferPointer(
          start: spans[span].memory + skipped, count: min(count - skipped, wanted - sum.taken))
        let moved = tls.engine.send(bytes, into: UnsafeMutableRawBufferPointer(rebasing: output[sum.made...]))
        sum.taken += moved.taken
        sum.made += moved.made
        guard moved.taken == bytes.count else { break }
      }
      place += UInt64(count)
      span = spans[span].next
    }
    return sum
  }

  private mutating func sendSealed(_ flow: FlowIndex, _ tls: TLSLeg) {
    tls.isSending = true
    tls.sendingSince = clock.now.nanoseconds
    sessions[flow.slot].socketOperations += 1
    ring.send(
      socket(flow.slot, flow.sink), tls.unsent,
      token: token(flow.sink == .client ? .sendClient : .sendServer, flow.slot))
  }

  /// A send of ciphertext ended; false when it was another.
  mutating func sealedSent(_ flow: FlowIndex, _ completion: Completion) -> Bool {
    let slot = flow.slot
    guard let tls = tls(slot, flow.sink), tls.isSending else { return false }
    sessions[slot].socketOperations -= 1
    tls.isSending = false
    touch(slot)
    if completion.result > 0 {
      sessions[slot].activeNanoseconds = clock.now.nanoseconds
      let bytes = tls.output.unsafelyUnwrapped.count
      tls.sent(Int(completion.result))
      if !tls.isBusy { sealedBytes -= bytes }
      return true
    }
    switch completion.error?.code {
    case nil, ECANCELED, EINTR: break
    case EAGAIN, ENOBUFS, ENOMEM: rest(flow)
    default:
      dropSealed(tls)
      sessions[slot].hasUndeliverable = true
      sessions[flow: flow].sinkFailed()
      legFailed(slot, flow.sink)
    }
    return true
  }

  private mutating func dropSealed(_ tls: TLSLeg) {
    guard let output = tls.output else { return }
    sealedBytes -= output.count
    tls.releaseOutput()
  }

  // MARK: Ending

  /// The end of the stream is passed on to a leg with TLS: close_notify first, when it was a clean end. True when that is
  /// on its way out, and nothing else.
  mutating func isSealedEndSent(_ flow: FlowIndex) -> Bool {
    guard let tls = tls(flow.slot, flow.sink), sessions[flow: flow].sink == .open else { return true }
    let isClean =
      sessions[flow: flow].source == .ended
      && (flow.source == .client ? sessions[flow.slot].clientClose : sessions[flow.slot].serverClose) == .clean
    if isClean, tls.isSettled, !tls.engine.isClosed { tls.engine.close() }
    seal(flow, tls)
    return !tls.isBusy && tls.engine.pendingBytes == 0
  }

  /// Nothing is kept of a session that is over; only when no operation on its sockets is with the kernel.
  mutating func forgetTLS(_ slot: Int) {
    guard sessions[slot].sealing != .none else { return }
    askings[slot] = nil
    offerings[slot] = nil
    for leg in [Leg.client, .server] {
      guard let tls = tls(slot, leg) else { continue }
      dropSealed(tls)
      tlsLegs[slot << 1 | (leg == .client ? 0 : 1)] = nil
    }
  }
}

/// Memory for plaintext that was opened, before it is queued.
final class OpenedBytes {
  let memory: UnsafeMutableRawBufferPointer

  init(_ bytes: Int) {
    memory = .allocate(byteCount: bytes, alignment: 16)
  }

  deinit {
    OPENSSL_cleanse(memory.baseAddress, memory.count)
    memory.deallocate()
  }
}
