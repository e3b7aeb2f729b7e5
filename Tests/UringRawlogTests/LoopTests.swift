import Foundation
import Glibc
import Synchronization
import Testing

@testable import UringRawlog

/// The whole loop on the real rings, between real clients and a real server: what arrives, and what is recorded, is
/// exactly what was sent, with every set of the kernel's features.
@Suite struct LoopTests {
  /// How a relay is made.
  struct Way: Sendable, CustomTestStringConvertible {
    var name: String
    var engine = TestedRing.Engine.uring
    var without: UInt32
    var bufferCount = Limits.receiveBuffers
    var bufferBytes = Limits.receiveBufferBytes
    var timestamps = false
    var boundaries = false
    var isUnix = false
    /// What the kernel may keep for a client that does not read; as it likes when this is 0.
    var sendBufferBytes: Int32 = 0
    /// With room for more than a backlog, accepts are multishot.
    var maxSessions = 100
    /// The most that a client sends.
    var bytes = 300_000
    /// Whether the clients are recorded, and how bytes travel that are not.
    var isRecorded = true
    var relay = RelayConfiguration.Way.auto
    var maxPipes = Limits.pipes
    var splicing = SpliceThresholds()

    var testDescription: String { "\(engine): \(name)" }
  }

  static let ways = [
    Way(name: "all features", without: 0, maxSessions: 10_000),
    Way(name: "without bundles", without: RingFeatures.bundles.rawValue),
    Way(name: "without multishot", without: RingFeatures.multishotReceive.rawValue),
    Way(name: "without both", without: RingFeatures([.bundles, .multishotReceive]).rawValue),
    Way(name: "few small buffers", without: 0, bufferCount: 4, bufferBytes: 512, boundaries: true, bytes: 40_000),
    Way(
      name: "few small buffers without bundles", without: RingFeatures.bundles.rawValue, bufferCount: 2,
      bufferBytes: 256, timestamps: true, boundaries: true, bytes: 20_000),
    Way(name: "unix sockets", without: 0, timestamps: true, isUnix: true, bytes: 60_000),
    Way(name: "recorded in spite of splice", without: 0, relay: .splice),
    Way(name: "not recorded, copied", without: 0, isRecorded: false, relay: .copy),
    Way(name: "spliced", without: 0, isRecorded: false, relay: .splice),
    Way(name: "spliced through one pipe", without: 0, isRecorded: false, relay: .splice, maxPipes: 1),
    Way(name: "spliced unix sockets", without: 0, isUnix: true, isRecorded: false, relay: .splice),
    Way(
      name: "spliced in bulk", without: 0, isRecorded: false,
      splicing: SpliceThresholds(bulkBytes: 30_000, bulkReceiveBytes: 3000, thinWakeBytes: 2000, thinWakes: 2)),
    Way(
      name: "unix sockets spliced in bulk", without: 0, isUnix: true, isRecorded: false,
      splicing: SpliceThresholds(bulkBytes: 30_000, bulkReceiveBytes: 3000, thinWakeBytes: 2000, thinWakes: 2)),
  ]

  private static func onEachEngine(_ ways: [Way]) -> [Way] {
    TestedRing.Engine.allowed.flatMap { engine in
      ways.map { way in
        var way = way
        way.engine = engine
        return way
      }
    }
  }

  /// What a client does, as its first byte tells the server.
  private enum Conversation: UInt8, CaseIterable {
    /// The client sends and ends its stream; the server greets, sends all of it back, then ends.
    case echo = 1
    /// The server sends and ends its stream first; the client then sends more.
    case serverEndsFirst = 2
    /// The client closes at once.
    case silent = 3
  }

  /// What both sides of one connection saw.
  private struct Account: Sendable {
    var client: String
    var sent: [UInt8] = []
    var received: [UInt8] = []
    var fault: String?
  }

  // MARK: Peers

  /// A connected socket with whole-stream verbs. Nothing waits for ever: a relay that is stuck is a fault.
  private struct Peer: Sendable {
    let descriptor: Int32

