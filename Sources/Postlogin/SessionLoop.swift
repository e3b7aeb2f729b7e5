import Glibc

/// The drop-in's loop: one session between a client and the program that serves it, over a ring of its own.
///
/// Each end is passed on by itself. It is over when both directions are: their sinks were told, or take nothing more.
struct SessionLoop<R: BasicRing & ~Copyable>: ~Copyable {
  /// What is in flight, each at most once a direction.
  private enum Operation: UInt64 {
    case read
    case send
    case write
    /// Waits until a read, a send, can go on; for descriptors on which the ring does not wait by itself.
    case readable
    case writable
    /// Waits until the sink of a direction is gone altogether.
    case hangUp

    func token(_ direction: Direction) -> Token { Token(rawValue: rawValue << 1 | UInt64(direction.rawValue)) }
  }

  private var ring: R
  private var flows: InlineArray<2, Flow>
  private var files: InlineArray<2, RecordingFile>
  private let encoder: Encoder
  private var clock = Clock()
  /// Where the reads of both directions go.
  private let chunks: UnsafeMutableRawPointer
  /// When encoded bytes are to be written at the latest (CLOCK_MONOTONIC); nil while there are none.
  private var flushTime: UInt64?

  static var chunkBytes: Int { Flow.places * Limits.chunkBytes }
  /// The memory that it works with: places for reads, and two blocks for each file.
  static var memoryBytes: Int { 2 * chunkBytes + 4 * RecordingFile.blockBytes }

  /// - Parameters:
  ///   - client: where the client is read from and written to: the same socket, or two descriptors of any kind.
  ///   - program: the socket to the program.
  ///   - memory: `memoryBytes`, nobody else's.
  init(
    ring: consuming R, client: (reading: Int32, writing: Int32), program: Int32, files descriptors: [2 of Int32],
    encoder: Encoder, memory: UnsafeMutableRawPointer
  ) {
    self.ring = ring
    self.encoder = encoder
    flows = [
      Flow(source: client.reading, sink: program), Flow(source: program, sink: client.writing),
    ]
    chunks = memory
    let blocks = memory + 2 * Self.chunkBytes
    files = [
      RecordingFile(descriptor: descriptors[0], blocks: blocks),
      RecordingFile(descriptor: descriptors[1], blocks: blocks + 2 * RecordingFile.blockBytes),
    ]
  }

  /// Relays and records until the session is over.
  mutating func run() {
    advance()
    while !isOver {
      guard turn() else { break }
    }
    finish()
  }

  private var isOver: Bool { flows[0].isOver && flows[1].isOver && !flows[0].isSending && !flows[1].isSending }

  /// Waits for something to happen, and does what follows from it; false when the ring fails.
  private mutating func turn() -> Bool {
    let none = Completion(token: Token(rawValue: 0), result: 0, buffer: -1, more: false)
    var taken = InlineArray<16, Completion>(repeating: none)
    do throws(Errno) {
      try ring.submitAndWait(nanoseconds: timeToWait)
    } catch {
      Message.say(.error, "rawlog: io_uring fails: \(error.text); the session ends")
      return false
    }
    clock.set(ring.now())
    var span = taken.mutableSpan
    let count = span.withUnsafeMutableBufferPointer { ring.takeCompletions(into: $0) }
    for place in 0..<count { handle(taken[place]) }
    advance()
    return true
  }

  private mutating func handle(_ completion: Completion) {
    let raw = completion.token.rawValue
    guard let operation = Operation(rawValue: raw >> 1), let direction = Direction(rawValue: Int(raw & 1)) else {
      return
    }
    switch operation {
    case .read: handleRead(direction, completion)
    case .send: handleSend(direction, completion)
    case .write: handleWrite(direction, completion)
    case .readable: flows[direction.rawValue].isReading = false
    case .writable: flows[direction.rawValue].isSending = false
    case .hangUp: handleHangUp(direction, completion)
    }
  }

  private mutating func handleHangUp(_ direction: Direction, _ completion: Completion) {
    // Some things that a client may be cannot be watched.
    guard completion.result >= 0 else { return }
    if completion.result & Int32(POLLHUP | POLLERR) != 0 {
      if !flows[direction.rawValue].isOver { abandon(direction) }
    } else if !completion.more {
      watch(direction)
    }
  }

