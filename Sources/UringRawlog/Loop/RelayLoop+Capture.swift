import Glibc

/// Layout pcapng: the sessions go to one capture, each as a conversation of its own.
///
/// What is recorded of a session becomes packets in the staging memory of the capture, in the order in which it came.
/// When a session's last packet is on disk, and only then, its end record goes to the index.
extension RelayLoop where R: ~Copyable {
  /// Begins to record a session to the capture.
  mutating func openCaptured(_ slot: Int) {
    conversations.begin(slot)
    for direction in 0..<2 {
      let flow = FlowIndex(rawValue: slot << 1 | direction)
      sessions[file: flow].limit = configuration.maxRecordingBytes
      if isRecorded(flow.direction) { sessions[file: flow].state = .open }
    }
    writeStart(slot)
    // Who connects to the server is known when somebody has. Without memory it follows with the first bytes.
    if !isBackLegRecorded { _ = prepareCapture(slot) }
  }

  /// The server's leg stands: with `--leg back` the conversation begins, and its first bytes are a PROXY header.
  mutating func openCapturedBack(_ slot: Int) {
    guard isBackLegRecorded, sessions[slot].isRecorded else { return }
    _ = prepareCapture(slot)
  }

  // MARK: Packets

  /// Records what of a span is not recorded yet; false when staging memory ran out on the way.
  mutating func capture(_ flow: FlowIndex, span: Int32, from start: UInt64) -> Bool {
    guard edits.isEmpty else { return captureEdited(flow, span: span, from: start) }
    let skipped = Int(sessions[file: flow].position - start)
    var count = Int(spans[span].count) - skipped
    let limit = sessions[file: flow].limit
    let isLast = sessions[file: flow].position + UInt64(count) > limit
    if isLast { count = Int(limit - sessions[file: flow].position) }
    let bytes = UnsafeRawBufferPointer(start: spans[span].memory + skipped, count: count)
    guard capturePiece(flow, bytes, at: spans[span].stamp, isRelayed: true) else { return false }
    if isLast, sessions[file: flow].isRecording { truncate(flow) }
    return true
  }

  /// The same with edits. What of a line is recorded becomes one packet, in spite of what is left out of it, provided that
  /// there is memory for all of it.
  private mutating func captureEdited(_ flow: FlowIndex, span: Int32, from start: UInt64) -> Bool {
    let most = Int(spans[span].count) + edits.textBytes
    isCaptureGathering =
      most <= CapturedConversation.mostPayloadBytes && prepareCapture(flow.slot)
      && most + CapturedConversation.mostOverheadBytes <= captureShare(of: flow.slot)
      && captureRoom(most + CapturedConversation.mostOverheadBytes) != nil
    let isStaged = stageEdited(flow, span: span, from: start)
    guard isCaptureGathering else { return isStaged }
    isCaptureGathering = false
    if captureScratch.count > 0, sessions[file: flow].state != .failed {
      compose(flow, captureScratch.span, at: spans[span].stamp)
    }
    captureScratch.removeAll()
    writeCaptureIfMuch()
    return isStaged
  }

  /// Makes packets of bytes; false when there was no memory for all of them. What was not relayed is recorded as a whole
  /// or not at all.
  mutating func capturePiece(
    _ flow: FlowIndex, _ bytes: UnsafeRawBufferPointer, at microseconds: Int64, isRelayed: Bool
  ) -> Bool {
    if isCaptureGathering {
      captureScratch.append(bytes)
      if isRelayed { noteCaptured(flow, bytes.count) }
      return true
    }
    var rest = bytes
    while !rest.isEmpty {
      guard prepareCapture(flow.slot) else { return !sessions[file: flow].isRecording }
      let least = isRelayed ? min(rest.count, Limits.capturePieceBytes) : rest.count
      let share = captureShare(of: flow.slot)
      guard least + CapturedConversation.mostOverheadBytes <= share,
        let room = captureRoom(least + CapturedConversation.mostOverheadBytes)
      else { return false }
      // Two halves, rather than a large packet and the few bytes that it lacks.
      let wanted = rest.count <= CapturedConversation.mostPayloadBytes ? rest.count : rest.count / 2
      let count = min(
        wanted, min(room.count, share) - CapturedConversation.mostOverheadBytes, CapturedConversation.mostPayloadBytes)
      compose(flow, UnsafeRawBufferPointer(rebasing: rest[..<count]), at: microseconds)
      if isRelayed { noteCaptured(flow, count) }
      rest = UnsafeRawBufferPointer(rebasing: rest[count...])
      writeCaptureIfMuch()
    }
    return true
  }

