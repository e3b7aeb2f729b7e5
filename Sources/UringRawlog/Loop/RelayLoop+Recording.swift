import Glibc

/// Recording: files are opened, bytes encoded into staging blocks, blocks written in batches. Whatever fails here ends
/// a recording and never a byte of mail.
extension RelayLoop where R: ~Copyable {
  // MARK: Opening

  /// Begins to create the files of a session. Bytes gather in staging until they are open.
  mutating func openRecording(_ slot: Int) {
    sessions[slot].isRecorded = true
    guard configuration.collector == nil else {
      collect(slot)
      return
    }
    guard !isCaptured else {
      openCaptured(slot)
      return
    }
    if isDirectoryGone { reopenDirectory() }
    for direction in 0..<2 {
      let flow = FlowIndex(rawValue: slot << 1 | direction)
      sessions[file: flow].limit = configuration.maxRecordingBytes
      if isRecorded(flow.direction) { sessions[file: flow].state = .opening }
    }
    guard !needsUser else {
      sessions[slot].awaitsUser = true
      // Most clients say little before they log in, and many may do so at a time.
      for direction in 0..<2 { sessions[file: FlowIndex(rawValue: slot << 1 | direction)].sizeClass = 0 }
      writeStart(slot)
      return
    }
    openFiles(slot)
    if sessions[slot].fileOperations == 0 { openingEnded(slot) }
  }

  /// Creates the files of all directions that wait for theirs.
  mutating func openFiles(_ slot: Int) {
    guard !sharesFile else {
      openFile(FlowIndex(slot, .in))
      return
    }
    for direction in 0..<2 {
      let flow = FlowIndex(rawValue: slot << 1 | direction)
      if sessions[file: flow].state == .opening { openFile(flow) }
    }
  }

  private mutating func openFile(_ flow: FlowIndex) {
    sessions[file: flow].openError = 0
    makePath(flow)
    // Never follow a link, never touch a file that exists.
    let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
    if isDirectoryInMemory, let result = ring.openNow(openDirectory, path.cString, flags: flags, mode: 0o600) {
      noteOpened(flow, result)
      return
    }
    sessions[flow.slot].fileOperations += 1
    ring.open(
      openDirectory, path.cString, flags: flags, mode: 0o600,
      token: token(flow.direction == .in ? .openIn : .openOut, flow.slot))
  }

  var openDirectory: Int32 { environment.directory >= 0 ? environment.directory : AT_FDCWD }

  /// Puts the file's path, relative to `openDirectory`, into `path`.
  mutating func makePath(_ flow: FlowIndex) {
    let slot = flow.slot
    path.removeAll()
    if environment.directory < 0 {
      configuration.directory.append(
        to: &path, client: sessions[slot].client, time: sessions[slot].nameTime,
        listener: environment.listeners[Int(sessions[slot].listener)].given, localPort: sessions[slot].localPort,
        user: needsUser ? mailboxes[slot] ?? [] : [])
      path.append(UInt8(ascii: "/"))
    }
    fileName.append(recorded(flow.direction), of: sessions[slot], to: &path)
    path.append(0)
  }

  /// The name of a session's file for a message.
  mutating func shownName(_ flow: FlowIndex) -> String {
    makePath(flow)
    let name = String(decoding: path.span.dropLast(), as: UTF8.self)
    return environment.directory >= 0 ? "\(configuration.directory.text)/\(name)" : name
  }

  mutating func opened(_ flow: FlowIndex, _ completion: Completion) {
    let slot = flow.slot
    sessions[slot].fileOperations -= 1
    noteOpened(flow, completion.result)
    if sessions[slot].fileOperations == 0 { openingEnded(slot) }
  }

  mutating func noteOpened(_ flow: FlowIndex, _ result: Int32) {
    if result >= 0 {
      sessions[file: flow].descriptor = result
      ring.lock(result)
    } else {
      sessions[file: flow].openError = -result
    }
  }

