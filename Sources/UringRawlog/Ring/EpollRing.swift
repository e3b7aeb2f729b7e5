import CLibUring
import Glibc

/// The engine where io_uring is refused: epoll(7) for sockets, threads for files.
///
/// To the loop it is a ring like the other one. An operation is tried when it is asked for; what would have to wait is
/// kept with its descriptor, and tried again when that becomes ready. Each descriptor is registered once, for everything,
/// and told of once each time it becomes ready (EPOLLET), so a session costs no more calls than its two registrations.
/// What may wait for a device goes to threads, each job to one of them; an eventfd tells when some are done.
struct EpollRing: SystemRing, ~Copyable {
  let features: RingFeatures
  let engine = Engine.epoll
  private let epoll: Int32
  /// Tells of jobs that are done.
  private let jobsDone: Int32
  private let files: FileWorkers
  private let appends: FileWorkers
  private var buffers: ReceiveBuffers
  private var descriptors = DescriptorTable()
  private var operations = WaitingOperations()
  private var completions = CompletionQueue()
  private let events: UnsafeMutablePointer<uring_event>
  private let vectors: UnsafeMutablePointer<iovec>

  /// What the token of an event is when jobs are done; no descriptor has such a generation and number.
  private static let jobsToken = UInt64.max
  /// Buffers that one receive fills at most: what a multishot receive may bring.
  private static let bundleBuffers = 4

  static func build(
    entries: Int, bufferCount: Int, bufferBytes: Int, without: RingFeatures, restricted: Bool
  ) throws(Errno) -> EpollRing {
    let buffers = try ReceiveBuffers.make(count: bufferCount, bytes: bufferBytes)
    let epoll = uring_epoll_create()
    guard epoll >= 0 else { throw Errno(-epoll) }
    let jobsDone = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
    guard jobsDone >= 0 else {
      let error = Errno.current
      _ = Glibc.close(epoll)
      throw error
    }
    let result = uring_epoll_add(epoll, jobsDone, uring_epoll_readable, jobsToken)
    guard result == 0 else {
      _ = Glibc.close(epoll)
      _ = Glibc.close(jobsDone)
      throw Errno(-result)
    }
    let all: RingFeatures = [.bundles, .multishotReceive, .receiveCap, .filesInLoop]
    return EpollRing(epoll: epoll, jobsDone: jobsDone, buffers: buffers, features: all.subtracting(without))
  }

  private init(epoll: Int32, jobsDone: Int32, buffers: consuming ReceiveBuffers, features: RingFeatures) {
    self.epoll = epoll
    self.jobsDone = jobsDone
    self.buffers = buffers
    self.features = features
    files = FileWorkers(threads: Limits.fileThreads, wake: jobsDone)
    appends = FileWorkers(threads: Limits.appendThreads, wake: jobsDone)
    events = .allocate(capacity: Int(URING_EPOLL_EVENTS))
    vectors = .allocate(capacity: Self.bundleBuffers)
  }

  deinit {
    files.end()
    appends.end()
    _ = Glibc.close(epoll)
    _ = Glibc.close(jobsDone)
    events.deallocate()
    vectors.deallocate()
  }

  // MARK: Buffers

  var bufferCount: Int { buffers.count }
  var bufferBytes: Int { buffers.bytes }
  var hasMultishotAccept: Bool { true }
  @inline(__always) func bufferAddress(_ buffer: Int) -> UnsafeMutableRawPointer { buffers.address(buffer) }
  @inline(__always) func bufferAfter(_ buffer: Int) -> Int { buffers.after(buffer) }
  @inline(__always) mutating func returnBuffer(_ buffer: Int) { buffers.giveBack(buffer) }

  // MARK: Sockets

  mutating func accept(_ listener: Int32, multishot: Bool, token: Token) {
    if descriptors.reserve(listener), !descriptors[listener].flags.contains(.listens) {
      // Somebody else may have taken the connection that we were told of.
      _ = makeNonblocking(listener)
      descriptors[listener].flags.formUnion([.listens, .closesAtOnce])
      if SocketAddress.local(of: listener)?.family != AF_UNIX { descriptors[listener].flags.insert(.isTCP) }
    }
    start(WaitingOperation(kind: .accept, token: token, isMultishot: multishot), on: listener)
  }

