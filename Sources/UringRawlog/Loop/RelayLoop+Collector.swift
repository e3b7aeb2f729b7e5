import Glibc

/// `--dir tcp:HOST:PORT`: the stream of layout merged goes to a collector, one connection a session.
///
/// A collector that is slow, dead or absent costs what a session may stage, and from then on gaps; never a byte of mail.
/// While it cannot be reached one session at a time tries, after pauses that grow; the others wait for its success.
extension RelayLoop where R: ~Copyable {
  /// Begins to record a session to the collector.
  mutating func collect(_ slot: Int) {
    for direction in 0..<2 {
      let flow = FlowIndex(rawValue: slot << 1 | direction)
      sessions[file: flow].limit = configuration.maxRecordingBytes
      if isRecorded(flow.direction) { sessions[file: flow].state = .open }
    }
    writeStart(slot)
    askCollector(slot)
  }

  // MARK: Reaching it

  /// Connects, or waits until somebody else could.
  private mutating func askCollector(_ slot: Int) {
    if collector.isReachable {
      connectCollector(slot)
    } else {
      sessions[slot].collecting = .waiting
      collector.waiting.append(collectorEntry(slot))
    }
  }

  /// A session as it stands in the collector's lists: stale when the slot was given away since.
  private func collectorEntry(_ slot: Int) -> UInt64 { UInt64(sessions.generation(slot)) << 32 | UInt64(slot) }

  /// Lets waiting sessions connect: one of them while the collector cannot be reached, then all.
  mutating func workCollector() {
    while !collector.waiting.isEmpty {
      guard collector.isReachable || collector.prober == nil && clock.now.nanoseconds >= collector.retryAt else {
        return
      }
      let entry = collector.waiting.removeFirst()
      let slot = Int(entry & 0xFFFF_FFFF)
      guard sessions.generation(slot) == UInt32(truncatingIfNeeded: entry >> 32), sessions[slot].phase != .free,
        sessions[slot].collecting == .waiting
      else { continue }
      if !collector.isReachable { collector.prober = entry }
      connectCollector(slot)
    }
  }

  private mutating func connectCollector(_ slot: Int) {
    let file = FlowIndex(slot, .in)
    let target = environment.collectors[collector.target]
    sessions[slot].collectorTarget = UInt16(truncatingIfNeeded: collector.target)
    sessions[slot].collectorSince = clock.now.nanoseconds
    sessions[slot].hasCollectorBytes = false
    let socket: Int32
    do throws(Errno) {
      socket = try ring.makeSocket(family: target.family)
    } catch {
      collectorFailed(slot, error)
      return
    }
    sessions[file: file].descriptor = socket
    sessions[slot].collecting = .connecting
    if !sessions[slot].isCollectorEnding { setCollectorDeadline(slot, after: Limits.collectorConnectNanoseconds) }
    sessions[slot].fileOperations += 1
    withUnsafePointer(to: target) { ring.connect(socket, to: $0, token: token(.connectCollector, slot)) }
  }

  private mutating func setCollectorDeadline(_ slot: Int, after nanoseconds: UInt64) {
    sessions[slot].collectorDeadline = clock.now.nanoseconds + nanoseconds
    heap.tighten(slot, to: sessions[slot].collectorDeadline, in: &sessions)
  }

