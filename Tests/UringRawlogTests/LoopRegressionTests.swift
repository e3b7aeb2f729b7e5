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
}
