import Glibc

/// The seam between the loop and the kernel.
///
/// The loop is generic over it: `KernelRing` is io_uring, `EpollRing` does without it where it is refused, tests drive the
/// same loop over a simulated one. What it submits is prepared here and leaves with `submitAndWait`; memory handed to an operation must stay as it is until
/// that call for addresses, paths and vectors of buffers (IORING_FEAT_SUBMIT_STABLE), and until the completion for the
/// bytes themselves. The few calls that need no ring (they never block) are here too, so that a simulation sees every
/// descriptor.
protocol Ring: ~Copyable {
  // MARK: Provided receive buffers

  /// How many receive buffers there are, and the bytes in each.
  var bufferCount: Int { get }
  var bufferBytes: Int { get }
  /// One receive may fill several buffers (IORING_RECVSEND_BUNDLE).
  var hasBundles: Bool { get }

  /// A multishot accept can be trusted.
  var hasMultishotAccept: Bool { get }

  /// The memory of a buffer.
  func bufferAddress(_ buffer: Int) -> UnsafeMutableRawPointer
  /// The buffer that a bundle filled after this one.
  func bufferAfter(_ buffer: Int) -> Int
  /// Gives a buffer back; the kernel sees it at the next `submitAndWait`.
  mutating func returnBuffer(_ buffer: Int)

  // MARK: Submissions

  mutating func accept(_ listener: Int32, multishot: Bool, token: Token)
  mutating func connect(_ socket: Int32, to address: UnsafePointer<SocketAddress>, token: Token)
  /// - Parameters:
  ///   - multishot: it stays armed until it is cancelled, fails, or has brought much.
  ///   - bundle: it may fill several buffers at once.
  ///   - isQuiet: nothing is likely to be there yet.
  mutating func receive(_ socket: Int32, multishot: Bool, bundle: Bool, isQuiet: Bool, token: Token)
  mutating func send(_ socket: Int32, _ bytes: UnsafeRawBufferPointer, token: Token)
  mutating func send(_ socket: Int32, _ vectors: UnsafeMutableBufferPointer<iovec>, token: Token)
  /// `offset` is the place in the file; -1 appends or follows the file's own position.
  mutating func write(_ file: Int32, _ bytes: UnsafeRawBufferPointer, offset: Int64, token: Token)
  mutating func write(_ file: Int32, _ vectors: UnsafeMutableBufferPointer<iovec>, offset: Int64, token: Token)
  mutating func read(_ file: Int32, _ bytes: UnsafeMutableRawBufferPointer, token: Token)
  mutating func open(_ directory: Int32, _ path: UnsafePointer<CChar>, flags: Int32, mode: UInt32, token: Token)
  /// Files in a directory never wait for a device: its file system is in memory.
  func answersAtOnce(_ directory: Int32) -> Bool
  /// Creates a file here and now, in such a directory: its descriptor or a negative error number. Nil, and nothing done,
  /// when it cannot be done so: then `open` does it.
  mutating func openNow(_ directory: Int32, _ path: UnsafePointer<CChar>, flags: Int32, mode: UInt32) -> Int32?
  /// The same for a small write: the bytes written or a negative error number.
  mutating func writeNow(_ file: Int32, _ vectors: UnsafeMutableBufferPointer<iovec>, offset: Int64) -> Int32?
  /// Cuts a file to so many bytes; where the kernel cannot (before 6.9), nothing happens.
  mutating func truncate(_ file: Int32, to bytes: UInt64, token: Token)
  /// Gives a file another name in the same directory, which nobody has yet (EEXIST).
  mutating func rename(
    _ directory: Int32, from: UnsafePointer<CChar>, to: UnsafePointer<CChar>, token: Token)
  mutating func unlink(_ directory: Int32, _ path: UnsafePointer<CChar>, token: Token)
  mutating func close(_ descriptor: Int32, token: Token)
  /// Completes once when one of `events` (poll(2)) holds for a socket, or it failed.
  mutating func poll(_ socket: Int32, events: UInt32, token: Token)
  /// Asks for the end of the operation on a descriptor that carries `target`, which completes with ECANCELED if that
  /// succeeds.
  mutating func cancel(_ target: Token, on descriptor: Int32, token: Token)
  /// The same for every operation on a descriptor.
  mutating func cancelAll(on descriptor: Int32, token: Token)

  /// Submits all that was prepared, and waits for a completion or until `nanoseconds` have passed; 0 does not wait,
  /// nil waits without end. A signal or the time running out is an ordinary return.
  mutating func submitAndWait(nanoseconds: UInt64?) throws(Errno)
  /// Copies completions out, at most as many as fit, and returns how many.
  mutating func takeCompletions(into completions: UnsafeMutableBufferPointer<Completion>) -> Int

  // MARK: Calls beside the ring

  /// Nanoseconds of CLOCK_MONOTONIC, and microseconds since the epoch of CLOCK_REALTIME.
  func now() -> Instant
  /// A stream socket with everything set that the relay wants on a leg (TCP_NODELAY, SO_KEEPALIVE, SO_OOBINLINE).
  mutating func makeSocket(family: Int32) throws(Errno) -> Int32
  /// Lets splice(2) return where it would wait. It goes by this flag of a socket (O_NONBLOCK) and not by its own.
  /// False when it cannot be set.
  func makeNonblocking(_ socket: Int32) -> Bool
  /// A pipe that holds `bytes`, or fewer where the system allows no more.
  mutating func makePipe(bytes: Int) throws(Errno) -> Pipe
  func close(_ pipe: Pipe)
  /// Moves bytes from a socket that does not wait into a pipe, or from a pipe to such a socket (splice(2)), without
  /// waiting: how many, 0 at the end of the stream, or a negative error number.
  func splice(from: Int32, to: Int32, bytes: Int) -> Int
  /// Sends what a socket takes at once, and leaves the rest: the last words to a peer (send(2), MSG_DONTWAIT).
  func sendNow(_ socket: Int32, _ bytes: UnsafeRawBufferPointer)
  /// Ends the sending side of a socket: what was sent arrives, then the end (shutdown(2), SHUT_WR).
  func shutdownSending(_ socket: Int32)
  /// All that was sent on a socket was confirmed by the peer's kernel.
  func isDelivered(_ socket: Int32) -> Bool
  /// The connection of a socket is over in both directions, by a reset or another failure (poll(2), POLLHUP).
  func isHungUp(_ socket: Int32) -> Bool
  func peerAddress(of socket: Int32) -> PeerAddress?
  /// The path that a peer on a unix socket is bound to; nil for most, which are bound to none.
  func peerPath(of socket: Int32) -> String?
  func localPort(of socket: Int32) -> UInt16?
  func localAddress(of socket: Int32) -> PeerAddress?
  /// Tells other programs, as long as the file is open, that it is being written (flock(2)).
  func lock(_ file: Int32)
  /// A descriptor of a directory, for opening files in it; nil when there is none by that name.
  mutating func openDirectory(_ path: String) -> Int32?
}

/// A pipe(2), its two ends, and the bytes that it holds at most.
struct Pipe: Equatable {
  var reading: Int32
  var writing: Int32
  var bytes: Int
}

extension Ring where Self: ~Copyable {
  mutating func receive(_ socket: Int32, multishot: Bool, bundle: Bool, token: Token) {
    receive(socket, multishot: multishot, bundle: bundle, isQuiet: false, token: token)
  }
}
