import Glibc

/// Recording in bulk: receive buffers are written as they are, without a copy.
extension RelayLoop where R: ~Copyable {
  /// Whether a receive buffer may be written as it is, without a copy: when it is well filled, and the recording is the
  /// relayed bytes themselves.
  @inline(__always)
  func mayGather(_ flow: FlowIndex, _ span: Int32) -> Bool {
    Int(spans[span].count) * 2 >= ring.bufferBytes && writesReceiveBuffers && sessions[file: flow].state == .open
      && !sessions[file: flow].isDropping && sessions[file: flow].limit == .max && edits.isEmpty
      && Int(sessions[file: flow].gathered + sessions[file: flow].gatheredInFlight) < Limits.gatheredBuffersPerFile
      && gatheredBuffers < Limits.gatheredBuffers && !sessions[flow: flow].isParked
  }

  /// Leaves a received span in its buffer for the next write.
  mutating func gather(_ flow: FlowIndex, to end: UInt64) {
    sessions[file: flow].gathered += 1
    sessions[file: flow].gatheredEnd = end
    // What was staged before is written before, and takes no more bytes.
    sessions[file: flow].isTailSealed = sessions[file: flow].first != nil
    gatheredBuffers += 1
    markDirty(flow)
    if end - sessions[file: flow].position >= UInt64(gatheredWriteBytes) {
      sessions[file: flow].mustFlush = true
      write(flow)
    }
  }

  /// Copies what was left in receive buffers, and whatever came behind it up to `end`, into staging memory after all.
  mutating func stageGathered(_ flow: FlowIndex, to end: UInt64) {
    gatheredBuffers -= Int(sessions[file: flow].gathered)
    sessions[file: flow].gathered = 0
    if !recordWaiting(flow) { memoryMissing(flow, for: end) }
    keepEdits(flow)
    if !sessions[file: flow].hasUnwritten { removeDirty(flow) }
  }

  /// Writes the receive buffers that were left for it, all in one.
  mutating func writeGathered(_ flow: FlowIndex) {
    sessions[file: flow].writingFrom = sessions[file: flow].position
    sessions[file: flow].writingTo = sessions[file: flow].gatheredEnd
    sessions[file: flow].position = sessions[file: flow].gatheredEnd
    sessions[file: flow].gatheredInFlight = sessions[file: flow].gathered
    sessions[file: flow].gathered = 0
    sessions[file: flow].mustFlush = false
    removeDirty(flow)
    writeInFlight(flow)
  }

  private mutating func writeInFlight(_ flow: FlowIndex) {
    let from = sessions[file: flow].writingFrom
    let to = sessions[file: flow].writingTo
    var count = 0
    // After a short write some of the spans may have been sent already.
    addVectors(of: sessions[file: flow].writingSent, from: from, to: to, &count)
    addVectors(of: sessions[queue: flow], from: from, to: to, &count)
    sessions[file: flow].isWriting = true
    sessions[flow.slot].fileOperations += 1
    ring.write(
      sessions[file: flow].descriptor, UnsafeMutableBufferPointer(rebasing: vectors[..<count]),
      offset: Int64(sessions[file: flow].fileBytes),
      token: token(flow.direction == .in ? .writeIn : .writeOut, flow.slot))
  }

  /// Receive buffers that were sent before they were written go back to the ring.
  private mutating func giveBackSent(_ flow: FlowIndex, writtenTo place: UInt64) {
    while true {
      let list = sessions[file: flow].writingSent
      guard list.head >= 0, list.base + UInt64(spans[list.head].count) <= place else { return }
      let buffer = spans.removeFirst(from: &sessions[file: flow].writingSent)
      if buffer >= 0 { ring.returnBuffer(buffer) }
    }
  }

  private mutating func addVectors(of queue: SpanTable.Queue, from: UInt64, to: UInt64, _ count: inout Int) {
    var span = queue.head
    var place = queue.base
    while span >= 0, place < to {
      let end = place + UInt64(spans[span].count)
      if end > from {
        let skipped = from > place ? Int(from - place) : 0
        vectors[count] = iovec(iov_base: spans[span].memory + skipped, iov_len: Int(min(end, to) - place) - skipped)
        count += 1
      }
      place = end
      span = spans[span].next
    }
  }

  /// What a write of receive buffers took, or why it failed.
  mutating func noteGatheredWritten(_ flow: FlowIndex, _ result: Int32) {
    let taken = UInt64(max(0, Int(result)))
    sessions[file: flow].fileBytes += taken
    sessions[file: flow].recorded += taken
    sessions[file: flow].writingFrom += taken
    let isFailed = result == 0 || result < 0 && !Errno(-result).isRetry
    if !isFailed, sessions[file: flow].writingFrom < sessions[file: flow].writingTo {
      giveBackSent(flow, writtenTo: sessions[file: flow].writingFrom)
      writeInFlight(flow)
      return
    }
    giveBackSent(flow, writtenTo: .max)
    sessions[file: flow].writingFrom = .max
    sessions[file: flow].writingTo = .max
    gatheredBuffers -= Int(sessions[file: flow].gatheredInFlight)
    sessions[file: flow].gatheredInFlight = 0
    if isFailed {
      // A regular file never takes nothing without saying why; do not ask for ever.
      recordingFailed(flow, "write", Errno(result == 0 ? EIO : -result))
      return
    }
    release(flow)
    writeOn(flow)
  }
}
