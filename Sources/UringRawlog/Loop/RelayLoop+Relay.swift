import Glibc

/// The way of a byte: received into a shared buffer, queued, sent to the other leg, recorded, given back.
extension RelayLoop where R: ~Copyable {
  // MARK: Completions

  mutating func received(_ flow: FlowIndex, _ completion: Completion) {
    let slot = flow.slot
    if !completion.more {
      sessions[slot].socketOperations -= 1
      sessions[flow: flow].receiveEnded()
    }
    guard completion.result <= 0 else {
      if completion.more, !sessions[flow: flow].isUnsure { becomeUnsure(flow) }
      takeBytes(flow, completion)
      return
    }
    // An end or an error may bring a buffer that was chosen for it and stayed empty.
    if completion.buffer >= 0 { ring.returnBuffer(Int(completion.buffer)) }
    guard let error = completion.error else {
      if sessions[slot].proxying != .none, flow.direction == .in, sessions[slot].phase != .terminating {
        guard endOfProxied(slot) else { return }
      }
      if sessions[slot].sealing != .none, sealedEnd(flow) { return }
      sessions[flow: flow].sourceEnded()
      noteEnd(slot, of: flow.source, .clean)
      if isCaptured { captureEnd(of: flow) }
      return
    }
    switch error.code {
    case ENOBUFS:
      sessions[flow: flow].receiveStarved()
      starved.append(entry(flow))
    case ECANCELED, EINTR:
      break
    case EAGAIN, ENOMEM:
      rest(flow)
    default:
      sessions[flow: flow].sourceFailed()
      legFailed(slot, flow.source)
    }
  }

  /// Takes bytes that lie elsewhere than in a receive buffer, as if they had been received so.
  ///
  /// - Parameter leg: they are seen on this leg only, and recorded if that one is.
  mutating func takeCopied(
    _ flow: FlowIndex, _ bytes: UnsafeRawBufferPointer, on leg: RelayConfiguration.RecordedLeg? = nil
  ) {
    let place = sessions[flow: flow].received
    sessions[flow: flow].received(bytes.count, pauseAbove: pauseAbove)
    let span = spans.append(
      copying: bytes, stamp: clock.now.epochMicroseconds, owner: flow, to: &sessions[queue: flow])
    if sessions[flow.slot].isObserved { observe(flow, span: span, from: place) }
    if let leg, (leg == .back) != isBackLegRecorded, sessions[file: flow].isRecording {
      edits.removeAll()
      edits.omit(bytes.count, at: place)
    }
    record(flow, span: span, from: place)
    if sessions[flow.slot].isEndedAtLogin { endRecording(flow.slot) }
  }

  @inline(__always)
  private mutating func takeBytes(_ flow: FlowIndex, _ completion: Completion) {
    let slot = flow.slot
    if sessions[slot].proxying != .none, flow.direction == .in, sessions[slot].phase != .terminating {
      takeProxied(flow, completion)
      return
    }
    if sessions[slot].sealing != .none, takeSealed(flow, completion) { return }
    guard sessions[slot].phase == .relaying, sessions[flow: flow].sink != .failed else {
      sessions[slot].hasUndeliverable = true
      returnBuffers(completion)
      return
    }
    sessions[slot].activeNanoseconds = clock.now.nanoseconds
    let total = Int(completion.result)
    var place = sessions[flow: flow].received
    var buffer = Int(completion.buffer)
    var rest = total
    // One receive of several buffers is one chunk.
    sessions[flow: flow].received(total, pauseAbove: pauseAbove)
    while true {
      let count = min(rest, ring.bufferBytes)
      spans.append(
        buffer: buffer, count: count, stamp: clock.now.epochMicroseconds, startsChunk: rest == total,
        endsChunk: count == rest, owner: flow, to: &sessions[queue: flow])
      let span = Int32(truncatingIfNeeded: buffer)
      if sessions[slot].isObserved { observe(flow, span: span, from: place) }
      record(flow, span: span, from: place)
      if sessions[slot].isEndedAtLogin { endRecording(slot) }
      place += UInt64(count)
      rest -= count
      guard rest > 0 else { break }
      buffer = ring.bufferAfter(buffer)
    }
    if sessions[flow: flow].isParked { park(flow) }
  }