  /// Both files were created, or not: they share one number, so a taken name gives both the next one.
  mutating func openingEnded(_ slot: Int) {
    let inFlow = FlowIndex(slot, .in)
    let outFlow = FlowIndex(slot, .out)
    // Once the index has named the session, its name stays.
    while !sessions[slot].isStartWritten,
      sessions[file: inFlow].openError == EEXIST || sessions[file: outFlow].openError == EEXIST
    {
      takeBack(inFlow)
      takeBack(outFlow)
      lastNumber += 1
      sessions[slot].number = lastNumber
      openFiles(slot)
      guard sessions[slot].fileOperations == 0 else { return }
    }
    // A template's directory that does not exist says: do not record this one.
    if environment.directory < 0, [inFlow, outFlow].contains(where: { hasNoDirectory($0) }) {
      takeBack(inFlow)
      takeBack(outFlow)
      leaveUnrecorded(slot)
      writeStart(slot)
      return
    }
    for direction in 0..<2 {
      let flow = FlowIndex(rawValue: slot << 1 | direction)
      guard sessions[file: flow].state == .opening else { continue }
      let file = file(of: flow)
      let error = sessions[file: file].openError
      if error == 0 {
        sessions[file: flow].state = sessions[file: flow].isOver ? .ended : .open
        sessions[file: file].isOpen = true
        if sessions[file: file].mustFlush {
          write(file)
          if sharesFile { showLines(file) }
        }
      } else {
        if error == ENOENT { isDirectoryGone = true }
        recordingFailed(flow, "create", Errno(error))
      }
    }
    writeStart(slot)
  }

  /// Nothing by the name of a file's directory can be there, or it is no directory.
  private func hasNoDirectory(_ file: FlowIndex) -> Bool {
    [ENOENT, ENOTDIR, ENAMETOOLONG].contains(sessions[file: file].openError)
  }

  /// Removes a file that was made although its pair's other name is taken.
  mutating func takeBack(_ flow: FlowIndex) {
    guard sessions[file: flow].descriptor >= 0 else { return }
    makePath(flow)
    ring.unlink(openDirectory, path.cString, token: Token(.unlink))
    closeFile(flow)
  }

  /// The directory was removed while running: a new one by its name is used from now on.
  mutating func reopenDirectory() {
    guard clock.now.nanoseconds >= directoryRetryAt else { return }
    directoryRetryAt = clock.now.nanoseconds + Limits.directoryRetryNanoseconds
    guard let descriptor = ring.openDirectory(configuration.directory.text) else { return }
    ring.close(environment.directory, token: Token(.close))
    environment.directory = descriptor
    isDirectoryInMemory = ring.answersAtOnce(descriptor)
    isDirectoryGone = false
    // The index was in the directory that is gone, or is still where it was: its path tells.
    isIndexReopenWanted = true
  }

  // MARK: Encoding

  /// Records the bytes of one span, of which the first is at `start` in the stream.
  @inline(__always)
  mutating func record(_ flow: FlowIndex, span: Int32, from start: UInt64) {
    guard sessions[file: flow].isRecording, !sessions[file: flow].isWaiting else {
      if !edits.isEmpty { keepEdits(flow) }
      return
    }
    let end = start + UInt64(spans[span].count)
    if sessions[file: flow].isDropping, !mayResume(flow) {
      drop(flow, to: end)
    } else if sharesFile {
      if !merge(flow, span: span, from: start) { memoryMissing(flow, for: end) }
    } else if isCaptured {
      if !capture(flow, span: span, from: start) { memoryMissing(flow, for: end) }
    } else if mayGather(flow, span) {
      gather(flow, to: end)
    } else if sessions[file: flow].gathered > 0 {
      stageGathered(flow, to: end)
    } else if !encode(flow, span: span, from: start) {
      memoryMissing(flow, for: end)
    }
    if !edits.isEmpty { keepEdits(flow) }
  }

  /// Encodes what of a span is not recorded yet; false when staging memory ran out on the way.
  ///
  /// Most messages are small, and need no more than a copy into the block that their file has open already.
  @inline(__always)
  mutating func encode(_ flow: FlowIndex, span: Int32, from start: UInt64) -> Bool {
    let count = Int(spans[span].count)
    if !encoder.timestamps, !encoder.boundaries, sessions[file: flow].position == start,
      !sessions[file: flow].isTailSealed, let block = sessions[file: flow].last, sessions[file: flow].isDirty,
      Int(block.header.pointee.capacity - block.header.pointee.used) >= count,
      start + UInt64(count) <= sessions[file: flow].limit, edits.isEmpty
    {
      (block.bytes + Int(block.header.pointee.used)).copyMemory(from: spans[span].memory, byteCount: count)
      let last = spans[span].memory.load(fromByteOffset: count - 1, as: UInt8.self)
      sessions[file: flow].encoder.atLineStart = last == UInt8(ascii: "\n")
      block.header.pointee.used &+= Int32(truncatingIfNeeded: count)
      block.header.pointee.relayed &+= count
      sessions[file: flow].stagedBytes &+= count
      sessions[file: flow].position &+= UInt64(count)
      writeIfMuch(flow)
      return true
    }
    return edits.isEmpty
      ? encodeInPieces(flow, span: span, from: start) : stageEdited(flow, span: span, from: start)
  }

