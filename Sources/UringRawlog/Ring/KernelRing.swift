import CLibUring
import Glibc

/// The real ring: io_uring(7) with one provided-buffer ring for all receives.
struct KernelRing: SystemRing, ~Copyable {
  private let ring: UnsafeMutablePointer<io_uring>
  private var buffers: BufferRing
  let features: RingFeatures
  let engine: Engine
  /// Addresses, paths, vectors and message headers of operations that were prepared but not yet submitted.
  private let arena: UnsafeMutableRawPointer
  private var arenaUsed = 0

  /// - Throws: the error of io_uring_setup(2) or io_uring_register(2); `RingAvailability` explains it to the user.
  static func build(
    entries: Int, bufferCount: Int, bufferBytes: Int, without: RingFeatures, restricted: Bool
  ) throws(Errno) -> KernelRing {
    let ring = UnsafeMutablePointer<io_uring>.allocate(capacity: 1)
    let parameters: io_uring_params
    do throws(Errno) {
      parameters = try setUp(ring, entries: entries, disabled: restricted)
    } catch {
      ring.deallocate()
      throw error
    }
    let buffers: BufferRing
    do throws(Errno) {
      buffers = try BufferRing.make(for: ring, count: bufferCount, bytes: bufferBytes)
    } catch {
      io_uring_queue_exit(ring)
      ring.deallocate()
      throw error
    }
    // A registered ring descriptor spares a look-up at each enter; without it (an old seccomp filter) all works.
    _ = io_uring_register_ring_fd(ring)
    var isRestricted = false
    if restricted {
      isRestricted = restrict(ring)
      let result = uring_enable(ring.pointee.ring_fd)
      guard result == 0 else {
        io_uring_queue_exit(ring)
        ring.deallocate()
        throw Errno(-result)
      }
    }
    var found: RingFeatures = [.multishotReceive, .filesInLoop]
    if parameters.features & uring_feat_recvsend_bundle != 0, KernelVersion.running >= bundlesInOrder {
      found.insert(.bundles)
    }
    if KernelVersion.running >= receiveCapKernel { found.insert(.receiveCap) }
    return KernelRing(ring: ring, buffers: buffers, features: found.subtracting(without), isRestricted: isRestricted)
  }

  /// What the loop asks of a ring.
  static let operations: [UInt8] = [
    uring_op_accept, uring_op_connect, uring_op_recv, uring_op_send, uring_op_sendmsg, uring_op_read, uring_op_write,
    uring_op_writev, uring_op_openat, uring_op_unlinkat, uring_op_renameat, uring_op_ftruncate, uring_op_close,
    uring_op_async_cancel, uring_op_poll_add,
  ]

  /// Leaves a disabled ring these operations, and nothing more to be registered: whether the kernel can do so.
  private static func restrict(_ ring: UnsafeMutablePointer<io_uring>) -> Bool {
    guard let probe = io_uring_get_probe_ring(ring) else { return false }
    defer { io_uring_free_probe(probe) }
    let known = operations.filter { io_uring_opcode_supported(probe, Int32($0)) != 0 }
    return uring_restrict(ring.pointee.ring_fd, known, UInt32(known.count), uring_sqe_buffer_select) == 0
  }

  private init(
    ring: UnsafeMutablePointer<io_uring>, buffers: consuming BufferRing, features: RingFeatures, isRestricted: Bool
  ) {
    engine = .uring(isRestricted: isRestricted)
    self.ring = ring
    self.buffers = buffers
    self.features = features
    arena = .allocate(byteCount: Limits.submissionArenaBytes, alignment: 16)
  }

  deinit {
    io_uring_queue_exit(ring)
    ring.deallocate()
    arena.deallocate()
  }

  /// Bundled receives came with 6.10, but stable kernels from 6.13.11 to 6.14.8, and those distributions made of them,
  /// could hand out a bundle's buffers in the wrong order (axboe/liburing issue 1409, mended for 6.15 and 6.14.9, with
  /// follow-ups in 6.16). Mail in the wrong order is worse than a few receives more.
  static let bundlesInOrder = KernelVersion(major: 6, minor: 16)

