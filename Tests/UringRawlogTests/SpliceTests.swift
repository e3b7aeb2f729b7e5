import Glibc
import Testing

@testable import UringRawlog

/// Spliced flows in single, simple worlds: when a flow has a pipe, and what happens where there is none to be had.
@Suite struct SpliceTests {
  private let world = SimulatedWorld(seed: 1, bufferCount: 4, bufferBytes: 1000, hasBundles: true)
  private let client = SimulatedWorld.Peer(script: Self.script(20_000))
  private let server = SimulatedWorld.Peer(script: Self.script(30_000))

  private static func script(_ count: Int) -> [UInt8] {
    var random = SeededGenerator(seed: UInt64(count))
    return (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
  }

  /// A session that is not recorded and splices from the start, until both sides have ended or `isOver` says so.
  ///
  /// - Returns: the most pipes that flows had after a turn, and those that were kept when the session was over.
  private func run(
    maxPipes: Int = 4, leastPipeBytes: Int = 1,
    until isOver: (borrowing RelayLoop<SimulatedRing>) -> Bool = { _ in false }
  ) throws -> (mostUsed: Int, idle: Int) {
    world.makeServer = { [server] in server }
    world.backlog.append(client)
    var configuration = RelayConfiguration(
      listen: [try Address(listening: ":143")], connect: try Address(connecting: "127.0.0.1:1143"),
      directory: try DirectoryTemplate("recordings"))
    configuration.only = [try CIDR("192.0.2.1")]
    configuration.relay = .splice
    configuration.idleNanoseconds = 0
    let listener = Listener(descriptor: 3, given: ":143", bound: "[::]:143", path: "", pathIdentity: nil, port: 143)
    let environment = RelayLoop<SimulatedRing>.Environment(
      listeners: [listener], targets: [SocketAddress()], directory: 5, index: 4, processID: 77, maxSessions: 10,
      maxSlots: 10, maxPipes: maxPipes, leastPipeBytes: leastPipeBytes)
    var loop = try RelayLoop.make(
      configuration: configuration, environment: environment, ring: SimulatedRing(world: world))
    loop.start()
    var turns = 0
    var mostUsed = 0
    while !isOver(loop), turns == 0 || loop.sessions.count > 0 || !world.backlog.isEmpty || !world.hasDelivered {
      try loop.turn()
      mostUsed = max(mostUsed, loop.pipes.usedCount)
      turns += 1
      try #require(turns < 10_000, "the session does not end")
    }
    let idle = loop.pipes.idleCount
    world.faults = SimulatedWorld.Faults()
    loop.endRequested()
    loop.endRequested()
    while !loop.isFinished { try loop.turn() }
    #expect(world.violations.isEmpty, "\(world.violations)")
    #expect(world.openDescriptors == 0)
    return (mostUsed, idle)
  }

  private func everythingArrived() {
    #expect(server.received == client.script && client.received == server.script)
    #expect(server.sawEnd && client.sawEnd)
  }

  @Test func nothingOfItIsReceivedIntoMemory() throws {
    let (_, idle) = try run()
    everythingArrived()
    #expect(world.splicedBytes == 50_000 && idle > 0)
  }

  /// A flow in which nothing moves needs no pipe: one serves any number of those whose receivers keep up.
  @Test func anIdleFlowHoldsNoPipe() throws {
    client.waitsForEnd = true
    server.waitsForEnd = true
    let (_, idle) = try run { [client, server] loop in
      guard client.received.count == server.script.count, server.received.count == client.script.count else {
        return false
      }
      #expect(loop.sessions[flow: FlowIndex(0, .in)].way == .splice && loop.pipes.usedCount == 0)
      return true
    }
    #expect(idle > 0 && world.splicedBytes == 50_000)
  }

  @Test func withoutPipesBytesAreCopied() throws {
    world.faults.pipeRefused = 1
    let (mostUsed, idle) = try run()
    everythingArrived()
    #expect(world.splicedBytes == 0 && mostUsed == 0 && idle == 0)
  }

  /// It is closed again, and not asked for at once again.
  @Test func aSmallPipeIsNone() throws {
    world.pipeBytes = 100
    let (mostUsed, idle) = try run(leastPipeBytes: 101)
    everythingArrived()
    #expect(world.splicedBytes == 0 && mostUsed == 0 && idle == 0 && world.peakPipes == 1)
  }

  /// One direction has the only pipe: the other is copied meanwhile.
  @Test func directionsShareOnePipe() throws {
    world.pipeBytes = 500
    world.faults.peerStall = 10
    let (mostUsed, _) = try run(maxPipes: 1)
    everythingArrived()
    #expect(mostUsed == 1 && world.peakPipes == 1 && world.splicedBytes > 0)
  }

  /// A seccomp filter that does not know splice(2), or a socket that cannot do it.
  @Test func whereSpliceIsRefusedBytesAreCopied() throws {
    world.faults.spliceRefused = 1
    _ = try run()
    everythingArrived()
    #expect(world.splicedBytes == 0)
  }
}
