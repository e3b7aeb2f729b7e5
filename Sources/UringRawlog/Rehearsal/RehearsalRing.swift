import Glibc

/// A ring without a kernel, over which the loop can be counted: the same script takes the same instructions each time.
///
/// Every operation succeeds at once and in full, and completes with the next `submitAndWait`. Clients come, messages
/// arrive and streams end when the rehearsal says so. It is part of the library because generics are specialised within
/// a module only: a loop over a ring of another module would not be the loop that is meant.
///
/// Nothing is allocated after its start, so its own share is small and constant. Its operations are not inlined, which
/// keeps that share apart from the loop's in a profile.
struct RehearsalRing: Ring, ~Copyable {
  /// What every message is: one line, which lies in each receive buffer from the start.
  static let message: StaticString = "A0001 UID FETCH 4711 (UID FLAGS INTERNALDATE BODY.PEEK[HEADER])\n"
  static let messageBytes = message.utf8CodeUnitCount

  /// Descriptors below are the environment's: the listener, the index, the directory.
  private static let firstDescriptor: Int32 = 10
  private static let descriptorCapacity = 1024
  private static let completionCapacity = 4096
  static let listener: Int32 = 3
  static let index: Int32 = 4
  static let directory: Int32 = 5

  /// How much time passes with each turn.
  let turnNanoseconds: UInt64
  private var clock = Instant(nanoseconds: 1_000_000_000, epochMicroseconds: 1_700_000_000_000_000)

  let bufferCount = Limits.receiveBuffers
  let bufferBytes = Limits.receiveBufferBytes
  let hasBundles = true
  let hasMultishotAccept = true
  private let memory: UnsafeMutableRawPointer
  /// Free buffers in the order in which they came back, as the kernel takes them.
  private var freeBuffers: SlotQueue

  /// Completions of what was prepared since the last `submitAndWait`, and those that can be taken.
  private var prepared: UnsafeMutablePointer<Completion>
  private var preparedCount = 0
  private var visible: UnsafeMutablePointer<Completion>
  private var visibleCount = 0
  private var takenCount = 0

  /// By descriptor: the token of the receive that is armed on it; 0 without.
  private let receives: UnsafeMutablePointer<UInt64>
  private let freeDescriptors: UnsafeMutablePointer<Int32>
  private var freeDescriptorCount: Int
  private var acceptToken: Token?

  /// The sockets of the sessions that came since `forgetSessions`, in their order.
  private let clients: UnsafeMutablePointer<Int32>
  private let servers: UnsafeMutablePointer<Int32>
  private(set) var clientCount = 0
  private(set) var serverCount = 0

  // What was done, for the rehearsal to compare.
  private(set) var sentBytes = 0
  private(set) var recordedBytes = 0
  private(set) var filesMade = 0
  private(set) var indexLines = 0
  private(set) var connections = 0

  /// - Throws: ENOMEM when there is no address space for the receive buffers.
  static func make(turnNanoseconds: UInt64) throws(Errno) -> RehearsalRing {
    guard let memory = mapMemory(Limits.receiveBuffers * Limits.receiveBufferBytes) else { throw Errno(ENOMEM) }
    return RehearsalRing(memory: memory, turnNanoseconds: turnNanoseconds)
  }

  private init(memory: UnsafeMutableRawPointer, turnNanoseconds: UInt64) {
    self.memory = memory
    self.turnNanoseconds = turnNanoseconds
    freeBuffers = SlotQueue(capacity: Limits.receiveBuffers)
    prepared = .allocate(capacity: Self.completionCapacity)
    visible = .allocate(capacity: Self.completionCapacity)
    receives = .allocate(capacity: Self.descriptorCapacity)
    receives.initialize(repeating: 0, count: Self.descriptorCapacity)
    freeDescriptors = .allocate(capacity: Self.descriptorCapacity)
    clients = .allocate(capacity: Self.descriptorCapacity)
    servers = .allocate(capacity: Self.descriptorCapacity)
    freeDescriptorCount = 0
    for descriptor in (Self.firstDescriptor..<Int32(Self.descriptorCapacity)).reversed() {
      freeDescriptors[freeDescriptorCount] = descriptor
      freeDescriptorCount += 1
    }
    for buffer in 0..<bufferCount {
      bufferAddress(buffer).copyMemory(from: Self.message.utf8Start, byteCount: Self.messageBytes)
      freeBuffers.append(UInt64(buffer))
    }
  }

  deinit {
    munmap(memory, bufferCount * bufferBytes)
    prepared.deallocate()
    visible.deallocate()
    receives.deallocate()
    freeDescriptors.deallocate()
    clients.deallocate()
    servers.deallocate()
  }

  // MARK: The script

  var freeBufferCount: Int { freeBuffers.count }
  var openDescriptors: Int { Self.descriptorCapacity - Int(Self.firstDescriptor) - freeDescriptorCount }

