import Glibc

/// Layout merged: both directions of a session go to one file, line by line.
///
/// A line is written when its end has come. What is there of it until then is kept in a block beside the staged ones, and
/// written tentatively when the flush interval is over: as a piece behind all that is staged, which the next write
/// overwrites. So nothing stays in memory for longer than `--flush`, and the file still has whole lines in the end. It
/// never shrinks by that: what takes the place of a tentative piece holds the same bytes and more.
extension RelayLoop where R: ~Copyable {
  /// The file that a direction's bytes go to.
  @inline(__always)
  func file(of flow: FlowIndex) -> FlowIndex { sharesFile ? FlowIndex(flow.slot, .in) : flow }

  /// Stages what of a span is not recorded yet; false when staging memory ran out on the way.
  mutating func merge(_ flow: FlowIndex, span: Int32, from start: UInt64) -> Bool {
    let stamp = clock.stamp(spans[span].stamp)
    guard markGap(flow, stamp) else { return false }
    guard edits.isEmpty else { return stageEdited(flow, span: span, from: start) }
    let skipped = Int(sessions[file: flow].position - start)
    var count = Int(spans[span].count) - skipped
    let limit = sessions[file: flow].limit
    let isLast = sessions[file: flow].position + UInt64(count) > limit
    if isLast { count = Int(limit - sessions[file: flow].position) }
    let input = UnsafeRawBufferPointer(start: spans[span].memory + skipped, count: count)
    guard mergePiece(flow, input, stamp, isRelayed: true) else { return false }
    let file = file(of: flow)
    markDirty(file)
    writeIfMuch(file)
    if isLast { truncate(flow) }
    return true
  }

  /// Stages bytes line by line; false when there was no memory for all of them.
  ///
  /// - Parameter isRelayed: they are of the stream, and not put into the recording by it.
  mutating func mergePiece(
    _ flow: FlowIndex, _ bytes: UnsafeRawBufferPointer, _ stamp: borrowing Encoder.Stamp, isRelayed: Bool
  ) -> Bool {
    var input = bytes
    while !input.isEmpty {
      var taken = input.count
      if let end = memchr(input.baseAddress!, Int32(UInt8(ascii: "\n")), input.count) {
        taken = UnsafeRawPointer(end) - input.baseAddress! + 1
      } else if hold(flow, input, isRelayed: isRelayed) {
        return true
      }
      let line = UnsafeRawBufferPointer(rebasing: input[..<taken])
      guard stageLine(flow, line, stamp, isRelayed: isRelayed) else { return false }
      input = UnsafeRawBufferPointer(rebasing: input[taken...])
    }
    return true
  }

  /// Keeps the beginning of a line until its end comes; false, and nothing is kept, when it is too long for that or there
  /// is no memory for it.
  private mutating func hold(_ flow: FlowIndex, _ bytes: UnsafeRawBufferPointer, isRelayed: Bool) -> Bool {
    let held = sessions[file: flow].line
    let wanted = Int(held?.header.pointee.used ?? 0) + bytes.count
    guard wanted < MergedLine.heldBytes else { return false }
    var block: BlockPool.Block
    if let held, held.room.count >= bytes.count + Self.lineReserve {
      block = held
    } else {
      // Lines whose end never comes must not take the memory of those that go on.
      guard heldLineBytes < pool.limit / Limits.heldLinesShareOfLogMemory,
        let fresh = takeBlock(flow.slot, holding: wanted + Self.lineReserve)
      else { return false }
      if let held {
        fresh.bytes.copyMemory(from: held.bytes, byteCount: Int(held.header.pointee.used))
        fresh.header.pointee.used = held.header.pointee.used
        fresh.header.pointee.relayed = held.header.pointee.relayed
        heldLineBytes -= held.memoryBytes
        giveBack(held, of: flow.slot)
      } else {
        sessions[file: flow].lineSince = clock.now.nanoseconds
      }
      block = fresh
      heldLineBytes += fresh.memoryBytes
      sessions[file: flow].line = fresh
    }
    block.room.copyMemory(from: bytes)
    block.header.pointee.used += Int32(bytes.count)
    guard isRelayed else { return true }
    block.header.pointee.relayed += bytes.count
    sessions[file: flow].position += UInt64(bytes.count)
    return true
  }

  /// Room in a held line's block for what makes it a piece.
  private static var lineReserve: Int { MergedLine.mostHeaderBytes + 1 }