  mutating func connect(_ socket: Int32, to address: UnsafePointer<SocketAddress>, token: Token) {
    let result = address.pointee.withPointer { Glibc.connect(socket, $0, $1) }
    guard result < 0, errno == EINPROGRESS, descriptors.reserve(socket) else {
      complete(token, result < 0 ? -errno : 0)
      return
    }
    descriptors[socket].flags.remove(.mayWrite)
    start(WaitingOperation(kind: .connect, token: token), on: socket)
  }

  mutating func receive(_ socket: Int32, multishot: Bool, bundle: Bool, isQuiet: Bool, token: Token) {
    start(
      WaitingOperation(
        kind: .receive, token: token, isMultishot: multishot && features.contains(.multishotReceive),
        isBundle: bundle && features.contains(.bundles)), on: socket)
  }

  mutating func send(_ socket: Int32, _ bytes: UnsafeRawBufferPointer, token: Token) {
    let memory = UnsafeMutableRawPointer(mutating: bytes.baseAddress)
    start(WaitingOperation(kind: .send, token: token, memory: memory, count: bytes.count), on: socket)
  }

  mutating func send(_ socket: Int32, _ vectors: UnsafeMutableBufferPointer<iovec>, token: Token) {
    guard descriptors.reserve(socket) else {
      complete(token, -EBADF)
      return
    }
    if descriptors[socket].flags.contains(.mayWrite) {
      let result = sendNow(socket, vectors.baseAddress!, vectors.count)
      guard result == -EAGAIN else {
        complete(token, result)
        return
      }
      descriptors[socket].flags.remove(.mayWrite)
    }
    start(
      WaitingOperation(kind: .sendVectors, token: token, memory: Self.copy(vectors), count: vectors.count), on: socket)
  }

  mutating func read(_ file: Int32, _ bytes: UnsafeMutableRawBufferPointer, token: Token) {
    start(WaitingOperation(kind: .read, token: token, memory: bytes.baseAddress, count: bytes.count), on: file)
  }

  mutating func poll(_ socket: Int32, events: UInt32, token: Token) {
    // Splicing reads and writes beside the ring, so what was known of the socket may be old.
    var ready = pollfd(fd: socket, events: Int16(truncatingIfNeeded: events), revents: 0)
    if Glibc.poll(&ready, 1, 0) > 0 {
      complete(token, Int32(UInt16(bitPattern: ready.revents)))
      return
    }
    start(WaitingOperation(kind: .poll, token: token, events: events), on: socket)
  }

  mutating func cancel(_ target: Token, on descriptor: Int32, token: Token) {
    let number = descriptors.reserve(descriptor) ? cancel(on: descriptor) { $0 == target } : 0
    complete(token, number == 0 ? -ENOENT : 0)
  }

  mutating func cancelAll(on descriptor: Int32, token: Token) {
    let number = descriptors.reserve(descriptor) ? cancel(on: descriptor) { _ in true } : 0
    complete(token, number == 0 ? -ENOENT : Int32(truncatingIfNeeded: number))
  }

  private mutating func cancel(on descriptor: Int32, where isMeant: (Token) -> Bool) -> Int {
    var number = 0
    visit(descriptor) { ring, place in
      let operation = ring.operations[place]
      guard isMeant(operation.token) else { return false }
      ring.complete(operation.token, -ECANCELED)
      number += 1
      return true
    }
    return number
  }

  mutating func close(_ descriptor: Int32, token: Token) {
    guard descriptors.reserve(descriptor) else {
      complete(token, -EBADF)
      return
    }
    let flags = descriptors[descriptor].flags
    assert(descriptors[descriptor].first < 0, "a descriptor is closed with operations on it")
    // Whoever else has the listening socket keeps its registration.
    if flags.contains(.listens) { uring_epoll_remove(epoll, descriptor) }
    descriptors.forget(descriptor)
    if flags.contains(.closesAtOnce) {
      complete(token, Glibc.close(descriptor) < 0 ? -errno : 0)
    } else {
      files.prepare(FileJob(kind: .close, token: token, descriptor: descriptor))
    }
  }

  mutating func makeSocket(family: Int32) throws(Errno) -> Int32 {
    let socket = try makeLeg(family: family, flags: Int32(SOCK_NONBLOCK.rawValue))
    isLeg(socket, isTCP: family != AF_UNIX)
    return socket
  }

  private mutating func isLeg(_ socket: Int32, isTCP: Bool) {
    guard descriptors.reserve(socket) else { return }
    descriptors[socket].flags.formUnion(isTCP ? [.closesAtOnce, .isTCP] : .closesAtOnce)
  }

  // MARK: Files

