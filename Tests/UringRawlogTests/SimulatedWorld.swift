import Glibc

@testable import UringRawlog

/// Everything on the other side of the ring, in memory: clients, servers, files, and the operations with the kernel.
///
/// Operations complete in seeded random order, late, in parts, or with an error. What a peer sent and received is kept
/// for the oracles.
final class SimulatedWorld {
  /// How often each fault strikes: about once in so many chances; 0 never.
  struct Faults {
    var acceptError = 0
    var connectRefused = 0
    var connectSilent = 0
    var collectorSilent = 0
    var collectorRefused = 0
    var collectorStalls = 0
    var collectorShuts = 0
    var openError = 0
    var nameTaken = 0
    var writeError = 0
    /// The file system is not prompt: 1 means that files are never worked on in the loop.
    var fileSlow = 1
    var sendShortage = 0
    var peerReset = 0
    var peerStall = 0
    var multishotEnds = 4
    /// A multishot receive does not hear of a reset that comes with the last bytes, and never completes by itself.
    var resetMissed = 0
    var enterFails = 0
    var pipeRefused = 0
    var spliceRefused = 0
    var spliceShortage = 0
    var pollForNothing = 0
    /// No write ends while this holds.
    var diskHangs = false
    /// From this many written bytes on the disk is full; it is freed by `freeDisk`.
    var diskBytes = Int.max
  }

  /// A client or a server.
  final class Peer {
    /// The client's number; a server has that of the client it was connected for.
    var number = 0
    /// Where a client comes from.
    var address: UInt32 = 0x7F00_0001
    var script: [UInt8]
    var sentCount = 0
    var received: [UInt8] = []
    /// It ends its stream when it has sent all; otherwise it breaks the connection there.
    var resetsAtEnd = false
    /// It ends its stream only after the other side's end.
    var waitsForEnd = false
    /// Places in its script, in order, where it first waits until it has received so many bytes.
    var pauses: [(place: Int, received: Int)] = []
    var stalledUntil: UInt64 = 0
    var hasEnded = false
    var hasReset = false
    /// What it saw of the relay.
    var sawEnd = false
    var sawReset = false
    var isClosedByRelay = false
    /// What it speaks; nil in the clear.
    var tls: SimulatedTLS?
    /// What it will speak when it has sent and received so much in the clear.
    var startTLS: (tls: SimulatedTLS, sent: Int, received: Int)?
    /// Its stream ended, and can be told from one that was cut.
    var endsCleanly: Bool { hasEnded && (tls?.isClean ?? true) }

    init(script: [UInt8]) {
      self.script = script
    }

    /// For a trace.
    var summary: String {
      "sent \(sentCount) of \(script.count), received \(received.count), resets \(resetsAtEnd), waits \(waitsForEnd), "
        + "stalled \(stalledUntil), ended \(hasEnded), reset \(hasReset), saw end \(sawEnd), saw reset \(sawReset), "
        + "TLS \(tls.map { "open \($0.isOpen), clean \($0.isClean), saw end \($0.sawEnd)" } ?? "none")"
    }

    /// Bytes of its script that it would send now.
    var willing: Int {
      // Whoever hears nothing more need not wait.
      if sawEnd || sawReset { pauses = [] }
      while let pause = pauses.first, received.count >= pause.received { pauses.removeFirst() }
      guard tls?.isOpen ?? true else { return 0 }
      return min(pauses.first?.place ?? script.count, startTLS?.sent ?? script.count) - sentCount
    }
  }

  /// The relay's end of a connection.
  final class Connection {
    let peer: Peer
    /// Bytes that the peer sent and the relay has not received.
    var incoming: [UInt8] = []
    var relayShut = false
    /// The receive on it has missed a reset.
    var isDeaf = false
    /// splice(2) does not wait for it.
    var isNonblocking = false
    let window: Int

    init(_ peer: Peer, window: Int) {
      self.peer = peer
      self.window = window
    }
  }

  final class Channel {
    let bytes: Int
    var content: [UInt8] = []

    init(bytes: Int) {
      self.bytes = bytes
    }
  }

  final class File {
    let path: String
    var bytes: [UInt8] = []
    /// It was there before the relay wanted to make it.
    var isForeign = false

    init(_ path: String) {
      self.path = path
    }
  }

