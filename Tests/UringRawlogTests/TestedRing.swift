import Glibc

@testable import UringRawlog

/// One of the real rings, so that the same tests go over each.
struct TestedRing: Ring, ~Copyable {
  enum Engine: CaseIterable {
    case uring, epoll

    /// Those that this machine allows.
    static let allowed = RealRing.isAllowed ? allCases : [.epoll]
  }

  // One of them is there.
  private var uring: KernelRing?
  private var epoll: EpollRing?

  static func make(
    _ engine: Engine, entries: Int = Limits.submissionEntries, bufferCount: Int = Limits.receiveBuffers,
    bufferBytes: Int = Limits.receiveBufferBytes, without: RingFeatures = []
  ) throws(Errno) -> TestedRing {
    switch engine {
    case .uring:
      TestedRing(
        uring: try KernelRing.make(
          entries: entries, bufferCount: bufferCount, bufferBytes: bufferBytes, without: without))
    case .epoll:
      TestedRing(
        epoll: try EpollRing.make(
          entries: entries, bufferCount: bufferCount, bufferBytes: bufferBytes, without: without))
    }
  }

  private init(uring: consuming KernelRing) {
    (bufferCount, bufferBytes) = (uring.bufferCount, uring.bufferBytes)
    (hasBundles, hasMultishotAccept) = (uring.hasBundles, uring.hasMultishotAccept)
    self.uring = consume uring
    epoll = nil
  }

  private init(epoll: consuming EpollRing) {
    (bufferCount, bufferBytes) = (epoll.bufferCount, epoll.bufferBytes)
    (hasBundles, hasMultishotAccept) = (epoll.hasBundles, epoll.hasMultishotAccept)
    uring = nil
    self.epoll = consume epoll
  }

  private var isUring: Bool { uring != nil }