  mutating func write(_ file: Int32, _ bytes: UnsafeRawBufferPointer, offset: Int64, token: Token) {
    prepare(
      FileJob(
        kind: .write, token: token, descriptor: file, memory: UnsafeMutableRawPointer(mutating: bytes.baseAddress),
        count: bytes.count, offset: offset))
  }

  mutating func write(_ file: Int32, _ vectors: UnsafeMutableBufferPointer<iovec>, offset: Int64, token: Token) {
    prepare(
      FileJob(
        kind: .writeVectors, token: token, descriptor: file, memory: Self.copy(vectors), count: vectors.count,
        offset: offset))
  }

  /// What is appended, the index, does not stand behind recordings.
  private func prepare(_ write: FileJob) {
    if write.offset < 0 { appends.prepare(write) } else { files.prepare(write) }
  }

  mutating func open(_ directory: Int32, _ path: UnsafePointer<CChar>, flags: Int32, mode: UInt32, token: Token) {
    files.prepare(
      FileJob(
        kind: .open, token: token, descriptor: directory, memory: Self.copy([path]), flags: flags, mode: mode))
  }

  mutating func openNow(_ directory: Int32, _ path: UnsafePointer<CChar>, flags: Int32, mode: UInt32) -> Int32? {
    let descriptor = openFile(path, in: directory, flags: flags, mode: mode)
    guard descriptors.reserve(descriptor) else { return -errno }
    descriptors[descriptor].flags.insert(.closesAtOnce)
    return descriptor
  }

  mutating func truncate(_ file: Int32, to bytes: UInt64, token: Token) {
    files.prepare(FileJob(kind: .truncate, token: token, descriptor: file, offset: Int64(clamping: bytes)))
  }

  mutating func rename(_ directory: Int32, from: UnsafePointer<CChar>, to: UnsafePointer<CChar>, token: Token) {
    files.prepare(FileJob(kind: .rename, token: token, descriptor: directory, memory: Self.copy([from, to])))
  }

  mutating func unlink(_ directory: Int32, _ path: UnsafePointer<CChar>, token: Token) {
    files.prepare(FileJob(kind: .unlink, token: token, descriptor: directory, memory: Self.copy([path])))
  }

  private static func copy(_ vectors: UnsafeMutableBufferPointer<iovec>) -> UnsafeMutableRawPointer {
    let copy = UnsafeMutablePointer<iovec>.allocate(capacity: vectors.count)
    copy.initialize(from: vectors.baseAddress!, count: vectors.count)
    return UnsafeMutableRawPointer(copy)
  }

  /// Paths, one behind the other, each with its end.
  private static func copy(_ paths: [UnsafePointer<CChar>]) -> UnsafeMutableRawPointer {
    let copy = UnsafeMutableRawPointer.allocate(byteCount: paths.reduce(0) { $0 + strlen($1) + 1 }, alignment: 1)
    var place = copy
    for path in paths {
      place.copyMemory(from: path, byteCount: strlen(path) + 1)
      place += strlen(path) + 1
    }
    return copy
  }

  // MARK: Operations

  @inline(__always)
  private mutating func complete(_ token: Token, _ result: Int32, buffer: Int32 = -1, more: Bool = false) {
    completions.append(Completion(token: token, result: result, buffer: buffer, more: more))
  }

  /// Does an operation, or keeps it until its descriptor is ready.
  private mutating func start(_ operation: WaitingOperation, on descriptor: Int32) {
    guard descriptors.reserve(descriptor) else {
      complete(operation.token, -EBADF)
      return
    }
    guard !work(operation, on: descriptor, 0) else {
      operation.free()
      return
    }
    if !descriptors[descriptor].flags.contains(.isRegistered), let error = register(descriptor) {
      complete(operation.token, -error)
      operation.free()
      return
    }
    let place = operations.add(operation)
    guard descriptors[descriptor].first >= 0 else {
      descriptors[descriptor].first = place
      return
    }
    var last = descriptors[descriptor].first
    while operations[last].next >= 0 { last = operations[last].next }
    operations[last].next = place
  }

  /// Has a descriptor told of: at once if it is ready now. The error if that cannot be.
  private mutating func register(_ descriptor: Int32) -> Int32? {
    let token = UInt64(descriptors[descriptor].generation) << 32 | UInt64(UInt32(bitPattern: descriptor))
    let result = uring_epoll_add(epoll, descriptor, uring_epoll_everything, token)
    switch -result {
    case 0, EEXIST:
      descriptors[descriptor].flags.insert(.isRegistered)
      return nil
    case ENOSPC:
      // fs.epoll.max_user_watches is memory, too.
      return ENOMEM
    default:
      return -result
    }
  }