  /// What a flow may have queued: less while many peers are slow, nothing while their bytes take all there is for that.
  @inline(__always)
  private var pauseAbove: Int {
    if spans.parkedBytes <= Limits.parkedBytesScarce { return Limits.queuedBytesPause }
    return spans.parkedBytes <= Limits.parkedBytesMaximum ? Limits.queuedBytesPauseScarce : 0
  }

  mutating func sent(_ flow: FlowIndex, _ completion: Completion) {
    let slot = flow.slot
    if sessions[slot].sealing != .none {
      if sealedSent(flow, completion) { return }
      if sessions[slot].sealing == .asking, commandSent(slot, completion) { return }
    }
    guard sessions[slot].phase != .connecting else {
      proxyHeaderSent(slot, completion)
      return
    }
    sessions[slot].socketOperations -= 1
    if completion.result > 0 {
      sessions[flow: flow].sendEnded(Int(completion.result))
      sessions[slot].activeNanoseconds = clock.now.nanoseconds
    } else {
      sessions[flow: flow].sendEnded(0)
      switch completion.error?.code {
      case nil, ECANCELED, EINTR:
        break
      case EAGAIN, ENOBUFS, ENOMEM:
        // The kernel is short of memory for now: the bytes stay queued.
        rest(flow)
      default:
        sessions[flow: flow].sinkFailed()
        legFailed(slot, flow.sink)
      }
    }
    if sessions[flow: flow].isEvicting {
      sessions[flow: flow].isEvicting = false
      // Bytes that are just being written stay where they are; if the peer is still slow then, its turn comes again.
      if sessions[flow: flow].queued > 0, sessions[file: flow].writingFrom == .max {
        sessions[flow: flow].isParked = true
        park(flow)
      }
    }
    release(flow)
  }

  /// A leg's connection broke: what is queued for it is lost, what came from it is still delivered.
  mutating func legFailed(_ slot: Int, _ leg: Leg) {
    if sessions[slot].sealing == .handshaking, let tls = tls(slot, leg), !tls.isSettled {
      if leg == .client { sessions[slot].clientClose = .reset } else { sessions[slot].serverClose = .reset }
      tlsFailed(slot, leg, "the peer reset the connection during the TLS handshake")
      return
    }
    if sessions[slot].sealing == .asking, leg == .server {
      sessions[slot].serverClose = .reset
      tlsFailed(slot, leg, "the server reset the connection before it began TLS")
      return
    }
    noteEnd(slot, of: leg, .reset)
    if sessions[slot].phase == .handshaking { terminate(slot, .none) }
    guard sessions[slot].phase == .relaying else { return }
    sessions[flow: FlowIndex(slot, leg == .client ? .out : .in)].sinkFailed()
    if sessions[slot].lingerEnd == 0 { lingerOn(slot) }
  }

  /// Gives the leg that is left time to end by itself.
  private mutating func lingerOn(_ slot: Int) {
    sessions[slot].lingerEnd = clock.now.nanoseconds + Limits.lingerNanoseconds
    sessions[slot].lingerCheck = sessions[slot].lingerEnd
    heap.tighten(slot, to: sessions[slot].lingerCheck, in: &sessions)
  }

  /// One leg broke: ends the session when nothing from it is left to deliver, and the other leg either talks to nobody
  /// or has had its time. Its writes then fail, as they would without a relay.
  mutating func checkLinger(_ slot: Int) {
    let now = clock.now.nanoseconds
    for direction in 0..<2 {
      let flow = FlowIndex(rawValue: slot << 1 | direction)
      // The flow from the broken leg, and the socket that its bytes went to.
      guard sessions[flow: flow.reverse].sink == .failed else { continue }
      if sessions[flow: flow].source == .open || !sessions[flow: flow].isFinished {
        lingerOn(slot)
        return
      }
      if now < sessions[slot].lingerEnd {
        guard sessions[slot].hasUndeliverable else { return }
        // A reset now would take bytes along that the other side's kernel has not confirmed.
        let isSealing = sessions[slot].sealing != .none && tls(slot, flow.sink)?.isBusy == true
        guard sessions[flow: flow].sink == .failed || !isSealing && ring.isDelivered(socket(slot, flow.sink)) else {
          sessions[slot].lingerCheck = min(sessions[slot].lingerEnd, now + Limits.lingerCheckNanoseconds)
          heap.tighten(slot, to: sessions[slot].lingerCheck, in: &sessions)
          return
        }
      }
    }
    terminate(slot, .none)
  }