  enum Descriptor {
    case listener
    case socket
    case connection(Connection)
    case file(File)
    /// One end of a pipe.
    case reading(Channel)
    case writing(Channel)
  }

  struct Operation {
    enum Kind {
      case accept(multishot: Bool)
      case connect
      case connectCollector
      case receive(multishot: Bool, bundle: Bool)
      case send([UnsafeRawBufferPointer])
      case write([UnsafeRawBufferPointer], offset: Int64)
      case open(path: String)
      case unlink(path: String)
      case truncate(bytes: Int)
      case rename(from: String, to: String)
      case poll(events: UInt32)
      case close
      case cancel(Token)
      case cancelAll
    }
    var kind: Kind
    var descriptor: Int32
    var token: Token
  }

  var random: SeededGenerator
  var faults = Faults()
  /// Lines without an end are written tentatively, and over again.
  var mayOverwrite = false
  /// The directories in which files can be made; nil when all are there.
  var directories: Set<String>?
  var now = Instant(nanoseconds: 1_000_000_000, epochMicroseconds: 1_700_000_000_000_000)
  private(set) var descriptors: [Int32: Descriptor] = [:]
  private var nextDescriptor: Int32 = 10
  private(set) var operations: [Operation] = []
  private var ready: [Completion] = []
  private(set) var files: [String: File] = [:]
  var writtenBytes = 0
  /// What a pipe holds, and what was spliced through all of them.
  var pipeBytes = 1 << 16
  private(set) var splicedBytes = 0
  private(set) var peakPipes = 0

  /// Clients that have connected and were not accepted yet.
  var backlog: [Peer] = []
  /// Called for each connection to the server: the server's side of it.
  var makeServer: () -> Peer = { Peer(script: []) }

  // Receive buffers, as the kernel keeps them.
  let bufferCount: Int
  let bufferBytes: Int
  let hasBundles: Bool
  let memory: UnsafeMutableRawPointer
  private(set) var freeBuffers: [Int]
  private var bundleNext: [Int: Int] = [:]
  /// Faults of the ring's user that the simulation noticed.
  private(set) var violations: [String] = []

  init(seed: UInt64, bufferCount: Int, bufferBytes: Int, hasBundles: Bool) {
    random = SeededGenerator(seed: seed)
    self.bufferCount = bufferCount
    self.bufferBytes = bufferBytes
    self.hasBundles = hasBundles
    memory = .allocate(byteCount: bufferCount * bufferBytes, alignment: 16)
    freeBuffers = Array(0..<bufferCount)
    descriptors[3] = .listener
    descriptors[4] = .file(File("index"))
  }

  deinit { memory.deallocate() }

  var indexText: String {
    if case .file(let file)? = descriptors[4] { return String(decoding: file.bytes, as: UTF8.self) }
    return ""
  }

  /// Descriptors beside the listener and the index that the relay has not closed.
  var openDescriptors: Int { descriptors.keys.filter { $0 > 4 }.count }

  /// No completion waits to be taken.
  var hasDelivered: Bool { ready.isEmpty }

  func freeDisk() { faults.diskBytes = .max }

  func file(_ name: String) -> [UInt8]? { files[name]?.bytes }

  func violate(_ text: String) { if violations.count < 20 { violations.append(text) } }

  // MARK: What the ring asks

  func submit(_ operation: Operation) {
    switch operation.kind {
    case .close:
      guard let closed = descriptors.removeValue(forKey: operation.descriptor) else {
        violate("close of \(operation.descriptor), which is not open")
        return
      }
      if operations.contains(where: { $0.descriptor == operation.descriptor && !$0.isCancel }) {
        violate("close of \(operation.descriptor) with an operation in flight")
      }
      if case .connection(let connection) = closed {
        connection.peer.isClosedByRelay = true
        if connection.incoming.isEmpty || connection.peer.hasEnded {
          connection.peer.sawEnd = true
        } else {
          connection.peer.sawReset = true
        }
      }
      ready.append(Completion(token: operation.token, result: 0, buffer: -1, more: false))
    case .cancel(let target):
      let place = operations.firstIndex { $0.token == target && !$0.isCancel }
      if let place { cancel(place) }
      complete(operation.token, place == nil ? -ENOENT : 0)
    case .cancelAll:
      var found = false
      while let place = operations.firstIndex(where: { $0.descriptor == operation.descriptor && !$0.isCancel }) {
        cancel(place)
        found = true
      }
      complete(operation.token, found ? 1 : -ENOENT)
    default:
      if case .receive = operation.kind, case .connection(let connection)? = descriptors[operation.descriptor] {
        connection.isDeaf = false
      }
      operations.append(operation)
    }
  }

