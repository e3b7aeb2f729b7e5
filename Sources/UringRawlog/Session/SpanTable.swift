import Glibc

/// Received bytes that are still needed: by the send to the other leg, by the recording, or by both.
///
/// The first spans are the ring's receive buffers, one each, by the same number. Spans behind them are pieces of memory
/// of our own, for directions whose peer is slow: what waits long must not keep the receive buffers from the others.
struct SpanTable: ~Copyable {
  struct Span {
    var memory: UnsafeMutableRawPointer
    var count: Int32 = 0
    /// The next span of the same queue; -1 at its end. Among unused spans: the next unused one.
    var next: Int32 = -1
    /// When the bytes were received (microseconds since the epoch).
    var stamp: Int64 = 0
    /// The flow whose queue it is in; -1 while the kernel has the buffer.
    var owner: Int32 = -1
    /// Bytes that fit, for a piece of our own.
    var capacity: Int32 = 0
    /// Whether it begins and ends what one receive returned.
    var startsChunk = false
    var endsChunk = false
  }

  /// The spans of one flow, oldest first.
  struct Queue {
    var head: Int32 = -1
    var tail: Int32 = -1
    /// The place in the stream of the first byte of `head`.
    var base: UInt64 = 0
  }

  private var spans: UnsafeMutablePointer<Span>
  private var capacity: Int
  private let receiveBuffers: Int
  private var used: Int
  private var unused: Int32 = -1
  /// Receive buffers that are in a queue.
  private(set) var buffersHeld = 0
  /// Memory of the pieces of our own.
  private(set) var parkedBytes = 0

  init(receiveBuffers: Int, address: (Int) -> UnsafeMutableRawPointer) {
    self.receiveBuffers = receiveBuffers
    capacity = receiveBuffers * 2
    used = receiveBuffers
    spans = .allocate(capacity: capacity)
    for index in 0..<receiveBuffers { (spans + index).initialize(to: Span(memory: address(index))) }
  }

  deinit {
    for index in receiveBuffers..<used where spans[index].capacity > 0 { spans[index].memory.deallocate() }
    spans.deallocate()
  }

  subscript(span: Int32) -> Span {
    @inline(__always) unsafeAddress { UnsafePointer(spans + Int(span)) }
    @inline(__always) unsafeMutableAddress { spans + Int(span) }
  }

  @inline(__always)
  func isReceiveBuffer(_ span: Int32) -> Bool { Int(span) < receiveBuffers }

  /// Puts a receive buffer with `count` bytes at the end of a queue.
  @inline(__always)
  mutating func append(
    buffer: Int, count: Int, stamp: Int64, startsChunk: Bool, endsChunk: Bool, owner: FlowIndex, to queue: inout Queue
  ) {
    let span = Int32(truncatingIfNeeded: buffer)
    self[span].count = Int32(truncatingIfNeeded: count)
    self[span].stamp = stamp
    self[span].owner = Int32(truncatingIfNeeded: owner.rawValue)
    self[span].startsChunk = startsChunk
    self[span].endsChunk = endsChunk
    buffersHeld &+= 1
    link(span, to: &queue)
  }

  @inline(__always)
  private mutating func link(_ span: Int32, to queue: inout Queue) {
    self[span].next = -1
    if queue.tail >= 0 { self[queue.tail].next = span } else { queue.head = span }
    queue.tail = span
  }

  /// Takes the first span off a queue. A receive buffer's number is returned, for the ring to have it back; a piece of
  /// our own is freed, and the answer is -1.
  @inline(__always)
  mutating func removeFirst(from queue: inout Queue) -> Int {
    let span = queue.head
    queue.base &+= UInt64(truncatingIfNeeded: self[span].count)
    queue.head = self[span].next
    if queue.head < 0 { queue.tail = -1 }
    return release(span)
  }

  /// Puts a copy of bytes at the end of a queue, in memory of our own: the span.
  mutating func append(
    copying bytes: UnsafeRawBufferPointer, stamp: Int64, owner: FlowIndex, to queue: inout Queue
  ) -> Int32 {
    let span = makePiece(bytes.count)
    self[span].memory.copyMemory(from: bytes.baseAddress!, byteCount: bytes.count)
    self[span].count = Int32(truncatingIfNeeded: bytes.count)
    self[span].stamp = stamp
    self[span].owner = Int32(truncatingIfNeeded: owner.rawValue)
    self[span].startsChunk = true
    self[span].endsChunk = true
    link(span, to: &queue)
    return span
  }