  /// - Parameter close: clean, reset, or cut: under TLS a stream that ends without close_notify.
  mutating func noteEnd(_ slot: Int, of leg: Leg, _ close: Session.Close) {
    let isFirst = sessions[slot].reason == .none
    switch leg {
    case .client:
      // Once a send met the reset, a receive tells only of an end.
      if sessions[slot].clientClose != .reset { sessions[slot].clientClose = close }
      if isFirst { sessions[slot].reason = close == .reset ? .clientReset : .clientEnd }
    case .server:
      if sessions[slot].serverClose != .reset { sessions[slot].serverClose = close }
      if isFirst { sessions[slot].reason = close == .reset ? .serverReset : .serverEnd }
    }
  }

  mutating func cancelled(_ slot: Int, _ completion: Completion) {
    sessions[slot].socketOperations -= 1
    guard completion.result < 0 else { return }
    // A receive that was not found (ENOENT) or was just running (EALREADY) goes on, or its last completion is on the way.
    for direction in 0..<2 { sessions[flow: FlowIndex(rawValue: slot << 1 | direction)].receiveCancelMissed() }
  }

  // MARK: What comes next

  /// Starts whatever a flow of a relaying session may do now.
  @inline(__always)
  mutating func pump(_ flow: FlowIndex) {
    if maySplice, !sessions[file: flow].isRecording, !sessions[flow.slot].isObserved,
      sessions[flow.slot].sealing == .none
    {
      chooseWay(flow)
    }
    if sessions[flow: flow].sink != .open || sessions[flow: flow].source != .open { pumpEnding(flow) }
    if sessions[flow.slot].sealing != .none, let tls = tls(flow.slot, flow.sink) {
      seal(flow, tls)
    } else if sessions[flow: flow].maySend {
      send(flow)
    }
    if sessions[flow: flow].mayReceive {
      receive(flow)
    } else if sessions[flow: flow].mustCancelReceive {
      cancelReceive(flow)
    }
  }

  /// One end of the flow is not open any more.
  @inline(never)
  private mutating func pumpEnding(_ flow: FlowIndex) {
    if sessions[flow: flow].sink == .failed, sessions[flow: flow].queued > 0, !sessions[flow: flow].isSending {
      sessions[flow.slot].hasUndeliverable = true
      sessions[flow: flow].discardQueued()
      release(flow)
    }
    if sessions[flow: flow].mayShut {
      if sessions[flow.slot].sealing != .none, !isSealedEndSent(flow) { return }
      sessions[flow: flow].sinkShut()
      // When this ends the session, closing the socket says the same.
      if !sessions[flow: flow.reverse].isFinished { ring.shutdownSending(socket(flow.slot, flow.sink)) }
    }
  }

  @inline(never)
  mutating func cancelReceive(_ flow: FlowIndex) {
    sessions[flow: flow].receiveCancelling()
    sessions[flow.slot].socketOperations += 1
    ring.cancel(receiveToken(flow), on: socket(flow.slot, flow.source), token: token(.cancel, flow.slot))
  }

  @inline(__always)
  func socket(_ slot: Int, _ leg: Leg) -> Int32 {
    leg == .client ? sessions[slot].clientSocket : sessions[slot].serverSocket
  }

  @inline(__always)
  private func isUnix(_ slot: Int, _ leg: Leg) -> Bool {
    leg == .client ? sessions[slot].isClientUnix : sessions[slot].isServerUnix
  }