  private func cancel(_ place: Int) {
    let operation = operations.remove(at: place)
    complete(operation.token, -ECANCELED)
  }

  private func complete(_ token: Token, _ result: Int32, buffer: Int = -1, more: Bool = false) {
    ready.append(Completion(token: token, result: result, buffer: Int32(buffer), more: more))
  }

  func makeSocket() -> Int32 {
    defer { nextDescriptor += 1 }
    descriptors[nextDescriptor] = .socket
    return nextDescriptor
  }

  func shutdown(_ descriptor: Int32) {
    guard case .connection(let connection)? = descriptors[descriptor] else {
      violate("shutdown of \(descriptor), which is no connection")
      return
    }
    if connection.relayShut { violate("second shutdown of \(descriptor)") }
    connection.relayShut = true
    connection.peer.sawEnd = true
  }

  func returnBuffer(_ buffer: Int) {
    if freeBuffers.contains(buffer) { violate("buffer \(buffer) given back twice") }
    // What the relay gave back it must not read any more.
    (memory + buffer * bufferBytes).initializeMemory(as: UInt8.self, repeating: 0xDB, count: bufferBytes)
    freeBuffers.append(buffer)
  }

  func bufferAfter(_ buffer: Int) -> Int {
    guard let next = bundleNext[buffer] else {
      violate("no buffer follows \(buffer)")
      return 0
    }
    return next
  }

  func takeCompletions(_ limit: Int) -> [Completion] {
    // Completions of one operation keep their order; those of different ones come in any.
    let count = random.once(in: 3) ? min(ready.count, random.below(ready.count + 1)) : ready.count
    let taken = Array(ready.prefix(min(limit, count)))
    ready.removeFirst(taken.count)
    return taken
  }

  // MARK: Time passes

  /// Lets peers and kernel work until something completes or the time is over.
  func run(nanoseconds: UInt64?) throws(Errno) {
    if random.once(in: faults.enterFails) { return }
    let end = nanoseconds.map { now.nanoseconds + $0 }
    var rounds = 0
    while ready.isEmpty {
      advance(by: UInt64(random.below(2_000_000)))
      movePeers()
      moveOperations()
      rounds += 1
      if let end, now.nanoseconds >= end { return }
      if rounds > 1000 {
        // Nothing moves any more: only a deadline of the loop can help.
        guard let end else {
          violate("the loop waits without end and nothing can complete: \(operations.count) operations")
          throw Errno(EDEADLK)
        }
        advance(by: end - min(end, now.nanoseconds))
        return
      }
    }
  }

  private func advance(by nanoseconds: UInt64) {
    now.nanoseconds += nanoseconds
    now.epochMicroseconds += Int64(nanoseconds / 1000)
  }

  private func movePeers() {
    for case .connection(let connection) in descriptors.sorted(by: { $0.key < $1.key }).map(\.value) {
      let peer = connection.peer
      if peer.hasReset || peer.hasEnded { continue }
      // One that stalls again and again, while nothing else is left, would hold the loop for ever.
      if random.once(in: faults.peerStall), peer.stalledUntil <= now.nanoseconds {
        peer.stalledUntil = now.nanoseconds + UInt64(random.below(300)) * 1_000_000
      }
      if random.once(in: faults.peerReset) {
        reset(connection)
        continue
      }
      beginTLS(connection)
      let left = peer.script.count - peer.sentCount
      if peer.startTLS != nil, peer.sawEnd || peer.sawReset {
        peer.hasEnded = true
      } else if left > 0 {
        let room = connection.window - connection.incoming.count
        let count = min(peer.willing, room, 1 + random.below(random.once(in: 4) ? connection.window : 300))
        if count > 0 {
          let bytes = Array(peer.script[peer.sentCount..<peer.sentCount + count])
          connection.incoming += peer.tls?.seal(bytes) ?? bytes
          peer.sentCount += count
        }
      } else if peer.resetsAtEnd {
        if connection.incoming.isEmpty { reset(connection) }
      } else if peer.tls?.isOpen == false {
        // Nobody leaves in the middle of a handshake, but by a reset.
        if peer.sawEnd || peer.sawReset { peer.hasEnded = true }
      } else if !peer.waitsForEnd || peer.sawEnd {
        if let tls = peer.tls { connection.incoming += tls.end() }
        peer.hasEnded = true
      }
    }
  }