  /// Makes the block that holds a line the next one to be written, as a piece: what is held must not keep a session from
  /// the memory with which it could go on.
  mutating func stageHeld(_ flow: FlowIndex) {
    guard let line = sessions[file: flow].line else { return }
    sessions[file: flow].line = nil
    heldLineBytes -= line.memoryBytes
    sessions[file: flow].lineBytesShown = 0
    let held = Int(line.header.pointee.used)
    let relayed = line.header.pointee.relayed
    let stamp = clock.stamp(clock.now.epochMicroseconds)
    withUnsafeTemporaryAllocation(byteCount: MergedLine.mostHeaderBytes, alignment: 1) { header in
      let count = MergedLine.writeHeader(stamp, recorded(flow.direction), .piece, at: header.baseAddress!)
      memmove(line.bytes + count, line.bytes, held)
      line.bytes.copyMemory(from: header.baseAddress!, byteCount: count)
      line.bytes.storeBytes(of: UInt8(ascii: "\n"), toByteOffset: count + held, as: UInt8.self)
      line.header.pointee.used = 0
      line.header.pointee.relayed = 0
      noteStaged(flow, line, count + held + 1, relayed: relayed)
    }
    let file = file(of: flow)
    sessions[file: file].isTailSealed = false
    sessions[file: file].append(line)
    markDirty(file)
  }

  /// A block beside those that are staged; nil when there is none that large.
  private mutating func takeBlock(_ slot: Int, holding bytes: Int) -> BlockPool.Block? {
    guard let block = pool.take(BlockPool.sizeClass(holding: bytes), share: share(of: slot)) else { return nil }
    guard block.room.count >= bytes else {
      pool.giveBack(block)
      return nil
    }
    noteTaken(block, by: slot)
    return block
  }

  /// Stages what is held of a line with `bytes` behind it: as a whole line when they end in a line feed, otherwise as a
  /// piece; in several pieces when no block takes it all. False when memory ran out before the last.
  private mutating func stageLine(
    _ flow: FlowIndex, _ bytes: UnsafeRawBufferPointer, _ stamp: borrowing Encoder.Stamp, isRelayed: Bool
  ) -> Bool {
    var rest = bytes
    let isWhole = bytes.last == UInt8(ascii: "\n")
    while true {
      let line = sessions[file: flow].line
      let held = Int(line?.header.pointee.used ?? 0)
      let wanted = held + rest.count
      guard let block = blockForLine(file(of: flow), wanted + MergedLine.mostHeaderBytes + 1) else {
        stageHeld(flow)
        return rest.isEmpty
      }
      let most = block.room.count - MergedLine.mostHeaderBytes - 1
      let fromLine = min(held, most)
      var fromRest = min(rest.count, most - fromLine)
      // What was put into the recording is there as a whole or not at all.
      if !isRelayed, fromLine > 0, fromRest < rest.count { fromRest = 0 }
      let isEnd = fromLine == held && fromRest == rest.count
      let kind: MergedLine.Kind = isEnd && isWhole ? .whole : .piece
      var relayed = isRelayed ? fromRest : 0
      sessions[file: flow].position += UInt64(relayed)
      var to = block.room.baseAddress!
      to += MergedLine.writeHeader(stamp, recorded(flow.direction), kind, at: to)
      if fromLine > 0, let line {
        // What the held bytes stand for counts with the first of them.
        relayed += line.header.pointee.relayed
        line.header.pointee.relayed = 0
        to.copyMemory(from: line.bytes, byteCount: fromLine)
        to += fromLine
        dropHeld(flow, line, fromLine)
      }
      if fromRest > 0 {
        to.copyMemory(from: rest.baseAddress!, byteCount: fromRest)
        to += fromRest
        rest = UnsafeRawBufferPointer(rebasing: rest[fromRest...])
      }
      if kind == .piece {
        to.storeBytes(of: UInt8(ascii: "\n"), as: UInt8.self)
        to += 1
      }
      noteStaged(flow, block, to - block.room.baseAddress!, relayed: relayed)
      if isEnd { return true }
    }
  }

  /// Stages what is held of a line as a piece.
  mutating func endPiece(_ flow: FlowIndex, _ stamp: borrowing Encoder.Stamp) -> Bool {
    stageLine(flow, UnsafeRawBufferPointer(start: nil, count: 0), stamp, isRelayed: true)
  }

  /// The file's last block when it has that much room, or else a fresh one, whatever room that has.
  private mutating func blockForLine(_ file: FlowIndex, _ bytes: Int) -> BlockPool.Block? {
    if let last = sessions[file: file].last, !sessions[file: file].isTailSealed, last.room.count >= bytes {
      return last
    }
    return nextBlock(file, holding: bytes)
  }

  /// The first bytes of a held line are staged.
  private mutating func dropHeld(_ flow: FlowIndex, _ line: BlockPool.Block, _ count: Int) {
    sessions[file: flow].lineBytesShown = 0
    let rest = Int(line.header.pointee.used) - count
    guard rest > 0 else {
      giveBackLine(flow)
      return
    }
    memmove(line.bytes, line.bytes + count, rest)
    line.header.pointee.used = Int32(rest)
  }