  @inline(__always)
  func token(_ kind: Token.Kind, _ slot: Int) -> Token {
    Token(kind, slot: slot, generation: sessions.generation(slot))
  }

  @inline(__always)
  private func receiveToken(_ flow: FlowIndex) -> Token {
    token(flow.source == .client ? .receiveClient : .receiveServer, flow.slot)
  }

  @inline(__always)
  private func sendToken(_ flow: FlowIndex) -> Token {
    token(flow.sink == .client ? .sendClient : .sendServer, flow.slot)
  }

  @inline(never)
  mutating func receive(_ flow: FlowIndex) {
    sessions[flow: flow].receiveArmed()
    sessions[flow.slot].socketOperations += 1
    // On unix sockets a multishot receive can miss the end of the stream when it comes close behind data
    // (axboe/liburing issue 1549): there each receive is armed anew.
    // A sender that was once too fast, and everybody while memory is scarce, is read in single pieces: a multishot
    // receive would bring more before it could be called back.
    let isCautious =
      sessions[flow: flow].isCautious || spans.parkedBytes > Limits.parkedBytesScarce
      || !memoryWaiting.isEmpty && sessions[file: flow].isRecording
      || sessions[flow.slot].proxying != .none && flow.direction == .in
      || sessions[flow.slot].sealing == .handshaking || sessions[flow.slot].sealing == .asking
    ring.receive(
      socket(flow.slot, flow.source), multishot: !isUnix(flow.slot, flow.source) && !isCautious,
      bundle: !isCautious, isQuiet: sessions[flow: flow].received == 0, token: receiveToken(flow))
  }

  /// Hands everything that waits to the socket in one send.
  @inline(never)
  private mutating func send(_ flow: FlowIndex) {
    let slot = flow.slot
    var span = sessions[queue: flow].head
    var place = sessions[queue: flow].base
    let sent = sessions[flow: flow].sent
    // Spans that were sent may still wait to be recorded.
    while place + UInt64(spans[span].count) <= sent {
      place += UInt64(spans[span].count)
      span = spans[span].next
    }
    let skipped = Int(sent - place)
    let first = UnsafeRawBufferPointer(start: spans[span].memory + skipped, count: Int(spans[span].count) - skipped)
    sessions[slot].socketOperations += 1
    var total = first.count
    if spans[span].next < 0 {
      ring.send(socket(slot, flow.sink), first, token: sendToken(flow))
    } else {
      vectors[0] = iovec(iov_base: UnsafeMutableRawPointer(mutating: first.baseAddress), iov_len: first.count)
      var count = 1
      span = spans[span].next
      while span >= 0 && count < Limits.sendVectors {
        vectors[count] = iovec(iov_base: spans[span].memory, iov_len: Int(spans[span].count))
        total += Int(spans[span].count)
        count += 1
        span = spans[span].next
      }
      ring.send(
        socket(slot, flow.sink), UnsafeMutableBufferPointer(rebasing: vectors[..<count]), token: sendToken(flow))
    }
    sessions[flow: flow].sendStarted(total, at: clock.now.nanoseconds)
  }

  /// Sends what waits up to a place, of the first span only.
  mutating func sendClear(_ flow: FlowIndex, to end: UInt64) {
    var span = sessions[queue: flow].head
    var place = sessions[queue: flow].base
    let sent = sessions[flow: flow].sent
    while place + UInt64(spans[span].count) <= sent {
      place += UInt64(spans[span].count)
      span = spans[span].next
    }
    let skipped = Int(sent - place)
    let count = min(Int(spans[span].count) - skipped, Int(end - sent))
    sessions[flow.slot].socketOperations += 1
    ring.send(
      socket(flow.slot, flow.sink), UnsafeRawBufferPointer(start: spans[span].memory + skipped, count: count),
      token: sendToken(flow))
    sessions[flow: flow].sendStarted(count, at: clock.now.nanoseconds)
  }

  // MARK: Giving back

  /// The place in the stream up to which the recording needs no more bytes from the queue.
  @inline(__always)
  func recordedPlace(_ flow: FlowIndex) -> UInt64 {
    min(sessions[file: flow].isRecording ? sessions[file: flow].position : .max, sessions[file: flow].writingFrom)
  }

