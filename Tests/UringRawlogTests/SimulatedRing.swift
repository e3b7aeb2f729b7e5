import Glibc

@testable import UringRawlog

/// The seam's other side: a ring whose kernel is a `SimulatedWorld`.
struct SimulatedRing: Ring, ~Copyable {
  let world: SimulatedWorld

  var bufferCount: Int { world.bufferCount }
  var bufferBytes: Int { world.bufferBytes }
  var hasBundles: Bool { world.hasBundles }
  var hasMultishotAccept: Bool { true }
  func bufferAddress(_ buffer: Int) -> UnsafeMutableRawPointer { world.memory + buffer * world.bufferBytes }
  func bufferAfter(_ buffer: Int) -> Int { world.bufferAfter(buffer) }
  mutating func returnBuffer(_ buffer: Int) { world.returnBuffer(buffer) }

  private func submit(_ kind: SimulatedWorld.Operation.Kind, _ descriptor: Int32, _ token: Token) {
    world.submit(SimulatedWorld.Operation(kind: kind, descriptor: descriptor, token: token))
  }

  mutating func accept(_ listener: Int32, multishot: Bool, token: Token) {
    submit(.accept(multishot: multishot), listener, token)
  }
  mutating func connect(_ socket: Int32, to address: UnsafePointer<SocketAddress>, token: Token) {
    submit(token.kind == .connectCollector ? .connectCollector : .connect, socket, token)
  }
  mutating func receive(_ socket: Int32, multishot: Bool, bundle: Bool, isQuiet: Bool, token: Token) {
    submit(.receive(multishot: multishot, bundle: bundle), socket, token)
  }
  mutating func send(_ socket: Int32, _ bytes: UnsafeRawBufferPointer, token: Token) {
    submit(.send([bytes]), socket, token)
  }
  mutating func send(_ socket: Int32, _ vectors: UnsafeMutableBufferPointer<iovec>, token: Token) {
    submit(.send(vectors.map { UnsafeRawBufferPointer(start: $0.iov_base, count: $0.iov_len) }), socket, token)
  }
  mutating func write(_ file: Int32, _ bytes: UnsafeRawBufferPointer, offset: Int64, token: Token) {
    submit(.write([bytes], offset: offset), file, token)
  }
  mutating func write(
    _ file: Int32, _ vectors: UnsafeMutableBufferPointer<iovec>, offset: Int64, token: Token
  ) {
    let pieces = vectors.map { UnsafeRawBufferPointer(start: $0.iov_base, count: $0.iov_len) }
    submit(.write(pieces, offset: offset), file, token)
  }
  mutating func read(_ file: Int32, _ bytes: UnsafeMutableRawBufferPointer, token: Token) {}
  mutating func open(_ directory: Int32, _ path: UnsafePointer<CChar>, flags: Int32, mode: UInt32, token: Token) {
    precondition(flags == O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC && mode == 0o600)
    submit(.open(path: String(cString: path)), directory, token)
  }
  func answersAtOnce(_ directory: Int32) -> Bool { world.faults.fileSlow != 1 }
  mutating func openNow(_ directory: Int32, _ path: UnsafePointer<CChar>, flags: Int32, mode: UInt32) -> Int32? {
    precondition(flags == O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC && mode == 0o600)
    return world.now(.open(path: String(cString: path)), directory)
  }
  mutating func writeNow(_ file: Int32, _ vectors: UnsafeMutableBufferPointer<iovec>, offset: Int64) -> Int32? {
    let pieces = vectors.map { UnsafeRawBufferPointer(start: $0.iov_base, count: $0.iov_len) }
    return world.now(.write(pieces, offset: offset), file)
  }
  mutating func truncate(_ file: Int32, to bytes: UInt64, token: Token) {
    submit(.truncate(bytes: Int(bytes)), file, token)
  }
  mutating func rename(
    _ directory: Int32, from: UnsafePointer<CChar>, to: UnsafePointer<CChar>, token: Token
  ) {
    submit(.rename(from: String(cString: from), to: String(cString: to)), directory, token)
  }
  func lock(_ file: Int32) { world.lock(file) }
  mutating func unlink(_ directory: Int32, _ path: UnsafePointer<CChar>, token: Token) {
    submit(.unlink(path: String(cString: path)), directory, token)
  }
  mutating func close(_ descriptor: Int32, token: Token) { submit(.close, descriptor, token) }
  mutating func poll(_ socket: Int32, events: UInt32, token: Token) { submit(.poll(events: events), socket, token) }
  mutating func cancel(_ target: Token, on descriptor: Int32, token: Token) { submit(.cancel(target), -1, token) }
  mutating func cancelAll(on descriptor: Int32, token: Token) { submit(.cancelAll, descriptor, token) }

  mutating func submitAndWait(nanoseconds: UInt64?) throws(Errno) { try world.run(nanoseconds: nanoseconds) }

  mutating func takeCompletions(into completions: UnsafeMutableBufferPointer<Completion>) -> Int {
    let taken = world.takeCompletions(completions.count)
    for (place, completion) in taken.enumerated() { completions[place] = completion }
    return taken.count
  }

  func now() -> Instant { world.now }
  mutating func makeSocket(family: Int32) throws(Errno) -> Int32 { world.makeSocket() }
  func makeNonblocking(_ socket: Int32) -> Bool { world.makeNonblocking(socket) }
  mutating func makePipe(bytes: Int) throws(Errno) -> Pipe { try world.makePipe(bytes) }
  func close(_ pipe: Pipe) { world.close(pipe) }
  func splice(from: Int32, to: Int32, bytes: Int) -> Int { world.splice(from, to, bytes) }
  func sendNow(_ socket: Int32, _ bytes: UnsafeRawBufferPointer) { world.sendNow(socket, bytes) }
  func shutdownSending(_ socket: Int32) { world.shutdown(socket) }
  func isDelivered(_ socket: Int32) -> Bool { world.isDelivered() }
  func isHungUp(_ socket: Int32) -> Bool { world.isHungUp(socket) }
  func peerAddress(of socket: Int32) -> PeerAddress? {
    // The client's number is its address, so that a record in the index names its client.
    world.peer(socket).map { PeerAddress(ipv4: $0.address, port: UInt16(truncatingIfNeeded: $0.number)) }
  }
  func peerPath(of socket: Int32) -> String? { nil }
  func localAddress(of socket: Int32) -> PeerAddress? { PeerAddress(ipv4: 0x7F00_0001, port: 143) }
  func localPort(of socket: Int32) -> UInt16? { 143 }
  mutating func openDirectory(_ path: String) -> Int32? { nil }
}