  /// STARTTLS was agreed on: from now on a peer speaks TLS.
  private func beginTLS(_ connection: Connection) {
    let peer = connection.peer
    guard let next = peer.startTLS, peer.sentCount == next.sent, peer.received.count >= next.received else { return }
    peer.startTLS = nil
    peer.tls = next.tls
    connection.incoming += next.tls.begin()
  }

  private func reset(_ connection: Connection) {
    connection.peer.hasReset = true
    if random.once(in: 2) { connection.incoming = [] }
  }

  /// Completes some of the operations that can.
  private func moveOperations() {
    var index = 0
    while index < operations.count {
      if random.once(in: 3) {
        index += 1
        continue
      }
      let operation = operations[index]
      let before = operations.count
      if work(operation) {
        operations.remove(at: index)
      } else {
        index += operations.count == before ? 1 : 0
      }
    }
  }

  /// Does an operation on a file at once, if the file system answers promptly just now.
  func now(_ kind: Operation.Kind, _ descriptor: Int32) -> Int32? {
    guard !random.once(in: faults.fileSlow) else { return nil }
    let taken = ready.count
    _ = work(Operation(kind: kind, descriptor: descriptor, token: Token(.close)))
    return ready.count > taken ? ready.removeLast().result : nil
  }

  /// Lets one operation happen; true when it is over.
  private func work(_ operation: Operation) -> Bool {
    switch operation.kind {
    case .accept(let multishot): return workAccept(operation, multishot: multishot)
    case .connect: return workConnect(operation)
    case .connectCollector: return workConnectCollector(operation)
    case .receive(let multishot, let bundle):
      return workReceive(operation, multishot: multishot, bundle: bundle)
    case .send(let pieces): return workSend(operation, pieces)
    case .write(let pieces, let offset): return workWrite(operation, pieces, offset)
    case .open(let path): return workOpen(operation, path)
    case .unlink(let path):
      if files[path]?.isForeign ?? true { violate("removal of '\(path)', which is not the relay's") }
      files[path] = nil
      complete(operation.token, 0)
      return true
    case .truncate(let bytes):
      workTruncate(operation, bytes)
      return true
    case .rename(let from, let to):
      workRename(operation, from, to)
      return true
    case .poll(let events): return workPoll(operation, events)
    case .close, .cancel, .cancelAll:
      return true
    }
  }

  private func workPoll(_ operation: Operation, _ events: UInt32) -> Bool {
    guard case .connection(let connection)? = descriptors[operation.descriptor] else {
      violate("poll of \(operation.descriptor), which is no connection")
      return true
    }
    let peer = connection.peer
    if operation.token.kind == .pollCollector {
      guard peer.hasReset || peer.hasEnded && events != 0 else { return false }
      complete(operation.token, peer.hasReset ? Int32(POLLERR | POLLHUP) : Int32(events))
      return true
    }
    let isReadable = !connection.incoming.isEmpty || peer.hasEnded
    let isReady =
      peer.hasReset || events & UInt32(POLLIN) != 0 && isReadable
      || events & UInt32(POLLOUT) != 0 && peer.stalledUntil <= now.nanoseconds
    guard isReady || random.once(in: faults.pollForNothing) else { return false }
    complete(operation.token, random.once(in: faults.spliceShortage) ? -ENOMEM : Int32(events))
    return true
  }

  // MARK: Pipes

  func makeNonblocking(_ descriptor: Int32) -> Bool {
    guard case .connection(let connection)? = descriptors[descriptor] else {
      violate("\(descriptor), which is no connection, was to be made not to wait")
      return false
    }
    connection.isNonblocking = true
    return true
  }

  func makePipe(_ bytes: Int) throws(Errno) -> Pipe {
    if random.once(in: faults.pipeRefused) { throw Errno(EMFILE) }
    let channel = Channel(bytes: min(bytes, pipeBytes))
    let pipe = Pipe(reading: nextDescriptor, writing: nextDescriptor + 1, bytes: channel.bytes)
    nextDescriptor += 2
    descriptors[pipe.reading] = .reading(channel)
    descriptors[pipe.writing] = .writing(channel)
    let count = descriptors.values.count { if case .reading = $0 { true } else { false } }
    peakPipes = max(peakPipes, count)
    return pipe
  }