  /// Writes without waiting for the flush interval when there is enough for one write, or memory grows scarce.
  @inline(__always)
  mutating func writeIfMuch(_ flow: FlowIndex) {
    let enough = pool.usedBytes <= Limits.cachedBlockBytes ? Limits.writeBytes : Limits.writeBytesCrowded
    guard
      sessions[file: flow].stagedBytes >= enough
        || sessions[flow.slot].stagingBytes * 2 > sessionShare || pool.usedBytes * 2 > pool.limit
    else { return }
    sessions[file: flow].mustFlush = true
    write(flow)
  }

  @inline(never)
  mutating func encodeInPieces(_ flow: FlowIndex, span: Int32, from start: UInt64) -> Bool {
    let skipped = Int(sessions[file: flow].position - start)
    var count = Int(spans[span].count) - skipped
    let limit = sessions[file: flow].limit
    let isLast = sessions[file: flow].position + UInt64(count) > limit
    if isLast { count = Int(limit - sessions[file: flow].position) }
    let stamp = clock.stamp(encoder.timestamps ? spans[span].stamp : 0)
    guard count > 0 else {
      // The limit lies exactly at the end of what is recorded.
      truncate(flow)
      return true
    }
    let input = UnsafeRawBufferPointer(start: spans[span].memory + skipped, count: count)
    let isEncoded = encodePiece(
      flow, input, startsChunk: spans[span].startsChunk && skipped == 0, endsChunk: spans[span].endsChunk || isLast,
      stamp, isRelayed: true)
    guard isEncoded else { return false }
    markDirty(flow)
    writeIfMuch(flow)
    if isLast { truncate(flow) }
    return true
  }

  /// Encodes bytes into staging blocks; false when there was no memory for all of them.
  ///
  /// - Parameter isRelayed: they are of the stream, and not put into the recording by it.
  mutating func encodePiece(
    _ flow: FlowIndex, _ bytes: UnsafeRawBufferPointer, startsChunk: Bool, endsChunk: Bool,
    _ stamp: borrowing Encoder.Stamp, isRelayed: Bool
  ) -> Bool {
    var input = bytes
    var startsChunk = startsChunk
    var block: BlockPool.Block
    if let last = sessions[file: flow].last, !sessions[file: flow].isTailSealed {
      block = last
    } else {
      guard let fresh = nextBlock(flow) else { return false }
      block = fresh
    }
    while true {
      let result = encoder.encode(
        input, startsChunk: startsChunk, endsChunk: endsChunk, stamp: stamp, state: &sessions[file: flow].encoder,
        into: block.room)
      block.header.pointee.used += Int32(truncatingIfNeeded: result.produced)
      sessions[file: flow].stagedBytes += result.produced
      if isRelayed {
        block.header.pointee.relayed += result.consumed
        sessions[file: flow].position += UInt64(result.consumed)
      }
      if result.isDone { return true }
      input = UnsafeRawBufferPointer(rebasing: input[result.consumed...])
      if result.consumed > 0 { startsChunk = false }
      guard let fresh = nextBlock(flow) else { return false }
      block = fresh
    }
  }

  /// A further staging block; nil when the pool or the session's share is used up.
  ///
  /// - Parameter bytes: what should fit in it.
  mutating func nextBlock(_ flow: FlowIndex, holding bytes: Int = 0) -> BlockPool.Block? {
    let slot = flow.slot
    var sizeClass = sessions[file: flow].sizeClass
    // A block that fills before it is flushed: the flow moves much, give it a larger one.
    if sessions[file: flow].last != nil, !sessions[file: flow].isTailSealed, Int(sizeClass) < BlockPool.classes - 1,
      pool.usedBytes <= Limits.cachedBlockBytes
    {
      sizeClass += 1
    }
    let wanted = max(Int(sizeClass), BlockPool.sizeClass(holding: bytes))
    guard let block = pool.take(wanted, share: share(of: slot)) else { return nil }
    sessions[file: flow].sizeClass = sizeClass
    noteTaken(block, by: slot)
    sessions[file: flow].isTailSealed = false
    sessions[file: flow].append(block)
    return block
  }

  /// Staging memory that a session may still take.
  @inline(__always)
  mutating func share(of slot: Int) -> Int {
    guard !isCaptured else { return captureShare(of: slot) }
    let share = sessionShare - sessions[slot].stagingBytes
    guard sessions[slot].awaitsUser else { return share }
    return min(share, configuration.logMemoryBytes / Limits.awaitingShareOfLogMemory - awaitingBytes)
  }

