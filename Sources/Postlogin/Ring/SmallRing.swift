import CLibUring
import Glibc

/// The drop-in's ring: a few operations at a time, bytes in memory of its own.
///
/// It is made by one process and used by a child of that, which inherits its mappings: so it is known to work before
/// the parent becomes something else. Until `enable` it belongs to nobody (IORING_SETUP_R_DISABLED); the first to enable
/// it is its one submitter.
struct SmallRing: BasicRing, ~Copyable {
  private let ring: UnsafeMutablePointer<io_uring>

  /// The ring's descriptor, closed on execve(2).
  var descriptor: Int32 { ring.pointee.ring_fd }

  /// - Parameter entries: operations in flight at the most.
  /// - Throws: why there can be no ring; `RingAvailability` explains it to the user.
  static func make(entries: Int) throws(Errno) -> SmallRing {
    let ring = UnsafeMutablePointer<io_uring>.allocate(capacity: 1)
    var parameters = io_uring_params()
    parameters.flags = LoopRing.flags | uring_setup_r_disabled
    var result = io_uring_queue_init_params(UInt32(entries), ring, &parameters)
    guard result == 0 else {
      ring.deallocate()
      throw Errno(-result)
    }
    // A filter may allow one of the system calls and refuse others; a disabled ring answers EBADFD to those it sees.
    result = io_uring_enter(UInt32(ring.pointee.ring_fd), 0, 0, 0, nil)
    if result == -EBADFD { result = io_uring_register_files_update(ring, 0, nil, 0) }
    guard result != -EPERM, result != -EACCES, result != -ENOSYS else {
      io_uring_queue_exit(ring)
      ring.deallocate()
      throw Errno(-result)
    }
    return SmallRing(ring: ring)
  }

  private init(ring: UnsafeMutablePointer<io_uring>) {
    self.ring = ring
  }

  deinit {
    io_uring_queue_exit(ring)
    ring.deallocate()
  }

  /// From here on the calling thread submits.
  func enable() throws(Errno) {
    let result = uring_enable(descriptor)
    guard result == 0 else { throw Errno(-result) }
  }

  /// There is always an entry free: what is in flight is bounded, and a turn submits everything.
  private func next(_ operation: UInt8, _ descriptor: Int32, _ token: Token) -> UnsafeMutablePointer<io_uring_sqe> {
    guard let entry = uring_next_submission(ring, operation, descriptor, token.rawValue) else {
      preconditionFailure("more operations than the ring was made for")
    }
    return entry
  }

  mutating func read(_ descriptor: Int32, _ bytes: UnsafeMutableRawBufferPointer, token: Token) {
    // The offset -1 stands for the file's own position; sockets and pipes have none.
    uring_set_address(next(uring_op_read, descriptor, token), bytes.baseAddress, UInt32(bytes.count), UInt64.max)
  }

  mutating func write(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer, offset: Int64, token: Token) {
    let entry = next(uring_op_write, descriptor, token)
    uring_set_address(entry, bytes.baseAddress, UInt32(bytes.count), UInt64(bitPattern: offset))
  }

  mutating func poll(_ descriptor: Int32, events: UInt32, token: Token) {
    uring_set_poll_events(next(uring_op_poll_add, descriptor, token), events)
  }

  mutating func watch(_ socket: Int32, token: Token) {
    // Multishot, or it would complete at once for as long as the other end has only ended its stream.
    let entry = next(uring_op_poll_add, socket, token)
    uring_set_address(entry, nil, uring_poll_multishot, 0)
    uring_set_poll_events(entry, 0)
  }

  mutating func submitAndWait(nanoseconds: UInt64?) throws(Errno) {
    try ring.submitAndWait(nanoseconds: nanoseconds).get()
  }

  mutating func takeCompletions(into taken: UnsafeMutableBufferPointer<Completion>) -> Int {
    ring.takeCompletions(into: taken)
  }

  func now() -> Instant { .current }

  // MARK: Calls beside the ring

  func sendNow(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Int {
    var count = send(descriptor, bytes.baseAddress, bytes.count, Int32(MSG_DONTWAIT | MSG_NOSIGNAL))
    // A write of the ring does not move a file's own position when a part of it fails (kernel 6.18).
    if count < 0, errno == ENOTSOCK, isFile(descriptor) {
      count = Glibc.write(descriptor, bytes.baseAddress, bytes.count)
    }
    return count < 0 ? -Int(errno) : count
  }

  private func isFile(_ descriptor: Int32) -> Bool {
    var status = stat()
    let isFile = fstat(descriptor, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
    if !isFile { errno = ENOTSOCK }
    return isFile
  }

  func writeNow(_ file: Int32, _ bytes: UnsafeRawBufferPointer, offset: Int64) -> Int {
    let count = pwrite(file, bytes.baseAddress, bytes.count, off_t(offset))
    return count < 0 ? -Int(errno) : count
  }

  func endSending(_ descriptor: Int32) {
    if shutdown(descriptor, Int32(SHUT_WR)) != 0, errno == ENOTSOCK { close(descriptor) }
  }

  func endReceiving(_ socket: Int32) { _ = shutdown(socket, Int32(SHUT_RD)) }

  func discardReceived(_ socket: Int32) {
    withUnsafeTemporaryAllocation(byteCount: Limits.chunkBytes, alignment: 16) { space in
      var left = Limits.discardBytes
      while left > 0 {
        let count = recv(socket, space.baseAddress, space.count, Int32(MSG_DONTWAIT))
        guard count > 0 else { return }
        left -= count
      }
    }
  }
}