  mutating func giveBackLine(_ flow: FlowIndex) {
    guard let line = sessions[file: flow].line else { return }
    sessions[file: flow].line = nil
    sessions[file: flow].lineBytesShown = 0
    heldLineBytes -= line.memoryBytes
    giveBack(line, of: flow.slot)
  }

  private mutating func noteStaged(_ flow: FlowIndex, _ block: BlockPool.Block, _ bytes: Int, relayed: Int) {
    block.header.pointee.used += Int32(truncatingIfNeeded: bytes)
    block.header.pointee.relayed += relayed
    if flow.direction == .out {
      block.header.pointee.usedOut += Int32(truncatingIfNeeded: bytes)
      block.header.pointee.relayedOut += relayed
    }
    sessions[file: file(of: flow)].stagedBytes += bytes
  }

  /// What the first bytes of a block hold of the client's and of the server's direction.
  func shares(inFirst count: Int, of encoded: UnsafeRawBufferPointer) -> (in: MergedLine.Share, out: MergedLine.Share) {
    let shares = MergedLine.shares(inFirst: count, of: encoded)
    return recorded(.in) == .in ? shares : (in: shares.out, out: shares.in)
  }

  /// Counts what of a block was written whose rest will not be: the relayed bytes of each direction.
  mutating func noteCutBlock(_ file: FlowIndex, _ block: BlockPool.Block) -> (in: Int, out: Int) {
    let header = block.header.pointee
    let bytes = UnsafeRawBufferPointer(start: block.bytes, count: Int(header.used))
    let all = shares(inFirst: bytes.count, of: bytes)
    let written = shares(inFirst: Int(header.written), of: bytes)
    // Where something else is recorded than was relayed the text does not tell how much it stands for.
    let relayedIn = all.in.relayed == header.relayed - header.relayedOut ? written.in.relayed : 0
    let relayedOut = all.out.relayed == header.relayedOut ? written.out.relayed : 0
    sessions[file: file].recorded += UInt64(relayedIn)
    sessions[file: file].lineBytes += UInt64(written.in.used)
    sessions[file: file.reverse].recorded += UInt64(relayedOut)
    sessions[file: file.reverse].lineBytes += UInt64(written.out.used)
    return (in: relayedIn, out: relayedOut)
  }

  // MARK: Gaps

  /// Says in the file where bytes are missing, once a gap has its end; false without memory.
  private mutating func markGap(_ flow: FlowIndex, _ stamp: borrowing Encoder.Stamp) -> Bool {
    let place = sessions[file: flow].lastGap
    guard place >= 0, var gap = gaps[flow.slot]?[Int(place)], gap.end > sessions[file: flow].gapsTold else {
      return true
    }
    // Memory may have run out again behind the line that told of it: then the gap has grown.
    let start = max(gap.offset, sessions[file: flow].gapsTold)
    gap = RecordingGap(direction: gap.direction, offset: start, bytes: gap.end - start)
    // What was there of the line before the gap has no end.
    if sessions[file: flow].line != nil {
      guard endPiece(flow, stamp) else { return false }
    }
    guard let block = blockForLine(file(of: flow), MergedLine.mostGapBytes) else { return false }
    path.removeAll()
    MergedLine.appendGap(gap, recorded(gap.direction), stamp, to: &path)
    block.room.copyMemory(from: path.span)
    noteStaged(flow, block, path.count, relayed: 0)
    sessions[file: flow].gapsTold = gap.end
    return true
  }

  /// Stages what is left of a session that has ended: gaps at its end, and lines without one.
  ///
  /// - Returns: false when there is no memory for it now; the session is looked at again when there is.
  mutating func stageRest(_ slot: Int) -> Bool {
    for direction in 0..<2 {
      let flow = FlowIndex(rawValue: slot << 1 | direction)
      guard sessions[file: flow].state == .open || sessions[file: flow].state == .ended, !stageRest(of: flow) else {
        continue
      }
      waitForMemory(flow)
      return false
    }
    return true
  }

  private mutating func stageRest(of flow: FlowIndex) -> Bool {
    let stamp = clock.stamp(clock.now.epochMicroseconds)
    guard markGap(flow, stamp) else { return false }
    return sessions[file: flow].line == nil || endPiece(flow, stamp)
  }

  // MARK: Lines without an end

  /// The file lacks some of what is held.
  func hasUnshownLine(_ file: FlowIndex) -> Bool {
    guard sharesFile, configuration.collector == nil else { return false }
    return isUnshown(file) || isUnshown(file.reverse)
  }

  private func isUnshown(_ flow: FlowIndex) -> Bool {
    Int32(sessions[file: flow].line?.header.pointee.used ?? 0) != sessions[file: flow].lineBytesShown
  }