  @inline(__always)
  mutating func noteTaken(_ block: BlockPool.Block, by slot: Int) {
    sessions[slot].stagingBytes += block.memoryBytes
    if sessions[slot].awaitsUser { awaitingBytes += block.memoryBytes }
  }

  mutating func giveBack(_ block: BlockPool.Block, of slot: Int) {
    sessions[slot].stagingBytes -= block.memoryBytes
    if sessions[slot].awaitsUser { awaitingBytes -= block.memoryBytes }
    pool.giveBack(block)
    hasMemoryReturned = true
  }

  // MARK: No memory

  /// Staging memory ran out on the way to `end`: the sender waits, or what is left until there is lost.
  mutating func memoryMissing(_ flow: FlowIndex, for end: UInt64) {
    markDirty(file(of: flow))
    flushForMemory(flow)
    // Where there is no capture, waiting does not help.
    guard !isCaptured || !captureRotation.isRefusing(clock.now.nanoseconds) else {
      if sessions[file: flow].isRecording { drop(flow, to: end) }
      return
    }
    switch configuration.logFull {
    case .wait where configuration.logWaitNanoseconds > 0 && !sessions[flow.slot].awaitsUser:
      waitForMemory(flow)
    case .wait, .drop:
      drop(flow, to: end)
    }
  }

  mutating func waitForMemory(_ flow: FlowIndex) {
    sessions[file: flow].isWaiting = true
    sessions[file: flow].waitingSince = clock.now.nanoseconds
    sessions[flow: flow].isHeld = true
    memoryWaiting.append(entry(flow))
    heap.tighten(flow.slot, to: clock.now.nanoseconds + configuration.logWaitNanoseconds, in: &sessions)
  }

  /// Writes what keeps memory from coming back: all of this session's, and when the pool is used up, everybody's.
  mutating func flushForMemory(_ flow: FlowIndex) {
    if isCaptured { writeCapture(captures.current) }
    for file in [flow, flow.reverse] where sessions[file: file].stagedBytes > 0 {
      sessions[file: file].mustFlush = true
      write(file)
    }
    guard pool.limit - pool.usedBytes < Limits.blockBytes[0] else { return }
    while firstDirty >= 0 {
      let file = FlowIndex(rawValue: Int(firstDirty))
      removeDirty(file)
      sessions[file: file].mustFlush = true
      write(file)
    }
  }

  /// Everything up to `end` that is not recorded yet is lost, and listed as a gap.
  mutating func drop(_ flow: FlowIndex, to received: UInt64) {
    sessions[file: flow].isDropping = true
    sessions[file: flow].isDroppingCredential =
      flow.direction == .in && sessions[flow.slot].isObserved && dialogues[flow.slot].isInCredential
    // What lies behind `--max-recording` was not to be recorded.
    let end = min(received, sessions[file: flow].limit)
    defer { if received > end { truncate(flow) } }
    // What is withheld will not be recorded either.
    let offset = sessions[file: flow].position - UInt64(sessions[file: flow].withheld)
    guard end > offset else { return }
    sessions[file: flow].withheld = 0
    sessions[file: flow].position = end
    sessions[file: flow].dropped += end - offset
    let place = sessions[file: flow].lastGap
    if place >= 0, gaps[flow.slot]![Int(place)].end == offset {
      gaps[flow.slot]![Int(place)].bytes += end - offset
    } else {
      sessions[file: flow].lastGap = Int32(gaps[flow.slot]?.count ?? 0)
      gaps[flow.slot, default: []].append(
        RecordingGap(direction: flow.direction, offset: offset, bytes: end - offset))
    }
  }

  /// After a loss recording goes on when there is memory again, unless there were so many losses that it ended. A
  /// credential that was lost in part is lost whole.
  mutating func mayResume(_ flow: FlowIndex) -> Bool {
    if isCaptured, captureRotation.isRefusing(clock.now.nanoseconds) { return false }
    guard !sessions[file: flow].isDroppingCredential, (gaps[flow.slot]?.count ?? 0) < Limits.gapsPerSession,
      pool.limit - pool.usedBytes >= Limits.blockBytes[0], share(of: flow.slot) >= Limits.blockBytes[0]
    else { return false }
    sessions[file: flow].isDropping = false
    return true
  }