  func close(_ pipe: Pipe) {
    guard case .reading? = descriptors.removeValue(forKey: pipe.reading),
      case .writing? = descriptors.removeValue(forKey: pipe.writing)
    else {
      violate("close of a pipe that is not open")
      return
    }
  }

  func splice(_ from: Int32, _ to: Int32, _ bytes: Int) -> Int {
    if bytes <= 0 { violate("splice of \(bytes) bytes") }
    if random.once(in: faults.spliceRefused) {
      if case .connection? = descriptors[from] { return -Int(EINVAL) }
    }
    if random.once(in: faults.spliceShortage) { return -Int([EAGAIN, EINTR, ENOMEM].randomElement(using: &random)!) }
    switch (descriptors[from], descriptors[to]) {
    case (.connection(let source)?, .writing(let pipe)?): return fill(pipe, from: source, bytes)
    case (.reading(let pipe)?, .connection(let sink)?): return drain(pipe, to: sink, bytes)
    default:
      violate("splice from \(from) to \(to)")
      return -Int(EBADF)
    }
  }

  private func fill(_ pipe: Channel, from source: Connection, _ bytes: Int) -> Int {
    if !source.isNonblocking { violate("splice from a socket that waits") }
    // A pipe is full sooner when the pieces are small.
    guard pipe.content.count < pipe.bytes, !(pipe.content.count > 0 && random.once(in: 5)) else { return -Int(EAGAIN) }
    if source.incoming.isEmpty {
      if source.peer.hasReset { return -Int(ECONNRESET) }
      return source.peer.hasEnded ? 0 : -Int(EAGAIN)
    }
    var count = min(bytes, source.incoming.count, pipe.bytes - pipe.content.count)
    if random.once(in: 3) { count = 1 + random.below(count) }
    pipe.content += source.incoming[..<count]
    source.incoming.removeFirst(count)
    return count
  }

  private func drain(_ pipe: Channel, to sink: Connection, _ bytes: Int) -> Int {
    if !sink.isNonblocking { violate("splice to a socket that waits") }
    if sink.relayShut { violate("splice to a socket after its shutdown") }
    if pipe.content.isEmpty { return -Int(EAGAIN) }
    if sink.peer.hasReset { return -Int(random.once(in: 2) ? ECONNRESET : EPIPE) }
    if sink.peer.stalledUntil > now.nanoseconds { return -Int(EAGAIN) }
    var count = min(bytes, pipe.content.count)
    if random.once(in: 3) { count = 1 + random.below(count) }
    sink.peer.received += pipe.content[..<count]
    pipe.content.removeFirst(count)
    splicedBytes += count
    return count
  }

  private func workAccept(_ operation: Operation, multishot: Bool) -> Bool {
    guard !backlog.isEmpty else { return false }
    if random.once(in: faults.acceptError) {
      complete(operation.token, [-ECONNABORTED, -EMFILE, -ENOBUFS].randomElement(using: &random)!)
      return true
    }
    let peer = backlog.removeFirst()
    let descriptor = nextDescriptor
    nextDescriptor += 1
    let connection = Connection(peer, window: 1 + random.below(70_000))
    if let tls = peer.tls { connection.incoming += tls.begin() }
    descriptors[descriptor] = .connection(connection)
    let more = multishot && !random.once(in: faults.multishotEnds)
    complete(operation.token, descriptor, more: more)
    return !more
  }

  private func workConnect(_ operation: Operation) -> Bool {
    if random.once(in: faults.connectSilent) { return false }
    if random.once(in: faults.connectRefused) {
      complete(operation.token, [-ECONNREFUSED, -EHOSTUNREACH, -EAGAIN].randomElement(using: &random)!)
      return true
    }
    let server = makeServer()
    descriptors[operation.descriptor] = .connection(Connection(server, window: 1 + random.below(70_000)))
    servers.append(server)
    complete(operation.token, 0)
    return true
  }

  private(set) var servers: [Peer] = []