  func client(_ session: Int) -> Int32 { clients[session] }
  func server(_ session: Int) -> Int32 { servers[session] }

  /// Clients connect to the listener, which must have a multishot accept.
  mutating func bringClients(_ count: Int) {
    for _ in 0..<count {
      clients[clientCount] = takeDescriptor()
      complete(acceptToken!, clients[clientCount], more: true)
      clientCount += 1
    }
  }

  /// The next clients are counted from 0 again.
  mutating func forgetSessions() {
    clientCount = 0
    serverCount = 0
  }

  /// A message arrives on a socket, on which a receive must be armed.
  @inline(never)
  mutating func bringMessage(on socket: Int32) {
    let token = receives[Int(socket)]
    precondition(token != 0, "a message arrives on a socket that is not read from")
    precondition(!freeBuffers.isEmpty, "a message finds no buffer")
    let buffer = Int32(truncatingIfNeeded: freeBuffers.removeFirst())
    complete(Token(rawValue: token), Int32(Self.messageBytes), buffer: buffer, more: true)
  }

  /// The peer on a socket ends its stream.
  mutating func bringEnd(on socket: Int32) {
    let token = receives[Int(socket)]
    precondition(token != 0, "a stream ends on a socket that is not read from")
    receives[Int(socket)] = 0
    complete(Token(rawValue: token), 0)
  }

  @inline(__always)
  private mutating func complete(_ token: Token, _ result: Int32, buffer: Int32 = -1, more: Bool = false) {
    precondition(preparedCount < Self.completionCapacity, "more completions in a turn than a rehearsal has room for")
    prepared[preparedCount] = Completion(token: token, result: result, buffer: buffer, more: more)
    preparedCount += 1
  }

  private mutating func takeDescriptor() -> Int32 {
    precondition(freeDescriptorCount > 0, "more descriptors than a rehearsal has")
    freeDescriptorCount -= 1
    return freeDescriptors[freeDescriptorCount]
  }

  // MARK: Provided receive buffers

  @inline(__always)
  func bufferAddress(_ buffer: Int) -> UnsafeMutableRawPointer { memory + buffer &* bufferBytes }
  func bufferAfter(_ buffer: Int) -> Int { preconditionFailure("every message fits one buffer") }
  @inline(never)
  mutating func returnBuffer(_ buffer: Int) { freeBuffers.append(UInt64(truncatingIfNeeded: buffer)) }

  // MARK: Submissions

  mutating func accept(_ listener: Int32, multishot: Bool, token: Token) {
    precondition(multishot, "there is room for a multishot accept")
    acceptToken = token
  }

  @inline(never)
  mutating func connect(_ socket: Int32, to address: UnsafePointer<SocketAddress>, token: Token) {
    servers[serverCount] = socket
    serverCount += 1
    connections += 1
    complete(token, 0)
  }

  @inline(never)
  mutating func receive(_ socket: Int32, multishot: Bool, bundle: Bool, isQuiet: Bool, token: Token) {
    precondition(multishot && receives[Int(socket)] == 0, "one multishot receive a socket")
    receives[Int(socket)] = token.rawValue
  }

  @inline(never)
  mutating func send(_ socket: Int32, _ bytes: UnsafeRawBufferPointer, token: Token) {
    checkMessages(bytes)
    sentBytes += bytes.count
    complete(token, Int32(truncatingIfNeeded: bytes.count))
  }

  @inline(never)
  mutating func send(_ socket: Int32, _ vectors: UnsafeMutableBufferPointer<iovec>, token: Token) {
    var total = 0
    for vector in vectors {
      checkMessages(UnsafeRawBufferPointer(start: vector.iov_base, count: vector.iov_len))
      total += vector.iov_len
    }
    sentBytes += total
    complete(token, Int32(truncatingIfNeeded: total))
  }

  /// Eight bytes of a message say that it is the one; comparing all would be counted with the loop.
  @inline(__always)
  private func checkMessages(_ bytes: UnsafeRawBufferPointer) {
    precondition(
      bytes.count == Self.messageBytes
        && bytes.loadUnaligned(as: UInt64.self)
          == UnsafeRawPointer(Self.message.utf8Start).loadUnaligned(as: UInt64.self),
      "what is sent is not what was received")
  }

  @inline(never)
  mutating func write(_ file: Int32, _ bytes: UnsafeRawBufferPointer, offset: Int64, token: Token) {
    if file == Self.index {
      countLines(bytes)
    } else {
      recordedBytes += bytes.count
    }
    complete(token, Int32(truncatingIfNeeded: bytes.count))
  }

  @inline(never)
  mutating func write(_ file: Int32, _ vectors: UnsafeMutableBufferPointer<iovec>, offset: Int64, token: Token) {
    var total = 0
    for vector in vectors { total += vector.iov_len }
    recordedBytes += total
    complete(token, Int32(truncatingIfNeeded: total))
  }

