import Glibc

/// Recordings that differ from the relayed bytes: credentials are left out of them.
extension RelayLoop where R: ~Copyable {
  /// Records what of a span is not recorded yet, as its edits want it; false when staging memory ran out on the way.
  mutating func stageEdited(_ flow: FlowIndex, span: Int32, from start: UInt64) -> Bool {
    let end = start + UInt64(spans[span].count)
    let isLast = end > sessions[file: flow].limit
    guard stagePieces(flow, span: span, from: start) else { return false }
    if isLast, sessions[file: flow].withheld > 0 {
      // What comes is not recorded, and will not tell whether this was harmless.
      edits.removeAll()
      edits.mark(settling: Int(sessions[file: flow].withheld), at: sessions[file: flow].limit)
      guard stagePieces(flow, span: span, from: start) else { return false }
    }
    if sessions[file: flow].encoder.insideChunk, spans[span].endsChunk || isLast { closeChunk(flow) }
    let file = file(of: flow)
    markDirty(file)
    writeIfMuch(file)
    if isLast { truncate(flow) }
    return true
  }

  /// The same without what follows: bytes, texts and what is left out, in their order.
  private mutating func stagePieces(_ flow: FlowIndex, span: Int32, from start: UInt64) -> Bool {
    let spanEnd = start + UInt64(spans[span].count)
    let end = min(spanEnd, sessions[file: flow].limit)
    let stamp = clock.stamp(spans[span].stamp)
    var startsChunk = spans[span].startsChunk && sessions[file: flow].position == start
    while true {
      let place = sessions[file: flow].position
      edits.advance(to: place)
      let edit = edits.first
      if let edit, edit.place <= place, edit.isUnsettled, place < end || end < spanEnd && edit.settled > 0 {
        guard settle(flow, edit, startsChunk: startsChunk, stamp) else { return false }
        if edit.textCount > 0 { startsChunk = false }
        continue
      }
      guard place < end else { return true }
      if let edit, edit.place <= place {
        leaveOut(flow, Int(min(edit.place + edit.omitted, end) - place), isWithheld: edit.isWithheld)
        continue
      }
      let next = min(edit?.place ?? end, end)
      let bytes = UnsafeRawBufferPointer(start: spans[span].memory + Int(place - start), count: Int(next - place))
      let isStaged: Bool
      if sharesFile {
        isStaged = mergePiece(flow, bytes, stamp, isRelayed: true)
      } else if isCaptured {
        isStaged = capturePiece(flow, bytes, at: spans[span].stamp, isRelayed: true)
        if isStaged, !sessions[file: flow].isRecording { return true }
      } else {
        isStaged = encodePiece(flow, bytes, startsChunk: startsChunk, endsChunk: false, stamp, isRelayed: true)
      }
      guard isStaged else { return false }
      startsChunk = false
    }
  }

  /// Records the edits behind the last byte of a direction; false without memory.
  mutating func stageEnd(_ flow: FlowIndex) -> Bool {
    let stamp = clock.stamp(clock.now.epochMicroseconds)
    while let edit = edits.first, edit.isUnsettled {
      guard settle(flow, edit, startsChunk: false, stamp) else { return false }
      edits.advance(to: sessions[file: flow].position)
    }
    if sessions[file: flow].encoder.insideChunk { closeChunk(flow) }
    markDirty(file(of: flow))
    return true
  }

  /// Records the text of the first edit; false without memory.
  private mutating func settle(
    _ flow: FlowIndex, _ edit: RecordingEdits.Edit, startsChunk: Bool, _ stamp: borrowing Encoder.Stamp
  ) -> Bool {
    if edit.textCount > 0, !insert(flow, edits.firstText, startsChunk: startsChunk, stamp) { return false }
    edits.firstIsSettled()
    if edit.isMark { sessions[flow.slot].redacted &+= 1 }
    let settled = min(edit.settled, sessions[file: flow].withheld)
    sessions[file: flow].withheld -= settled
    noteCovered(flow, Int(settled))
    return true
  }

  /// Puts a text into the recording that was not relayed, all of it or, without memory, nothing.
  private mutating func insert(
    _ flow: FlowIndex, _ text: UnsafeRawBufferPointer, startsChunk: Bool, _ stamp: borrowing Encoder.Stamp
  ) -> Bool {
    if sharesFile {
      let held = Int(sessions[file: flow].line?.header.pointee.used ?? 0)
      if held + text.count >= MergedLine.heldBytes, !endPiece(flow, stamp) { return false }
      return mergePiece(flow, text, stamp, isRelayed: false)
    }
    if isCaptured { return capturePiece(flow, text, at: clock.now.epochMicroseconds, isRelayed: false) }
    let wanted = text.count + Encoder.leastOutput
    if let last = sessions[file: flow].last, !sessions[file: flow].isTailSealed, last.room.count >= wanted {
      // It goes there.
    } else if nextBlock(flow, holding: wanted) == nil {
      return false
    }
    return encodePiece(flow, text, startsChunk: startsChunk, endsChunk: false, stamp, isRelayed: false)
  }

  /// Relayed bytes for which something else stands in the recording, or will.
  private mutating func leaveOut(_ flow: FlowIndex, _ count: Int, isWithheld: Bool) {
    sessions[file: flow].position += UInt64(count)
    if isWithheld {
      sessions[file: flow].withheld += Int32(count)
    } else {
      noteCovered(flow, count)
    }
  }

  /// Relayed bytes for which a text stands count with the bytes that were recorded last.
  private mutating func noteCovered(_ flow: FlowIndex, _ count: Int) {
    guard count > 0 else { return }
    let line = sessions[file: flow].line
    let file = file(of: flow)
    guard let block = line ?? sessions[file: file].last else {
      sessions[file: flow].recorded += UInt64(count)
      return
    }
    block.header.pointee.relayed += count
    if line == nil, sharesFile, flow.direction == .out { block.header.pointee.relayedOut += count }
  }

  // MARK: Waiting for memory

  /// Edits that the recording has not come to wait with it for memory; those of bytes that are lost are lost with them.
  mutating func keepEdits(_ flow: FlowIndex) {
    guard !edits.isEmpty else { return }
    if sessions[file: flow].isRecording, sessions[file: flow].isWaiting {
      if waitingEdits[flow.rawValue] == nil { waitingEdits[flow.rawValue] = WaitingEdits() }
      waitingEdits[flow.rawValue]!.edits.append(edits)
    }
    edits.removeAll()
  }

  /// Takes the edits up again that waited with a recording, in front of those that came since.
  mutating func takeUpEdits(_ flow: FlowIndex) {
    guard !waitingEdits.isEmpty, let waiting = waitingEdits.removeValue(forKey: flow.rawValue) else { return }
    swap(&edits, &waiting.edits)
    edits.append(waiting.edits)
  }
}
