import Glibc
import Testing

@testable import UringRawlog

/// Layout pcapng while the disk hangs: a session that moves bulk has its share of the staging memory, and the others
/// are recorded all the same.
@Suite struct CaptureShareTests {
  private static let logMemory = 512 << 10

  /// One session that moves bulk, and a small one that begins when the first one's share is used up.
  private struct Sessions: ~Copyable {
    let world: SimulatedWorld
    let bulk: SimulatedWorld.Peer
    let small: SimulatedWorld.Peer
    var loop: RelayLoop<SimulatedRing>

    init(seed: UInt64, logFull: RelayConfiguration.LogFull) throws {
      world = SimulatedWorld(seed: seed, bufferCount: 16, bufferBytes: 4000, hasBundles: true)
      let script = (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 8) }
      bulk = SimulatedWorld.Peer(script: script)
      bulk.number = 1
      small = SimulatedWorld.Peer(script: Array(script[..<2000]))
      small.number = 2
      world.makeServer = { SimulatedWorld.Peer(script: []) }
      world.backlog = [bulk]
      var configuration = RelayConfiguration(
        listen: [try Address(listening: ":143")], connect: try Address(connecting: "127.0.0.1:1143"),
        directory: try DirectoryTemplate("recordings"))
      configuration.layout = .pcapng
      configuration.logMemoryBytes = CaptureShareTests.logMemory
      configuration.logFull = logFull
      configuration.logWaitNanoseconds = 3_600_000_000_000
      configuration.idleNanoseconds = 0
      let listener = Listener(descriptor: 3, given: ":143", bound: "[::]:143", path: "", pathIdentity: nil, port: 143)
      let environment = RelayLoop<SimulatedRing>.Environment(
        listeners: [listener], targets: [SocketAddress()], directory: 5, index: 4, processID: 77, maxSessions: 10,
        maxSlots: 10)
      loop = try RelayLoop.make(
        configuration: configuration, environment: environment, ring: SimulatedRing(world: world))
      loop.start()
    }

    /// Turns until something holds; what each session has staged is looked at after each.
    mutating func turn(until isDone: (borrowing RelayLoop<SimulatedRing>) -> Bool) throws {
      var turns = 0
      while !isDone(loop) {
        try loop.turn()
        turns += 1
        try #require(turns < 100_000, "it does not come to that")
        for staged in [loop.captures[0].lostPackets(), loop.captures[1].lostPackets()] {
          for counts in staged.values { #expect(counts[.in] + counts[.out] <= UInt64(loop.sessionShare)) }
        }
      }
    }

    /// The end record of a client's session. A line that a short write tore stands again behind it.
    func end(_ peer: SimulatedWorld.Peer) -> Substring {
      world.indexText.split(separator: "\n").first {
        $0.hasPrefix("{\"event\":\"end\"") && $0.contains("\"in_bytes\":\(peer.script.count),") && $0.hasSuffix("}")
      } ?? ""
    }
  }

  @Test(arguments: [RelayConfiguration.LogFull.wait, .drop]) func bulkLeavesMemoryForOthers(
    _ logFull: RelayConfiguration.LogFull
  ) throws {
    for seed in 1...UInt64(5) {
      var sessions = try Sessions(seed: seed, logFull: logFull)
      let world = sessions.world
      let (bulk, small) = (sessions.bulk, sessions.small)
      world.faults.diskHangs = true
      try sessions.turn { loop in
        switch logFull {
        case .wait: loop.memoryWaiting.count > 0
        case .drop: bulk.hasEnded && !loop.gaps.isEmpty
        }
      }
      let used = sessions.loop.pool.usedBytes
      #expect(used < Self.logMemory / 2, "seed \(seed)")
      world.backlog = [small]
      try sessions.turn { _ in small.hasEnded }
      world.faults.diskHangs = false
      try sessions.turn { loop in bulk.hasEnded && loop.sessions.count == 0 }
      sessions.loop.endRequested()
      try sessions.turn { loop in loop.isFinished }
      #expect(sessions.end(small).contains("\"recording\":\"complete\""), "seed \(seed)")
      let expected = logFull == .wait ? "complete" : "lossy"
      #expect(sessions.end(bulk).contains("\"recording\":\"\(expected)\""), "seed \(seed)")
      #expect(world.violations == [])
    }
  }
}