  /// Goes through the operations on a descriptor, in their order, and removes those that `body` says are over.
  private mutating func visit(_ descriptor: Int32, _ body: (inout EpollRing, Int32) -> Bool) {
    var before: Int32 = -1
    var place = descriptors[descriptor].first
    while place >= 0 {
      let isOver = body(&self, place)
      let next = operations[place].next
      if isOver {
        operations[place].free()
        operations.remove(place)
        if before < 0 { descriptors[descriptor].first = next } else { operations[before].next = next }
      } else {
        before = place
      }
      place = next
    }
  }

  /// Tries an operation: whether it is over.
  ///
  /// - Parameter found: what the descriptor was just found ready for; 0 when it was not looked at.
  private mutating func work(_ operation: WaitingOperation, on descriptor: Int32, _ found: UInt32) -> Bool {
    switch operation.kind {
    case .accept: return workAccept(operation, descriptor)
    case .connect: return workConnect(operation, descriptor)
    case .receive: return workReceive(operation, descriptor)
    case .send, .sendVectors: return workSend(operation, descriptor)
    case .read: return workRead(operation, descriptor)
    case .poll:
      let events = found & (operation.events | uring_epoll_error | uring_epoll_hang_up)
      if events != 0 { complete(operation.token, Int32(bitPattern: events)) }
      return events != 0
    }
  }

  private mutating func workAccept(_ operation: WaitingOperation, _ listener: Int32) -> Bool {
    var accepted = 0
    while descriptors[listener].flags.contains(.mayRead) {
      let result = uring_accept(listener)
      if result == -EAGAIN {
        descriptors[listener].flags.remove(.mayRead)
        break
      }
      if result == -EINTR { continue }
      accepted += 1
      // No more than a backlog, for which there was room when this began.
      let more = result >= 0 && operation.isMultishot && accepted < Limits.backlog
      if result >= 0 { isLeg(result, isTCP: descriptors[listener].flags.contains(.isTCP)) }
      complete(operation.token, result, more: more)
      if !more { return true }
    }
    return false
  }

