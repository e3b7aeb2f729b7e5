import Glibc
import Testing

@testable import UringRawlog

/// Faults of the loop that were found once, each as the smallest simulation that showed it.
@Suite struct LoopRegressionTests {
  private static func configuration() -> RelayConfiguration {
    RelayConfiguration(
      listen: [try! Address(listening: ":143")], connect: try! Address(connecting: "127.0.0.1:1143"),
      directory: try! DirectoryTemplate("recordings"))
  }

  private static func environment(maxSessions: Int = 10) -> RelayLoop<SimulatedRing>.Environment {
    let listener = Listener(descriptor: 3, given: ":143", bound: "[::]:143", path: "", pathIdentity: nil, port: 143)
    return RelayLoop<SimulatedRing>.Environment(
      listeners: [listener], targets: [SocketAddress()], directory: 5, index: 4, processID: 77,
      maxSessions: maxSessions, maxSlots: maxSessions)
  }

  /// Accepting was paused for lack of descriptors when the end was requested: the loop turned without pause until the
  /// sessions had drained.
  @Test func drainingDoesNotSpinWhileAcceptingIsPaused() throws {
    let world = SimulatedWorld(seed: 1, bufferCount: 4, bufferBytes: 1000, hasBundles: true)
    // A session that lasts as long as it may: both wait for the other's end.
    let client = SimulatedWorld.Peer(script: [])
    client.waitsForEnd = true
    world.makeServer = {
      let server = SimulatedWorld.Peer(script: [])
      server.waitsForEnd = true
      return server
    }
    world.backlog.append(client)
    var loop = try RelayLoop.make(
      configuration: Self.configuration(), environment: Self.environment(), ring: SimulatedRing(world: world))
    loop.start()
    while loop.sessions.count == 0 || loop.sessions[0].phase != .relaying { try loop.turn() }
    loop.acceptPausedUntil = loop.clock.now.nanoseconds + 1
    loop.endRequested()
    var turns = 0
    while !loop.isFinished {
      try loop.turn()
      turns += 1
      try #require(turns < 1000, "the loop spins")
    }
    #expect(world.indexText.contains("\"reason\":\"drain\""))
  }

  /// With as many sessions only finishing their recording as there are slots, accepted connections were moved in a
  /// circle without end.
  @Test func fullTableDoesNotSpin() throws {
    let world = SimulatedWorld(seed: 2, bufferCount: 4, bufferBytes: 1000, hasBundles: true)
    for _ in 0..<5 { world.backlog.append(SimulatedWorld.Peer(script: Array("hello\n".utf8))) }
    var loop = try RelayLoop.make(
      configuration: Self.configuration(), environment: Self.environment(maxSessions: 1),
      ring: SimulatedRing(world: world))
    loop.start()
    var turns = 0
    while !world.backlog.isEmpty || loop.sessions.count > 0 || !world.hasDelivered {
      try loop.turn()
      turns += 1
      try #require(turns < 10_000, "the sessions do not end")
      let count = loop.sessions.count
      #expect(count <= 1)
    }
    #expect(world.violations.isEmpty)
  }

  /// A write that found no memory was tried again in the same turn, for ever.
  @Test func shortageRests() throws {
    let world = SimulatedWorld(seed: 3, bufferCount: 4, bufferBytes: 1000, hasBundles: true)
    world.faults.sendShortage = 1
    let client = SimulatedWorld.Peer(script: Array("hello\n".utf8))
    client.waitsForEnd = true
    world.backlog.append(client)
    world.makeServer = {
      let server = SimulatedWorld.Peer(script: [])
      server.waitsForEnd = true
      return server
    }
    var configuration = Self.configuration()
    configuration.idleNanoseconds = 0
    var loop = try RelayLoop.make(
      configuration: configuration, environment: Self.environment(), ring: SimulatedRing(world: world))
    loop.start()
    let end = world.now.nanoseconds + 1_000_000_000
    var turns = 0
    while world.now.nanoseconds < end {
      try loop.turn()
      turns += 1
      try #require(turns < 2000, "the loop spins")
    }
    // A second in rests of 10 ms, and a few turns for everything else.
    #expect(turns > 20)
  }