  /// A collector that is absent, silent, slow, never reads, reads little and breaks, or ends its own side at once.
  private func workConnectCollector(_ operation: Operation) -> Bool {
    if random.once(in: faults.collectorSilent) { return false }
    if random.once(in: faults.collectorRefused) {
      complete(operation.token, [-ECONNREFUSED, -EHOSTUNREACH].randomElement(using: &random)!)
      return true
    }
    let peer = Peer(script: [])
    peer.waitsForEnd = true
    if random.once(in: faults.collectorStalls) { peer.stalledUntil = .max }
    if random.once(in: faults.collectorShuts) { peer.hasEnded = true }
    descriptors[operation.descriptor] = .connection(Connection(peer, window: 1))
    collected[operation.token.rawValue & 0xFF_FFFF_FFFF_FFFF, default: []].append(peer)
    complete(operation.token, 0)
    return true
  }

  /// What the collector got: its side of each connection, by the slot and generation of the session.
  private(set) var collected: [UInt64: [Peer]] = [:]

  private func workReceive(_ operation: Operation, multishot: Bool, bundle: Bool) -> Bool {
    guard case .connection(let connection)? = descriptors[operation.descriptor] else {
      violate("receive on \(operation.descriptor), which is no connection")
      return true
    }
    if connection.isDeaf { return false }
    if connection.incoming.isEmpty {
      if connection.peer.hasReset {
        complete(operation.token, -ECONNRESET)
        return true
      }
      guard connection.peer.hasEnded else { return false }
      // An end may bring a buffer that was chosen for it.
      if random.once(in: 4), !freeBuffers.isEmpty {
        complete(operation.token, 0, buffer: freeBuffers.removeFirst())
      } else {
        complete(operation.token, 0)
      }
      return true
    }
    guard !freeBuffers.isEmpty else {
      complete(operation.token, -ENOBUFS)
      return true
    }
    let most = hasBundles && bundle ? 1 + random.below(min(4, freeBuffers.count)) : 1
    let count = min(connection.incoming.count, most * bufferBytes, 1 + random.below(most * bufferBytes * 2))
    let first = freeBuffers[0]
    var place = 0
    var previous = -1
    while place < count {
      let buffer = freeBuffers.removeFirst()
      let part = min(bufferBytes, count - place)
      for offset in 0..<part {
        memory.storeBytes(
          of: connection.incoming[place + offset], toByteOffset: buffer * bufferBytes + offset, as: UInt8.self)
      }
      if previous >= 0 { bundleNext[previous] = buffer }
      previous = buffer
      place += part
    }
    connection.incoming.removeFirst(count)
    let more = multishot && !random.once(in: faults.multishotEnds)
    complete(operation.token, Int32(count), buffer: first, more: more)
    if more, connection.incoming.isEmpty, connection.peer.resetsAtEnd, connection.peer.willing == 0,
      random.once(in: faults.resetMissed)
    {
      connection.peer.hasReset = true
      connection.isDeaf = true
    }
    return !more
  }

  private func workSend(_ operation: Operation, _ pieces: [UnsafeRawBufferPointer]) -> Bool {
    guard case .connection(let connection)? = descriptors[operation.descriptor] else {
      violate("send on \(operation.descriptor), which is no connection")
      return true
    }
    if connection.relayShut { violate("send on \(operation.descriptor) after its shutdown") }
    if connection.peer.hasReset {
      complete(operation.token, random.once(in: 2) ? -ECONNRESET : -EPIPE)
      return true
    }
    if connection.peer.stalledUntil > now.nanoseconds { return false }
    if random.once(in: faults.sendShortage) {
      complete(operation.token, random.once(in: 2) ? -ENOBUFS : -EINTR)
      return true
    }
    let all = pieces.flatMap { Array($0) }
    let count = random.once(in: 3) ? 1 + random.below(all.count) : all.count
    deliver(Array(all[..<count]), to: connection)
    complete(operation.token, Int32(count))
    return true
  }

  private func deliver(_ bytes: [UInt8], to connection: Connection) {
    let peer = connection.peer
    guard let tls = peer.tls else {
      peer.received += bytes
      return
    }
    let (plaintext, answer) = tls.take(bytes)
    peer.received += plaintext
    if !peer.hasEnded { connection.incoming += answer }
    if let failure = tls.failure { violate("peer \(peer.number) got no proper TLS: \(failure)") }
  }