  /// Moves the first span of a queue to the end of another list.
  mutating func moveFirst(from queue: inout Queue, to list: inout Queue) {
    let span = queue.head
    if list.head < 0 { list.base = queue.base }
    queue.base &+= UInt64(truncatingIfNeeded: self[span].count)
    queue.head = self[span].next
    if queue.head < 0 { queue.tail = -1 }
    // Whoever looks for buffers that slow peers keep must not find it.
    self[span].owner = -1
    link(span, to: &list)
  }

  @inline(__always)
  private mutating func release(_ span: Int32) -> Int {
    if isReceiveBuffer(span) {
      self[span].owner = -1
      buffersHeld &-= 1
      return Int(span)
    }
    freePiece(span)
    return -1
  }

  private mutating func freePiece(_ span: Int32) {
    self[span].memory.deallocate()
    parkedBytes -= Int(self[span].capacity)
    self[span].capacity = 0
    self[span].next = unused
    unused = span
  }

  /// Moves every receive buffer of a queue into memory of our own, oldest first, and gives each to `returnBuffer`.
  ///
  /// Only while no send of the flow's receive buffers is in flight. Bytes before `needed` are let go. Spans whose
  /// bytes are recorded already (all before `recorded`) are gathered into larger pieces.
  mutating func park(
    _ queue: inout Queue, needed: UInt64, recorded: UInt64, returnBuffer: (Int) -> Void
  ) {
    var place = queue.base
    var span = queue.head
    queue.head = -1
    queue.tail = -1
    var isFirst = true
    while span >= 0 {
      let next = self[span].next
      let count = Int(self[span].count)
      let end = place + UInt64(count)
      if end <= needed {
        let buffer = release(span)
        if buffer >= 0 { returnBuffer(buffer) }
      } else if !isReceiveBuffer(span) {
        if isFirst { queue.base = place }
        isFirst = false
        link(span, to: &queue)
      } else {
        let skipped = needed > place ? Int(needed - place) : 0
        if isFirst { queue.base = place + UInt64(skipped) }
        isFirst = false
        copy(span, from: skipped, isRecorded: end <= recorded, to: &queue)
        returnBuffer(release(span))
      }
      place = end
      span = next
    }
    if isFirst { queue.base = place }
  }

  private mutating func copy(_ span: Int32, from skipped: Int, isRecorded: Bool, to queue: inout Queue) {
    let count = Int(self[span].count) - skipped
    let source = self[span].memory + skipped
    let tail = queue.tail
    // A piece takes more only when nothing of it is still to be recorded: stamps and chunks belong to a span. What lies
    // before recorded bytes is recorded.
    if isRecorded, tail >= 0, !isReceiveBuffer(tail), Int(self[tail].capacity - self[tail].count) >= count {
      (self[tail].memory + Int(self[tail].count)).copyMemory(from: source, byteCount: count)
      self[tail].count += Int32(count)
      return
    }
    let piece = makePiece(isRecorded ? max(count, Limits.parkedPieceBytes) : count)
    self[piece].memory.copyMemory(from: source, byteCount: count)
    self[piece].count = Int32(count)
    self[piece].stamp = self[span].stamp
    self[piece].owner = self[span].owner
    self[piece].startsChunk = self[span].startsChunk && skipped == 0
    self[piece].endsChunk = self[span].endsChunk
    link(piece, to: &queue)
  }

  private mutating func makePiece(_ bytes: Int) -> Int32 {
    let piece: Int32
    if unused >= 0 {
      piece = unused
      unused = self[piece].next
    } else {
      if used == capacity { grow() }
      piece = Int32(used)
      used += 1
    }
    (spans + Int(piece)).initialize(
      to: Span(memory: .allocate(byteCount: bytes, alignment: 16), capacity: Int32(bytes)))
    parkedBytes += bytes
    return piece
  }

  private mutating func grow() {
    let larger = UnsafeMutablePointer<Span>.allocate(capacity: capacity * 2)
    larger.moveInitialize(from: spans, count: used)
    spans.deallocate()
    spans = larger
    capacity *= 2
  }
}