  private mutating func noteCaptured(_ flow: FlowIndex, _ count: Int) {
    sessions[file: flow].position += UInt64(count)
    sessions[file: flow].recorded += UInt64(count)
  }

  /// Composes one packet where there is room for it.
  private mutating func compose(_ flow: FlowIndex, _ payload: UnsafeRawBufferPointer, at microseconds: Int64) {
    let slot = flow.slot
    tellCaptureGap(flow)
    let place = captures.current
    guard let block = captures[place].last else { return }
    let count = conversations[slot].conversation.add(
      payload, recorded(flow.direction), at: microseconds, in: &captures[place].writer, into: block.room)
    noteComposed(flow, count)
  }

  /// So many bytes were composed at the end of the staged ones.
  private mutating func noteComposed(_ flow: FlowIndex, _ count: Int) {
    let slot = flow.slot
    let place = captures.current
    captures[place].last!.header.pointee.used += Int32(truncatingIfNeeded: count)
    let written = captureStagedTotal &- UInt64(truncatingIfNeeded: captures.stagedBytes)
    captures[place].stagedBytes += count
    captureStagedTotal &+= UInt64(truncatingIfNeeded: count)
    conversations[slot].staged.add(count, end: captureStagedTotal, written: written)
    sessions[file: flow].lineBytes += UInt64(count)
    if captures[place].dirtySince == 0 { captures[place].dirtySince = clock.now.nanoseconds }
  }

  /// Writes without waiting for the flush interval when there is enough for one write, or memory grows scarce. Nothing
  /// may be about to be composed in room that was asked for before.
  @inline(__always)
  private mutating func writeCaptureIfMuch() {
    let place = captures.current
    if captures[place].stagedBytes >= Limits.captureWriteBytes || pool.usedBytes * 2 > pool.limit {
      captures[place].mustFlush = true
      writeCapture(place)
    }
  }

  /// The conversation is told of bytes that are missing, before its next packet.
  private mutating func tellCaptureGap(_ flow: FlowIndex) {
    let place = sessions[file: flow].lastGap
    guard place >= 0, let gap = gaps[flow.slot]?[Int(place)], gap.end > sessions[file: flow].gapsTold else { return }
    let start = max(gap.offset, sessions[file: flow].gapsTold)
    conversations[flow.slot].conversation.lose(gap.end - start, at: start, recorded(flow.direction))
    sessions[file: flow].gapsTold = gap.end
  }

  /// Staging memory that a session may still fill, in bytes.
  @inline(__always)
  mutating func captureShare(of slot: Int) -> Int {
    let waiting = captures.stagedBytes
    // Nobody's part is larger than all of it.
    if waiting <= sessionShare / 2 { return sessionShare - waiting }
    return sessionShare
      - conversations[slot].staged.count(written: captureStagedTotal &- UInt64(truncatingIfNeeded: waiting))
  }

  /// Memory at the end of the staged bytes for so many more, the largest that a packet may take among them; nil without.
  mutating func captureRoom(_ bytes: Int) -> UnsafeMutableRawBufferPointer? {
    let place = captures.current
    if let last = captures[place].last, !captures[place].isTailSealed, last.room.count >= bytes { return last.room }
    var sizeClass = Int(captures[place].sizeClass)
    // A block that fills before it is written: much comes, the next is larger.
    if captures[place].last != nil, !captures[place].isTailSealed, sizeClass < BlockPool.classes - 1 { sizeClass += 1 }
    let wanted = max(sizeClass, BlockPool.sizeClass(holding: bytes))
    guard let block = pool.take(wanted, share: .max) else { return nil }
    guard block.room.count >= bytes else {
      pool.giveBack(block)
      return nil
    }
    captures[place].sizeClass = UInt8(sizeClass)
    captures[place].append(block)
    return block.room
  }

  /// There is a capture, and the session has a conversation in it; false when there is no memory for that, or nothing can
  /// be recorded now.
  @inline(__always)
  mutating func prepareCapture(_ slot: Int) -> Bool {
    let place = captures.current
    let step = captureRotation.want(
      CapturedConversation.mostOverheadBytes, position: captures[place].writer.position,
      packets: captures[place].writer.packets, now: clock.now.nanoseconds)
    if step == .compose, conversations[slot].phase != .none,
      conversations[slot].conversation.capture == captures[place].writer.number
    {
      return true
    }
    return prepareCapture(slot, step)
  }

