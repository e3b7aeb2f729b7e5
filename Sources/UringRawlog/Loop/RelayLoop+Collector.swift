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

  private mutating func askCollector(_ slot: Int) {
    if collector.failures == 0 {
      connectCollector(slot)
    } else {
      sessions[slot].collecting = .waiting
      collector.waiting.append(UInt64(sessions.generation(slot)) << 32 | UInt64(slot))
    }
  }

  /// Lets waiting sessions connect: one of them while the collector cannot be reached, then all.
  mutating func workCollector() {
    while !collector.waiting.isEmpty {
      guard collector.failures == 0 || !collector.isProbing && clock.now.nanoseconds >= collector.retryAt else {
        return
      }
      let entry = collector.waiting.removeFirst()
      let slot = Int(entry & 0xFFFF_FFFF)
      guard sessions.generation(slot) == UInt32(truncatingIfNeeded: entry >> 32), sessions[slot].phase != .free,
        sessions[slot].collecting == .waiting
      else { continue }
      collector.isProbing = collector.failures > 0
      connectCollector(slot)
    }
  }

  private mutating func connectCollector(_ slot: Int) {
    let file = FlowIndex(slot, .in)
    let target = environment.collectors[collector.target % environment.collectors.count]
    let socket: Int32
    do throws(Errno) {
      socket = try ring.makeSocket(family: target.family)
    } catch {
      collectorFailed(slot, error)
      return
    }
    sessions[file: file].descriptor = socket
    sessions[slot].collecting = .connecting
    setCollectorDeadline(slot, after: Limits.collectorConnectNanoseconds)
    sessions[slot].fileOperations += 1
    withUnsafePointer(to: target) { ring.connect(socket, to: $0, token: token(.openIn, slot)) }
  }

  private mutating func setCollectorDeadline(_ slot: Int, after nanoseconds: UInt64) {
    guard sessions[slot].collectorDeadline == 0 else { return }
    sessions[slot].collectorDeadline = clock.now.nanoseconds + nanoseconds
    heap.tighten(slot, to: sessions[slot].collectorDeadline, in: &sessions)
  }

  mutating func collectorConnected(_ slot: Int, _ completion: Completion) {
    let file = FlowIndex(slot, .in)
    sessions[slot].fileOperations -= 1
    if sessions[slot].phase != .closing { sessions[slot].collectorDeadline = 0 }
    if let error = completion.error {
      closeFile(file)
      collectorFailed(slot, error.code == ECANCELED ? Errno(ETIMEDOUT) : error)
      return
    }
    collector.isProbing = false
    if collector.isFailureSaid {
      collector.isFailureSaid = false
      report.say("'\(configuration.directory.text)' is reached again")
    }
    sessions[slot].collecting = .connected
    sessions[slot].collectorSince = clock.now.nanoseconds
    sessions[file: file].isOpen = true
    pollCollector(slot, Self.pollReadHangUp)
    if sessions[file: file].hasUnwritten { write(file) }
  }

  /// It could not be reached: pauses grow from one attempt to the next.
  private mutating func collectorFailed(_ slot: Int, _ error: Errno) {
    let pause = Limits.collectorPauseNanoseconds << UInt64(min(collector.failures, 16))
    collector.failures += 1
    collector.target += 1
    collector.isProbing = false
    collector.retryAt = clock.now.nanoseconds + min(pause, Limits.collectorPauseMaximumNanoseconds)
    if !collector.isFailureSaid {
      collector.isFailureSaid = true
      report.say(
        "cannot reach '\(configuration.directory.text)': \(error.text); sessions go on, their recordings wait in memory "
          + "and are lost beyond it; start the collector, it is tried again")
    }
    askCollector(slot)
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

  /// A send to the collector ended: true when there is nothing more to be done about it.
  mutating func collectorWritten(_ slot: Int, _ result: Int32) {
    guard result <= 0 || sessions[slot].collecting == .broken else {
      // It takes what it is sent: from here on a failure is a new one.
      collector.failures = 0
      return
    }
    if result < 0, Errno(-result).isRetry, sessions[slot].collecting == .connected { return }
    collectorLost(slot, Errno(result < 0 ? -result : ECONNRESET))
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
    sessions[slot].isCollectorLost = true
    let age = clock.now.nanoseconds - sessions[slot].collectorSince
    if age < Limits.collectorStableNanoseconds {
      collectorFailed(slot, error)
    } else {
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
    sessions[slot].isCollectorGivenUp = sessions[slot].phase == .closing
    let file = FlowIndex(slot, .in)
    if sessions[file: file].descriptor >= 0 {
      ring.cancelAll(on: sessions[file: file].descriptor, token: Token(.cancelAccept))
    }
  }

  /// Whether a session whose sockets are closed has sent all its recording, or has waited long enough.
  mutating func finishCollected(_ slot: Int) -> Bool {
    let file = FlowIndex(slot, .in)
    if sessions[file: file].hasUnwritten {
      guard sessions[slot].isCollectorGivenUp else {
        setCollectorDeadline(slot, after: Limits.collectorEndNanoseconds)
        sessions[file: file].mustFlush = true
        write(file)
        return false
      }
      guard !sessions[file: file].isWriting else { return false }
      loseUnsent(slot)
    }
    guard !sessions[file: file].isWriting else { return false }
    if sessions[slot].fileOperations > 0, sessions[slot].collecting != .ending {
      sessions[slot].collecting = .ending
      ring.cancelAll(on: sessions[file: file].descriptor, token: Token(.cancelAccept))
    }
    return sessions[slot].fileOperations == 0
  }

  /// What is staged will not be sent any more: it is listed as lost.
  private mutating func loseUnsent(_ slot: Int) {
    let file = FlowIndex(slot, .in)
    var unsent = (in: 0, out: 0)
    while let block = sessions[file: file].first {
      let header = block.header.pointee
      let bytes = UnsafeRawBufferPointer(start: block.bytes, count: Int(header.used))
      let sent = shares(inFirst: Int(header.written), of: bytes)
      unsent.in += Int(header.relayed - header.relayedOut) - sent.in.relayed
      unsent.out += Int(header.relayedOut) - sent.out.relayed
      sessions[file: file].recorded += UInt64(sent.in.relayed)
      sessions[file: file].lineBytes += UInt64(sent.in.used)
      sessions[file: file.reverse].recorded += UInt64(sent.out.relayed)
      sessions[file: file.reverse].lineBytes += UInt64(sent.out.used)
      sessions[file: file].first = header.next
      giveBack(block, of: slot)
    }
    sessions[file: file].last = nil
    sessions[file: file].stagedBytes = 0
    removeDirty(file)
    listAsLost(file, unsent.in)
    listAsLost(file.reverse, unsent.out)
  }

  /// The last `bytes` that were recorded of a direction are a gap after all, together with those between them.
  private mutating func listAsLost(_ flow: FlowIndex, _ bytes: Int) {
    guard bytes > 0 else { return }
    var start = sessions[file: flow].position
    var rest = UInt64(bytes)
    var list = gaps[flow.slot] ?? []
    while let place = list.lastIndex(where: { $0.direction == flow.direction && $0.offset + $0.bytes <= start }) {
      let recorded = start - list[place].offset - list[place].bytes
      guard rest >= recorded else { break }
      rest -= recorded
      start = list[place].offset
      list.remove(at: place)
    }
    start -= rest
    list.append(
      RecordingGap(direction: flow.direction, offset: start, bytes: sessions[file: flow].position - start))
    gaps[flow.slot] = list
    sessions[file: flow].dropped += UInt64(bytes)
  }
}

/// What all sessions know of the collector together.
struct CollectorState: ~Copyable {
  /// Attempts that failed since it was last reached.
  var failures = 0
  /// When it is tried again (monotonic nanoseconds).
  var retryAt: UInt64 = 0
  /// A session is trying.
  var isProbing = false
  var isFailureSaid = false
  /// Which of its addresses is tried next.
  var target = 0
  /// Connections whose collector ended its own side at once, one after the other.
  var earlyEnds = 0
  /// Sessions that wait for it; each with its slot's generation above.
  var waiting = SlotQueue()
}