  /// Memory came back: files that wait for it go on, the longest waiting first.
  mutating func retryMemoryWaiting() {
    hasMemoryReturned = false
    for _ in 0..<memoryWaiting.count {
      guard let flow = flow(memoryWaiting.first), sessions[file: flow].isWaiting else {
        _ = memoryWaiting.removeFirst()
        continue
      }
      let isRecorded = recordWaiting(flow)
      keepEdits(flow)
      if isRecorded {
        _ = memoryWaiting.removeFirst()
        endWaiting(flow)
      } else if pool.limit - pool.usedBytes < Limits.blockBytes[0] {
        // Nobody behind it could go on either.
        flushForMemory(flow)
        return
      } else {
        // Its own share is used up; that must not keep back the others.
        flushForMemory(flow)
        memoryWaiting.append(memoryWaiting.removeFirst())
      }
    }
  }

  /// Records what was received while the file waited; false when memory ran out again. Edits that are left then are for
  /// the caller to keep.
  mutating func recordWaiting(_ flow: FlowIndex) -> Bool {
    takeUpEdits(flow)
    var span = sessions[queue: flow].head
    var place = sessions[queue: flow].base
    while span >= 0, sessions[file: flow].isRecording {
      let end = place + UInt64(spans[span].count)
      if end > sessions[file: flow].position, !stage(flow, span: span, from: place) {
        release(flow)
        return false
      }
      place = end
      span = spans[span].next
    }
    guard !edits.isEmpty, sessions[file: flow].isRecording else { return true }
    return stageEnd(flow)
  }

  private mutating func stage(_ flow: FlowIndex, span: Int32, from start: UInt64) -> Bool {
    if isCaptured { return capture(flow, span: span, from: start) }
    return sharesFile ? merge(flow, span: span, from: start) : encode(flow, span: span, from: start)
  }

  mutating func endWaiting(_ flow: FlowIndex) {
    sessions[file: flow].isWaiting = false
    sessions[flow: flow].isHeld = false
    if sessions[flow.slot].isEndedAtLogin { endIfComplete(flow) }
    release(flow)
    touch(flow.slot)
  }

  /// `--log-wait` is over: what waits is lost.
  mutating func giveUpWaiting(_ flow: FlowIndex) {
    guard sessions[file: flow].isWaiting,
      clock.now.nanoseconds >= sessions[file: flow].waitingSince + configuration.logWaitNanoseconds
    else { return }
    dropWaiting(flow)
  }

  mutating func dropWaiting(_ flow: FlowIndex) {
    if !waitingEdits.isEmpty { waitingEdits[flow.rawValue] = nil }
    drop(flow, to: sessions[flow: flow].received)
    endWaiting(flow)
  }

  // MARK: Writing

  /// The file has bytes that are not on disk; its flush interval begins.
  @inline(__always)
  mutating func markDirty(_ flow: FlowIndex) {
    guard !sessions[file: flow].isDirty,
      sessions[file: flow].stagedBytes > 0 || sessions[file: flow].gathered > 0 || hasUnshownLine(flow)
    else { return }
    let place = Int32(truncatingIfNeeded: flow.rawValue)
    sessions[file: flow].isDirty = true
    sessions[file: flow].dirtySince = clock.now.nanoseconds
    sessions[file: flow].previousDirty = lastDirty
    sessions[file: flow].nextDirty = -1
    if lastDirty >= 0 {
      sessions[file: FlowIndex(rawValue: Int(lastDirty))].nextDirty = place
    } else {
      firstDirty = place
    }
    lastDirty = place
  }

  mutating func removeDirty(_ flow: FlowIndex) {
    guard sessions[file: flow].isDirty else { return }
    sessions[file: flow].isDirty = false
    let previous = sessions[file: flow].previousDirty
    let next = sessions[file: flow].nextDirty
    if previous >= 0 { sessions[file: FlowIndex(rawValue: Int(previous))].nextDirty = next } else { firstDirty = next }
    if next >= 0 {
      sessions[file: FlowIndex(rawValue: Int(next))].previousDirty = previous
    } else {
      lastDirty = previous
    }
  }

