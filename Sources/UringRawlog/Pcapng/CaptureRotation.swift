/// When a capture is begun, when it is ended and the next one begun. Pure: it is told what happened and says what to do.
///
/// There is one capture that packets go to, and at most one before it that is being ended (its last bytes are written,
/// then both its files get their final names). While that one is not done no other is ended: memory stays bounded when a
/// disk is slow, and a capture grows beyond its size instead.
struct CaptureRotation {
  /// What the capture for packets is doing.
  enum Phase: Equatable {
    /// There is none: nothing was to be recorded since the last was ended.
    case none
    /// It is being created; packets are composed meanwhile.
    case creating
    case open
    /// It could not be created or written; until then (monotonic nanoseconds) no other is tried.
    case failed(until: UInt64)
  }

  /// What to do before packets are composed.
  enum Step: Equatable {
    /// Compose them: there is a capture for them.
    case compose
    /// Begin a capture (`created` or `failed` follows), then ask again.
    case create
    /// End the capture (`ended` follows), then ask again.
    case end
    /// Nothing can be recorded now.
    case refuse
  }

  /// The longest that a capture becomes, in bytes, and the longest time that it is written to, in nanoseconds; nil for
  /// any.
  let mostBytes: UInt64?
  let mostNanoseconds: UInt64?
  private(set) var phase = Phase.none
  /// The capture before is being ended.
  private(set) var isEnding = false
  /// When the capture was begun (monotonic nanoseconds).
  private var begunAt: UInt64 = 0

  init(mostBytes: UInt64? = nil, mostNanoseconds: UInt64? = nil) {
    self.mostBytes = mostBytes
    self.mostNanoseconds = mostNanoseconds
  }

  /// Packets are to be composed.
  ///
  /// - Parameters:
  ///   - bytes: how many they may take.
  ///   - position: how long the capture is, and how many packets it has: one without any is not ended.
  ///   - now: monotonic nanoseconds.
  @inline(__always)
  mutating func want(_ bytes: Int, position: UInt64, packets: UInt64, now: UInt64) -> Step {
    if phase == .open, !isDue(bytes, position: position, now: now) || packets == 0 || isEnding { return .compose }
    return step(now)
  }

  @inline(never)
  private mutating func step(_ now: UInt64) -> Step {
    switch phase {
    case .creating: return .compose
    case .open:
      phase = .none
      isEnding = true
      return .end
    case .failed(let until) where now < until: return .refuse
    case .none, .failed:
      phase = .creating
      begunAt = now
      return .create
    }
  }

  @inline(__always)
  private func isDue(_ bytes: Int, position: UInt64, now: UInt64) -> Bool {
    if let mostBytes, position &+ UInt64(bytes) > mostBytes { return true }
    if let mostNanoseconds, now &- begunAt >= mostNanoseconds { return true }
    return false
  }

  /// No packet came: a capture that is old enough is ended all the same.
  ///
  /// - Returns: `end` or, when there is nothing to be done, nil.
  mutating func tick(position: UInt64, packets: UInt64, now: UInt64) -> Step? {
    guard phase == .open, packets > 0, !isEnding, isDue(0, position: position, now: now) else { return nil }
    return step(now)
  }

  /// When `tick` will end the capture (monotonic nanoseconds); nil when time alone does not.
  func deadline(packets: UInt64) -> UInt64? {
    guard phase == .open, packets > 0, !isEnding, let mostNanoseconds else { return nil }
    return begunAt &+ mostNanoseconds
  }

  /// The recorder ends: so does its capture, when there is one.
  mutating func shutDown() -> Step? {
    guard phase == .open, !isEnding else { return nil }
    return step(begunAt)
  }

  /// No capture is tried for now, since one failed.
  func isRefusing(_ now: UInt64) -> Bool {
    if case .failed(let until) = phase { return now < until }
    return false
  }

  /// The files of the capture are there.
  mutating func created() {
    if phase == .creating { phase = .open }
  }

  /// The capture could not be created, or not be written any more.
  mutating func failed(now: UInt64) { phase = .failed(until: now &+ Limits.captureRetryNanoseconds) }

  /// The capture before has its final name, or was given up.
  mutating func ended() { isEnding = false }
}