    init(_ descriptor: Int32) {
      self.descriptor = descriptor
      var patience = timeval(tv_sec: 90, tv_usec: 0)
      let size = socklen_t(MemoryLayout<timeval>.size)
      setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, size)
      setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &patience, size)
    }

    func send(_ bytes: ArraySlice<UInt8>) -> Bool {
      bytes.withUnsafeBytes { bytes in
        var place = 0
        while place < bytes.count {
          let count = Glibc.send(descriptor, bytes.baseAddress! + place, bytes.count - place, Int32(MSG_NOSIGNAL))
          guard count > 0 else { return false }
          place += count
        }
        return true
      }
    }

    /// What comes next; empty at the end of the stream, nil after an error.
    func receive(atMost limit: Int) -> [UInt8]? {
      var bytes = [UInt8](repeating: 0, count: limit)
      let count = recv(descriptor, &bytes, limit, 0)
      return count >= 0 ? Array(bytes[..<count]) : nil
    }

    func end() { shutdown(descriptor, Int32(SHUT_WR)) }
  }

  /// Bytes that hold no markers, and many line feeds.
  private static let noise = {
    var random = SeededGenerator(seed: 0)
    return (0..<400_000).map { _ -> UInt8 in
      let byte = UInt8(truncatingIfNeeded: random.next())
      return byte == UInt8(ascii: "<") || byte == UInt8(ascii: ">") || byte < 6 ? 10 : byte
    }
  }()

  private static func data(_ count: Int, seed: UInt64) -> ArraySlice<UInt8> {
    noise[Int(seed) * 997..<Int(seed) * 997 + count]
  }

  private static let greeting = Array("* OK ready\r\n".utf8)

  /// What the server says without being asked.
  private static func speech(_ count: Int) -> [UInt8] { Array(data(count, seed: 0)) }

  /// The server: a thread for each connection.
  private final class Server: Sendable {
    let descriptor: Int32
    let bytes: Int
    private let isEnding = Atomic(false)

    init(_ address: SocketAddress, bytes: Int) throws {
      self.bytes = bytes
      descriptor = socket(address.family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
      try #require(
        descriptor >= 0 && address.withPointer { bind(descriptor, $0, $1) } == 0 && listen(descriptor, 100) == 0)
      Thread.detachNewThread { self.acceptAll() }
    }

    deinit { close(descriptor) }

    /// Ends the accepting thread.
    func end() {
      isEnding.store(true, ordering: .sequentiallyConsistent)
      shutdown(descriptor, Int32(SHUT_RDWR))
    }

    private func acceptAll() {
      while true {
        let connection = accept(descriptor, nil, nil)
        if connection < 0 || isEnding.load(ordering: .sequentiallyConsistent) {
          if connection >= 0 { close(connection) }
          return
        }
        Thread.detachNewThread {
          self.serve(Peer(connection))
          close(connection)
        }
      }
    }

    private func serve(_ peer: Peer) {
      guard let first = peer.receive(atMost: 1), let kind = first.first.flatMap(Conversation.init(rawValue:)) else {
        return
      }
      switch kind {
      case .echo, .silent:
        guard peer.send((greeting + first)[...]) else { return }
        while let bytes = peer.receive(atMost: 10_000), !bytes.isEmpty {
          guard peer.send(bytes[...]) else { return }
        }
      case .serverEndsFirst:
        guard peer.send(speech(bytes)[...]) else { return }
        peer.end()
        while let bytes = peer.receive(atMost: 100_000), !bytes.isEmpty {}
      }
    }
  }

  /// A connected client, and its account with its name.
  private static func client(of address: SocketAddress, receiveBytes: Int32 = 0) -> (Peer, Account)? {
    let descriptor = socket(address.family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    if receiveBytes > 0 {
      var bytes = receiveBytes
      setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &bytes, socklen_t(MemoryLayout<Int32>.size))
    }
    guard address.withPointer({ connect(descriptor, $0, $1) }) == 0 else {
      close(descriptor)
      return nil
    }
    var name = Bytes()
    SocketAddress.local(of: descriptor)?.peer.append(to: &name)
    return (Peer(descriptor), Account(client: name.text))
  }

  private static var notConnected: Account { Account(client: "", fault: "cannot connect: \(Errno.current.text)") }

  /// One client from connecting to closing.
  private static func talk(_ conversation: Conversation, to address: SocketAddress, seed: UInt64, most: Int) -> Account
  {
    var random = SeededGenerator(seed: seed)
    guard let (peer, begun) = client(of: address) else { return notConnected }
    defer { close(peer.descriptor) }
    var account = begun
    account.sent = [conversation.rawValue] + data(random.below(most), seed: seed)
    switch conversation {
    case .silent:
      account.sent = []
    case .echo:
      // One thread sends, this one receives: neither side can wait for the other.
      let sent = account.sent
      let isDone = DispatchSemaphore(value: 0)
      Thread.detachNewThread {
        var pieces = SeededGenerator(seed: seed)
        var place = 0
        while place < sent.count {
          let end = min(sent.count, place + 1 + pieces.below(pieces.once(in: 3) ? 100_000 : 300))
          guard peer.send(sent[place..<end]) else { break }
          place = end
        }
        peer.end()
        isDone.signal()
      }
      while let bytes = peer.receive(atMost: 50_000) {
        if bytes.isEmpty {
          if account.received != greeting + account.sent { account.fault = "other bytes came back" }
          isDone.wait()
          return account
        }
        account.received += bytes
      }
      account.fault = "the connection broke: \(Errno.current.text)"
      isDone.wait()
    case .serverEndsFirst:
      guard peer.send(account.sent[..<1]) else {
        account.fault = "the connection broke at first"
        break
      }
      while let bytes = peer.receive(atMost: 50_000), !bytes.isEmpty { account.received += bytes }
      // The other direction is still open.
      if !peer.send(account.sent[1...]) { account.fault = "the connection broke after the server's end" }
    }
    return account
  }

  /// Messages of printable bytes, each answered before the next is sent.
  private static func exchange(_ messages: Int, of bytes: Int, with address: SocketAddress) -> Account {
    guard let (peer, begun) = client(of: address) else { return notConnected }
    defer { close(peer.descriptor) }
    var account = begun
    for message in 0..<messages {
      var data = (0..<bytes).map { UInt8(ascii: "A") + UInt8(truncatingIfNeeded: ($0 + message) % 20) }
      if message == 0 { data[0] = Conversation.echo.rawValue }
      guard peer.send(data[...]) else { break }
      account.sent += data
      while account.received.count < account.sent.count + greeting.count, let answer = peer.receive(atMost: bytes),
        !answer.isEmpty
      {
        account.received += answer
      }
    }
    peer.end()
    if peer.receive(atMost: 1) != [] || account.received != greeting + account.sent {
      account.fault = "other bytes came back"
    }
    return account
  }

  // MARK: The relay

  @Test(arguments: onEachEngine(ways))
  func everyByteArrivesAndIsRecorded(_ way: Way) throws {
    let directory = try TemporaryDirectory()
    let count = 24
    let accounts = try relay(
      way, in: directory,
      (0..<count).map { number in
        let conversation = Conversation.allCases[number % Conversation.allCases.count]
        return { Self.talk(conversation, to: $0, seed: UInt64(number + 1), most: way.bytes) }
      })
    try judge(way, accounts, count, directory)
  }

  /// What moves in bulk is spliced, small messages are copied again, and nothing of that shows in the bytes.
  @Test(arguments: TestedRing.Engine.allowed, [false, true])
  func aFlowIsSplicedWhileItMovesBulk(_ engine: TestedRing.Engine, isUnix: Bool) throws {
    let directory = try TemporaryDirectory()
    let way = Way(name: "bulk", engine: engine, without: 0, isUnix: isUnix, isRecorded: false)
    var wasSpliced = [false, false]
    var promotions = 0
    var demotions = 0
    let accounts = try relay(way, in: directory, [{ Self.changeOften(with: $0) }]) { sessions in
      guard sessions.count > 0, sessions[0].phase == .relaying else { return }
      for direction in 0..<2 {
        let isSpliced = sessions[flow: FlowIndex(rawValue: direction)].way == .splice
        if isSpliced && !wasSpliced[direction] { promotions += 1 }
        if !isSpliced && wasSpliced[direction] { demotions += 1 }
        wasSpliced[direction] = isSpliced
      }
    }
    try judge(way, accounts, 1, directory)
    // Each direction becomes spliced in each of two rounds, and is copied after the first.
    #expect(promotions >= 4 && demotions >= 2, "\(promotions) promotions, \(demotions) demotions")
  }

  /// Two rounds of much data all at once and small messages one by one, all of it echoed.
  private static func changeOften(with address: SocketAddress, pieces: UInt64 = 20) -> Account {
    guard let (peer, begun) = client(of: address) else { return notConnected }
    defer { close(peer.descriptor) }
    var account = begun
    var expected = greeting
    func take(_ count: Int) {
      while account.received.count < count, let bytes = peer.receive(atMost: 200_000), !bytes.isEmpty {
        account.received += bytes
      }
    }
    for round in 0..<2 {
      let bulk = (round == 0 ? [Conversation.echo.rawValue] : []) + (0..<pieces).flatMap { data(350_000, seed: $0) }
      let isDone = DispatchSemaphore(value: 0)
      Thread.detachNewThread {
        _ = peer.send(bulk[...])
        isDone.signal()
      }
      account.sent += bulk
      expected += bulk
      take(expected.count)
      isDone.wait()
      for message in 0..<40 {
        let bytes = data(100 + message, seed: 7)
        guard peer.send(bytes) else { break }
        account.sent += bytes
        expected += bytes
        take(expected.count)
      }
    }
    peer.end()
    if peer.receive(atMost: 1) != [] || firstDifference(account.received, expected) != nil {
      account.fault = "other bytes came back"
    }
    return account
  }

  /// Bulk is recorded from the receive buffers themselves, what is small through staging, and one behind the other.
  @Test(
    arguments: onEachEngine([
      Way(name: "large buffers", without: 0),
      Way(name: "small buffers", without: 0, bufferCount: 64, bufferBytes: 4096),
      Way(
        name: "small buffers, without all that can be missing",
        without: RingFeatures([.bundles, .multishotReceive, .filesInLoop]).rawValue, bufferCount: 64,
        bufferBytes: 4096),
      Way(name: "few small buffers", without: 0, bufferCount: 4, bufferBytes: 1024),
      Way(name: "unix sockets", without: 0, bufferCount: 64, bufferBytes: 4096, isUnix: true),
      Way(name: "files on the ring", without: RingFeatures.filesInLoop.rawValue),
      Way(name: "stamped, and so never from receive buffers", without: 0, timestamps: true),
    ]))
  func bulkIsRecordedAsItWasRelayed(_ way: Way) throws {
    let directory = try TemporaryDirectory()
    var gathered = [0, 0]
    var staged = [0, 0]
    let accounts = try relay(way, in: directory, [{ Self.changeOften(with: $0, pieces: 6) }]) { sessions in
      guard sessions.count > 0, sessions[0].phase == .relaying else { return }
      for direction in 0..<2 {
        let flow = FlowIndex(rawValue: direction)
        if sessions[file: flow].gathered + sessions[file: flow].gatheredInFlight > 0 { gathered[direction] += 1 }
        if sessions[file: flow].stagedBytes > 0 { staged[direction] += 1 }
      }
    }
    try judge(way, accounts, 1, directory)
    #expect(accounts[0].sent.count > 4_000_000)
    // Each way was taken, in each direction.
    if way.timestamps {
      #expect(gathered == [0, 0])
    } else {
      #expect(gathered[0] > 0 && gathered[1] > 0, "\(gathered)")
    }
    #expect(staged[0] > 0 && staged[1] > 0, "\(staged)")
  }

  /// Peers that are slow to read lose their receive buffers to the others, also those that are just being written.
  @Test(
    arguments: onEachEngine([
      Way(name: "recorded as it is", without: 0, bufferCount: 16, bufferBytes: 4096),
      Way(name: "stamped", without: 0, bufferCount: 16, bufferBytes: 4096, timestamps: true),
      Way(
        name: "without bundles", without: RingFeatures.bundles.rawValue, bufferCount: 8, bufferBytes: 4096),
      Way(name: "unix sockets", without: 0, bufferCount: 16, bufferBytes: 4096, isUnix: true),
    ]))
  func slowReadersAreRecordedToo(_ given: Way) throws {
    var way = given
    way.sendBufferBytes = 32 << 10
    let directory = try TemporaryDirectory()
    var parked = 0
    var gathered = 0
    let accounts = try relay(
      way, in: directory, (0..<6).map { number in { Self.readLate(from: $0, seed: UInt64(number)) } }
    ) { sessions in
      for slot in 0..<sessions.usedSlots where sessions[slot].phase == .relaying {
        for direction in 0..<2 {
          let flow = FlowIndex(rawValue: slot << 1 | direction)
          if sessions[flow: flow].isParked { parked += 1 }
          if sessions[file: flow].gathered + sessions[file: flow].gatheredInFlight > 0 { gathered += 1 }
        }
      }
    }
    try judge(way, accounts, 6, directory)
    // On epoll a flow wants a buffer only when bytes are there: whether somebody does while a slow reader has them all is
    // a matter of time on unix sockets, which hold much.
    if way.engine == .uring || !way.isUnix { #expect(parked > 0) }
    #expect((gathered > 0) == !way.timestamps)
  }

  /// Much data, of which nothing is read back before the sender can send no more.
  private static func readLate(from address: SocketAddress, seed: UInt64) -> Account {
    guard let (peer, begun) = client(of: address, receiveBytes: 64 << 10) else { return notConnected }
    defer { close(peer.descriptor) }
    var account = begun
    let sent = [Conversation.echo.rawValue] + (0..<3).flatMap { data(250_000, seed: seed + $0) }
    account.sent = sent
    let isDone = DispatchSemaphore(value: 0)
    Thread.detachNewThread {
      _ = peer.send(sent[...])
      peer.end()
      isDone.signal()
    }
    // Long enough that everybody on the way has filled up, and then slowly for a while: each pause is longer than a
    // send may stand still before its buffers are wanted back.
    var pauses = 6
    usleep(100_000)
    while let bytes = peer.receive(atMost: 50_000), !bytes.isEmpty {
      account.received += bytes
      if pauses > 0 { usleep(30_000) }
      pauses -= 1
    }
    isDone.wait()
    if firstDifference(account.received, greeting + sent) != nil { account.fault = "other bytes came back" }
    return account
  }

  /// Makes files whose names end so, for whatever second of the next two minutes a session begins in.
  private static func take(_ endings: [String], in directory: String) throws -> Set<String> {
    var clock = Clock()
    var names: Set<String> = []
    let begin = Int64(time(nil))
    for second in begin..<begin + 120 {
      clock.set(Instant(nanoseconds: 0, epochMicroseconds: second * 1_000_000))
      var text = Bytes()
      clock.localName().append(to: &text)
      for ending in endings {
        let name = "\(text.text).77.\(ending)"
        guard names.insert(name).inserted else { continue }
        let file = openFile("\(directory)/\(name)", flags: O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode: 0o600)
        try #require(file >= 0 && write(file, "taken", 5) == 5)
        close(file)
      }
    }
    return names
  }

  /// Names that are taken, of files of others, are left alone, on the ring and in the loop.
  @Test(arguments: TestedRing.Engine.allowed, [0, RingFeatures.filesInLoop.rawValue])
  func takenNamesAreLeftAlone(_ engine: TestedRing.Engine, without: UInt32) throws {
    let directory = try TemporaryDirectory()
    let way = Way(name: "taken names", engine: engine, without: without, bytes: 2000)
    let count = 90
    // Enough numbers are free before for the loop to learn that the file system is prompt. Of some numbers only one of
    // the two names is taken.
    var taken: [String] = []
    for number in 30..<70 {
      if number % 3 != 0 { taken.append("\(number).in") }
      if number % 3 != 1 { taken.append("\(number).out") }
    }
    var foreign: Set<String> = []
    let accounts = try relay(
      way, in: directory, prepare: { foreign = try Self.take(taken, in: $0) },
      [
        { address in
          // One after the other, so that the first ones show the file system to be prompt.
          var all = Account(client: "")
          for number in 0..<count {
            let account = Self.talk(.echo, to: address, seed: UInt64(number % 50), most: 2000)
            all.sent += account.sent
            all.received += account.received
            if let fault = account.fault { all.fault = fault }
          }
          return all
        }
      ])
    #expect(accounts[0].fault == nil)
    let names = directory.names(in: "recordings").subtracting(["sessions.jsonl"])
    #expect(names.isSuperset(of: foreign))
    for name in foreign { #expect(directory.content("recordings/\(name)") == Array("taken".utf8), "\(name)") }
    let ours = names.subtracting(foreign)
    #expect(ours.count == 2 * count)
    let numbers = Set(ours.map { Int($0.split(separator: ".").dropLast().last!)! })
    #expect(numbers.count == count && numbers.isDisjoint(with: 30..<70), "\(numbers.sorted())")
    // Nothing of a pair whose other name was taken is left, and each direction's bytes are in its file.
    var recorded = ["in": 0, "out": 0]
    for name in ours {
      let direction = String(name.split(separator: ".").last!)
      recorded[direction]! += directory.content("recordings/\(name)")?.count ?? 0
    }
    #expect(recorded == ["in": accounts[0].sent.count, "out": accounts[0].received.count])
  }

  /// What one receive brought is one chunk, also when it filled several buffers; never more than one receive.
  @Test(arguments: RealRing.hasBundles ? TestedRing.Engine.allowed : [.epoll], [false, true])
  func aChunkIsWhatOneReceiveBrought(_ engine: TestedRing.Engine, isBundled: Bool) throws {
    var way = Way(
      name: "chunks", engine: engine, without: isBundled ? 0 : RingFeatures.bundles.rawValue, boundaries: true)
    way.bufferCount = 16
    way.bufferBytes = 512
    let directory = try TemporaryDirectory()
    let messages = 20
    let accounts = try relay(way, in: directory, [{ Self.exchange(messages, of: 1300, with: $0) }])
    try judge(way, accounts, 1, directory)
    let stem = try #require(directory.names(in: "recordings").first { $0.hasSuffix(".in") })
    let file = try #require(directory.content("recordings/\(stem)"))
    let chunks = String(decoding: file, as: UTF8.self).split(separator: "<<<\n").map { $0.utf8.count - 4 }
    // The sender waits for the answer to each message, and a short message comes in one piece.
    let pieces = isBundled ? [1300] : [512, 512, 276]
    #expect(chunks == Array(repeating: pieces, count: messages).flatMap { $0 })
  }

  /// A whole relay between these clients and the server; what the clients saw.
  ///
  /// - Parameters:
  ///   - prepare: called with the directory of the recordings.
  ///   - look: called after every turn.
  private func relay(
    _ way: Way, in directory: TemporaryDirectory, prepare: (String) throws -> Void = { _ in },
    _ clients: [@Sendable (SocketAddress) -> Account], look: (borrowing SessionTable) -> Void = { _ in }
  ) throws -> [Account] {
    // As the program does: splice(2) to a connection that is gone tells so by a signal too.
    signal(SIGPIPE, SIG_IGN)
    let serverAddress = try #require(SocketAddress(unixPath: directory.path + "/server.sock"))
    var serverText = "unix:\(directory.path)/server.sock"
    let server: Server
    if way.isUnix {
      server = try Server(serverAddress, bytes: way.bytes)
    } else {
      let any = try #require(try AddressResolver.addresses(listening: try Address(listening: "127.0.0.1:0")).first)
      server = try Server(any, bytes: way.bytes)
      let port = try #require(SocketAddress.local(of: server.descriptor)?.peer.port)
      serverText = "127.0.0.1:\(port)"
    }
    defer { server.end() }

    let recordings = directory.path + "/recordings"
    try #require(mkdir(recordings, 0o700) == 0)
    try prepare(recordings)
    let listenText = way.isUnix ? "unix:\(directory.path)/relay.sock" : "127.0.0.1:0"
    var configuration = RelayConfiguration(
      listen: [try Address(listening: listenText)], connect: try Address(connecting: serverText),
      directory: try DirectoryTemplate(recordings))
    configuration.timestamps = way.timestamps
    configuration.boundaries = way.boundaries
    configuration.relay = way.relay
    if !way.isRecorded { configuration.only = [try CIDR("192.0.2.1")] }
    configuration.flushNanoseconds = 5_000_000
    configuration.drainNanoseconds = 30_000_000_000
    // A session that hangs ends, and fails the test, instead of hanging it.
    configuration.idleNanoseconds = 60_000_000_000

    let listeners = try Listener.open(configuration.listen[0])
    if way.sendBufferBytes > 0 {
      // Those that are accepted inherit it.
      var bytes = way.sendBufferBytes
      setsockopt(listeners[0].descriptor, SOL_SOCKET, SO_SNDBUF, &bytes, socklen_t(MemoryLayout<Int32>.size))
    }
    let front = try #require(SocketAddress.local(of: listeners[0].descriptor))
    let targets = try AddressResolver.addresses(connecting: configuration.connect)
    let directoryDescriptor = openFile(recordings, flags: O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    let index = openFile(recordings + "/sessions.jsonl", flags: O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, mode: 0o600)
    let wake = try SignalDescriptor.openWake()
    try #require(directoryDescriptor >= 0 && index >= 0)
    defer {
      close(directoryDescriptor)
      close(index)
      close(wake)
    }

    // The clients, all at a time, then the word that the relay may end.
    let group = DispatchGroup()
    let results = Results()
    for client in clients {
      group.enter()
      Thread.detachNewThread {
        results.add(client(front))
        group.leave()
      }
    }
    Thread.detachNewThread {
      group.wait()
      results.end(waking: wake)
    }

    func run<R: SystemRing & ~Copyable>(_ ring: consuming R) throws {
      let environment = RelayLoop<R>.Environment(
        listeners: listeners, targets: targets, directory: directoryDescriptor, index: index, processID: 77,
        maxSessions: way.maxSessions, maxSlots: way.maxSessions * 2, wake: wake,
        maxPipes: way.maxPipes, splicing: way.splicing)
      try Self.run(
        try RelayLoop.make(configuration: configuration, environment: environment, ring: ring), results, look)
    }
    let without = RingFeatures(rawValue: way.without)
    switch way.engine {
    case .uring:
      try run(try KernelRing.make(bufferCount: way.bufferCount, bufferBytes: way.bufferBytes, without: without))
    case .epoll:
      try run(try EpollRing.make(bufferCount: way.bufferCount, bufferBytes: way.bufferBytes, without: without))
    }
    return results.accounts
  }

  /// Turns until the clients are done and everything is written.
  private static func run<R: SystemRing & ~Copyable>(
    _ relay: consuming RelayLoop<R>, _ results: Results, _ look: (borrowing SessionTable) -> Void
  ) throws {
    var loop = relay
    loop.start()
    while !loop.isFinished {
      try loop.turn()
      look(loop.sessions)
      if results.isOver, !loop.isDraining { loop.endRequested() }
    }
    let (used, held, parked, active) = (
      loop.pool.usedBytes, loop.spans.buffersHeld, loop.spans.parkedBytes, loop.activeSessions
    )
    #expect(used == 0 && held == 0 && parked == 0 && active == 0)
    let (usedPipes, idlePipes) = (loop.pipes.usedCount, loop.pipes.idleCount)
    #expect(usedPipes == 0 && idlePipes == 0)
  }

  /// What the clients' threads tell the test's.
  private final class Results: @unchecked Sendable {
    // A lock that the thread sanitizer knows.
    private let lock = NSLock()
    private var finished: [Account] = []
    private var isEverybodyFinished = false

    func add(_ account: Account) { lock.withLock { finished.append(account) } }
    /// The wake-up is over before anybody can see that all is.
    func end(waking wake: Int32) {
      lock.withLock {
        isEverybodyFinished = true
        SignalDescriptor.wake(wake)
      }
    }
    var accounts: [Account] { lock.withLock { finished } }
    var isOver: Bool { lock.withLock { isEverybodyFinished } }
  }

  // MARK: Judging

  private func judge(_ way: Way, _ accounts: [Account], _ count: Int, _ directory: TemporaryDirectory) throws {
    #expect(accounts.count == count)
    for account in accounts { #expect(account.fault == nil, "\(account.client): \(account.fault ?? "")") }

    let text = try #require(directory.content("recordings/sessions.jsonl"))
    var ends: [[String: Any]] = []
    var starts = 0
    for line in text.split(separator: 10) {
      let record = try #require(try JSONSerialization.jsonObject(with: Data(line)) as? [String: Any])
      if record["event"] as? String == "end" { ends.append(record) } else { starts += 1 }
    }
    #expect(starts == count && ends.count == count)
    guard way.isRecorded else {
      func sizes(_ number: (String) -> Any?) -> String { "\(number("in") ?? "") \(number("out") ?? "")" }
      #expect(
        ends.map { end in sizes { end["\($0)_bytes"] } }.sorted()
          == accounts.map { account in sizes { $0 == "in" ? account.sent.count : account.received.count } }.sorted())
      for end in ends { #expect(end["recording"] as? String == "none") }
      for account in accounts where account.sent.first == Conversation.serverEndsFirst.rawValue {
        #expect(firstDifference(account.received, Self.speech(way.bytes)) == nil)
      }
      #expect(directory.names(in: "recordings") == ["sessions.jsonl"])
      return
    }

    var left = accounts
    for end in ends {
      let stem = try #require(end["id"] as? String)
      let input = try #require(directory.content("recordings/\(stem).in"))
      let output = try #require(directory.content("recordings/\(stem).out"))
      // Clients of a unix socket have no name; what they sent tells which they are.
      let client = end["client"] as? String ?? ""
      let (sent, received) = (try decode(input, way), try decode(output, way))
      let found = left.firstIndex { way.isUnix ? $0.sent == sent && $0.received == received : $0.client == client }
      let place = try #require(found, "\(stem): no client sent what is recorded")
      let account = left.remove(at: place)
      #expect(firstDifference(sent, account.sent) == nil, "\(stem).in")
      #expect(firstDifference(received, account.received) == nil, "\(stem).out")
      #expect(end["in_bytes"] as? Int == sent.count && end["in_recorded"] as? Int == sent.count, "\(stem)")
      #expect(end["out_bytes"] as? Int == received.count && end["out_recorded"] as? Int == received.count, "\(stem)")
      #expect(end["in_file"] as? Int == input.count && end["out_file"] as? Int == output.count, "\(stem)")
      #expect(end["recording"] as? String == "complete" && end["dropped"] as? Int == 0, "\(stem)")
      let reason = end["reason"] as? String
      #expect(["client-eof", "server-eof"].contains(reason), "\(stem): \(reason ?? "")")
      if account.sent.first == Conversation.serverEndsFirst.rawValue {
        #expect(reason == "server-eof" && firstDifference(received, Self.speech(way.bytes)) == nil, "\(stem)")
      }
      if account.sent.first == Conversation.echo.rawValue { #expect(reason == "client-eof", "\(stem)") }
    }
    // The relay's own socket is gone.
    #expect(directory.names == (way.isUnix ? ["recordings", "server.sock"] : ["recordings"]))
    #expect(directory.names(in: "recordings").count == 2 * count + 1)
  }

  private struct Malformed: Error {
    var place: Int
    var what: String
  }

  /// The relayed bytes of a file, whose markers and stamps stand where they must.
  private func decode(_ file: [UInt8], _ way: Way) throws -> [UInt8] {
    guard way.timestamps || way.boundaries else { return file }
    let (less, greater) = (UInt8(ascii: "<"), UInt8(ascii: ">"))
    var data: [UInt8] = []
    var place = 0
    var atLineStart = true
    var isInside = false
    while place < file.count {
      if way.boundaries, file[place] == less || file[place] == greater {
        let marker = file[place]
        guard file[place...].starts(with: [marker, marker, marker, 10]), isInside == (marker == greater) else {
          throw Malformed(place: place, what: "marker")
        }
        isInside.toggle()
        place += 4
        continue
      }
      if way.boundaries && !isInside { throw Malformed(place: place, what: "outside of a chunk") }
      if way.timestamps && atLineStart {
        let stamp = String(decoding: file[place...].prefix(18), as: UTF8.self)
        guard stamp.wholeMatch(of: /[0-9]{10}\.[0-9]{6}[ ]/) != nil, place + 18 < file.count else {
          throw Malformed(place: place, what: "stamp \(stamp)")
        }
        place += 18
      }
      data.append(file[place])
      atLineStart = file[place] == 10
      place += 1
    }
    if isInside { throw Malformed(place: place, what: "open chunk") }
    return data
  }
}