  private mutating func handleRead(_ direction: Direction, _ completion: Completion) {
    let index = direction.rawValue
    if completion.result > 0 {
      flows[index].received(Int(completion.result), at: clock.now.epochMicroseconds)
    } else if let error = completion.error, isPassing(error) {
      ring.poll(flows[index].source, events: UInt32(POLLIN), token: Operation.readable.token(direction))
      return
    } else if completion.error?.code != EINTR {
      // A connection that breaks is an end: what it brought is delivered.
      flows[index].hasEnded = true
    }
    flows[index].isReading = false
  }

  private mutating func handleSend(_ direction: Direction, _ completion: Completion) {
    let index = direction.rawValue
    if completion.result >= 0 {
      flows[index].sent(Int(completion.result))
    } else if let error = completion.error, isPassing(error) {
      ring.poll(flows[index].sink, events: UInt32(POLLOUT), token: Operation.writable.token(direction))
      return
    } else if completion.error?.code != EINTR {
      abandon(direction)
    }
    flows[index].isSending = false
  }

  /// It works again when the other side, or the kernel, has done something about it.
  private func isPassing(_ error: Errno) -> Bool {
    error.code == EAGAIN || error.code == ENOMEM || error.code == ENOBUFS
  }

  private mutating func handleWrite(_ direction: Direction, _ completion: Completion) {
    let index = direction.rawValue
    guard files[index].isRecording else { return }
    if completion.result > 0 {
      files[index].wrote(Int(completion.result))
    } else if completion.error?.isRetry != true {
      fail(direction, (completion.error ?? Errno(EIO)).text)
    }
    if files[index].isWriting { write(direction) }
  }

  // MARK: What may be done next

  /// Starts everything that is possible now: forwarding first, then recording, then reading.
  private mutating func advance() {
    giveUpStalled(.in)
    giveUpStalled(.out)
    send(.in)
    send(.out)
    advance(.in)
    advance(.out)
    flush()
  }

  private mutating func advance(_ direction: Direction) {
    record(direction)
    read(direction)
    if flows[direction.rawValue].isDelivered { passEndOn(direction) }
  }

  /// What the sink takes at once costs no turn; only what it does not take is left to the ring.
  private mutating func send(_ direction: Direction) {
    let index = direction.rawValue
    while let (place, bytes) = flows[index].sendable {
      let piece = UnsafeRawBufferPointer(rebasing: chunk(direction, place)[bytes])
      let count = ring.sendNow(flows[index].sink, piece)
      if count > 0 {
        flows[index].sent(count)
        continue
      }
      flows[index].isSending = true
      ring.write(flows[index].sink, piece, offset: -1, token: Operation.send.token(direction))
    }
  }

  private mutating func read(_ direction: Direction) {
    flows[direction.rawValue].rewind()
    guard let place = flows[direction.rawValue].readPlace else { return }
    flows[direction.rawValue].isReading = true
    ring.read(flows[direction.rawValue].source, chunk(direction, place), token: Operation.read.token(direction))
  }

