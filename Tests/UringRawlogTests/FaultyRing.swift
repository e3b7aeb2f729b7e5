import Glibc

@testable import UringRawlog

/// The simulated ring with one bug planted between the loop and its kernel, so that the oracles can be seen to notice.
struct FaultyRing: Ring, ~Copyable {
  enum Fault: CaseIterable {
    case none
    /// One relayed byte is changed on its way.
    case corruptedSend
    /// What one send delivered arrives twice.
    case repeatedSend
    /// One send goes to another session's socket.
    case misdirectedSend
    /// A receive buffer is never given back.
    case lostBuffer
    /// One recorded byte is changed on its way.
    case corruptedWrite
    /// Part of a recording is written to another file.
    case misdirectedWrite
    /// A receive buffer that is just being written is filled anew, as one would be that was given back too early.
    case earlyRefill
    /// A descriptor is never closed.
    case lostClose
    /// A descriptor is closed while something is in flight on it.
    case earlyClose
    /// The end of a stream is passed on twice.
    case repeatedShutdown
    /// Bytes are spliced to another session's socket.
    case misdirectedSplice
    /// What one splice moved is not counted.
    case miscountedSplice
    /// A pipe is never closed.
    case lostPipe
    /// Bytes stay behind in a pipe that the next flow gets.
    case leftInPipe

    /// It shows only in what is spliced.
    var isOfSplice: Bool {
      switch self {
      case .misdirectedSplice, .miscountedSplice, .lostPipe, .leftInPipe: true
      case .none, .corruptedSend, .repeatedSend, .misdirectedSend, .lostBuffer, .corruptedWrite, .misdirectedWrite,
        .earlyRefill, .lostClose, .earlyClose, .repeatedShutdown:
        false
      }
    }
  }

  /// Counts the chances that the bug had, and strikes at one of them.
  final class Plant {
    let fault: Fault
    private var chances: Int
    private(set) var hasStruck = false
    /// Bytes that were changed; the kernel reads them later.
    private var changed: [UnsafeMutableRawBufferPointer] = []
    var lastSocket: Int32 = -1
    var lastFile: Int32 = -1

    init(_ fault: Fault, chance: Int) {
      self.fault = fault
      chances = chance
    }

    deinit { for bytes in changed { bytes.deallocate() } }

    func strikes(_ candidate: Fault) -> Bool {
      guard candidate == fault, !hasStruck else { return false }
      chances -= 1
      hasStruck = chances < 0
      return hasStruck
    }

    /// Changes the first byte, which is taken even when not all are.
    func change(_ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
      let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
      copy.copyMemory(from: bytes)
      copy[0] ^= 0x20
      changed.append(copy)
      return UnsafeRawBufferPointer(copy)
    }
  }

  private var inner: SimulatedRing
  private let world: SimulatedWorld
  private let plant: Plant

  init(_ world: SimulatedWorld, _ plant: Plant) {
    inner = SimulatedRing(world: world)
    self.world = world
    self.plant = plant
  }

  var bufferCount: Int { inner.bufferCount }
  var bufferBytes: Int { inner.bufferBytes }
  var hasBundles: Bool { inner.hasBundles }
  var hasMultishotAccept: Bool { inner.hasMultishotAccept }
  func bufferAddress(_ buffer: Int) -> UnsafeMutableRawPointer { inner.bufferAddress(buffer) }
  func bufferAfter(_ buffer: Int) -> Int { inner.bufferAfter(buffer) }

  mutating func returnBuffer(_ buffer: Int) {
    if plant.strikes(.lostBuffer) { return }
    inner.returnBuffer(buffer)
  }

