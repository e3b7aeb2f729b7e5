/// The seam between the drop-in's loop and the kernel: few operations, on bytes in memory of the loop's own.
///
/// What is prepared leaves with `submitAndWait`; bytes stay as they are until their completion.
protocol BasicRing: ~Copyable {
  /// Reads once, as read(2) does: what a socket or pipe has, or from where a file stands.
  mutating func read(_ descriptor: Int32, _ bytes: UnsafeMutableRawBufferPointer, token: Token)
  /// Writes once, and perhaps not everything: to `offset` of a file, or with -1 to a socket or pipe.
  mutating func write(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer, offset: Int64, token: Token)
  /// Completes once when one of `events` (poll(2)) holds, or the descriptor failed.
  mutating func poll(_ descriptor: Int32, events: UInt32, token: Token)
  /// Completes with the state of a socket (POLLHUP and others of poll(2)) now if its other end has ended its stream, and
  /// whenever that changes.
  mutating func watch(_ socket: Int32, token: Token)

  /// Submits all that was prepared, and waits for a completion or until `nanoseconds` have passed; 0 does not wait,
  /// nil waits without end. A signal or the time running out is an ordinary return.
  mutating func submitAndWait(nanoseconds: UInt64?) throws(Errno)
  /// Copies completions out, at most as many as fit, and returns how many.
  mutating func takeCompletions(into completions: UnsafeMutableBufferPointer<Completion>) -> Int

  // MARK: Calls beside the ring

  /// Nanoseconds of CLOCK_MONOTONIC, and microseconds since the epoch of CLOCK_REALTIME.
  func now() -> Instant
  /// Sends what a socket, or a file, takes at once: the bytes, or a negative error number. Others take nothing.
  func sendNow(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Int
  /// Writes once to `offset` of a file, and waits for it: the bytes written, or a negative error number.
  func writeNow(_ file: Int32, _ bytes: UnsafeRawBufferPointer, offset: Int64) -> Int
  /// Ends the sending side: what was sent arrives, then the end. What is no socket is closed.
  func endSending(_ descriptor: Int32)
  /// Whoever sends to this socket gets an error from now on.
  func endReceiving(_ socket: Int32)
  /// Throws away what a socket has already received, some of it at least.
  func discardReceived(_ socket: Int32)
}
