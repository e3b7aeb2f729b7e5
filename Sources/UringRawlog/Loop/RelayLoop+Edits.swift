import Glibc

/// Recordings that differ from the relayed bytes: credentials are left out of them.
extension RelayLoop where R: ~Copyable {
  /// Records what of a span is not recorded yet, as its edits want it; false when staging memory ran out on the way.
  mutating func stageEdited(_ flow: FlowIndex, span: Int32, from start: UInt64) -> Bool {
    let spanEnd = start + UInt64(spans[span].count)
    let end = min(spanEnd, sessions[file: flow].limit)
    let stamp = clock.stamp(spans[span].stamp)
    var startsChunk = spans[span].startsChunk && sessions[file: flow].position == start
    while true {
      let place = sessions[file: flow].position
      edits.advance(to: place)
      let edit = edits.first
      if let edit, edit.place <= place {
        if let text = edits.firstText {
          guard insert(flow, text, startsChunk: startsChunk, stamp) else { return false }
          edits.noteInserted()
          startsChunk = false
          continue
        }
        guard place < end else { break }
        omit(flow, Int(min(edit.place + edit.omitted, end) - place))
        continue
      }
      guard place < end else { break }
      let next = min(edit?.place ?? end, end)
      let bytes = UnsafeRawBufferPointer(start: spans[span].memory + Int(place - start), count: Int(next - place))
      let isStaged =
        sharesFile
        ? mergePiece(flow, bytes, stamp, isRelayed: true)
        : encodePiece(flow, bytes, startsChunk: startsChunk, endsChunk: false, stamp, isRelayed: true)
      guard isStaged else { return false }
      startsChunk = false
    }
    let isLast = spanEnd > end
    if sessions[file: flow].encoder.insideChunk, spans[span].endsChunk || isLast { closeChunk(flow) }
    let file = file(of: flow)
    markDirty(file)
    writeIfMuch(file)
    if isLast { truncate(flow) }
    return true
  }

  /// Records the edits behind the last byte of a direction; false without memory.
  mutating func stageEnd(_ flow: FlowIndex) -> Bool {
    let stamp = clock.stamp(clock.now.epochMicroseconds)
    while let text = edits.firstText {
      guard insert(flow, text, startsChunk: false, stamp) else { return false }
      edits.noteInserted()
      edits.advance(to: sessions[file: flow].position)
    }
    markDirty(file(of: flow))
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
    let wanted = text.count + Encoder.leastOutput
    if let last = sessions[file: flow].last, !sessions[file: flow].isTailSealed, last.room.count >= wanted {
      // It goes there.
    } else if nextBlock(flow, holding: wanted) == nil {
      return false
    }
    return encodePiece(flow, text, startsChunk: startsChunk, endsChunk: false, stamp, isRelayed: false)
  }

  /// Relayed bytes for which something else stands in the recording, or stood before.
  private mutating func omit(_ flow: FlowIndex, _ count: Int) {
    sessions[file: flow].position += UInt64(count)
    let file = file(of: flow)
    if let line = sessions[file: flow].line {
      line.header.pointee.relayed += Int32(truncatingIfNeeded: count)
    } else if let last = sessions[file: file].last, !sessions[file: file].isTailSealed {
      last.header.pointee.relayed += Int32(truncatingIfNeeded: count)
      if sharesFile, flow.direction == .out { last.header.pointee.relayedOut += Int32(truncatingIfNeeded: count) }
    } else {
      sessions[file: flow].recorded += UInt64(count)
    }
  }

  /// Edits that the recording has not come to wait with it for memory; those of bytes that are lost are lost with them.
  mutating func keepEdits(_ flow: FlowIndex) {
    if sessions[file: flow].isRecording, sessions[file: flow].isWaiting {
      if waitingEdits[flow.rawValue] == nil { waitingEdits[flow.rawValue] = WaitingEdits() }
      waitingEdits[flow.rawValue]!.edits.append(edits)
    }
    edits.removeAll()
  }

  /// Takes the edits up again that waited with a recording.
  mutating func takeUpEdits(_ flow: FlowIndex) {
    guard !waitingEdits.isEmpty, let waiting = waitingEdits.removeValue(forKey: flow.rawValue) else { return }
    swap(&edits, &waiting.edits)
    edits.discard(before: sessions[file: flow].position)
  }
}
