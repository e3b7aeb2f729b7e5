/// One direction of a session: what was received, what of it was sent, and what both ends said of themselves.
///
/// A pure state machine: the loop tells it what happened, and asks what may be done next. It holds no descriptor and no
/// memory; the bytes that it counts lie in the span queue.
struct Flow {
  enum Receive: UInt8 {
    case off
    /// A receive is with the kernel.
    case armed
    /// It was asked to end, and has not yet.
    case cancelling
    /// It found no free buffer (ENOBUFS) and waits for one.
    case starved
  }

  /// How its bytes travel.
  enum Way: UInt8 {
    /// Received into memory and sent from there.
    case copy
    /// Still so, but nothing more is received: when all is sent, it will be spliced.
    case turning
    /// Through a pipe; what is queued lies in there.
    case splice
  }

  enum Source: UInt8 {
    case open
    /// The sender ended its stream (a receive of 0 bytes).
    case ended
    /// The sender's connection broke.
    case failed
  }

  enum Sink: UInt8 {
    case open
    /// The end of the stream was passed on.
    case shut
    /// The receiver's connection broke: nothing can be delivered.
    case failed
  }

  private(set) var receive: Receive = .off
  private(set) var source: Source = .open
  private(set) var sink: Sink = .open
  /// The receiver is slow: the sender is not read from until half of what waits is gone.
  private(set) var isPaused = false
  /// The sender was paused, and not all that it sent since is gone: it is read in small pieces.
  private(set) var isCautious = false
  /// The kernel had no memory for an operation: none is started for a moment.
  var isResting = false
  /// A multishot receive brought bytes and goes on: it may have missed a reset close behind them, and is looked at.
  var isUnsure = false
  /// Resume when no more than this is queued.
  private var resumeBelow: UInt32 = 0
  /// The sender is not received from: the recording waits for memory, or the flow is spliced or will be. Never both,
  /// since what is spliced is not recorded.
  var isHeld = false
  /// The peer was so slow that its bytes were moved out of the receive buffers; new ones follow them at once.
  var isParked = false
  /// Its bytes should leave the receive buffers as soon as the send in flight is over.
  var isEvicting = false
  private(set) var way: Way = .copy

  /// Bytes taken from the sender, and of these the ones that the receiver's socket took.
  private(set) var received: UInt64 = 0
  private(set) var sent: UInt64 = 0
  /// Bytes of the send that is in flight, or in the pipe; 0 when there are none.
  private(set) var sending = 0
  /// When that send was handed over (monotonic nanoseconds).
  private(set) var sendingSince: UInt64 = 0

  /// A poll is with the kernel, or has completed and its news has not been acted on.
  private(set) var isPolling = false
  private(set) var isReady = false
  /// Wake-ups in a row that moved little.
  private(set) var thinWakes: UInt8 = 0
  /// The pipe in which its queued bytes are, by its number; -1 when there are none.
  var pipe: Int32 = -1
  /// What was moved in bulk, and up to which place in the stream that was looked at (the low bits of it).
  private(set) var bulk: UInt32 = 0
  private var weighed: UInt32 = 0

  @inline(__always) var queued: UInt64 { received - sent }
  @inline(__always) var isSending: Bool { sending > 0 }

  // MARK: What happened

  @inline(__always) mutating func receiveArmed() {
    assert(receive == .off || receive == .starved)
    receive = .armed
  }

  mutating func receiveCancelling() {
    assert(receive == .armed)
    receive = .cancelling
  }

  /// The cancelled receive was not found: it goes on, or its end is on the way.
  mutating func receiveCancelMissed() {
    if receive == .cancelling { receive = .armed }
  }

  /// The receive with the kernel ended; data may have come with its last completion.
  @inline(__always) mutating func receiveEnded() { receive = .off }

  mutating func receiveStarved() { receive = .starved }

  @inline(__always) mutating func received(_ bytes: Int, pauseAbove: Int) {
    received += UInt64(bytes)
    if queued > UInt64(pauseAbove) {
      isPaused = true
      isCautious = true
      resumeBelow = UInt32(truncatingIfNeeded: pauseAbove / 2)
    }
  }

  mutating func sourceEnded() { if source == .open { source = .ended } }
  mutating func sourceFailed() { source = .failed }

  @inline(__always) mutating func sendStarted(_ bytes: Int, at now: UInt64) {
    assert(sending == 0 && bytes > 0 && UInt64(bytes) <= queued)
    sending = bytes
    sendingSince = now
  }