  private func chunk(_ direction: Direction, _ place: Int) -> UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(
      start: chunks + direction.rawValue * Self.chunkBytes + place * Limits.chunkBytes,
      count: Limits.chunkBytes)
  }

  // MARK: Ends

  private mutating func passEndOn(_ direction: Direction) {
    let index = direction.rawValue
    ring.endSending(flows[index].sink)
    flows[index].finish()
    // Who has ended its stream may still read, or may be gone. If it is, nobody else says so while there is nothing to
    // send to it.
    if !flows[direction.reverse.rawValue].isOver { watch(direction.reverse) }
  }

  private mutating func watch(_ direction: Direction) {
    ring.watch(flows[direction.rawValue].sink, token: Operation.hangUp.token(direction))
  }

  /// A sink takes nothing more. A program whose client is gone is told so as it would be without us: by an error.
  private mutating func abandon(_ direction: Direction) {
    flows[direction.rawValue].finish()
    if direction == .out { ring.endReceiving(flows[direction.rawValue].source) }
  }

  /// Both directions are over: what is still to be recorded is written, now that nobody waits for it.
  private mutating func finish() {
    // What the client still sends reaches nobody. Unread it would make a close a reset, which could cost the client what
    // it has not read yet.
    if !flows[0].hasEnded { ring.discardReceived(flows[0].source) }
    while files[0].isWriting || files[1].isWriting {
      guard turn() else { break }
    }
    writeRest(.in)
    writeRest(.out)
  }

  private mutating func writeRest(_ direction: Direction) {
    let index = direction.rawValue
    // When the ring failed, a write may be under way for ever.
    guard files[index].hasBytes, !files[index].isWriting else { return }
    files[index].beginWriting()
    while files[index].isWriting {
      let count = ring.writeNow(files[index].descriptor, files[index].pending, offset: files[index].offset)
      if count > 0 {
        files[index].wrote(count)
      } else if count != -Int(EINTR) {
        fail(direction, Errno(count == 0 ? EIO : Int32(-count)).text)
      }
    }
  }

  // MARK: Recording

  /// Encodes what was read, as far as there is room; a full block is written.
  private mutating func record(_ direction: Direction) {
    let index = direction.rawValue
    guard files[index].isRecording else {
      flows[index].skipRecording()
      return
    }
    while let (place, bytes, time) = flows[index].recordable {
      let result = encoder.encode(
        UnsafeRawBufferPointer(rebasing: chunk(direction, place)[bytes]), startsChunk: bytes.lowerBound == 0,
        endsChunk: true, stamp: clock.stamp(time), state: &files[index].state, into: files[index].room)
      files[index].added(result.produced)
      flows[index].recorded(result.consumed, isDone: result.isDone)
      if flushTime == nil, result.produced > 0 {
        flushTime = clock.now.nanoseconds + Limits.flushNanoseconds
      }
      guard !result.isDone else { continue }
      // The other block is still being written: the rest waits in its place, and so does its sender.
      guard !files[index].isWriting else {
        if files[index].stalledSince == nil { files[index].stalledSince = clock.now.nanoseconds }
        return
      }
      files[index].stalledSince = nil
      files[index].beginWriting()
      write(direction)
    }
  }

  private mutating func write(_ direction: Direction) {
    let file = files[direction.rawValue]
    ring.write(file.descriptor, file.pending, offset: file.offset, token: Operation.write.token(direction))
  }

  /// One timer for both files, as Dovecot's rawlog has it: it runs from the first byte that is not written yet.
  private mutating func flush() {
    guard let flushTime, clock.now.nanoseconds >= flushTime else { return }
    let isInFlushed = flush(.in)
    let isOutFlushed = flush(.out)
    if isInFlushed && isOutFlushed { self.flushTime = nil }
  }

  /// False when a write is under way, so that another cannot begin.
  private mutating func flush(_ direction: Direction) -> Bool {
    guard files[direction.rawValue].hasBytes else { return true }
    guard !files[direction.rawValue].isWriting else { return false }
    files[direction.rawValue].beginWriting()
    write(direction)
    return true
  }

  /// A disk that hangs holds the session up for so long, and then no more.
  private mutating func giveUpStalled(_ direction: Direction) {
    guard let since = files[direction.rawValue].stalledSince,
      clock.now.nanoseconds >= since + Limits.stallNanoseconds
    else { return }
    fail(direction, "nothing could be written for \(Limits.stallNanoseconds / 1_000_000_000) s")
  }

  /// How long to wait at the most: to the flush, unless that is overdue and only waits for a write under way; and to the
  /// end of the patience with a disk.
  private var timeToWait: UInt64? {
    var time = UInt64.max
    if let flushTime, flushTime > clock.now.nanoseconds { time = flushTime }
    for index in 0..<2 {
      if let since = files[index].stalledSince { time = min(time, since + Limits.stallNanoseconds) }
    }
    return time == .max ? nil : time - min(time, clock.now.nanoseconds)
  }

  /// One file cannot be written any more: said once, and at once. The other one and the session go on.
  private mutating func fail(_ direction: Direction, _ reason: String) {
    Message.say(.error, "write(\(direction.name)) failed: \(reason)")
    files[direction.rawValue].end()
  }
}