  /// What a socket takes at once: all of it, or nothing.
  func sendNow(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) {
    guard case .connection(let connection)? = descriptors[descriptor] else {
      violate("send on \(descriptor), which is no connection")
      return
    }
    let isTaken = !connection.peer.hasReset && connection.peer.stalledUntil <= now.nanoseconds && !random.once(in: 3)
    guard isTaken else { return }
    deliver(Array(bytes), to: connection)
  }

  private func workWrite(_ operation: Operation, _ pieces: [UnsafeRawBufferPointer], _ offset: Int64) -> Bool {
    guard case .file(let file)? = descriptors[operation.descriptor] else {
      violate("write to \(operation.descriptor), which is no file")
      return true
    }
    if faults.diskHangs, file.path != "index" { return false }
    if random.once(in: faults.writeError) {
      complete(operation.token, [-EIO, -ENOSPC, -EINTR].randomElement(using: &random)!)
      return true
    }
    let all = pieces.flatMap { Array($0) }
    guard !all.isEmpty else {
      violate("a write of nothing to '\(file.path)', which would be taken for a disk that takes nothing")
      complete(operation.token, 0)
      return true
    }
    var count = random.once(in: 3) ? 1 + random.below(all.count) : all.count
    count = min(count, faults.diskBytes - writtenBytes)
    guard count > 0 else {
      complete(operation.token, -ENOSPC)
      return true
    }
    if offset < 0 {
      file.bytes += all[..<count]
    } else {
      let place = Int(offset)
      if place > file.bytes.count || place < file.bytes.count && !mayOverwrite {
        violate("write at \(offset) of a file of \(file.bytes.count) bytes")
      }
      let start = min(place, file.bytes.count)
      file.bytes.replaceSubrange(start..<min(start + count, file.bytes.count), with: all[..<count])
    }
    writtenBytes += count
    complete(operation.token, Int32(count))
    return true
  }

  private func workTruncate(_ operation: Operation, _ bytes: Int) {
    guard case .file(let file)? = descriptors[operation.descriptor], bytes <= file.bytes.count, mayOverwrite else {
      violate("\(operation.descriptor) was to be cut to \(bytes) bytes")
      return
    }
    file.bytes.removeSubrange(bytes...)
    complete(operation.token, 0)
  }

  private func workRename(_ operation: Operation, _ from: String, _ to: String) {
    guard let file = files[from] else {
      violate("'\(from)' was to be renamed, which is not there")
      return
    }
    guard files[to] == nil else {
      complete(operation.token, -EEXIST)
      return
    }
    files[from] = nil
    files[to] = file
    complete(operation.token, 0)
  }

  /// A descriptor that is locked must be of a file.
  func lock(_ descriptor: Int32) {
    guard case .file? = descriptors[descriptor] else {
      violate("\(descriptor) was locked, which is no file")
      return
    }
  }

  private func workOpen(_ operation: Operation, _ path: String) -> Bool {
    if random.once(in: faults.openError) {
      complete(operation.token, [-EACCES, -ENOSPC, -EMFILE].randomElement(using: &random)!)
      return true
    }
    if let directories, !directories.contains(path.split(separator: "/").dropLast().joined(separator: "/")) {
      complete(operation.token, -ENOENT)
      return true
    }
    if files[path] == nil, random.once(in: faults.nameTaken) {
      files[path] = File(path)
      files[path]!.isForeign = true
    }
    if files[path] != nil {
      complete(operation.token, -EEXIST)
      return true
    }
    let file = File(path)
    files[path] = file
    let descriptor = nextDescriptor
    nextDescriptor += 1
    descriptors[descriptor] = .file(file)
    complete(operation.token, descriptor)
    return true
  }

  /// A peer confirms sooner or later.
  func isDelivered() -> Bool { random.once(in: 2) }

  func isHungUp(_ socket: Int32) -> Bool { peer(socket)?.hasReset == true }

  /// The peer of one of the relay's connections.
  func peer(_ descriptor: Int32) -> Peer? {
    if case .connection(let connection)? = descriptors[descriptor] { return connection.peer }
    return nil
  }
}

extension SimulatedWorld.Operation {
  var isCancel: Bool {
    switch kind {
    case .cancel, .cancelAll, .close: true
    case .accept, .connect, .connectCollector, .receive, .send, .write, .open, .unlink, .truncate, .rename, .poll: false
    }
  }
}