  /// - Parameter bytes: what the socket took, which may be less than was offered.
  @inline(__always) mutating func sendEnded(_ bytes: Int) {
    assert(bytes <= sending)
    sending = 0
    sent += UInt64(bytes)
    if isPaused && queued <= UInt64(resumeBelow) { isPaused = false }
    if queued == 0 {
      isParked = false
      isCautious = false
    }
  }

  mutating func sinkShut() {
    assert(sink == .open && queued == 0)
    sink = .shut
  }

  mutating func sinkFailed() { sink = .failed }

  /// Forgets what waits for a failed receiver; only while nothing of it is in flight.
  mutating func discardQueued() {
    assert(sink == .failed && (!isSending || way == .splice))
    sent = received
    sending = 0
    isPaused = false
    isCautious = false
    isParked = false
  }

  // MARK: What happened on the way through a pipe

  /// Takes note of how much was received since it was asked last.
  mutating func weigh(_ thresholds: SpliceThresholds) {
    let place = UInt32(truncatingIfNeeded: received)
    let moved = place &- weighed
    guard moved > 0 else { return }
    weighed = place
    let sum = bulk.addingReportingOverflow(moved)
    bulk = sum.overflow ? .max : sum.partialValue
    if moved < UInt32(thresholds.bulkReceiveBytes) { bulk /= 2 }
  }

  func isBulk(_ thresholds: SpliceThresholds) -> Bool { bulk >= UInt32(thresholds.bulkBytes) }

  mutating func turning() {
    assert(way == .copy && !isHeld)
    way = .turning
    isHeld = true
  }

  mutating func turned() {
    assert(mayTurn && sink == .open)
    way = .splice
    thinWakes = 0
  }

  /// From now on its bytes are copied, as at first.
  mutating func copying() {
    assert(way != .splice || queued == 0 && pipe < 0)
    way = .copy
    isHeld = false
    isReady = false
    bulk = 0
    weighed = UInt32(truncatingIfNeeded: received)
  }

  mutating func polling() {
    assert(!isPolling)
    isPolling = true
  }

  /// - Parameter isReady: it completed because there is something to move.
  mutating func pollEnded(isReady: Bool) {
    isPolling = false
    self.isReady = isReady && way == .splice
  }

  /// The news of the poll is acted on.
  mutating func readinessTaken() { isReady = false }

  mutating func splicedIn(_ bytes: Int) {
    received += UInt64(bytes)
    sending += bytes
  }

  mutating func splicedOut(_ bytes: Int) {
    assert(bytes <= sending)
    sent += UInt64(bytes)
    sending -= bytes
  }

  /// One wake-up moved so many bytes.
  mutating func woke(_ bytes: Int, _ thresholds: SpliceThresholds) {
    thinWakes = bytes < thresholds.thinWakeBytes ? min(thinWakes + 1, UInt8(thresholds.thinWakes)) : 0
  }

  func isThin(_ thresholds: SpliceThresholds) -> Bool { thinWakes >= UInt8(thresholds.thinWakes) && queued == 0 }

  /// Nothing is on the way any more that was received into memory.
  var mayTurn: Bool { way == .turning && receive == .off && queued == 0 && sending == 0 }
  /// It waits for bytes of the sender, or for room at the receiver.
  var mayPollSource: Bool { mayPoll && queued == 0 && source == .open }
  var mayPollSink: Bool { mayPoll && queued > 0 }
  private var mayPoll: Bool { way == .splice && !isPolling && !isReady && !isResting && sink == .open }

  // MARK: What may be done

  /// The sender may be read from.
  @inline(__always) var mayReceive: Bool {
    receive == .off && source == .open && !isPaused && !isHeld && !isResting
  }
  /// The receive with the kernel should be called back.
  @inline(__always) var mustCancelReceive: Bool {
    receive == .armed && source == .open && (isPaused || isHeld)
  }
  @inline(__always) var maySend: Bool { sending == 0 && sent < received && sink == .open && !isResting }
  /// All was delivered, and the sender's end can be passed on.
  @inline(__always) var mayShut: Bool { source != .open && sent == received && sending == 0 && sink == .open }
  /// Nothing waits, and the sender is being read from.
  @inline(__always) var isIdle: Bool {
    sent == received && receive == .armed && source == .open && sink == .open && !isPaused && !isHeld
  }
  /// Nothing will travel this way any more.
  @inline(__always) var isFinished: Bool { source != .open && sink != .open && sending == 0 }
}