  @inline(never)
  private mutating func prepareCapture(_ slot: Int, _ first: CaptureRotation.Step) -> Bool {
    var step = first
    while step != .compose {
      switch step {
      case .compose: break
      case .create: beginCapture()
      case .end: endCapture()
      case .refuse:
        // Until there is a capture again, what comes is lost to gaps.
        if configuration.logError == .close { failCaptured(slot) }
        return false
      }
      let place = captures.current
      step = captureRotation.want(
        0, position: captures[place].writer.position, packets: captures[place].writer.packets,
        now: clock.now.nanoseconds)
    }
    // Ending a capture may have found that it cannot be written.
    return conversations[slot].phase != .failed && takePart(slot)
  }

  /// Begins the session's conversation, or carries it on in another capture; false without memory.
  private mutating func takePart(_ slot: Int) -> Bool {
    let place = captures.current
    let isNew = conversations[slot].phase == .none
    guard isNew || conversations[slot].conversation.capture != captures[place].writer.number else { return true }
    let header = isNew ? captureHeaders[slot] : nil
    let headerBytes = header.map { $0.bytes.count + CapturedConversation.mostOverheadBytes } ?? 0
    guard let room = captureRoom(CapturedConversation.mostOpenBytes + headerBytes) else { return false }
    captureID.removeAll()
    fileName.appendStem(of: sessions[slot], to: &captureID)
    let now = clock.now.epochMicroseconds
    let count: Int
    if isNew {
      conversations[slot].conversation = makeConversation(slot)
      conversations[slot].phase = .open
      count = conversations[slot].conversation.open(
        id: captureID.span, at: now, in: &captures[place].writer, into: room)
    } else {
      count = conversations[slot].conversation.carryOn(
        id: captureID.span, at: now, in: &captures[place].writer, into: room)
    }
    noteComposed(FlowIndex(slot, .in), count)
    if let header {
      captureHeaders[slot] = nil
      compose(FlowIndex(slot, .in), header.bytes.span, at: now)
    }
    return true
  }

  /// Who the conversation is between, as far as that is known.
  private func makeConversation(_ slot: Int) -> CapturedConversation {
    let port = CapturedEndpoint.port(of: configuration.mailProtocol)
    guard isBackLegRecorded else {
      let to = proxied[slot]?.destination ?? ring.localAddress(of: sessions[slot].clientSocket)
      return CapturedConversation(
        number: sessions[slot].number, opener: .in, from: sessions[slot].client, to: to ?? .unknown, port: port)
    }
    let socket = sessions[slot].serverSocket
    let from = socket >= 0 ? ring.localAddress(of: socket) : nil
    return CapturedConversation(
      number: sessions[slot].number, opener: .out, from: from ?? .unknown, to: sessions[slot].server, port: port)
  }

  // MARK: Ends

  /// A side has ended its stream: when all of it is recorded, the conversation says so now, otherwise at the session's
  /// end.
  mutating func captureEnd(of flow: FlowIndex) {
    let slot = flow.slot
    guard conversations[slot].phase == .open, !sessions[file: flow].isWaiting, sessions[file: flow].state == .open,
      !sessions[slot].isObserved || dialogues[slot].withheldCount == 0
    else { return }
    guard prepareCapture(slot), let room = captureRoom(CapturedConversation.mostOverheadBytes) else { return }
    finishCapturedStream(flow, in: room)
    writeCaptureIfMuch()
  }

  private mutating func finishCapturedStream(_ flow: FlowIndex, in room: UnsafeMutableRawBufferPointer) {
    let slot = flow.slot
    let direction = recorded(flow.direction)
    guard !conversations[slot].conversation.hasFinished(direction) else { return }
    tellCaptureGap(flow)
    let count = conversations[slot].conversation.finish(
      direction, at: clock.now.epochMicroseconds, in: &captures[captures.current].writer, into: room)
    noteComposed(flow, count)
  }

  /// Whether all that was recorded of a session whose sockets are closed is on disk; composes what is missing of it.
  mutating func finishCaptured(_ slot: Int) -> Bool {
    guard sessions[slot].isRecorded else { return true }
    switch conversations[slot].phase {
    case .settled, .failed: return true
    case .ended: return false
    case .none, .open: break
    }
    let isInEnding = finishDirection(FlowIndex(slot, .in))
    let isOutEnding = finishDirection(FlowIndex(slot, .out))
    guard isInEnding, isOutEnding else { return false }
    if hasFailed(slot) { return true }
    guard !composeEnd(slot) else { return false }
    if hasFailed(slot) { return true }
    guard !captureRotation.isRefusing(clock.now.nanoseconds) else {
      failCaptured(slot)
      return true
    }
    // There is no memory for its last packets; it is looked at again when there is.
    writeCapture(captures.current)
    waitForMemory(FlowIndex(slot, isRecorded(.in) ? .in : .out))
    return false
  }