  private mutating func countLines(_ bytes: UnsafeRawBufferPointer) {
    var place = bytes.baseAddress!
    let end = place + bytes.count
    while let feed = memchr(place, Int32(UInt8(ascii: "\n")), end - place) {
      indexLines += 1
      place = UnsafeRawPointer(feed) + 1
    }
  }

  mutating func read(_ file: Int32, _ bytes: UnsafeMutableRawBufferPointer, token: Token) {
    preconditionFailure("a rehearsal has no signals")
  }

  @inline(never)
  mutating func open(_ directory: Int32, _ path: UnsafePointer<CChar>, flags: Int32, mode: UInt32, token: Token) {
    filesMade += 1
    complete(token, takeDescriptor())
  }

  func answersAtOnce(_ directory: Int32) -> Bool { false }
  // What both ways cost here is the loop's own work; the way over the ring is the longer one.
  mutating func openNow(_ directory: Int32, _ path: UnsafePointer<CChar>, flags: Int32, mode: UInt32) -> Int32? { nil }
  mutating func writeNow(_ file: Int32, _ vectors: UnsafeMutableBufferPointer<iovec>, offset: Int64) -> Int32? { nil }

  mutating func truncate(_ file: Int32, to bytes: UInt64, token: Token) {
    preconditionFailure("no write fails")
  }

  mutating func rename(
    _ directory: Int32, from: UnsafePointer<CChar>, to: UnsafePointer<CChar>, token: Token
  ) {
    complete(token, 0)
  }

  func lock(_ file: Int32) {}

  mutating func unlink(_ directory: Int32, _ path: UnsafePointer<CChar>, token: Token) {
    preconditionFailure("every name is free")
  }

  @inline(never)
  mutating func close(_ descriptor: Int32, token: Token) {
    if descriptor >= Self.firstDescriptor {
      precondition(receives[Int(descriptor)] == 0, "a socket is closed that is still read from")
      freeDescriptors[freeDescriptorCount] = descriptor
      freeDescriptorCount += 1
    }
    complete(token, 0)
  }

  mutating func poll(_ socket: Int32, events: UInt32, token: Token) {
    preconditionFailure("nothing is spliced")
  }

  mutating func cancel(_ target: Token, on descriptor: Int32, token: Token) {
    preconditionFailure("nothing is called back but what is on the listener")
  }

  mutating func cancelAll(on descriptor: Int32, token: Token) {
    precondition(descriptor == Self.listener, "nothing is called back but what is on the listener")
    if let acceptToken { complete(acceptToken, -ECANCELED) }
    acceptToken = nil
    complete(token, 1)
  }

  @inline(never)
  mutating func submitAndWait(nanoseconds: UInt64?) throws(Errno) {
    precondition(takenCount == visibleCount, "completions were left behind")
    swap(&prepared, &visible)
    visibleCount = preparedCount
    preparedCount = 0
    takenCount = 0
    clock.nanoseconds &+= turnNanoseconds
    clock.epochMicroseconds &+= Int64(turnNanoseconds / 1000)
  }

  @inline(never)
  mutating func takeCompletions(into completions: UnsafeMutableBufferPointer<Completion>) -> Int {
    let count = min(visibleCount - takenCount, completions.count)
    completions.baseAddress!.update(from: visible + takenCount, count: count)
    takenCount += count
    return count
  }

  // MARK: Calls beside the ring

  func now() -> Instant { clock }
  mutating func makeSocket(family: Int32) throws(Errno) -> Int32 { takeDescriptor() }
  func makeNonblocking(_ socket: Int32) -> Bool { preconditionFailure("nothing is spliced") }
  mutating func makePipe(bytes: Int) throws(Errno) -> Pipe { preconditionFailure("nothing is spliced") }
  func close(_ pipe: Pipe) { preconditionFailure("nothing is spliced") }
  func splice(from: Int32, to: Int32, bytes: Int) -> Int { preconditionFailure("nothing is spliced") }
  func sendNow(_ socket: Int32, _ bytes: UnsafeRawBufferPointer) {}
  func shutdownSending(_ socket: Int32) {}
  func isDelivered(_ socket: Int32) -> Bool { true }
  func isHungUp(_ socket: Int32) -> Bool { false }
  func peerAddress(of socket: Int32) -> PeerAddress? {
    PeerAddress(ipv4: 0x7F00_0001, port: 40000 &+ UInt16(truncatingIfNeeded: socket))
  }
  func peerPath(of socket: Int32) -> String? { nil }
  func localAddress(of socket: Int32) -> PeerAddress? { nil }
  func localPort(of socket: Int32) -> UInt16? { 143 }
  mutating func openDirectory(_ path: String) -> Int32? { nil }
}