  mutating func collectorConnected(_ slot: Int, _ completion: Completion) {
    let file = FlowIndex(slot, .in)
    sessions[slot].fileOperations -= 1
    if !sessions[slot].isCollectorEnding { sessions[slot].collectorDeadline = 0 }
    let isCalledBack = sessions[slot].collecting == .ending
    if let error = completion.error {
      closeFile(file)
      // Who is called back soon has not learnt anything of the collector.
      if isCalledBack, isCollectorYoung(slot) {
        endProbing(slot)
      } else {
        collectorFailed(slot, error.code == ECANCELED ? Errno(ETIMEDOUT) : error)
      }
      return
    }
    collector.isReachable = true
    collector.prober = nil
    collector.failedTargets = 0
    if collector.isFailureSaid {
      collector.isFailureSaid = false
      report.say("'\(configuration.directory.text)' is reached again", .info)
    }
    if isCalledBack {
      closeFile(file)
      return
    }
    sessions[slot].collecting = .connected
    sessions[slot].collectorSince = clock.now.nanoseconds
    sessions[file: file].isOpen = true
    pollCollector(slot, Self.pollReadHangUp)
    if sessions[file: file].hasUnwritten { write(file) }
  }

  /// The connection, or the attempt at one, is not older than what may be chance.
  private func isCollectorYoung(_ slot: Int) -> Bool {
    clock.now.nanoseconds - sessions[slot].collectorSince < Limits.collectorStableNanoseconds
  }

  private mutating func endProbing(_ slot: Int) {
    if collector.prober == collectorEntry(slot) { collector.prober = nil }
  }

  /// It could not be reached, or broke off at once: its addresses are tried in turn, and pauses grow from one round of
  /// them to the next.
  private mutating func collectorFailed(_ slot: Int, _ error: Errno) {
    if Int(sessions[slot].collectorTarget) == collector.target {
      collector.target = (collector.target + 1) % environment.collectors.count
      collector.failedTargets += 1
      guard collector.failedTargets >= environment.collectors.count else {
        // Who probes goes on doing so.
        if sessions[slot].collecting != .ending { connectCollector(slot) } else { endProbing(slot) }
        return
      }
      collector.failedTargets = 0
      collectorUnreachable(error)
    }
    endProbing(slot)
    if sessions[slot].collecting != .ending { askCollector(slot) }
  }

  private mutating func collectorUnreachable(_ error: Errno) {
    let now = clock.now.nanoseconds
    collector.isReachable = false
    // Sessions whose attempts fail at the same time tell of one failure.
    if now >= collector.retryAt {
      let pause = Limits.collectorPauseNanoseconds << UInt64(min(collector.failures, 16))
      collector.failures += 1
      collector.retryAt = now + min(pause, Limits.collectorPauseMaximumNanoseconds)
    }
    if !collector.isFailureSaid {
      collector.isFailureSaid = true
      report.say(
        "cannot reach '\(configuration.directory.text)': \(error.text); sessions go on, their recordings wait in memory "
          + "and are lost beyond it; start the collector, it is tried again")
    }
  }

  // MARK: Losing it

  /// POLLRDHUP of poll(2).
  private static var pollReadHangUp: UInt32 { 0x2000 }

  private mutating func pollCollector(_ slot: Int, _ events: UInt32) {
    sessions[slot].fileOperations += 1
    ring.poll(sessions[file: FlowIndex(slot, .in)].descriptor, events: events, token: token(.pollCollector, slot))
  }

  /// The collector ended its side, or the connection broke.
  mutating func collectorPolled(_ slot: Int, _ completion: Completion) {
    sessions[slot].fileOperations -= 1
    guard completion.result > 0, sessions[slot].collecting == .connected else { return }
    let isBroken = UInt32(bitPattern: completion.result) & UInt32(POLLHUP | POLLERR) != 0
    if !isBroken {
      let age = clock.now.nanoseconds - sessions[slot].collectorSince
      collector.earlyEnds = age < Limits.collectorEarlyNanoseconds ? collector.earlyEnds + 1 : 0
      // One that always does so does not mean that it has left: it will never send, which nobody asked it to.
      if collector.earlyEnds >= Limits.collectorEarlyEnds {
        pollCollector(slot, 0)
        return
      }
    }
    let file = FlowIndex(slot, .in)
    if sessions[file: file].isWriting {
      sessions[slot].collecting = .broken
      ring.cancelAll(on: sessions[file: file].descriptor, token: Token(.cancelAccept))
    } else {
      collectorLost(slot, Errno(ECONNRESET))
    }
  }