  /// The field `optlen` of a multishot receive limits all that it brings; older kernels refuse it.
  static let receiveCapKernel = KernelVersion(major: 6, minor: 17)

  /// From 6.3 to 6.8 a multishot accept could complete with a number that is no descriptor (axboe/liburing issue 1062).
  static let multishotAcceptBroken = KernelVersion(major: 6, minor: 3)..<KernelVersion(major: 6, minor: 9)

  /// io_uring_setup(2) with the flags that the loop is built on.
  private static func setUp(_ ring: UnsafeMutablePointer<io_uring>, entries: Int, disabled: Bool) throws(Errno)
    -> io_uring_params
  {
    var parameters = io_uring_params()
    parameters.cq_entries = UInt32(entries * Limits.completionsPerSubmission)
    parameters.flags = LoopRing.flags | uring_setup_cqsize  // Many multishot operations complete for one submission.
    // Until it is restricted.
    if disabled { parameters.flags |= uring_setup_r_disabled }
    let result = io_uring_queue_init_params(UInt32(entries), ring, &parameters)
    guard result == 0 else { throw Errno(-result) }
    return parameters
  }

  // MARK: Buffers

  var bufferCount: Int { buffers.count }
  var bufferBytes: Int { buffers.bytes }
  let hasMultishotAccept = !Self.multishotAcceptBroken.contains(.running)
  @inline(__always) func bufferAddress(_ buffer: Int) -> UnsafeMutableRawPointer { buffers.address(buffer) }
  @inline(__always) func bufferAfter(_ buffer: Int) -> Int { buffers.after(buffer) }
  @inline(__always) mutating func returnBuffer(_ buffer: Int) { buffers.add(buffer) }

  // MARK: Submissions

  @inline(__always)
  private mutating func next(_ operation: UInt8, _ descriptor: Int32, _ token: Token)
    -> UnsafeMutablePointer<io_uring_sqe>
  {
    if let entry = uring_next_submission(ring, operation, descriptor, token.rawValue) { return entry }
    return nextAfterSubmitting(operation, descriptor, token)
  }

  /// The submission queue is full in mid-turn: hand over what there is. The kernel refuses only while it is out of
  /// memory for requests or completions overflow; both pass as it works on.
  @inline(never)
  private mutating func nextAfterSubmitting(_ operation: UInt8, _ descriptor: Int32, _ token: Token)
    -> UnsafeMutablePointer<io_uring_sqe>
  {
    while true {
      submitPrepared()
      if let entry = uring_next_submission(ring, operation, descriptor, token.rawValue) { return entry }
      sched_yield()
    }
  }

  private mutating func submitPrepared() {
    buffers.publish()
    // What the arena holds may be reused only when the kernel took every entry.
    if io_uring_submit(ring) >= 0, io_uring_sq_ready(ring) == 0 { arenaUsed = 0 }
  }

  /// Space for what an operation points to, with a free submission entry for it: taking that afterwards submits
  /// nothing, so the space stays the operation's until the turn is submitted.
  private mutating func arenaSpace(_ bytes: Int) -> UnsafeMutableRawPointer {
    let rounded = (bytes + 15) & ~15
    while arenaUsed + rounded > Limits.submissionArenaBytes || io_uring_sq_space_left(ring) == 0 {
      submitPrepared()
      if io_uring_sq_ready(ring) > 0 { sched_yield() }
    }
    defer { arenaUsed += rounded }
    return arena + arenaUsed
  }

  mutating func accept(_ listener: Int32, multishot: Bool, token: Token) {
    let entry = next(uring_op_accept, listener, token)
    uring_set_operation_flags(entry, UInt32(SOCK_CLOEXEC.rawValue))
    if multishot { uring_set_priority(entry, uring_accept_multishot) }
  }