  func hasFailed(_ slot: Int) -> Bool {
    sessions[file: FlowIndex(slot, .in)].state == .failed || sessions[file: FlowIndex(slot, .out)].state == .failed
  }

  /// Composes the session's last packets, with its end record; false without memory.
  private mutating func composeEnd(_ slot: Int) -> Bool {
    guard prepareCapture(slot) else { return false }
    let room = CapturedConversation.mostOverheadBytes
    let inFlow = FlowIndex(slot, .in)
    tellCaptureGap(inFlow)
    tellCaptureGap(inFlow.reverse)
    // The record first, since it says how much memory is needed.
    captureRecord.removeAll()
    makeEnd(slot)
    index.takeLast(to: &captureRecord)
    let recordBytes = min(captureRecord.count, CapturedConversation.mostRecordBytes)
    guard captureRoom(recordBytes + 4 * room) != nil else { return false }
    let place = captures.current
    for flow in [inFlow, inFlow.reverse] {
      let close = flow.direction == .in ? sessions[slot].clientClose : sessions[slot].serverClose
      if close == .clean { finishCapturedStream(flow, in: captures[place].last!.room) }
    }
    let record = UnsafeRawBufferPointer(rebasing: captureRecord.span.dropLast(captureRecord.count > 0 ? 1 : 0))
    let count = conversations[slot].conversation.end(
      record, resetBy: resetDirection(slot), at: clock.now.epochMicroseconds, in: &captures[place].writer,
      into: captures[place].last!.room)
    conversations[slot].phase = .ended
    noteComposed(inFlow, count)
    addSideLine(slot, place, goesOn: false)
    captureEnds.append(
      captureEntry(slot), capture: captures[place].writer.number, position: captures[place].writer.position,
      record: captureRecord.span)
    // Sessions that only wait for this must not take the places of those that come.
    if isDraining || captureEnds.count * 4 >= environment.maxSlots {
      captures[place].mustFlush = true
      writeCapture(place)
    } else {
      writeCaptureIfMuch()
    }
    return true
  }

  /// Whose side broke the connection off, when not both have ended their streams.
  private func resetDirection(_ slot: Int) -> Direction {
    if sessions[slot].clientClose == .reset { return recorded(.in) }
    if sessions[slot].serverClose == .reset { return recorded(.out) }
    return sessions[slot].clientClose == .cut ? recorded(.in) : recorded(.out)
  }

  /// A session as it stands in the list of ends: stale when the slot was given away since.
  private func captureEntry(_ slot: Int) -> UInt64 { UInt64(sessions.generation(slot)) << 32 | UInt64(slot) }

  /// Sessions whose last packet is on disk come to their end.
  mutating func settleCaptureEnds() {
    while !captureEnds.isEmpty {
      let end = captureEnds.first
      for place in 0..<OpenCaptures.count
      where captures[place].state != .none && captures[place].writer.number == end.capture {
        guard captures[place].fileBytes >= end.position || captures[place].state == .failed else { return }
      }
      let slot = Int(end.session & 0xFFFF_FFFF)
      if sessions.generation(slot) == UInt32(truncatingIfNeeded: end.session >> 32), sessions[slot].phase != .free {
        settle(slot, end)
      }
      captureEnds.removeFirst()
    }
  }

  private mutating func settle(_ slot: Int, _ end: CaptureEnds.End) {
    guard conversations[slot].phase == .ended else { return }
    conversations[slot].phase = .settled
    if end.recordBytes > 0, !hasFailed(slot) {
      index.append(captureEnds.firstRecord, at: clock.now.nanoseconds)
      sessions[slot].isEndWritten = true
    }
    touch(slot)
  }

  // MARK: Failures

  /// The session goes on unrecorded, or is closed.
  mutating func failCaptured(_ slot: Int) {
    guard !hasFailed(slot) else { return }
    let place = captures.current
    // It has no more packets, and the capture that has its last one may be ended well.
    if conversations[slot].phase == .open,
      conversations[slot].conversation.capture == captures[place].writer.number, captures[place].state != .failed
    {
      addSideLine(slot, place, goesOn: true)
    }
    if conversations[slot].phase != .none { conversations[slot].phase = .failed }
    for direction in 0..<2 {
      let flow = FlowIndex(rawValue: slot << 1 | direction)
      if sessions[file: flow].state != .none { stopRecording(flow, .failed) }
    }
    if configuration.logError == .close { terminate(slot, .logError) }
    touch(slot)
  }
}