  /// A send to the collector ended: how much it took, or why it took nothing.
  mutating func collectorWritten(_ slot: Int, _ result: Int32) {
    if result > 0 { sessions[slot].hasCollectorBytes = true }
    switch sessions[slot].collecting {
    case .connected:
      guard result <= 0 else {
        // It has taken what it was sent for a while: from here on a failure is a new one.
        if collector.isReachable, !isCollectorYoung(slot) { collector.failures = 0 }
        return
      }
      let error = Errno(result < 0 ? -result : ECONNRESET)
      switch error.code {
      case EINTR, EAGAIN: break
      case ENOBUFS, ENOMEM: restCollector(slot)
      default: collectorLost(slot, error)
      }
    case .broken:
      collectorLost(slot, Errno(ECONNRESET))
    case .ending, .none, .waiting, .connecting:
      // It was called back: what is not sent by now is listed as lost.
      break
    }
  }

  /// The kernel had no memory for a send: the next flush tries again.
  private mutating func restCollector(_ slot: Int) {
    let file = FlowIndex(slot, .in)
    sessions[file: file].mustFlush = false
    markDirty(file)
  }

  /// The connection is gone. What the collector may lack of a line is sent again over the next one.
  private mutating func collectorLost(_ slot: Int, _ error: Errno) {
    let file = FlowIndex(slot, .in)
    ring.cancelAll(on: sessions[file: file].descriptor, token: Token(.cancelAccept))
    closeFile(file)
    if let block = sessions[file: file].first, block.header.pointee.written > 0 {
      let line = MergedLine.start(ofLineAt: Int(block.header.pointee.written), in: UnsafeRawPointer(block.bytes))
      sessions[file: file].stagedBytes += Int(block.header.pointee.written) - line
      block.header.pointee.written = Int32(line)
    }
    sessions[file: file].isTailSealed = false
    if sessions[slot].hasCollectorBytes { sessions[slot].isCollectorLost = true }
    if isCollectorYoung(slot) {
      collectorFailed(slot, error)
    } else {
      collector.failures = 0
      askCollector(slot)
    }
    if sessions[file: file].hasUnwritten { markDirty(file) }
    touch(slot)
  }

  // MARK: Ends

  mutating func workCollectorDeadline(_ slot: Int) {
    guard sessions[slot].collectorDeadline > 0, clock.now.nanoseconds >= sessions[slot].collectorDeadline else {
      return
    }
    sessions[slot].collectorDeadline = 0
    if sessions[slot].isCollectorEnding {
      sessions[slot].isCollectorGivenUp = true
      endCollecting(slot)
    } else {
      callBackCollector(slot)
    }
  }

  private mutating func callBackCollector(_ slot: Int) {
    let descriptor = sessions[file: FlowIndex(slot, .in)].descriptor
    if descriptor >= 0 { ring.cancelAll(on: descriptor, token: Token(.cancelAccept)) }
  }

  /// Nothing more is sent; what is with the kernel is called back.
  private mutating func endCollecting(_ slot: Int) {
    guard sessions[slot].collecting != .ending else { return }
    sessions[slot].collecting = .ending
    sessions[file: FlowIndex(slot, .in)].isOpen = false
    callBackCollector(slot)
  }

  /// Whether a session whose sockets are closed has sent all its recording, or has waited long enough.
  mutating func finishCollected(_ slot: Int) -> Bool {
    let file = FlowIndex(slot, .in)
    if !sessions[slot].isCollectorEnding {
      sessions[slot].isCollectorEnding = true
      setCollectorDeadline(slot, after: Limits.collectorEndNanoseconds)
      sessions[slot].isCollectorGivenUp = isCollectorWaitCrowded(slot)
    }
    guard sessions[slot].isCollectorGivenUp || isAllStaged(slot) else { return false }
    if !sessions[slot].isCollectorGivenUp, sessions[file: file].hasUnwritten {
      sessions[file: file].mustFlush = true
      write(file)
      return false
    }
    endCollecting(slot)
    guard sessions[slot].fileOperations == 0 else { return false }
    if sessions[slot].isCollectorGivenUp { loseUnsent(slot) }
    return true
  }

