import Glibc

@testable import UringRawlog

/// An engine over a connected socket that waits, for tests with other programs: the loop at its simplest.
struct TLSSocket: ~Copyable {
  private let descriptor: Int32
  var engine: TLSEngine
  /// What came right behind the handshake.
  private var early: [UInt8] = []

  init(_ descriptor: Int32, _ engine: consuming TLSEngine) {
    self.descriptor = descriptor
    self.engine = engine
    // A test that waits for ever says nothing.
    var limit = timeval(tv_sec: 60, tv_usec: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
  }

  deinit { Glibc.close(descriptor) }

  mutating func send(_ bytes: [UInt8] = []) {
    let room = UnsafeMutableRawBufferPointer.allocate(byteCount: TLSEngine.ciphertextRoom(1 << 16), alignment: 1)
    defer { room.deallocate() }
    var rest = bytes[...]
    while true {
      let moved = rest.withUnsafeBytes { engine.send($0, into: room) }
      guard moved != TLSEngine.Moved() else { return }
      rest = rest.dropFirst(moved.taken)
      var sent = 0
      while sent < moved.made {
        let count = Glibc.send(descriptor, room.baseAddress! + sent, moved.made - sent, Int32(MSG_NOSIGNAL))
        guard count > 0 else { return }
        sent += count
      }
    }
  }

  mutating func handshake() -> TLSEngine.State {
    _ = engine.handshake(UnsafeRawBufferPointer(start: nil, count: 0), at: engine.place)
    send()
    while engine.state == .handshaking, let part = receive() {
      early += part
      send()
    }
    return engine.state
  }

  /// What one receive brings in plaintext; nil when the connection is over.
  mutating func receive() -> [UInt8]? {
    if !early.isEmpty {
      defer { early = [] }
      return early
    }
    let input = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 1)
    let room = UnsafeMutableRawBufferPointer.allocate(byteCount: TLSEngine.plaintextRoom(1 << 16), alignment: 1)
    defer {
      input.deallocate()
      room.deallocate()
    }
    let count = recv(descriptor, input.baseAddress, input.count, 0)
    guard count > 0 else {
      engine.inputEnded()
      return nil
    }
    var rest = UnsafeRawBufferPointer(rebasing: input[..<count])
    if engine.state == .handshaking {
      rest = UnsafeRawBufferPointer(rebasing: rest[engine.handshake(rest, at: engine.place).taken...])
    }
    let moved = engine.receive(rest, at: engine.place, into: room)
    return Array(room[..<moved.made])
  }

  /// Everything until the connection ends, below TLS or in it.
  mutating func receiveAll() -> [UInt8] {
    var bytes = early
    early = []
    while engine.state == .open, let part = receive() { bytes += part }
    return bytes
  }

  mutating func close() {
    engine.close()
    send()
  }

  /// The end of our stream below TLS.
  func shut() { shutdown(descriptor, Int32(SHUT_WR)) }

  // MARK: Sockets

  /// A listening socket on a free port of 127.0.0.1.
  static func listen() throws -> (descriptor: Int32, port: UInt16) {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    var address = loopback(0)
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isBound = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, size) == 0 && Glibc.listen(descriptor, 4) == 0 && getsockname(descriptor, $0, &size) == 0
      }
    }
    guard isBound else { throw Errno.current }
    return (descriptor, UInt16(bigEndian: address.sin_port))
  }

  static func accept(_ listener: Int32) throws -> Int32 {
    // The other program may have failed to start.
    var ready = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
    guard poll(&ready, 1, 60_000) == 1 else { throw Errno(ETIMEDOUT) }
    return Glibc.accept(listener, nil, nil)
  }

  static func connect(to port: UInt16) throws -> Int32 {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    var address = loopback(port)
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard result == 0 else { throw Errno.current }
    return descriptor
  }

  private static func loopback(_ port: UInt16) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    return address
  }
}