  mutating func accept(_ listener: Int32, multishot: Bool, token: Token) {
    inner.accept(listener, multishot: multishot, token: token)
  }
  mutating func connect(_ socket: Int32, to address: UnsafePointer<SocketAddress>, token: Token) {
    inner.connect(socket, to: address, token: token)
  }
  mutating func receive(_ socket: Int32, multishot: Bool, bundle: Bool, isQuiet: Bool, token: Token) {
    inner.receive(socket, multishot: multishot, bundle: bundle, isQuiet: isQuiet, token: token)
  }

  /// The socket that a send goes to, and its bytes.
  private func plantedSend(_ socket: Int32, _ bytes: UnsafeRawBufferPointer) -> (Int32, UnsafeRawBufferPointer) {
    var (target, sent) = (socket, bytes)
    if plant.strikes(.corruptedSend) { sent = plant.change(bytes) }
    if plant.strikes(.repeatedSend) { world.peer(socket)?.received += bytes }
    if plant.lastSocket >= 0, plant.lastSocket != socket, world.peer(plant.lastSocket) != nil,
      plant.strikes(.misdirectedSend)
    {
      target = plant.lastSocket
    }
    plant.lastSocket = socket
    return (target, sent)
  }

  mutating func send(_ socket: Int32, _ bytes: UnsafeRawBufferPointer, token: Token) {
    let (target, sent) = plantedSend(socket, bytes)
    inner.send(target, sent, token: token)
  }
  mutating func send(_ socket: Int32, _ vectors: UnsafeMutableBufferPointer<iovec>, token: Token) {
    let (target, first) = plantedSend(
      socket, UnsafeRawBufferPointer(start: vectors[0].iov_base, count: vectors[0].iov_len))
    vectors[0].iov_base = UnsafeMutableRawPointer(mutating: first.baseAddress)
    inner.send(target, vectors, token: token)
  }

  mutating func write(_ file: Int32, _ bytes: UnsafeRawBufferPointer, offset: Int64, token: Token) {
    let isRecording = token.kind == .writeIn || token.kind == .writeOut
    var (target, written) = (file, bytes)
    if isRecording, plant.strikes(.corruptedWrite) { written = plant.change(bytes) }
    if isRecording, plant.lastFile >= 0, plant.lastFile != file, plant.strikes(.misdirectedWrite) {
      target = plant.lastFile
    }
    if isRecording { plant.lastFile = file }
    inner.write(target, written, offset: offset, token: token)
  }
  mutating func write(
    _ file: Int32, _ vectors: UnsafeMutableBufferPointer<iovec>, offset: Int64, token: Token
  ) {
    inner.write(file, vectors, offset: offset, token: token)
    let place = vectors[0].iov_base! - world.memory
    if (0..<world.bufferCount * world.bufferBytes).contains(place), plant.strikes(.earlyRefill) {
      for offset in 0..<vectors[0].iov_len {
        world.memory.storeBytes(of: 0xDB, toByteOffset: place + offset, as: UInt8.self)
      }
    }
  }
  mutating func read(_ file: Int32, _ bytes: UnsafeMutableRawBufferPointer, token: Token) {
    inner.read(file, bytes, token: token)
  }
  mutating func open(_ directory: Int32, _ path: UnsafePointer<CChar>, flags: Int32, mode: UInt32, token: Token) {
    inner.open(directory, path, flags: flags, mode: mode, token: token)
  }
  func answersAtOnce(_ directory: Int32) -> Bool { inner.answersAtOnce(directory) }
  mutating func openNow(_ directory: Int32, _ path: UnsafePointer<CChar>, flags: Int32, mode: UInt32) -> Int32? {
    inner.openNow(directory, path, flags: flags, mode: mode)
  }
  mutating func writeNow(_ file: Int32, _ vectors: UnsafeMutableBufferPointer<iovec>, offset: Int64) -> Int32? {
    inner.writeNow(file, vectors, offset: offset)
  }
  mutating func truncate(_ file: Int32, to bytes: UInt64, token: Token) {
    inner.truncate(file, to: bytes, token: token)
  }
  mutating func rename(
    _ directory: Int32, from: UnsafePointer<CChar>, to: UnsafePointer<CChar>, token: Token
  ) {
    inner.rename(directory, from: from, to: to, token: token)
  }
  func lock(_ file: Int32) { inner.lock(file) }
  mutating func unlink(_ directory: Int32, _ path: UnsafePointer<CChar>, token: Token) {
    inner.unlink(directory, path, token: token)
  }
  mutating func close(_ descriptor: Int32, token: Token) {
    if plant.strikes(.lostClose) { return }
    inner.close(descriptor, token: token)
  }
  mutating func poll(_ socket: Int32, events: UInt32, token: Token) {
    inner.poll(socket, events: events, token: token)
  }
  mutating func cancel(_ target: Token, on descriptor: Int32, token: Token) {
    inner.cancel(target, on: descriptor, token: token)
  }
  mutating func cancelAll(on descriptor: Int32, token: Token) { inner.cancelAll(on: descriptor, token: token) }