  /// A multishot receive took a client's last bytes and did not hear of the reset behind them: the session stayed until
  /// it was idle for too long.
  @Test func resetThatTheReceiveMissesIsNoticed() throws {
    let world = SimulatedWorld(seed: 4, bufferCount: 4, bufferBytes: 1000, hasBundles: true)
    world.faults.resetMissed = 1
    // The receive must go on when it has brought the bytes.
    world.faults.multishotEnds = 0
    let client = SimulatedWorld.Peer(script: Array("hello\n".utf8))
    client.resetsAtEnd = true
    let server = SimulatedWorld.Peer(script: [])
    server.waitsForEnd = true
    world.makeServer = { server }
    world.backlog.append(client)
    var configuration = Self.configuration()
    configuration.idleNanoseconds = 3_600_000_000_000
    var loop = try RelayLoop.make(
      configuration: configuration, environment: Self.environment(), ring: SimulatedRing(world: world))
    loop.start()
    var turns = 0
    while !client.hasReset || loop.sessions.count > 0 {
      try loop.turn()
      turns += 1
      try #require(turns < 10_000, "the session does not end")
    }
    #expect(server.sawEnd && server.received == client.script)
    loop.endRequested()
    while !loop.isFinished { try loop.turn() }
    #expect(world.indexText.contains("\"reason\":\"client-reset\""))
    #expect(loop.clock.now.nanoseconds < 60_000_000_000)
  }

  /// Sessions that move bulk between peers that stall, with few receive buffers and every file being written; what was
  /// not as it must be.
  private static func bulk(
    seed: UInt64, logMemory: Int, look: (borrowing RelayLoop<SimulatedRing>) -> Void = { _ in }
  ) throws -> [String] {
    var random = SeededGenerator(seed: seed)
    let world = SimulatedWorld(seed: seed, bufferCount: 8, bufferBytes: 1000, hasBundles: random.once(in: 2))
    world.faults.peerStall = 10
    func peer() -> SimulatedWorld.Peer {
      SimulatedWorld.Peer(script: (0..<20_000).map { _ in UInt8(truncatingIfNeeded: random.next()) })
    }
    let clients = (0..<3).map { _ in peer() }
    let prepared = (0..<3).map { _ in peer() }
    for (number, client) in clients.enumerated() { client.number = number + 1 }
    var unused = prepared
    world.makeServer = { unused.removeFirst() }
    world.backlog = clients
    var configuration = Self.configuration()
    configuration.flushNanoseconds = 5_000_000
    configuration.logMemoryBytes = logMemory
    configuration.idleNanoseconds = 0
    var loop = try RelayLoop.make(
      configuration: configuration, environment: Self.environment(), ring: SimulatedRing(world: world))
    loop.start()
    var servers: [Int: SimulatedWorld.Peer] = [:]
    var turns = 0
    while servers.count < 3 || loop.sessions.count > 0 {
      try loop.turn()
      look(loop)
      turns += 1
      try #require(turns < 100_000, "no end")
      for slot in 0..<loop.sessions.usedSlots where loop.sessions[slot].phase == .relaying {
        guard let client = world.peer(loop.sessions[slot].clientSocket) else { continue }
        servers[client.number] = world.peer(loop.sessions[slot].serverSocket)
      }
    }
    loop.endRequested()
    while !loop.isFinished { try loop.turn() }
    var faults = world.violations
    if world.freeBuffers.sorted() != Array(0..<8) { faults.append("receive buffers did not come home") }
    if loop.pool.usedBytes != 0 || loop.spans.parkedBytes != 0 { faults.append("memory did not come home") }
    for client in clients {
      let server = servers[client.number]!
      if server.received != client.script { faults.append("other bytes arrived at the server") }
      if client.received != server.script { faults.append("other bytes arrived at the client") }
      let files = ["in", "out"].map { direction in
        world.files.first {
          $0.value.bytes == (direction == "in" ? client : server).script && $0.key.hasSuffix(direction)
        }
      }
      if files.contains(where: { $0 == nil }) { faults.append("client \(client.number) is not recorded") }
    }
    return faults
  }