  /// Writes what is due: woken for the oldest file, it takes along those that would be due soon.
  mutating func flushDue() {
    let now = clock.now.nanoseconds
    if firstDirty >= 0, now >= sessions[file: FlowIndex(rawValue: Int(firstDirty))].dirtySince + flushAge {
      var count = 0
      while firstDirty >= 0 {
        let flow = FlowIndex(rawValue: Int(firstDirty))
        let age = now - sessions[file: flow].dirtySince
        // A few in each turn, so that messages need not wait for hundreds of files; what is late goes at once.
        guard age >= flushAlongAge, count < Limits.flushesPerTurn || age >= flushLateAge else { break }
        count += 1
        removeDirty(flow)
        shrinkBlocks(flow)
        sessions[file: flow].mustFlush = true
        sessions[file: flow].isTentativeDue = sharesFile
        writeNow(flow)
        if sessions[file: flow].hasUnwritten { write(flow) } else if sharesFile { showLines(flow) }
      }
    }
    if clock.now.epochMicroseconds >= indexDayEnd { isIndexReopenWanted = true }
    if isIndexReopenWanted, !index.isWriting { reopenIndex() }
    if index.waitingSince > 0, isDraining || now >= index.waitingSince + flushAge { writeIndex() }
  }

  /// A block that stays nearly empty until it is flushed is larger than it need be.
  mutating func shrinkBlocks(_ flow: FlowIndex) {
    guard let block = sessions[file: flow].first, block == sessions[file: flow].last,
      block.header.pointee.used < block.header.pointee.capacity / 8, sessions[file: flow].sizeClass > 0
    else { return }
    sessions[file: flow].sizeClass -= 1
  }

  /// Writes all that is staged, unless a write is under way or the file is not open yet: then it follows by itself.
  mutating func write(_ flow: FlowIndex) {
    guard sessions[file: flow].isOpen, !sessions[file: flow].isWriting else { return }
    guard let first = sessions[file: flow].first else {
      if sessions[file: flow].gathered > 0 { writeGathered(flow) }
      return
    }
    sessions[file: flow].isWriting = true
    sessions[flow.slot].fileOperations += 1
    let token = token(flow.direction == .in ? .writeIn : .writeOut, flow.slot)
    let offset = Int64(sessions[file: flow].fileBytes)
    if first.header.pointee.next == nil, !sharesFile {
      finishGathering(flow, isAll: true)
      ring.write(sessions[file: flow].descriptor, first.unwritten, offset: offset, token: token)
      return
    }
    var count = 0
    var block: BlockPool.Block? = first
    while let current = block, count < Limits.writeVectors {
      vectors[count] = current.vector
      count += 1
      block = current.header.pointee.next
    }
    finishGathering(flow, isAll: block == nil)
    if block == nil { addTentative(flow, &count) }
    let pieces = UnsafeMutableBufferPointer(rebasing: vectors[..<count])
    if configuration.collector != nil {
      ring.send(sessions[file: flow].descriptor, pieces, token: token)
    } else {
      ring.write(sessions[file: flow].descriptor, pieces, offset: offset, token: token)
    }
  }

  /// Blocks that are being written take no more bytes.
  mutating func finishGathering(_ flow: FlowIndex, isAll: Bool) {
    guard isAll else { return }
    sessions[file: flow].isTailSealed = true
    sessions[file: flow].mustFlush = false
    removeDirty(flow)
  }

  mutating func written(_ flow: FlowIndex, _ completion: Completion) {
    sessions[flow.slot].fileOperations -= 1
    sessions[file: flow].isWriting = false
    noteWritten(flow, completion.result)
  }

  /// What a write took, or why it failed.
  mutating func noteWritten(_ flow: FlowIndex, _ result: Int32) {
    if sessions[file: flow].writingFrom != .max {
      noteGatheredWritten(flow, result)
      return
    }
    let slot = flow.slot
    var rest = max(0, Int(result))
    if let tentative = sessions[file: flow].tentative {
      let staged = sessions[file: flow].tentativeAfter
      endTentative(flow, isComplete: rest == staged + Int(tentative.header.pointee.used))
      rest = min(rest, staged)
    }
    guard configuration.collector == nil || result > 0 else {
      collectorWritten(slot, result)
      writeOn(flow)
      return
    }
    if result < 0, !Errno(-result).isRetry {
      recordingFailed(flow, "write", Errno(-result))
      return
    }
    if result == 0 {
      // A regular file never takes nothing without saying why; do not ask for ever.
      recordingFailed(flow, "write", Errno(EIO))
      return
    }
    sessions[file: flow].fileBytes += UInt64(rest)
    sessions[file: flow].stagedBytes -= rest
    while rest > 0, let block = sessions[file: flow].first {
      let unwritten = block.unwritten.count
      if rest < unwritten {
        block.header.pointee.written += Int32(rest)
        break
      }
      rest -= unwritten
      noteRecorded(flow, block.header.pointee)
      sessions[file: flow].first = block.header.pointee.next
      if sessions[file: flow].first == nil { sessions[file: flow].last = nil }
      giveBack(block, of: slot)
    }
    if sessions[file: flow].first == nil { sessions[file: flow].isTailSealed = false }
    if configuration.collector != nil { collectorWritten(slot, result) }
    writeOn(flow)
  }