  let bufferCount: Int
  let bufferBytes: Int
  let hasBundles: Bool
  let hasMultishotAccept: Bool
  func bufferAddress(_ buffer: Int) -> UnsafeMutableRawPointer {
    if isUring { return uring!.bufferAddress(buffer) } else { return epoll!.bufferAddress(buffer) }
  }
  func bufferAfter(_ buffer: Int) -> Int {
    if isUring { return uring!.bufferAfter(buffer) } else { return epoll!.bufferAfter(buffer) }
  }
  mutating func returnBuffer(_ buffer: Int) {
    if isUring { uring!.returnBuffer(buffer) } else { epoll!.returnBuffer(buffer) }
  }
  mutating func accept(_ listener: Int32, multishot: Bool, token: Token) {
    if isUring {
      uring!.accept(listener, multishot: multishot, token: token)
    } else {
      epoll!.accept(listener, multishot: multishot, token: token)
    }
  }
  mutating func connect(_ socket: Int32, to address: UnsafePointer<SocketAddress>, token: Token) {
    if isUring {
      uring!.connect(socket, to: address, token: token)
    } else {
      epoll!.connect(socket, to: address, token: token)
    }
  }
  mutating func receive(_ socket: Int32, multishot: Bool, bundle: Bool, isQuiet: Bool, token: Token) {
    if isUring {
      uring!.receive(socket, multishot: multishot, bundle: bundle, isQuiet: isQuiet, token: token)
    } else {
      epoll!.receive(socket, multishot: multishot, bundle: bundle, isQuiet: isQuiet, token: token)
    }
  }
  mutating func send(_ socket: Int32, _ bytes: UnsafeRawBufferPointer, token: Token) {
    if isUring { uring!.send(socket, bytes, token: token) } else { epoll!.send(socket, bytes, token: token) }
  }
  mutating func send(_ socket: Int32, _ vectors: UnsafeMutableBufferPointer<iovec>, token: Token) {
    if isUring { uring!.send(socket, vectors, token: token) } else { epoll!.send(socket, vectors, token: token) }
  }
  mutating func write(_ file: Int32, _ bytes: UnsafeRawBufferPointer, offset: Int64, token: Token) {
    if isUring {
      uring!.write(file, bytes, offset: offset, token: token)
    } else {
      epoll!.write(file, bytes, offset: offset, token: token)
    }
  }
  mutating func write(_ file: Int32, _ vectors: UnsafeMutableBufferPointer<iovec>, offset: Int64, token: Token) {
    if isUring {
      uring!.write(file, vectors, offset: offset, token: token)
    } else {
      epoll!.write(file, vectors, offset: offset, token: token)
    }
  }
  mutating func read(_ file: Int32, _ bytes: UnsafeMutableRawBufferPointer, token: Token) {
    if isUring { uring!.read(file, bytes, token: token) } else { epoll!.read(file, bytes, token: token) }
  }
  mutating func open(_ directory: Int32, _ path: UnsafePointer<CChar>, flags: Int32, mode: UInt32, token: Token) {
    if isUring {
      uring!.open(directory, path, flags: flags, mode: mode, token: token)
    } else {
      epoll!.open(directory, path, flags: flags, mode: mode, token: token)
    }
  }
  func answersAtOnce(_ directory: Int32) -> Bool {
    if isUring { return uring!.answersAtOnce(directory) } else { return epoll!.answersAtOnce(directory) }
  }
  mutating func openNow(_ directory: Int32, _ path: UnsafePointer<CChar>, flags: Int32, mode: UInt32) -> Int32? {
    if isUring {
      return uring!.openNow(directory, path, flags: flags, mode: mode)
    } else {
      return epoll!.openNow(directory, path, flags: flags, mode: mode)
    }
  }
  mutating func writeNow(_ file: Int32, _ vectors: UnsafeMutableBufferPointer<iovec>, offset: Int64) -> Int32? {
    if isUring {
      return uring!.writeNow(file, vectors, offset: offset)
    } else {
      return epoll!.writeNow(file, vectors, offset: offset)
    }
  }
  mutating func truncate(_ file: Int32, to bytes: UInt64, token: Token) {
    if isUring {
      uring!.truncate(file, to: bytes, token: token)
    } else {
      epoll!.truncate(file, to: bytes, token: token)
    }
  }
  mutating func rename(_ directory: Int32, from: UnsafePointer<CChar>, to: UnsafePointer<CChar>, token: Token) {
    if isUring {
      uring!.rename(directory, from: from, to: to, token: token)
    } else {
      epoll!.rename(directory, from: from, to: to, token: token)
    }
  }
  mutating func unlink(_ directory: Int32, _ path: UnsafePointer<CChar>, token: Token) {
    if isUring { uring!.unlink(directory, path, token: token) } else { epoll!.unlink(directory, path, token: token) }
  }
  mutating func close(_ descriptor: Int32, token: Token) {
    if isUring { uring!.close(descriptor, token: token) } else { epoll!.close(descriptor, token: token) }
  }
  mutating func poll(_ socket: Int32, events: UInt32, token: Token) {
    if isUring {
      uring!.poll(socket, events: events, token: token)
    } else {
      epoll!.poll(socket, events: events, token: token)
    }
  }
  mutating func cancel(_ target: Token, on descriptor: Int32, token: Token) {
    if isUring {
      uring!.cancel(target, on: descriptor, token: token)
    } else {
      epoll!.cancel(target, on: descriptor, token: token)
    }
  }
  mutating func cancelAll(on descriptor: Int32, token: Token) {
    if isUring {
      uring!.cancelAll(on: descriptor, token: token)
    } else {
      epoll!.cancelAll(on: descriptor, token: token)
    }
  }
  mutating func submitAndWait(nanoseconds: UInt64?) throws(Errno) {
    if isUring {
      try uring!.submitAndWait(nanoseconds: nanoseconds)
    } else {
      try epoll!.submitAndWait(nanoseconds: nanoseconds)
    }
  }
  mutating func takeCompletions(into completions: UnsafeMutableBufferPointer<Completion>) -> Int {
    if isUring {
      return uring!.takeCompletions(into: completions)
    } else {
      return epoll!.takeCompletions(into: completions)
    }
  }
  func now() -> Instant {
    if isUring { return uring!.now() } else { return epoll!.now() }
  }
  mutating func makeSocket(family: Int32) throws(Errno) -> Int32 {
    if isUring { return try uring!.makeSocket(family: family) } else { return try epoll!.makeSocket(family: family) }
  }
  func makeNonblocking(_ socket: Int32) -> Bool {
    if isUring { return uring!.makeNonblocking(socket) } else { return epoll!.makeNonblocking(socket) }
  }
  mutating func makePipe(bytes: Int) throws(Errno) -> Pipe {
    if isUring { return try uring!.makePipe(bytes: bytes) } else { return try epoll!.makePipe(bytes: bytes) }
  }
  func close(_ pipe: Pipe) {
    if isUring { uring!.close(pipe) } else { epoll!.close(pipe) }
  }
  func splice(from: Int32, to: Int32, bytes: Int) -> Int {
    if isUring {
      return uring!.splice(from: from, to: to, bytes: bytes)
    } else {
      return epoll!.splice(from: from, to: to, bytes: bytes)
    }
  }
  func sendNow(_ socket: Int32, _ bytes: UnsafeRawBufferPointer) {
    if isUring { uring!.sendNow(socket, bytes) } else { epoll!.sendNow(socket, bytes) }
  }
  func shutdownSending(_ socket: Int32) {
    if isUring { uring!.shutdownSending(socket) } else { epoll!.shutdownSending(socket) }
  }
  func isDelivered(_ socket: Int32) -> Bool {
    if isUring { return uring!.isDelivered(socket) } else { return epoll!.isDelivered(socket) }
  }
  func isHungUp(_ socket: Int32) -> Bool {
    if isUring { return uring!.isHungUp(socket) } else { return epoll!.isHungUp(socket) }
  }
  func peerAddress(of socket: Int32) -> PeerAddress? {
    if isUring { return uring!.peerAddress(of: socket) } else { return epoll!.peerAddress(of: socket) }
  }
  func peerPath(of socket: Int32) -> String? {
    if isUring { return uring!.peerPath(of: socket) } else { return epoll!.peerPath(of: socket) }
  }
  func localPort(of socket: Int32) -> UInt16? {
    if isUring { return uring!.localPort(of: socket) } else { return epoll!.localPort(of: socket) }
  }
  func localAddress(of socket: Int32) -> PeerAddress? {
    if isUring { return uring!.localAddress(of: socket) } else { return epoll!.localAddress(of: socket) }
  }
  func lock(_ file: Int32) {
    if isUring { uring!.lock(file) } else { epoll!.lock(file) }
  }
  mutating func openDirectory(_ path: String) -> Int32? {
    if isUring { return uring!.openDirectory(path) } else { return epoll!.openDirectory(path) }
  }
}
