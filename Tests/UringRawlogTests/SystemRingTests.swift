import Foundation
import Glibc
import Testing

@testable import UringRawlog

/// The real rings on real sockets and files, io_uring where this machine allows it.
@Suite struct SystemRingTests {
  /// The features that each kind of receive is tested with.
  struct Receiving: CustomTestStringConvertible {
    var engine: TestedRing.Engine
    var without: RingFeatures

    static let allCases = TestedRing.Engine.allowed.flatMap { engine in
      [[], .bundles, .multishotReceive, [.bundles, .multishotReceive]].map { Receiving(engine: engine, without: $0) }
    }

    var isMultishot: Bool { !without.contains(.multishotReceive) }
    var isBundled: Bool { (engine == .epoll || RealRing.hasBundles) && !without.contains(.bundles) }
    var testDescription: String { "\(engine)\(isMultishot ? "" : ", single")\(isBundled ? ", bundles" : "")" }
  }

  /// The kernel completed less than was expected.
  private struct Stuck: Error {
    var taken: [Completion]
  }

  /// Two connected sockets, closed with their owner.
  private final class Connection {
    let near: Int32
    let far: Int32
    private var isFarOpen = true

    /// A pair of unix sockets.
    init() throws {
      var pair: [Int32] = [-1, -1]
      try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &pair) == 0)
      (near, far) = (pair[0], pair[1])
    }

    /// A TCP connection over the loopback.
    init(_ listener: Listener) throws {
      far = try SystemRingTests.connect(to: listener.port)
      near = accept(listener.descriptor, nil, nil)
      try #require(near >= 0)
    }

    deinit {
      close(near)
      if isFarOpen { close(far) }
    }

    func closeFar() {
      close(far)
      isFarOpen = false
    }

    /// Writes what surely fits the socket's buffer.
    func write(_ bytes: [UInt8]) throws {
      try #require(Glibc.send(far, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count)
    }

    /// Reads exactly what is known to come.
    func read(_ count: Int) throws -> [UInt8] {
      var bytes = [UInt8](repeating: 0, count: count)
      try #require(recv(far, &bytes, count, Int32(MSG_WAITALL)) == count)
      return bytes
    }
  }

  private static func connect(to port: UInt16) throws -> Int32 {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    try #require(descriptor >= 0)
    let result = loopback(port).withPointer { Glibc.connect(descriptor, $0, $1) }
    try #require(result == 0)
    return descriptor
  }

  private static func loopback(_ port: UInt16) -> SocketAddress {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    return withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        SocketAddress($0, length: socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
  }

  private func listen() throws -> Listener {
    try #require(try Listener.open(try Address(listening: "127.0.0.1:0")).first)
  }

  /// Submits and takes until there are `count` completions. Only a kernel that does not answer takes the time.
  private func take(_ count: Int, from ring: inout TestedRing) throws -> [Completion] {
    let batch = UnsafeMutableBufferPointer<Completion>.allocate(capacity: 16)
    defer { batch.deallocate() }
    var taken: [Completion] = []
    var waits = 0
    repeat {
      try ring.submitAndWait(nanoseconds: taken.count < count ? 1_000_000_000 : 0)
      var new = batch.count
      while new == batch.count {
        new = ring.takeCompletions(into: batch)
        taken += batch[..<new]
        if new > 0 { waits = 0 }
      }
      waits += 1
    } while taken.count < count && waits < 20
    guard taken.count == count else { throw Stuck(taken: taken) }
    return taken
  }

  /// Nothing completes for a moment.
  private func takeNothing(from ring: inout TestedRing) throws {
    try ring.submitAndWait(nanoseconds: 50_000_000)
    let batch = UnsafeMutableBufferPointer<Completion>.allocate(capacity: 16)
    defer { batch.deallocate() }
    let count = ring.takeCompletions(into: batch)
    try #require(count == 0)
  }

  private func one(_ kind: Token.Kind, of completions: [Completion], slot: Int = 0) throws -> Completion {
    let found = completions.filter { $0.token == Token(kind, slot: slot) }
    try #require(found.count == 1, "\(kind) \(slot) of \(completions)")
    return found[0]
  }

  /// The buffers of a receive with what is in each.
  private func buffers(of completion: Completion, _ ring: borrowing TestedRing) -> [(buffer: Int, bytes: [UInt8])] {
    var found: [(Int, [UInt8])] = []
    var rest = Int(completion.result)
    var buffer = Int(completion.buffer)
    while rest > 0 {
      let count = min(rest, ring.bufferBytes)
      found.append((buffer, Array(UnsafeRawBufferPointer(start: ring.bufferAddress(buffer), count: count))))
      rest -= count
      if rest > 0 { buffer = ring.bufferAfter(buffer) }
    }
    return found
  }

  // MARK: Accepting and connecting

  /// Operations on the ring pass no filter of system calls: what the loop does not use, a restricted ring refuses.
  @Test(.enabled(if: RealRing.isAllowed, "io_uring is not allowed here"))
  func aRestrictedRingDoesOnlyWhatTheLoopAsksFor() throws {
    let nop: UInt8 = 0
    let restricted = try KernelRing.make(bufferCount: 2, bufferBytes: 4096)
    let free = try KernelRing.make(bufferCount: 2, bufferBytes: 4096, restricted: false)
    let engines = [restricted.engine, free.engine]
    #expect(engines == [.uring(isRestricted: true), .uring(isRestricted: false)])
    let nops = [restricted.tryOperation(nop, -1), free.tryOperation(nop, -1)]
    #expect(nops == [-EACCES, 0])
    // IORING_OP_CLOSE and IORING_OP_READ.
    let used = [restricted.tryOperation(19, -1), restricted.tryOperation(22, -1)]
    #expect(used == [-EBADF, -EBADF])
  }

  @Test(arguments: TestedRing.Engine.allowed) func oneAcceptTakesManyConnections(_ engine: TestedRing.Engine) throws {
    var ring = try TestedRing.make(engine, entries: 8, bufferCount: 1, bufferBytes: 16)
    let listener = try listen()
    defer { listener.close() }
    let token = Token(.accept, slot: 3)
    ring.accept(listener.descriptor, multishot: true, token: token)
    var clients: [Int32] = []
    defer { for client in clients { close(client) } }
    for count in [1, 3] {
      for _ in 0..<count { clients.append(try Self.connect(to: listener.port)) }
      for completion in try take(count, from: &ring) {
        #expect(completion.token == token && completion.more && completion.buffer == -1 && completion.error == nil)
        try #require(completion.result > 2)
        #expect(fcntl(completion.result, F_GETFD) & FD_CLOEXEC != 0)
        // A leg's options come from the listening socket.
        var on: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        #expect(getsockopt(completion.result, Int32(IPPROTO_TCP), TCP_NODELAY, &on, &size) == 0 && on != 0)
        close(completion.result)
      }
    }
    ring.cancel(token, on: listener.descriptor, token: Token(.cancelAccept))
    let last = try take(2, from: &ring)
    let accept = try one(.accept, of: last, slot: 3)
    #expect(accept.error == Errno(ECANCELED) && !accept.more)
    #expect(try one(.cancelAccept, of: last).result == 0)
  }

  @Test(arguments: TestedRing.Engine.allowed) func aSingleAcceptTakesOne(_ engine: TestedRing.Engine) throws {
    var ring = try TestedRing.make(engine, entries: 8, bufferCount: 1, bufferBytes: 16)
    let listener = try listen()
    defer { listener.close() }
    let clients = [try Self.connect(to: listener.port), try Self.connect(to: listener.port)]
    defer { for client in clients { close(client) } }
    for _ in clients {
      ring.accept(listener.descriptor, multishot: false, token: Token(.accept))
      let completion = try take(1, from: &ring)[0]
      #expect(completion.result > 2 && !completion.more)
      close(completion.result)
      // The other one waits until it is asked for.
      try ring.submitAndWait(nanoseconds: 0)
      let batch = UnsafeMutableBufferPointer<Completion>.allocate(capacity: 4)
      let further = ring.takeCompletions(into: batch)
      batch.deallocate()
      #expect(further == 0)
    }
  }

  /// Addresses are copied: the same variable serves for the next connect before anything is submitted.
  @Test(arguments: TestedRing.Engine.allowed) func connecting(_ engine: TestedRing.Engine) throws {
    var ring = try TestedRing.make(engine, entries: 8, bufferCount: 1, bufferBytes: 16)
    let listener = try listen()
    defer { listener.close() }
    // A port that is bound, and that nobody listens on.
    let silent = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(silent) }
    try #require(Self.loopback(0).withPointer { bind(silent, $0, $1) } == 0)
    let closedPort = try #require(SocketAddress.local(of: silent)?.peer.port)

    let directory = try TemporaryDirectory()
    let missing = try #require(SocketAddress(unixPath: directory.path + "/missing"))
    var sockets: [Int32] = []
    defer { for socket in sockets { close(socket) } }
    var address = SocketAddress()
    for (slot, target) in [Self.loopback(listener.port), Self.loopback(closedPort), missing].enumerated() {
      address = target
      let socket = try ring.makeSocket(family: address.family)
      sockets.append(socket)
      ring.connect(socket, to: &address, token: Token(.connect, slot: slot))
    }
    address = SocketAddress()
    let completions = try take(3, from: &ring)
    try #require(try one(.connect, of: completions, slot: 0).result == 0)
    #expect(try one(.connect, of: completions, slot: 1).error == Errno(ECONNREFUSED))
    #expect(try one(.connect, of: completions, slot: 2).error == Errno(ENOENT))
    let (peer, port) = (ring.peerAddress(of: sockets[0]), ring.localPort(of: sockets[0]))
    #expect(peer == PeerAddress(ipv4: 0x7F00_0001, port: listener.port))
    let accepted = accept(listener.descriptor, nil, nil)
    defer { close(accepted) }
    let (client, local) = (ring.peerAddress(of: accepted), ring.localPort(of: accepted))
    #expect(client == PeerAddress(ipv4: 0x7F00_0001, port: port ?? 0) && local == listener.port)
  }

  // MARK: Receiving

  /// A stream arrives whole and in order, buffers come back in any order, and no buffer is written to while it is held.
  @Test(arguments: Receiving.allCases, [false, true])
  func aStreamArrivesWhole(_ receiving: Receiving, isTCP: Bool) throws {
    let listener = try listen()
    defer { listener.close() }
    for seed in 1...UInt64(6) {
      var random = SeededGenerator(seed: seed)
      let bufferBytes = [16, 100, 4096].randomElement(using: &random)!
      var ring = try TestedRing.make(
        receiving.engine,
        entries: 8, bufferCount: 1 << (1 + random.below(4)), bufferBytes: bufferBytes, without: receiving.without)
      let (hasBundles, bufferCount) = (ring.hasBundles, ring.bufferCount)
      #expect(hasBundles == receiving.isBundled)
      let connection = isTCP ? try Connection(listener) : try Connection()
      var sent: [UInt8] = []
      var received = 0
      var held: [(buffer: Int, bytes: [UInt8])] = []
      var isArmed = false
      var isShort = false
      var most = 0
      for _ in 0..<150 {
        if !isArmed, held.count < bufferCount {
          ring.receive(connection.near, multishot: true, bundle: true, token: Token(.receiveClient))
          isArmed = true
        }
        let piece = (0..<1 + random.below(bufferBytes * (random.once(in: 3) ? 4 : 1))).map { _ in
          UInt8(truncatingIfNeeded: random.next())
        }
        if sent.count - received < 20_000 {
          try connection.write(piece)
          sent += piece
        }
        if isArmed {
          for completion in try takeSome(from: &ring) {
            #expect(completion.token == Token(.receiveClient) && (receiving.isMultishot || !completion.more))
            if !completion.more { isArmed = false }
            if completion.error == Errno(ENOBUFS) {
              #expect(!completion.more && completion.buffer == -1)
              isShort = true
              continue
            }
            try #require(completion.result > 0, "seed \(seed): \(completion)")
            let filled = buffers(of: completion, ring)
            if !receiving.isBundled { #expect(filled.count == 1) }
            most = max(most, filled.count)
            for (buffer, bytes) in filled {
              try #require(Array(sent[received..<received + bytes.count]) == bytes, "seed \(seed): at \(received)")
              try #require(!held.contains { $0.buffer == buffer }, "seed \(seed): a buffer that was not given back")
              held.append((buffer, bytes))
              received += bytes.count
            }
          }
        }
        while !held.isEmpty, held.count == bufferCount || isShort || random.once(in: 2) {
          let (buffer, bytes) = held.remove(at: random.below(held.count))
          let now = Array(UnsafeRawBufferPointer(start: ring.bufferAddress(buffer), count: bytes.count))
          try #require(now == bytes, "seed \(seed): a buffer was written to while it was held")
          ring.returnBuffer(buffer)
          isShort = false
        }
      }
      #expect(received > 150)
      if receiving.isBundled { #expect(most > 1 || bufferBytes == 4096, "seed \(seed): no bundle was seen") }
    }
  }

  /// Whatever has come, at least one.
  private func takeSome(from ring: inout TestedRing) throws -> [Completion] {
    let batch = UnsafeMutableBufferPointer<Completion>.allocate(capacity: 64)
    defer { batch.deallocate() }
    for _ in 0..<20 {
      try ring.submitAndWait(nanoseconds: 1_000_000_000)
      let count = ring.takeCompletions(into: batch)
      if count > 0 { return Array(batch[..<count]) }
    }
    throw Stuck(taken: [])
  }

  /// There are fewer buffers than bytes: the receive ends with ENOBUFS, and goes on when buffers came back.
  @Test(arguments: Receiving.allCases)
  func withoutBuffersAReceiveEndsAndGoesOnLater(_ receiving: Receiving) throws {
    var ring = try TestedRing.make(
      receiving.engine, entries: 8, bufferCount: 2, bufferBytes: 16, without: receiving.without)
    let connection = try Connection()
    let bytes = (0..<40).map { UInt8($0) }
    try connection.write(bytes)
    var received: [UInt8] = []
    var held: [Int] = []
    var shortages = 0
    while received.count < bytes.count {
      ring.receive(connection.near, multishot: true, bundle: true, token: Token(.receiveServer))
      var isArmed = true
      while isArmed {
        let completion = try take(1, from: &ring, atMost: 1)
        isArmed = completion.more
        if completion.error == Errno(ENOBUFS) {
          #expect(held.count == 2 && completion.buffer == -1)
          shortages += 1
          for buffer in held { ring.returnBuffer(buffer) }
          held = []
        } else {
          try #require(completion.result > 0)
          for (buffer, bytes) in buffers(of: completion, ring) {
            received += bytes
            held.append(buffer)
          }
          if received.count == bytes.count { break }
        }
      }
    }
    #expect(received == bytes && shortages == 1)
  }

  private func take(_ count: Int, from ring: inout TestedRing, atMost limit: Int) throws -> Completion {
    let batch = UnsafeMutableBufferPointer<Completion>.allocate(capacity: limit)
    defer { batch.deallocate() }
    for wait in 0..<20 {
      // What was left from the last time needs no waiting.
      if wait > 0 { try ring.submitAndWait(nanoseconds: 1_000_000_000) }
      if ring.takeCompletions(into: batch) == limit { return batch[0] }
    }
    throw Stuck(taken: [])
  }

  @Test(arguments: Receiving.allCases)
  func theEndOfAStreamAndAReset(_ receiving: Receiving) throws {
    let listener = try listen()
    defer { listener.close() }
    for isReset in [false, true] {
      // Sockets that are not closed by the ring are not known to it as closed.
      var ring = try TestedRing.make(
        receiving.engine, entries: 8, bufferCount: 4, bufferBytes: 16, without: receiving.without)
      let connection = try Connection(listener)
      if isReset {
        var linger = linger(l_onoff: 1, l_linger: 0)
        setsockopt(connection.far, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<linger>.size))
        connection.closeFar()
      } else {
        try connection.write([1, 2, 3])
        shutdown(connection.far, Int32(SHUT_WR))
      }
      var received: [UInt8] = []
      var last: Completion?
      while last == nil {
        ring.receive(connection.near, multishot: true, bundle: true, token: Token(.receiveClient))
        var isArmed = true
        while isArmed {
          let completion = try take(1, from: &ring, atMost: 1)
          isArmed = completion.more
          for (_, bytes) in buffers(of: completion, ring) { received += bytes }
          if completion.buffer >= 0 { ring.returnBuffer(Int(completion.buffer)) }
          if completion.result <= 0 { last = completion }
        }
      }
      #expect(last?.more == false && received == (isReset ? [] : [1, 2, 3]))
      #expect(last?.result == (isReset ? -ECONNRESET : 0))
    }
  }

  // MARK: Sending

  /// Vectors are copied: the same array serves for the next send before anything is submitted.
  @Test(arguments: TestedRing.Engine.allowed) func vectorsAreCopied(_ engine: TestedRing.Engine) throws {
    var ring = try TestedRing.make(engine, entries: 8, bufferCount: 1, bufferBytes: 16)
    let connections = [try Connection(), try Connection()]
    defer { withExtendedLifetime(connections) {} }
    let texts = ["first session, ", "second session, ", "rest of the first", "rest of the second"].map {
      Array($0.utf8)
    }
    let memory = texts.map { text in
      let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: text.count, alignment: 1)
      bytes.copyBytes(from: text)
      return bytes
    }
    defer { for bytes in memory { bytes.deallocate() } }
    let vectors = UnsafeMutableBufferPointer<iovec>.allocate(capacity: 2)
    defer { vectors.deallocate() }
    for slot in 0..<2 {
      vectors[0] = iovec(iov_base: memory[slot].baseAddress, iov_len: memory[slot].count)
      vectors[1] = iovec(iov_base: memory[slot + 2].baseAddress, iov_len: memory[slot + 2].count)
      ring.send(connections[slot].near, vectors, token: Token(.sendClient, slot: slot))
    }
    vectors[0] = iovec()
    vectors[1] = iovec()
    let completions = try take(2, from: &ring)
    for slot in 0..<2 {
      let expected = texts[slot] + texts[slot + 2]
      #expect(Int(try one(.sendClient, of: completions, slot: slot).result) == expected.count)
      #expect(try connections[slot].read(expected.count) == expected)
    }
    ring.send(connections[0].near, UnsafeRawBufferPointer(memory[2]), token: Token(.sendServer))
    #expect(Int(try take(1, from: &ring)[0].result) == texts[2].count)
    #expect(try connections[0].read(texts[2].count) == texts[2])
  }

  /// A peer that is gone is an error, never a signal.
  @Test(arguments: TestedRing.Engine.allowed) func sendingToNobody(_ engine: TestedRing.Engine) throws {
    var ring = try TestedRing.make(engine, entries: 8, bufferCount: 1, bufferBytes: 16)
    let connection = try Connection()
    connection.closeFar()
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 4, alignment: 1)
    defer { memory.deallocate() }
    memory.initializeMemory(as: UInt8.self, repeating: 0)
    let vectors = UnsafeMutableBufferPointer<iovec>.allocate(capacity: 1)
    defer { vectors.deallocate() }
    vectors[0] = iovec(iov_base: memory.baseAddress, iov_len: 4)
    ring.send(connection.near, UnsafeRawBufferPointer(memory), token: Token(.sendClient))
    ring.send(connection.near, vectors, token: Token(.sendServer))
    let completions = try take(2, from: &ring)
    #expect(try one(.sendClient, of: completions).error == Errno(EPIPE))
    #expect(try one(.sendServer, of: completions).error == Errno(EPIPE))
  }

  // MARK: Files

  private func text(_ text: String) -> UnsafeMutableRawBufferPointer {
    let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: text.utf8.count, alignment: 1)
    bytes.copyBytes(from: text.utf8)
    return bytes
  }

  @Test(arguments: TestedRing.Engine.allowed) func writingAtAPlaceAndAtTheEnd(_ engine: TestedRing.Engine) throws {
    var ring = try TestedRing.make(engine, entries: 8, bufferCount: 1, bufferBytes: 16)
    let directory = try TemporaryDirectory()
    let file = openFile(directory.path + "/file", flags: O_WRONLY | O_CREAT | O_CLOEXEC, mode: 0o600)
    let appended = openFile(directory.path + "/appended", flags: O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, mode: 0o600)
    try #require(file >= 0 && appended >= 0)
    let (abc, de, xyz) = (text("abc"), text("de"), text("xyz"))
    defer { for bytes in [abc, de, xyz] { bytes.deallocate() } }
    let vectors = UnsafeMutableBufferPointer<iovec>.allocate(capacity: 2)
    defer { vectors.deallocate() }
    vectors[0] = iovec(iov_base: abc.baseAddress, iov_len: 3)
    vectors[1] = iovec(iov_base: de.baseAddress, iov_len: 2)
    ring.write(file, UnsafeRawBufferPointer(xyz), offset: 7, token: Token(.writeIn, slot: 0))
    ring.write(file, vectors, offset: 1, token: Token(.writeIn, slot: 1))
    vectors[0] = iovec()
    let completions = try take(2, from: &ring)
    #expect(try one(.writeIn, of: completions, slot: 0).result == 3)
    #expect(try one(.writeIn, of: completions, slot: 1).result == 5)
    #expect(directory.content("file") == [0] + Array("abcde".utf8) + [0] + Array("xyz".utf8))
    for bytes in [abc, xyz] {
      ring.write(appended, UnsafeRawBufferPointer(bytes), offset: -1, token: Token(.indexWrite))
      #expect(try take(1, from: &ring)[0].result == 3)
    }
    #expect(directory.content("appended") == Array("abcxyz".utf8))
    ring.close(file, token: Token(.close, slot: 1))
    ring.close(appended, token: Token(.close, slot: 2))
    for completion in try take(2, from: &ring) { #expect(completion.result == 0) }
    ring.close(file, token: Token(.close))
    #expect(try take(1, from: &ring)[0].error == Errno(EBADF))
  }

  /// A recording never touches what is there, and follows no link. Paths are copied.
  @Test(arguments: TestedRing.Engine.allowed) func openingAndRemoving(_ engine: TestedRing.Engine) throws {
    var ring = try TestedRing.make(engine, entries: 32, bufferCount: 1, bufferBytes: 16)
    let directory = try TemporaryDirectory()
    let found = ring.openDirectory(directory.path)
    let at = try #require(found)
    defer { close(at) }
    symlink("/nonexistent", directory.path + "/link")
    var path = Bytes()
    for (slot, name) in ["one", "a longer name than the others", "one", "link", "missing/one"].enumerated() {
      path.removeAll()
      path.append(text: name)
      path.append(0)
      ring.open(
        at, path.cString, flags: O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode: 0o600,
        token: Token(.openIn, slot: slot))
    }
    path.removeAll()
    path.append("scribbled over what was there ----------------------")
    let completions = try take(5, from: &ring)
    let results = try (0..<5).map { try one(.openIn, of: completions, slot: $0).result }
    // The two of the same name may come in any order.
    #expect(results[1] >= 0 && [results[0], results[2]].contains(-EEXIST) && max(results[0], results[2]) >= 0)
    #expect(results[3] == -EEXIST && results[4] == -ENOENT)
    for result in results where result >= 0 {
      #expect(fcntl(result, F_GETFD) & FD_CLOEXEC != 0)
      var status = stat()
      #expect(fstat(result, &status) == 0 && status.st_mode & 0o777 == 0o600 && status.st_size == 0)
      close(result)
    }
    #expect(directory.names == ["one", "a longer name than the others", "link"])
    for (slot, name) in ["one", "missing"].enumerated() {
      path.removeAll()
      path.append(text: name)
      path.append(0)
      ring.unlink(at, path.cString, token: Token(.unlink, slot: slot))
    }
    let removed = try take(2, from: &ring)
    #expect(try one(.unlink, of: removed, slot: 0).result == 0)
    #expect(try one(.unlink, of: removed, slot: 1).error == Errno(ENOENT))
    #expect(directory.names == ["a longer name than the others", "link"])
  }

  @Test(arguments: TestedRing.Engine.allowed) func readingAWakeUp(_ engine: TestedRing.Engine) throws {
    var ring = try TestedRing.make(engine, entries: 8, bufferCount: 1, bufferBytes: 16)
    let wake = try SignalDescriptor.openWake()
    defer { close(wake) }
    let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 8, alignment: 8)
    defer { bytes.deallocate() }
    for times in 1...2 {
      ring.read(wake, bytes, token: Token(.wake))
      try ring.submitAndWait(nanoseconds: 0)
      for _ in 0..<times { SignalDescriptor.wake(wake) }
      let completion = try take(1, from: &ring)[0]
      #expect(completion.token == Token(.wake) && completion.result == 8)
    }
  }

  // MARK: Cancelling

  @Test(arguments: TestedRing.Engine.allowed) func cancelling(_ engine: TestedRing.Engine) throws {
    // So many buffers that a bundle does not want all of them: that would end the receive.
    var ring = try TestedRing.make(engine, entries: 16, bufferCount: 16, bufferBytes: Limits.receiveBufferBytes)
    let connections = [try Connection(), try Connection()]
    defer { withExtendedLifetime(connections) {} }
    for (slot, connection) in connections.enumerated() {
      ring.receive(
        connection.near, multishot: true, bundle: true, token: Token(.receiveClient, slot: slot, generation: 7))
    }
    try ring.submitAndWait(nanoseconds: 0)
    // Another generation of the same slot is another operation.
    ring.cancel(Token(.receiveClient, slot: 0, generation: 6), on: connections[0].near, token: Token(.cancel, slot: 6))
    ring.cancel(Token(.receiveClient, slot: 0, generation: 7), on: connections[0].near, token: Token(.cancel, slot: 7))
    let completions = try take(3, from: &ring)
    #expect(try one(.cancel, of: completions, slot: 6).error == Errno(ENOENT))
    #expect(try one(.cancel, of: completions, slot: 7).result == 0)
    let cancelled = try #require(completions.first { $0.token.kind == .receiveClient })
    #expect(cancelled.token.slot == 0 && cancelled.error == Errno(ECANCELED) && !cancelled.more)
    // The other one goes on.
    try connections[1].write([1, 2])
    let received = try take(1, from: &ring)[0]
    #expect(received.token.slot == 1 && received.result == 2 && received.more)
  }

  @Test(arguments: TestedRing.Engine.allowed) func cancellingEverythingOnASocket(_ engine: TestedRing.Engine) throws {
    var ring = try TestedRing.make(engine, entries: 16, bufferCount: 2, bufferBytes: 16)
    let connections = [try Connection(), try Connection()]
    defer { withExtendedLifetime(connections) {} }
    // A send that cannot go on, and a receive.
    let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 4 << 20, alignment: 16)
    defer { bytes.deallocate() }
    bytes.initializeMemory(as: UInt8.self, repeating: 1)
    ring.send(connections[0].near, UnsafeRawBufferPointer(bytes), token: Token(.sendClient))
    let partial = try take(1, from: &ring)[0]
    #expect(partial.result > 0 && Int(partial.result) < bytes.count)
    ring.send(connections[0].near, UnsafeRawBufferPointer(bytes), token: Token(.sendClient))
    ring.receive(connections[0].near, multishot: true, bundle: true, token: Token(.receiveClient))
    ring.receive(connections[1].near, multishot: true, bundle: true, token: Token(.receiveServer))
    try ring.submitAndWait(nanoseconds: 0)
    ring.cancelAll(on: connections[0].near, token: Token(.cancel))
    let completions = try take(3, from: &ring)
    #expect(try one(.sendClient, of: completions).error == Errno(ECANCELED))
    #expect(try one(.receiveClient, of: completions).error == Errno(ECANCELED))
    #expect(try one(.cancel, of: completions).result == 2)
    try connections[1].write([9])
    let other = try take(1, from: &ring)[0]
    #expect(other.token == Token(.receiveServer) && other.result == 1)
    ring.cancelAll(on: connections[0].near, token: Token(.cancel))
    let nothing = try take(1, from: &ring)[0].result
    #expect(nothing == 0 || nothing == -ENOENT)
  }

  // MARK: More than fits

  /// More operations in a turn than the queue has places, and more completions than theirs.
  // MARK: Polls and pipes

  @Test(arguments: TestedRing.Engine.allowed, [false, true])
  func aPollTellsOfBytesAndRoom(_ engine: TestedRing.Engine, isUnix: Bool) throws {
    var ring = try TestedRing.make(engine, entries: 8, bufferCount: 4, bufferBytes: 4096)
    let listener = try listen()
    defer { listener.close() }
    let connection = isUnix ? try Connection() : try Connection(listener)
    let (readable, writable) = (UInt32(POLLIN), UInt32(POLLOUT))
    ring.poll(connection.near, events: writable, token: Token(.pollOut))
    #expect(UInt32(try one(.pollOut, of: try take(1, from: &ring)).result) & writable != 0)
    ring.poll(connection.near, events: readable, token: Token(.pollIn))
    try takeNothing(from: &ring)
    try connection.write([1, 2, 3])
    #expect(UInt32(try one(.pollIn, of: try take(1, from: &ring)).result) & readable != 0)
    // Cancelled like any other operation on a socket. What is there keeps neither from completing.
    #expect(recv(connection.near, UnsafeMutableRawPointer(ring.bufferAddress(0)), 3, 0) == 3)
    ring.poll(connection.near, events: readable, token: Token(.pollIn))
    ring.cancelAll(on: connection.near, token: Token(.cancel))
    #expect(try one(.pollIn, of: try take(2, from: &ring)).error?.code == ECANCELED)
    // The end of the stream wakes too.
    ring.poll(connection.near, events: readable, token: Token(.pollIn))
    connection.closeFar()
    #expect(UInt32(try one(.pollIn, of: try take(1, from: &ring)).result) & readable != 0)
  }

  /// A socket that splice(2) does not wait for is waited for by the operations of the ring.
  @Test(arguments: Receiving.allCases, [false, true])
  func receivesAndSendsWaitForANonblockingSocket(_ receiving: Receiving, isUnix: Bool) throws {
    var ring = try TestedRing.make(
      receiving.engine, entries: 8, bufferCount: 4, bufferBytes: 4096, without: receiving.without)
    let listener = try listen()
    defer { listener.close() }
    let connection = isUnix ? try Connection() : try Connection(listener)
    let isNonblocking = ring.makeNonblocking(connection.near)
    try #require(isNonblocking)
    ring.receive(connection.near, multishot: receiving.isMultishot, bundle: true, token: Token(.receiveClient))
    try takeNothing(from: &ring)
    try connection.write([1, 2, 3])
    let received = try one(.receiveClient, of: try take(1, from: &ring))
    #expect(received.result == 3)
    // A send waits as well when there is no room.
    let bytes = [UInt8](repeating: 7, count: 1 << 20)
    var total = 0
    while true {
      let count = Glibc.send(connection.near, bytes, bytes.count, Int32(MSG_NOSIGNAL))
      guard count > 0 else { break }
      total += count
    }
    #expect(errno == EAGAIN)
    try bytes.withUnsafeBytes { bytes in
      ring.send(connection.near, UnsafeRawBufferPointer(rebasing: bytes[..<10]), token: Token(.sendClient))
      try takeNothing(from: &ring)
      _ = try connection.read(total)
      #expect(try one(.sendClient, of: try take(1, from: &ring)).result == 10)
    }
  }

  @Test(arguments: TestedRing.Engine.allowed, [false, true])
  func splicingNeverWaits(_ engine: TestedRing.Engine, isUnix: Bool) throws {
    signal(SIGPIPE, SIG_IGN)
    var ring = try TestedRing.make(engine, entries: 8, bufferCount: 4, bufferBytes: 4096)
    let listener = try listen()
    defer { listener.close() }
    let source = isUnix ? try Connection() : try Connection(listener)
    let sink = isUnix ? try Connection() : try Connection(listener)
    let areNonblocking = ring.makeNonblocking(source.near) && ring.makeNonblocking(sink.near)
    try #require(areNonblocking)
    let pipe = try ring.makePipe(bytes: 64 << 10)
    defer { ring.close(pipe) }
    #expect(pipe.bytes >= 4096)
    // Nothing is there.
    let moved1 = ring.splice(from: source.near, to: pipe.writing, bytes: 100)
    #expect(moved1 == -Int(EAGAIN))
    let moved2 = ring.splice(from: pipe.reading, to: sink.near, bytes: 100)
    #expect(moved2 == -Int(EAGAIN))
    try source.write(Array("hello".utf8))
    var wait = pollfd(fd: source.near, events: Int16(POLLIN), revents: 0)
    #expect(poll(&wait, 1, 10_000) == 1)
    let moved3 = ring.splice(from: source.near, to: pipe.writing, bytes: 100)
    #expect(moved3 == 5)
    let moved4 = ring.splice(from: pipe.reading, to: sink.near, bytes: 5)
    #expect(moved4 == 5)
    #expect(try sink.read(5) == Array("hello".utf8))
    // The pipe is full, and then the receiver.
    let block = [UInt8](repeating: 9, count: 4096)
    var written = 0
    while true {
      let count = Glibc.write(pipe.writing, block, block.count)
      if count > 0 {
        written += count
        continue
      }
      let moved = ring.splice(from: pipe.reading, to: sink.near, bytes: pipe.bytes)
      guard moved > 0 else {
        #expect(moved == -Int(EAGAIN))
        break
      }
      written -= moved
    }
    #expect(written > 0)
    try source.write([1])
    #expect(poll(&wait, 1, 10_000) == 1)
    let moved5 = ring.splice(from: source.near, to: pipe.writing, bytes: 100)
    #expect(moved5 == -Int(EAGAIN))
    // The receiver is gone, and the sender has ended.
    sink.closeFar()
    var failed = pollfd(fd: sink.near, events: Int16(POLLOUT), revents: 0)
    #expect(poll(&failed, 1, 10_000) == 1)
    let broken = ring.splice(from: pipe.reading, to: sink.near, bytes: 1)
    #expect([-Int(EPIPE), -Int(ECONNRESET)].contains(broken))
    let fresh = try ring.makePipe(bytes: 64 << 10)
    defer { ring.close(fresh) }
    let moved6 = ring.splice(from: source.near, to: fresh.writing, bytes: 100)
    #expect(moved6 == 1)
    source.closeFar()
    #expect(poll(&wait, 1, 10_000) == 1)
    let moved7 = ring.splice(from: source.near, to: fresh.writing, bytes: 100)
    #expect(moved7 == 0)
  }

  @Test(arguments: TestedRing.Engine.allowed) func thePipeOfTheRelay(_ engine: TestedRing.Engine) throws {
    var ring = try TestedRing.make(engine, entries: 8, bufferCount: 1, bufferBytes: 4096)
    let pipe = try ring.makePipe(bytes: Limits.pipeBytes)
    for end in [pipe.reading, pipe.writing] {
      #expect(fcntl(end, F_GETFD) & FD_CLOEXEC != 0 && fcntl(end, F_GETFL) & O_NONBLOCK != 0)
    }
    ring.close(pipe)
    #expect(fcntl(pipe.reading, F_GETFD) < 0 && fcntl(pipe.writing, F_GETFD) < 0)
    // More than the kernel gives is no error.
    let large = try ring.makePipe(bytes: Int(Int32.max))
    #expect(large.bytes >= 4096)
    ring.close(large)
  }

  @Test(arguments: TestedRing.Engine.allowed) func theSubmissionQueueOverflows(_ engine: TestedRing.Engine) throws {
    var ring = try TestedRing.make(engine, entries: 4, bufferCount: 1, bufferBytes: 16)
    let directory = try TemporaryDirectory()
    let file = openFile(directory.path + "/file", flags: O_WRONLY | O_CREAT | O_CLOEXEC, mode: 0o600)
    try #require(file >= 0)
    defer { close(file) }
    let expected = (0..<500).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: expected.count, alignment: 1)
    defer { memory.deallocate() }
    memory.copyBytes(from: expected)
    for place in expected.indices {
      ring.write(
        file, UnsafeRawBufferPointer(rebasing: memory[place..<place + 1]), offset: Int64(place),
        token: Token(.writeOut, slot: place))
    }
    let completions = try take(expected.count, from: &ring)
    #expect(Set(completions.map { $0.token.slot }).count == expected.count && completions.allSatisfy { $0.result == 1 })
    #expect(firstDifference(directory.content("file"), expected) == nil)
  }

  /// More vectors in a turn than there is room for.
  @Test(arguments: TestedRing.Engine.allowed) func theArenaOverflows(_ engine: TestedRing.Engine) throws {
    var ring = try TestedRing.make(engine, entries: 4096, bufferCount: 1, bufferBytes: 16)
    let directory = try TemporaryDirectory()
    let file = openFile(directory.path + "/file", flags: O_WRONLY | O_CREAT | O_CLOEXEC, mode: 0o600)
    try #require(file >= 0)
    defer { close(file) }
    let pieces = Limits.writeVectors
    let writes = Limits.submissionArenaBytes / (pieces * MemoryLayout<iovec>.stride) * 2 + 10
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: writes * pieces, alignment: 1)
    defer { memory.deallocate() }
    var random = SeededGenerator(seed: 1)
    for place in memory.indices { memory[place] = UInt8(truncatingIfNeeded: random.next()) }
    let vectors = UnsafeMutableBufferPointer<iovec>.allocate(capacity: pieces)
    defer { vectors.deallocate() }
    for write in 0..<writes {
      for piece in 0..<pieces {
        vectors[piece] = iovec(iov_base: memory.baseAddress! + write * pieces + piece, iov_len: 1)
      }
      ring.write(file, vectors, offset: Int64(write * pieces), token: Token(.writeOut, slot: write))
    }
    let completions = try take(writes, from: &ring)
    #expect(
      Set(completions.map { $0.token.slot }).count == writes && completions.allSatisfy { Int($0.result) == pieces })
    #expect(firstDifference(directory.content("file"), Array(memory)) == nil)
  }

  /// The queue is full when the first of two operations with a path wants its place: its path must outlive that.
  @Test(arguments: TestedRing.Engine.allowed) func aPathOutlivesAFullQueue(_ engine: TestedRing.Engine) throws {
    var ring = try TestedRing.make(engine, entries: 4, bufferCount: 1, bufferBytes: 16)
    let directory = try TemporaryDirectory()
    let found = ring.openDirectory(directory.path)
    let at = try #require(found)
    defer { close(at) }
    for slot in 0..<4 { ring.close(-1, token: Token(.close, slot: slot)) }
    for (slot, name) in ["first", "second"].enumerated() {
      ring.open(
        at, name, flags: O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode: 0o600, token: Token(.openIn, slot: slot))
    }
    let completions = try take(6, from: &ring)
    for completion in completions where completion.token.kind == .openIn && completion.result >= 0 {
      close(completion.result)
    }
    let names = directory.names
    #expect(names == ["first", "second"])
  }

  /// The same for the vectors of a send: the bytes of one session must not go to another.
  @Test(arguments: TestedRing.Engine.allowed) func vectorsOutliveAFullQueue(_ engine: TestedRing.Engine) throws {
    var ring = try TestedRing.make(engine, entries: 4, bufferCount: 1, bufferBytes: 16)
    let connections = [try Connection(), try Connection()]
    defer { withExtendedLifetime(connections) {} }
    let memory = [text("for the first"), text("for the other")]
    defer { for bytes in memory { bytes.deallocate() } }
    let vectors = UnsafeMutableBufferPointer<iovec>.allocate(capacity: 1)
    defer { vectors.deallocate() }
    for slot in 0..<4 { ring.close(-1, token: Token(.close, slot: slot)) }
    for slot in 0..<2 {
      vectors[0] = iovec(iov_base: memory[slot].baseAddress, iov_len: memory[slot].count)
      ring.send(connections[slot].near, vectors, token: Token(.sendClient, slot: slot))
    }
    _ = try take(6, from: &ring)
    let arrived = try connections.map { String(decoding: try $0.read(13), as: UTF8.self) }
    #expect(arrived == ["for the first", "for the other"])
  }

  // MARK: Waiting

  @Test(arguments: TestedRing.Engine.allowed) func waitingEnds(_ engine: TestedRing.Engine) throws {
    var ring = try TestedRing.make(engine, entries: 8, bufferCount: 1, bufferBytes: 16)
    let batch = UnsafeMutableBufferPointer<Completion>.allocate(capacity: 4)
    defer { batch.deallocate() }
    for nanoseconds in [0, 1, 3_000_000] as [UInt64] {
      // A signal ends a wait early, but not each.
      var isOver = false
      for _ in 0..<5 where !isOver {
        let before = ring.now()
        try ring.submitAndWait(nanoseconds: nanoseconds)
        isOver = ring.now().nanoseconds - before.nanoseconds >= nanoseconds
        let count = ring.takeCompletions(into: batch)
        #expect(count == 0)
      }
      #expect(isOver)
    }
    // With something to come there is no end to wait for.
    ring.close(-1, token: Token(.close))
    try ring.submitAndWait(nanoseconds: nil)
    let count = ring.takeCompletions(into: batch)
    #expect(count == 1 && batch[0].error == Errno(EBADF))
  }

  /// No more are taken than fit; the others wait.
  @Test(arguments: TestedRing.Engine.allowed) func completionsAreTakenInParts(_ engine: TestedRing.Engine) throws {
    var ring = try TestedRing.make(engine, entries: 16, bufferCount: 1, bufferBytes: 16)
    let batch = UnsafeMutableBufferPointer<Completion>.allocate(capacity: 3)
    defer { batch.deallocate() }
    for slot in 0..<7 { ring.close(-1, token: Token(.close, slot: slot)) }
    try ring.submitAndWait(nanoseconds: nil)
    var counts: [Int] = []
    var slots: [Int] = []
    while counts.last != 0 {
      counts.append(ring.takeCompletions(into: batch))
      slots += batch[..<counts.last!].map { $0.token.slot }
    }
    #expect(counts == [3, 3, 1, 0] && slots == Array(0..<7))
  }

  // MARK: Beside the ring

  @Test(arguments: TestedRing.Engine.allowed) func socketsOfALeg(_ engine: TestedRing.Engine) throws {
    var ring = try TestedRing.make(engine, entries: 8, bufferCount: 1, bufferBytes: 16)
    // A machine may be without IPv6.
    let probe = socket(AF_INET6, Int32(SOCK_STREAM.rawValue), 0)
    if probe >= 0 { close(probe) }
    for family in probe >= 0 ? [AF_INET, AF_INET6] : [AF_INET] {
      let socket = try ring.makeSocket(family: family)
      defer { close(socket) }
      #expect(fcntl(socket, F_GETFD) & FD_CLOEXEC != 0)
      #expect((fcntl(socket, F_GETFL) & O_NONBLOCK != 0) == (engine == .epoll))
      for (level, option) in [
        (Int32(IPPROTO_TCP), TCP_NODELAY), (SOL_SOCKET, SO_KEEPALIVE), (SOL_SOCKET, SO_OOBINLINE),
      ] {
        var on: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        #expect(getsockopt(socket, level, option, &on, &size) == 0 && on != 0)
      }
    }
    let unix = try ring.makeSocket(family: AF_UNIX)
    close(unix)
    #expect(throws: Errno.self) { try Self.makeSocketOfNoFamily(engine) }
  }

  private static func makeSocketOfNoFamily(_ engine: TestedRing.Engine) throws {
    var ring = try TestedRing.make(engine, entries: 8, bufferCount: 1, bufferBytes: 16)
    close(try ring.makeSocket(family: 9999))
  }

  @Test(arguments: TestedRing.Engine.allowed) func shuttingDownAndDelivery(_ engine: TestedRing.Engine) throws {
    let ring = try TestedRing.make(engine, entries: 8, bufferCount: 1, bufferBytes: 16)
    let connection = try Connection()
    let isDeliveredAtFirst = ring.isDelivered(connection.near)
    #expect(isDeliveredAtFirst)
    #expect(send(connection.near, [1, 2, 3] as [UInt8], 3, 0) == 3)
    let isDeliveredUnread = ring.isDelivered(connection.near)
    #expect(!isDeliveredUnread)
    #expect(try connection.read(3) == [1, 2, 3])
    let isDeliveredRead = ring.isDelivered(connection.near)
    #expect(isDeliveredRead)
    ring.shutdownSending(connection.near)
    ring.shutdownSending(connection.near)
    var byte: UInt8 = 0
    #expect(recv(connection.far, &byte, 1, 0) == 0)
    // The other direction stays open.
    try connection.write([4])
    #expect(recv(connection.near, &byte, 1, 0) == 1 && byte == 4)
  }

  @Test(arguments: TestedRing.Engine.allowed) func namesOfPeers(_ engine: TestedRing.Engine) throws {
    var ring = try TestedRing.make(engine, entries: 8, bufferCount: 1, bufferBytes: 16)
    let connection = try Connection()
    let (address, path, port) = (
      ring.peerAddress(of: connection.near), ring.peerPath(of: connection.near), ring.localPort(of: connection.near)
    )
    #expect(address == .unix && path == nil && port == 0)
    let (none, noPath, noPort) = (ring.peerAddress(of: -1), ring.peerPath(of: -1), ring.localPort(of: -1))
    #expect(none == nil && noPath == nil && noPort == nil)
    // A client that is bound to a path of its own.
    let directory = try TemporaryDirectory()
    let listener = try #require(try Listener.open(try Address(listening: "unix:\(directory.path)/listener")).first)
    defer { listener.close() }
    let client = try ring.makeSocket(family: AF_UNIX)
    defer { close(client) }
    let own = try #require(SocketAddress(unixPath: directory.path + "/client"))
    let server = try #require(SocketAddress(unixPath: directory.path + "/listener"))
    try #require(own.withPointer { bind(client, $0, $1) } == 0)
    try #require(server.withPointer { Glibc.connect(client, $0, $1) } == 0)
    let accepted = accept(listener.descriptor, nil, nil)
    defer { close(accepted) }
    let clientPath = ring.peerPath(of: accepted)
    #expect(clientPath == directory.path + "/client")
    let missing = ring.openDirectory(directory.path + "/missing")
    #expect(missing == nil)
  }

  @Test func featuresHaveNames() {
    #expect(
      RingFeatures.named("bundles") == .bundles && RingFeatures.named("multishot") == .multishotReceive)
    #expect(RingFeatures.named("") == nil && RingFeatures.named("Bundles") == nil)
  }

  /// The sizes that the relay runs with.
  @Test(arguments: TestedRing.Engine.allowed) func theRingOfTheRelay(_ engine: TestedRing.Engine) throws {
    let ring = try TestedRing.make(engine)
    let (count, bytes) = (ring.bufferCount, ring.bufferBytes)
    #expect(count == Limits.receiveBuffers && bytes == Limits.receiveBufferBytes)
    #expect(RingAvailability.missingOperations() == [])
  }
}