  /// After a write: more has gathered than it took, or enough for the next.
  mutating func writeOn(_ flow: FlowIndex) {
    if !sessions[file: flow].hasUnwritten {
      sessions[file: flow].isTailSealed = false
      sessions[file: flow].mustFlush = false
      removeDirty(flow)
      if sharesFile { showLines(flow) }
    } else if sessions[file: flow].mustFlush || !sessions[file: flow].isDirty {
      write(flow)
    }
  }

  /// The bytes of a block are all on disk.
  @inline(__always)
  private mutating func noteRecorded(_ file: FlowIndex, _ header: BlockPool.Header) {
    guard sharesFile else {
      sessions[file: file].recorded += UInt64(header.relayed)
      return
    }
    sessions[file: file].recorded += UInt64(header.relayed - header.relayedOut)
    sessions[file: file].lineBytes += UInt64(header.used - header.usedOut)
    sessions[file: file.reverse].recorded += UInt64(header.relayedOut)
    sessions[file: file.reverse].lineBytes += UInt64(header.usedOut)
  }

  // MARK: Ends of recordings

  /// The limit is reached: nothing more is added to the file; what is staged is still written.
  mutating func truncate(_ flow: FlowIndex) {
    sessions[file: flow].isOver = true
    sessions[file: flow].isTruncated = !sessions[file: flow].isLimitLogin
    if sessions[file: flow].state == .open { sessions[file: flow].state = .ended }
    if sharesFile { stageHeld(flow) }
    let file = file(of: flow)
    sessions[file: file].mustFlush = true
    write(file)
  }

  /// A file could not be created or written: its recording ends, which is said once a session.
  mutating func recordingFailed(_ flow: FlowIndex, _ what: String, _ error: Errno) {
    let slot = flow.slot
    // What a short write left of a block counts as far as its bytes can be told.
    if let block = sessions[file: flow].first, block.header.pointee.written > 0 {
      if sharesFile {
        _ = noteCutBlock(flow, block)
      } else {
        sessions[file: flow].recorded += UInt64(writtenBytes(block))
      }
    }
    if !sessions[slot].isFailureSaid {
      sessions[slot].isFailureSaid = true
      let name = shownName(flow)
      let consequence =
        configuration.logError == .close
        ? "the session is closed" : "the session goes on, \(sharesFile ? "" : "this direction of it ")unrecorded"
      report.say(
        at: clock.now.nanoseconds,
        "cannot \(what) '\(name)': \(error.text); \(consequence); \(Self.advice(error))")
    }
    stopRecording(flow, .failed)
    if configuration.logError == .close { terminate(slot, .logError) }
  }

  /// Relayed bytes that the written part of a block holds. Where a text stands for some of the block's bytes, that cannot
  /// be told.
  private func writtenBytes(_ block: BlockPool.Block) -> Int {
    let header = block.header.pointee
    let bytes = UnsafeRawBufferPointer(start: block.bytes, count: Int(header.used))
    let all = encoder.relayedBytes(inFirst: bytes.count, of: bytes, atLineStart: header.startsAtLineStart)
    guard all == header.relayed else { return 0 }
    return encoder.relayedBytes(inFirst: Int(header.written), of: bytes, atLineStart: header.startsAtLineStart) ?? 0
  }

  static func advice(_ error: Errno) -> String {
    switch error.code {
    case ENOSPC, EDQUOT: "free space on that file system"
    case EFBIG: "raise the file size limit (LimitFSIZE=, ulimit -f)"
    case ENOENT: "create the directory again"
    case EACCES, EPERM, EROFS: "make the directory writable"
    case EMFILE, ENFILE: "raise the limit of open files"
    default: "check that disk"
    }
  }

  /// Forgets what is staged and closes the file. Directions that share it end together.
  mutating func stopRecording(_ flow: FlowIndex, _ state: RecordingFile.State) {
    let file = file(of: flow)
    removeDirty(file)
    while let block = sessions[file: file].first {
      sessions[file: file].first = block.header.pointee.next
      giveBack(block, of: file.slot)
    }
    sessions[file: file].last = nil
    sessions[file: file].stagedBytes = 0
    gatheredBuffers -= Int(sessions[file: file].gathered)
    sessions[file: file].gathered = 0
    sessions[file: file].mustFlush = false
    if !cutTentative(file) { closeFile(file) }
    stopDirection(flow, state)
    if sharesFile, sessions[file: flow.reverse].state != .none { stopDirection(flow.reverse, state) }
  }