  private mutating func isAllStaged(_ slot: Int) -> Bool {
    let isInEnding = finishDirection(FlowIndex(slot, .in))
    let isOutEnding = finishDirection(FlowIndex(slot, .out))
    return isInEnding && isOutEnding && stageRest(slot)
  }

  /// So many sessions that are over wait for a collector that does not take anything that they would keep new ones out.
  private func isCollectorWaitCrowded(_ slot: Int) -> Bool {
    let waiting = sessions.count - activeSessions
    guard waiting * Limits.collectorWaitingShareOfSlots > sessions.capacity else { return false }
    return sessions[slot].collecting != .connected || sessions[file: FlowIndex(slot, .in)].isWriting
  }

  /// What is staged, held or waits will not be sent any more: it is listed as lost.
  private mutating func loseUnsent(_ slot: Int) {
    let file = FlowIndex(slot, .in)
    var unsent = (in: 0, out: 0)
    while let block = sessions[file: file].first {
      let header = block.header.pointee
      let sent = noteCutBlock(file, block)
      unsent.in += header.relayed - header.relayedOut - sent.in
      unsent.out += header.relayedOut - sent.out
      sessions[file: file].first = header.next
      giveBack(block, of: slot)
    }
    sessions[file: file].last = nil
    sessions[file: file].stagedBytes = 0
    removeDirty(file)
    unsent.in += Int(sessions[file: file].line?.header.pointee.relayed ?? 0)
    unsent.out += Int(sessions[file: file.reverse].line?.header.pointee.relayed ?? 0)
    for direction in 0..<2 {
      let flow = FlowIndex(rawValue: slot << 1 | direction)
      giveBackLine(flow)
      if sessions[file: flow].isWaiting { dropWaiting(flow) }
    }
    listAsLost(file, unsent.in)
    listAsLost(file.reverse, unsent.out)
  }

  /// The last `bytes` that were recorded of a direction are a gap after all, together with those between them.
  private mutating func listAsLost(_ flow: FlowIndex, _ bytes: Int) {
    guard bytes > 0 else { return }
    var start = sessions[file: flow].position
    var rest = UInt64(bytes)
    var list = gaps[flow.slot] ?? []
    while let place = list.lastIndex(where: { $0.direction == flow.direction && $0.end <= start }) {
      let recorded = start - list[place].end
      guard rest >= recorded else { break }
      rest -= recorded
      start = list[place].offset
      list.remove(at: place)
    }
    start -= rest
    list.append(
      RecordingGap(direction: flow.direction, offset: start, bytes: sessions[file: flow].position - start))
    gaps[flow.slot] = list
    sessions[file: flow].lastGap = -1
    sessions[file: flow.reverse].lastGap = -1
    sessions[file: flow].dropped += UInt64(bytes)
  }
}

/// What all sessions know of the collector together.
struct CollectorState: ~Copyable {
  /// The last attempt to connect succeeded, or none was made yet.
  var isReachable = true
  /// Attempts in a row that failed.
  var failures = 0
  /// When it is tried again (monotonic nanoseconds).
  var retryAt: UInt64 = 0
  /// The session that tries; see `collectorEntry`.
  var prober: UInt64?
  var isFailureSaid = false
  /// Which of its addresses is tried next, and how many of them have failed since the last pause.
  var target = 0
  var failedTargets = 0
  /// Connections whose collector ended its own side at once, one after the other.
  var earlyEnds = 0
  /// Sessions that wait for it; each with its slot's generation above.
  var waiting = SlotQueue()
}