  mutating func connect(_ socket: Int32, to address: UnsafePointer<SocketAddress>, token: Token) {
    let copy = arenaSpace(MemoryLayout<sockaddr_storage>.size)
    withUnsafeBytes(of: address.pointee.storage) { copy.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
    // For connect the kernel takes the length of the address where others have an offset.
    uring_set_address(next(uring_op_connect, socket, token), copy, 0, UInt64(address.pointee.length))
  }

  @inline(__always)
  mutating func receive(_ socket: Int32, multishot: Bool, bundle: Bool, isQuiet: Bool, token: Token) {
    let entry = next(uring_op_recv, socket, token)
    uring_set_buffer_group(entry, BufferRing.group)
    var priority: UInt16 = 0
    if multishot && features.contains(.multishotReceive) {
      priority |= uring_recv_multishot
      if features.contains(.receiveCap) { uring_set_receive_cap(entry, UInt32(Limits.receiveBytesPerArming)) }
    }
    if bundle && features.contains(.bundles) { priority |= uring_recvsend_bundle }
    // Do not look first where nothing is expected: wait to be told (kernel 5.19).
    if isQuiet { priority |= uring_recvsend_poll_first }
    uring_set_priority(entry, priority)
  }

  @inline(__always)
  mutating func send(_ socket: Int32, _ bytes: UnsafeRawBufferPointer, token: Token) {
    let entry = next(uring_op_send, socket, token)
    uring_set_address(entry, bytes.baseAddress, UInt32(bytes.count), 0)
    uring_set_operation_flags(entry, UInt32(MSG_NOSIGNAL))
  }

  mutating func send(_ socket: Int32, _ vectors: UnsafeMutableBufferPointer<iovec>, token: Token) {
    let vectorBytes = vectors.count * MemoryLayout<iovec>.stride
    let space = arenaSpace(MemoryLayout<msghdr>.stride + vectorBytes)
    let copy = space + MemoryLayout<msghdr>.stride
    copy.copyMemory(from: vectors.baseAddress!, byteCount: vectorBytes)
    var message = msghdr()
    message.msg_iov = copy.assumingMemoryBound(to: iovec.self)
    message.msg_iovlen = vectors.count
    space.assumingMemoryBound(to: msghdr.self).initialize(to: message)
    let entry = next(uring_op_sendmsg, socket, token)
    uring_set_address(entry, space, 1, 0)
    uring_set_operation_flags(entry, UInt32(MSG_NOSIGNAL))
  }

  mutating func write(_ file: Int32, _ bytes: UnsafeRawBufferPointer, offset: Int64, token: Token) {
    let entry = next(uring_op_write, file, token)
    uring_set_address(entry, bytes.baseAddress, UInt32(bytes.count), UInt64(bitPattern: offset))
  }

  mutating func write(
    _ file: Int32, _ vectors: UnsafeMutableBufferPointer<iovec>, offset: Int64, token: Token
  ) {
    let vectorBytes = vectors.count * MemoryLayout<iovec>.stride
    let copy = arenaSpace(vectorBytes)
    copy.copyMemory(from: vectors.baseAddress!, byteCount: vectorBytes)
    let entry = next(uring_op_writev, file, token)
    uring_set_address(entry, copy, UInt32(vectors.count), UInt64(bitPattern: offset))
  }

  mutating func read(_ file: Int32, _ bytes: UnsafeMutableRawBufferPointer, token: Token) {
    let entry = next(uring_op_read, file, token)
    uring_set_address(entry, bytes.baseAddress, UInt32(bytes.count), UInt64.max)
  }

  mutating func open(_ directory: Int32, _ path: UnsafePointer<CChar>, flags: Int32, mode: UInt32, token: Token) {
    let entry = next(uring_op_openat, directory, token, path: path)
    uring_set_operation_flags(entry.submission, UInt32(bitPattern: flags))
    uring_set_address(entry.submission, entry.path, mode, 0)
  }

  mutating func truncate(_ file: Int32, to bytes: UInt64, token: Token) {
    // An operation that the kernel does not know fails with EINVAL, which nobody waits for.
    uring_set_address(next(uring_op_ftruncate, file, token), nil, 0, bytes)
  }

  mutating func unlink(_ directory: Int32, _ path: UnsafePointer<CChar>, token: Token) {
    let entry = next(uring_op_unlinkat, directory, token, path: path)
    uring_set_address(entry.submission, entry.path, 0, 0)
  }

  mutating func rename(
    _ directory: Int32, from: UnsafePointer<CChar>, to: UnsafePointer<CChar>, token: Token
  ) {
    // Both in one piece: a second one could find the arena full, and the first be handed over without its operation.
    let fromBytes = strlen(from) + 1
    let toBytes = strlen(to) + 1
    let paths = arenaSpace(fromBytes + toBytes)
    paths.copyMemory(from: from, byteCount: fromBytes)
    (paths + fromBytes).copyMemory(from: to, byteCount: toBytes)
    let entry = next(uring_op_renameat, directory, token)
    // The other directory and path are where a write has its length and offset.
    uring_set_address(entry, paths, UInt32(bitPattern: directory), UInt64(UInt(bitPattern: paths + fromBytes)))
    uring_set_operation_flags(entry, UInt32(RENAME_NOREPLACE))
  }

  private mutating func next(
    _ operation: UInt8, _ directory: Int32, _ token: Token, path: UnsafePointer<CChar>
  ) -> (submission: UnsafeMutablePointer<io_uring_sqe>, path: UnsafeMutableRawPointer) {
    let bytes = strlen(path) + 1
    let copy = arenaSpace(bytes)
    copy.copyMemory(from: path, byteCount: bytes)
    return (next(operation, directory, token), copy)
  }

  mutating func close(_ descriptor: Int32, token: Token) {
    _ = next(uring_op_close, descriptor, token)
  }

  mutating func poll(_ socket: Int32, events: UInt32, token: Token) {
    uring_set_poll_events(next(uring_op_poll_add, socket, token), events)
  }

  mutating func cancel(_ target: Token, on descriptor: Int32, token: Token) {
    uring_set_cancel_target(next(uring_op_async_cancel, -1, token), target.rawValue)
  }

  mutating func cancelAll(on descriptor: Int32, token: Token) {
    uring_set_operation_flags(
      next(uring_op_async_cancel, descriptor, token), uring_async_cancel_fd | uring_async_cancel_all)
  }

  mutating func submitAndWait(nanoseconds: UInt64?) throws(Errno) {
    buffers.publish()
    let result = ring.submitAndWait(nanoseconds: nanoseconds)
    if io_uring_sq_ready(ring) == 0 { arenaUsed = 0 }
    try result.get()
  }

  mutating func takeCompletions(into taken: UnsafeMutableBufferPointer<Completion>) -> Int {
    ring.takeCompletions(into: taken)
  }

  /// The result of an operation that has nothing but a descriptor, for the proof of the restrictions.
  func tryOperation(_ operation: UInt8, _ descriptor: Int32) -> Int32 {
    uring_try_operation(ring, operation, descriptor)
  }

  // MARK: Calls beside the ring

  mutating func makeSocket(family: Int32) throws(Errno) -> Int32 { try makeLeg(family: family) }
}

/// A stream socket with the options of a leg.
///
/// - Parameter flags: of socket(2), beside SOCK_CLOEXEC.
func makeLeg(family: Int32, flags: Int32 = 0) throws(Errno) -> Int32 {
  let descriptor = socket(family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue) | flags, 0)
  guard descriptor >= 0 else { throw Errno.current }
  prepareLeg(descriptor, family: family)
  return descriptor
}

/// The options of a leg. Set on a listening socket they are inherited by what it accepts (tcp(7)).
func prepareLeg(_ descriptor: Int32, family: Int32) {
  guard family != AF_UNIX else { return }
  var on: Int32 = 1
  let size = socklen_t(MemoryLayout<Int32>.size)
  // Small answers leave at once; dead peers are found out; urgent data stays in its place among the other bytes.
  setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, size)
  setsockopt(descriptor, SOL_SOCKET, SO_KEEPALIVE, &on, size)
  setsockopt(descriptor, SOL_SOCKET, SO_OOBINLINE, &on, size)
}