  private mutating func stopDirection(_ flow: FlowIndex, _ state: RecordingFile.State) {
    giveBackLine(flow)
    if !waitingEdits.isEmpty { waitingEdits[flow.rawValue] = nil }
    if sessions[file: flow].state != .none { sessions[file: flow].state = state }
    if sessions[file: flow].isWaiting { endWaiting(flow) } else { release(flow) }
  }

  mutating func closeFile(_ flow: FlowIndex) {
    guard sessions[file: flow].descriptor >= 0 else { return }
    ring.close(sessions[file: flow].descriptor, token: Token(.close))
    sessions[file: flow].descriptor = -1
    sessions[file: flow].isOpen = false
  }

  /// Whether the files of a session whose sockets are closed are all on disk; starts what is missing for that.
  mutating func finishFiles(_ slot: Int) -> Bool {
    if sessions[slot].awaitsUser { leaveUnrecorded(slot) }
    if configuration.collector != nil { return finishCollected(slot) }
    if isCaptured { return finishCaptured(slot) }
    let isInEnding = finishDirection(FlowIndex(slot, .in))
    let isOutEnding = finishDirection(FlowIndex(slot, .out))
    guard isInEnding, isOutEnding else { return false }
    if sharesFile { return stageRest(slot) && finishFile(FlowIndex(slot, .in)) }
    let isInFinished = finishFile(FlowIndex(slot, .in))
    let isOutFinished = finishFile(FlowIndex(slot, .out))
    return isInFinished && isOutFinished
  }

  /// Whether all that a direction brought is staged.
  mutating func finishDirection(_ flow: FlowIndex) -> Bool {
    switch sessions[file: flow].state {
    case .none, .failed:
      return true
    case .opening:
      return false
    case .open, .ended:
      if sessions[file: flow].isWaiting { return false }
      if flow.direction == .in {
        finishDialogue(flow.slot)
        if sessions[file: flow].isWaiting { return false }
      }
      if sessions[file: flow].encoder.insideChunk { closeChunk(flow) }
      return true
    }
  }

  private mutating func finishFile(_ file: FlowIndex) -> Bool {
    guard sessions[file: file].isOpen else { return true }
    writeNow(file)
    guard !sessions[file: file].hasUnwritten else {
      sessions[file: file].mustFlush = true
      write(file)
      return false
    }
    return !sessions[file: file].isWriting
  }

  /// Writes the little that is staged in the loop, where no device can make it wait; elsewhere nothing happens.
  mutating func writeNow(_ flow: FlowIndex) {
    guard isDirectoryInMemory, sessions[file: flow].isOpen, !sessions[file: flow].isWriting,
      sessions[file: flow].gathered == 0,
      sessions[file: flow].stagedBytes <= Limits.writeNowBytes
    else { return }
    var count = 0
    var block = sessions[file: flow].first
    while let current = block, count < Limits.writeVectors {
      vectors[count] = current.vector
      count += 1
      block = current.header.pointee.next
    }
    if count > 0 { addTentative(flow, &count) }
    guard count > 0 else { return }
    let gathered = UnsafeMutableBufferPointer(rebasing: vectors[..<count])
    let offset = Int64(sessions[file: flow].fileBytes)
    guard let result = ring.writeNow(sessions[file: flow].descriptor, gathered, offset: offset) else {
      endTentative(flow, isComplete: false)
      return
    }
    // As after a write on the ring: the blocks take no more bytes. What a short write left follows there.
    finishGathering(flow, isAll: true)
    noteWritten(flow, result)
  }

  /// A chunk that lost its rest gets its end marker.
  mutating func closeChunk(_ flow: FlowIndex) {
    var block = sessions[file: flow].last
    if block == nil || sessions[file: flow].isTailSealed || block!.room.count < Encoder.leastOutput {
      block = nextBlock(flow)
    }
    guard let block else { return }
    let result = encoder.encode(
      UnsafeRawBufferPointer(start: nil, count: 0), startsChunk: false, endsChunk: true, stamp: clock.stamp(0),
      state: &sessions[file: flow].encoder, into: block.room)
    block.header.pointee.used += Int32(result.produced)
    sessions[file: flow].stagedBytes += result.produced
  }
}

extension BlockPool.Block {
  var vector: iovec {
    iovec(iov_base: UnsafeMutableRawPointer(mutating: unwritten.baseAddress), iov_len: unwritten.count)
  }
}