  mutating func submitAndWait(nanoseconds: UInt64?) throws(Errno) {
    if plant.fault == .earlyClose {
      let busy = world.operations.first { world.peer($0.descriptor) != nil && !$0.isCancel }
      if let busy, plant.strikes(.earlyClose) { inner.close(busy.descriptor, token: Token(.close)) }
    }
    try inner.submitAndWait(nanoseconds: nanoseconds)
  }
  mutating func takeCompletions(into completions: UnsafeMutableBufferPointer<Completion>) -> Int {
    inner.takeCompletions(into: completions)
  }

  func now() -> Instant { inner.now() }
  mutating func makeSocket(family: Int32) throws(Errno) -> Int32 { try inner.makeSocket(family: family) }
  func makeNonblocking(_ socket: Int32) -> Bool { inner.makeNonblocking(socket) }
  mutating func makePipe(bytes: Int) throws(Errno) -> Pipe { try inner.makePipe(bytes: bytes) }
  func close(_ pipe: Pipe) { if !plant.strikes(.lostPipe) { inner.close(pipe) } }
  func splice(from: Int32, to: Int32, bytes: Int) -> Int {
    guard world.peer(to) != nil else {
      return inner.splice(from: from, to: to, bytes: bytes)
    }
    defer { plant.lastSocket = to }
    if plant.lastSocket >= 0, plant.lastSocket != to, world.peer(plant.lastSocket) != nil,
      plant.strikes(.misdirectedSplice)
    {
      _ = inner.makeNonblocking(plant.lastSocket)
      return inner.splice(from: from, to: plant.lastSocket, bytes: bytes)
    }
    if bytes > 1, plant.strikes(.leftInPipe) { return max(inner.splice(from: from, to: to, bytes: bytes - 1), 0) + 1 }
    let result = inner.splice(from: from, to: to, bytes: bytes)
    return result > 1 && plant.strikes(.miscountedSplice) ? result - 1 : result
  }
  func sendNow(_ socket: Int32, _ bytes: UnsafeRawBufferPointer) { inner.sendNow(socket, bytes) }
  func shutdownSending(_ socket: Int32) {
    inner.shutdownSending(socket)
    if plant.strikes(.repeatedShutdown) { inner.shutdownSending(socket) }
  }
  func isDelivered(_ socket: Int32) -> Bool { inner.isDelivered(socket) }
  func isHungUp(_ socket: Int32) -> Bool { inner.isHungUp(socket) }
  func peerAddress(of socket: Int32) -> PeerAddress? { inner.peerAddress(of: socket) }
  func peerPath(of socket: Int32) -> String? { inner.peerPath(of: socket) }
  func localAddress(of socket: Int32) -> PeerAddress? { inner.localAddress(of: socket) }
  func localPort(of socket: Int32) -> UInt16? { inner.localPort(of: socket) }
  mutating func openDirectory(_ path: String) -> Int32? { inner.openDirectory(path) }
}