  private mutating func workConnect(_ operation: WaitingOperation, _ socket: Int32) -> Bool {
    guard descriptors[socket].flags.contains(.mayWrite) else { return false }
    var error: Int32 = 0
    var size = socklen_t(MemoryLayout<Int32>.size)
    let result = getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size)
    complete(operation.token, result < 0 ? -errno : -error)
    return true
  }

  private mutating func workReceive(_ operation: WaitingOperation, _ socket: Int32) -> Bool {
    var total = 0
    while descriptors[socket].flags.contains(.mayRead) {
      guard buffers.freeCount > 0 else {
        complete(operation.token, -ENOBUFS)
        return true
      }
      let offered = operation.isBundle ? min(Self.bundleBuffers, buffers.freeCount) : 1
      let count = receiveNow(socket, offered)
      if count == -EAGAIN {
        descriptors[socket].flags.remove(.mayRead)
        return false
      }
      if count == -EINTR { continue }
      guard count > 0 else {
        complete(operation.token, Int32(truncatingIfNeeded: count))
        return true
      }
      if count < offered * bufferBytes { noteEmptied(socket) }
      let first = buffers.candidate(0)
      buffers.take((count + bufferBytes - 1) / bufferBytes)
      total += count
      let more = operation.isMultishot && total < Limits.receiveBytesPerArming
      complete(
        operation.token, Int32(truncatingIfNeeded: count), buffer: Int32(truncatingIfNeeded: first), more: more)
      if !more { return true }
    }
    return false
  }

  /// Receives into the first free buffers: bytes, 0 at the end of the stream, or a negative error number.
  private func receiveNow(_ socket: Int32, _ offered: Int) -> Int {
    let count: Int
    if offered == 1 {
      count = recv(socket, buffers.address(buffers.candidate(0)), bufferBytes, Int32(MSG_DONTWAIT))
    } else {
      for place in 0..<offered {
        vectors[place] = iovec(iov_base: buffers.address(buffers.candidate(place)), iov_len: bufferBytes)
      }
      var message = msghdr()
      message.msg_iov = vectors
      message.msg_iovlen = offered
      count = recvmsg(socket, &message, Int32(MSG_DONTWAIT))
    }
    return count < 0 ? -Int(errno) : count
  }

  /// A receive that did not get all that it asked for has emptied a TCP socket, and the next bytes will be told of. That
  /// spares asking once more. It is not so where the end of the stream or an urgent byte was told of already, at which
  /// receives stop, and on unix sockets, where they stop behind a message with descriptors.
  private mutating func noteEmptied(_ socket: Int32) {
    let flags = descriptors[socket].flags
    if flags.contains(.isTCP), !flags.contains(.mustDrain) { descriptors[socket].flags.remove(.mayRead) }
  }

  private mutating func workSend(_ operation: WaitingOperation, _ socket: Int32) -> Bool {
    guard descriptors[socket].flags.contains(.mayWrite) else { return false }
    let result: Int32
    if operation.kind == .sendVectors {
      result = sendNow(socket, operation.memory!.assumingMemoryBound(to: iovec.self), operation.count)
    } else {
      let flags = Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL)
      let count = Glibc.send(socket, operation.memory, operation.count, flags)
      result = count < 0 ? -errno : Int32(truncatingIfNeeded: count)
    }
    guard result == -EAGAIN else {
      complete(operation.token, result)
      return true
    }
    descriptors[socket].flags.remove(.mayWrite)
    return false
  }

  private func sendNow(_ socket: Int32, _ vectors: UnsafeMutablePointer<iovec>, _ number: Int) -> Int32 {
    var message = msghdr()
    message.msg_iov = vectors
    message.msg_iovlen = number
    let count = sendmsg(socket, &message, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
    return count < 0 ? -errno : Int32(truncatingIfNeeded: count)
  }

  /// These descriptors wait when they are read from too early, so they are looked at before.
  private mutating func workRead(_ operation: WaitingOperation, _ file: Int32) -> Bool {
    var ready = pollfd(fd: file, events: Int16(POLLIN), revents: 0)
    guard Glibc.poll(&ready, 1, 0) > 0 else { return false }
    let count = Glibc.read(file, operation.memory, operation.count)
    complete(operation.token, count < 0 ? -errno : Int32(truncatingIfNeeded: count))
    return true
  }

  // MARK: Waiting

  mutating func submitAndWait(nanoseconds: UInt64?) throws(Errno) {
    files.submit()
    appends.submit()
    // Further away than anybody waits is without end, and adds up without an overflow.
    let deadline = nanoseconds.map { now().nanoseconds + min($0, 1 << 62) }
    while true {
      var wait: Int64 = -1
      if !completions.isEmpty {
        // What has come is taken along.
        wait = 0
      } else if let deadline {
        let now = now().nanoseconds
        wait = now < deadline ? Int64(clamping: deadline - now) : 0
      }
      let count = uring_epoll_wait(epoll, events, Int32(URING_EPOLL_EVENTS), wait)
      guard count >= 0 else {
        guard count == -EINTR else { throw Errno(-count) }
        return
      }
      for place in 0..<Int(count) { noteReady(events[place]) }
      if !completions.isEmpty || wait == 0 { return }
    }
  }

  /// A descriptor became ready: what waited for that is done.
  private mutating func noteReady(_ event: uring_event) {
    guard event.token != Self.jobsToken else {
      takeJobs()
      return
    }
    let descriptor = Int32(truncatingIfNeeded: event.token)
    guard descriptors[descriptor].generation == UInt32(truncatingIfNeeded: event.token >> 32) else { return }
    let broken = uring_epoll_error | uring_epoll_hang_up
    if event.events & (uring_epoll_readable | uring_epoll_urgent | uring_epoll_read_hang_up | broken) != 0 {
      descriptors[descriptor].flags.insert(.mayRead)
    }
    if event.events & (uring_epoll_urgent | uring_epoll_read_hang_up | broken) != 0 {
      descriptors[descriptor].flags.insert(.mustDrain)
    }
    if event.events & (uring_epoll_writable | broken) != 0 { descriptors[descriptor].flags.insert(.mayWrite) }
    visit(descriptor) { ring, place in ring.work(ring.operations[place], on: descriptor, event.events) }
  }

  private mutating func takeJobs() {
    var number: eventfd_t = 0
    _ = eventfd_read(jobsDone, &number)
    for workers in [files, appends] {
      workers.takeDone { complete($0.token, $0.result) }
    }
  }

  mutating func takeCompletions(into taken: UnsafeMutableBufferPointer<Completion>) -> Int {
    completions.take(into: taken)
  }
}