  /// Some of what the file lacks is so old that it could not wait for another flush interval: writes for other reasons
  /// take it along.
  private func hasOldLine(_ file: FlowIndex) -> Bool {
    guard hasUnshownLine(file) else { return false }
    let since = clock.now.nanoseconds - min(clock.now.nanoseconds, lineAge)
    return isUnshown(file) && sessions[file: file].lineSince <= since
      || isUnshown(file.reverse) && sessions[file: file.reverse].lineSince <= since
  }

  /// Nothing staged is left to be written: lines without an end are, tentatively, when the interval is over.
  mutating func showLines(_ file: FlowIndex) {
    guard hasUnshownLine(file) else {
      sessions[file: file].isTentativeDue = false
      return
    }
    guard sessions[file: file].isTentativeDue || hasOldLine(file) else {
      markDirty(file)
      return
    }
    // When it is open, and after a write under way, this is asked again.
    guard sessions[file: file].isOpen, !sessions[file: file].isWriting else { return }
    sessions[file: file].isTentativeDue = false
    guard let block = tentativeBlock(file) else {
      // What cannot be shown for want of memory is not kept either.
      stageHeld(file)
      stageHeld(file.reverse)
      write(file)
      return
    }
    removeDirty(file)
    sessions[file: file].tentativeAfter = 0
    sessions[file: file].isWriting = true
    sessions[file.slot].fileOperations += 1
    ring.write(
      sessions[file: file].descriptor, block.unwritten, offset: Int64(sessions[file: file].fileBytes),
      token: token(.writeIn, file.slot))
  }

  /// A block with all lines that have no end yet; nil when there are none, or no memory for it.
  private mutating func tentativeBlock(_ file: FlowIndex) -> BlockPool.Block? {
    var wanted = 0
    for direction in 0..<2 {
      if let line = sessions[file: FlowIndex(rawValue: file.slot << 1 | direction)].line {
        wanted += MergedLine.mostHeaderBytes + Int(line.header.pointee.used) + 1
      }
    }
    guard wanted > 0, let block = takeBlock(file.slot, holding: wanted) else { return nil }
    let stamp = clock.stamp(clock.now.epochMicroseconds)
    for direction in 0..<2 {
      let flow = FlowIndex(rawValue: file.slot << 1 | direction)
      guard let line = sessions[file: flow].line else { continue }
      let used = Int(line.header.pointee.used)
      let start = block.room.baseAddress!
      let header = MergedLine.writeHeader(stamp, recorded(flow.direction), .piece, at: start)
      (start + header).copyMemory(from: line.bytes, byteCount: used)
      start.storeBytes(of: UInt8(ascii: "\n"), toByteOffset: header + used, as: UInt8.self)
      block.header.pointee.used += Int32(header + used + 1)
      sessions[file: flow].lineBytesShown = Int32(used)
    }
    sessions[file: file].tentative = block
    sessions[file: file].hasTentativeBytes = true
    return block
  }

  /// Tentative bytes at the end of the file would be overwritten in part only: they are written again in the same write.
  mutating func addTentative(_ file: FlowIndex, _ count: inout Int) {
    guard sharesFile else { return }
    let isShown = sessions[file: file].lineBytesShown > 0 || sessions[file: file.reverse].lineBytesShown > 0
    guard isShown || hasOldLine(file) else { return }
    guard let block = tentativeBlock(file) else {
      forgetShown(file)
      return
    }
    sessions[file: file].tentativeAfter = sessions[file: file].stagedBytes
    vectors[count] = block.vector
    count += 1
  }

  private mutating func forgetShown(_ file: FlowIndex) {
    sessions[file: file].lineBytesShown = 0
    sessions[file: file.reverse].lineBytesShown = 0
  }

  /// The recording ends here: tentative lines behind what is written are no part of it.
  ///
  /// - Returns: the file is closed when it was cut.
  mutating func cutTentative(_ file: FlowIndex) -> Bool {
    guard sessions[file: file].hasTentativeBytes, sessions[file: file].isOpen else { return false }
    sessions[file: file].isOpen = false
    sessions[file.slot].fileOperations += 1
    ring.truncate(
      sessions[file: file].descriptor, to: sessions[file: file].fileBytes, token: token(.truncate, file.slot))
    return true
  }

  /// A file was cut, or could not be.
  mutating func truncated(_ file: FlowIndex) {
    sessions[file.slot].fileOperations -= 1
    closeFile(file)
  }

  /// A write that held tentative lines ended.
  mutating func endTentative(_ file: FlowIndex, isComplete: Bool) {
    guard let block = sessions[file: file].tentative else { return }
    sessions[file: file].tentative = nil
    giveBack(block, of: file.slot)
    if !isComplete { forgetShown(file) }
  }
}