  /// Gives back every span that was both sent and recorded.
  @inline(__always)
  mutating func release(_ flow: FlowIndex) {
    let needed = min(sessions[flow: flow].sent, recordedPlace(flow))
    while sessions[queue: flow].head >= 0,
      sessions[queue: flow].base + UInt64(spans[sessions[queue: flow].head].count) <= needed
    {
      let buffer = spans.removeFirst(from: &sessions[queue: flow])
      if buffer >= 0 { ring.returnBuffer(buffer) }
    }
    if sessions[file: flow].writingFrom != .max { releaseBehindWriting(flow) }
  }

  /// What is being written and was sent leaves the queue, and what lies behind it need not wait for a slow disk.
  @inline(never)
  private mutating func releaseBehindWriting(_ flow: FlowIndex) {
    let sent = sessions[flow: flow].sent
    let recorded = sessions[file: flow].isRecording ? sessions[file: flow].position : .max
    var writing = sessions[file: flow].writingSent
    defer { sessions[file: flow].writingSent = writing }
    while sessions[queue: flow].head >= 0 {
      let end = sessions[queue: flow].base + UInt64(spans[sessions[queue: flow].head].count)
      guard end <= min(sent, recorded) else { return }
      if end <= sessions[file: flow].writingFrom || sessions[queue: flow].base >= sessions[file: flow].writingTo {
        let buffer = spans.removeFirst(from: &sessions[queue: flow])
        if buffer >= 0 { ring.returnBuffer(buffer) }
      } else {
        spans.moveFirst(from: &sessions[queue: flow], to: &writing)
      }
    }
  }

  /// Moves what a flow has queued out of the receive buffers.
  mutating func park(_ flow: FlowIndex) {
    if sessions[file: flow].gathered > 0 { stageGathered(flow, to: sessions[flow: flow].received) }
    release(flow)
    // What is being written stays where it is until that is over.
    guard sessions[file: flow].writingFrom == .max else { return }
    let recorded = recordedPlace(flow)
    let needed = min(sessions[flow: flow].sent, recorded)
    spans.park(&sessions[queue: flow], needed: needed, recorded: recorded) { ring.returnBuffer($0) }
  }

  /// Flows that found no buffer get one in turn. When there is none, the buffers of slow peers are taken back.
  mutating func feedStarved() {
    var free = ring.bufferCount - spans.buffersHeld
    while free > 0, !starved.isEmpty {
      guard let flow = flow(starved.removeFirst()), sessions[flow: flow].receive == .starved else { continue }
      sessions[flow: flow].receiveEnded()
      touch(flow.slot)
      free -= 1
    }
    guard !starved.isEmpty else { return }
    let now = clock.now.nanoseconds
    for buffer in 0..<ring.bufferCount {
      let owner = Int(spans[Int32(buffer)].owner)
      guard owner >= 0 else { continue }
      let flow = FlowIndex(rawValue: owner)
      if sessions[flow: flow].isSending {
        guard !sessions[flow: flow].isEvicting, sessions[flow.slot].phase == .relaying,
          now - sessions[flow: flow].sendingSince >= Limits.stalledSendNanoseconds
        else { continue }
        sessions[flow: flow].isEvicting = true
        sessions[flow.slot].socketOperations += 1
        ring.cancel(sendToken(flow), on: socket(flow.slot, flow.sink), token: token(.cancel, flow.slot))
      } else if sessions[flow.slot].sealing != .none, let tls = tls(flow.slot, flow.sink), tls.isBusy,
        now - tls.sendingSince >= Limits.stalledSendNanoseconds
      {
        // What is with the kernel is ciphertext: the buffers are only queued behind it.
        park(flow)
        release(flow)
      } else if sessions[file: flow].isWaiting {
        if spans.parkedBytes > Limits.parkedBytesMaximum { dropWaiting(flow) } else { park(flow) }
        release(flow)
      } else if sessions[file: flow].gathered > 0 {
        stageGathered(flow, to: sessions[flow: flow].received)
        release(flow)
      }
    }
  }
}