  /// A slow peer's bytes were moved out of their receive buffers while they were just being written, or sent.
  @Test func bytesThatAreBeingWrittenStayWhereTheyAre() throws {
    var chances = 0
    for seed in 1...UInt64(30) {
      let faults = try Self.bulk(seed: seed, logMemory: 1 << 20) { loop in
        for slot in 0..<loop.sessions.usedSlots where loop.sessions[slot].phase == .relaying {
          for direction in 0..<2 {
            let flow = FlowIndex(rawValue: slot << 1 | direction)
            if loop.sessions[flow: flow].isEvicting, loop.sessions[file: flow].gatheredInFlight > 0 { chances += 1 }
          }
        }
      }
      #expect(faults == [], "seed \(seed)")
    }
    // What went wrong then is what happens here.
    #expect(chances > 10, "\(chances)")
  }

  /// A file from which receive buffers were taken back, and that got no memory for their bytes, stayed among those to
  /// be written.
  @Test func aFileWithNothingToWriteIsNotAmongThoseToBeWritten() throws {
    var takenBack = 0
    for seed in 1...UInt64(30) {
      var gathered: [Int: UInt16] = [:]
      // What is not written in time is lost in memory as small as this; only the list is judged.
      _ = try Self.bulk(seed: seed, logMemory: Limits.logMemoryMinimum) { loop in
        for slot in 0..<loop.sessions.usedSlots where loop.sessions[slot].phase != .free {
          for direction in 0..<2 {
            let flow = FlowIndex(rawValue: slot << 1 | direction)
            let isDirty = loop.sessions[file: flow].isDirty
            let hasUnwritten = loop.sessions[file: flow].hasUnwritten
            #expect(!isDirty || hasUnwritten, "seed \(seed), slot \(slot)")
            let now = loop.sessions[file: flow].gathered
            if now < gathered[flow.rawValue] ?? 0, loop.sessions[file: flow].isWaiting { takenBack += 1 }
            gathered[flow.rawValue] = now
          }
        }
      }
    }
    #expect(takenBack > 0)
  }

  /// Redaction left nothing of a chunk for which a capture had made room: the empty block was written, and a disk that
  /// takes nothing ended the capture.
  @Test func aCaptureIsNotWrittenWhenEverythingWasLeftOut() throws {
    var settled = 0
    for seed in 1...UInt64(20) {
      let world = SimulatedWorld(seed: seed, bufferCount: 8, bufferBytes: 100, hasBundles: true)
      let command = Array("a LOGIN alice {200}\r\n".utf8)
      let client = SimulatedWorld.Peer(script: command + [UInt8](repeating: UInt8(ascii: "x"), count: 200) + [13, 10])
      client.waitsForEnd = true
      // The password comes in pieces, and what was there before is on disk by then.
      client.pauses = [(place: command.count, received: 5)]
      let server = SimulatedWorld.Peer(script: Array("+ ok\r\na OK\r\n".utf8))
      server.pauses = [(place: 0, received: command.count), (place: 6, received: client.script.count)]
      world.makeServer = { server }
      world.backlog.append(client)
      var configuration = Self.configuration()
      configuration.layout = .pcapng
      configuration.mailProtocol = .imap
      configuration.flushNanoseconds = 0
      var loop = try RelayLoop.make(
        configuration: configuration, environment: Self.environment(), ring: SimulatedRing(world: world))
      loop.start()
      var turns = 0
      repeat {
        try loop.turn()
        turns += 1
        try #require(turns < 100_000, "the session does not end")
        if loop.captures[loop.captures.current].stagedBytes == 0, loop.captures[loop.captures.current].first != nil {
          settled += 1
        }
      } while loop.sessions.count > 0 || turns < 10
      loop.endRequested()
      while !loop.isFinished { try loop.turn() }
      #expect(world.violations == [], "seed \(seed)")
      #expect(world.indexText.contains("\"recording\":\"complete\""), "seed \(seed)")
    }
    // The room without anything in it was there.
    #expect(settled > 0)
  }
}
