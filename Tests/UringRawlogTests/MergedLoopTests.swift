import Foundation
import Glibc
import Testing

@testable import UringRawlog

/// Layout merged in the whole loop over the simulated ring: what went wrong there once, and what chance alone would
/// seldom bring about.
@Suite struct MergedLoopTests {
  /// One session from its beginning to its end, and what was recorded of it.
  private struct Recorded {
    var file: [UInt8]
    var end: [String: Any]
    var violations: [String]

    func gaps(_ direction: String) -> [(Int, Int)] {
      (end["gaps"] as? [[String: Any]] ?? []).filter { $0["direction"] as? String == direction }
        .map { ($0["offset"] as? Int ?? -1, $0["bytes"] as? Int ?? -1) }
    }
  }

  private static func record(
    seed: UInt64, _ said: [UInt8], change: (inout RelayConfiguration, SimulatedWorld) -> Void
  ) throws -> Recorded {
    let world = SimulatedWorld(seed: seed, bufferCount: 16, bufferBytes: 4096, hasBundles: false)
    world.mayOverwrite = true
    let client = SimulatedWorld.Peer(script: said)
    client.number = 1
    world.backlog.append(client)
    var configuration = RelayConfiguration(
      listen: [try Address(listening: ":143")], connect: try Address(connecting: "127.0.0.1:1143"),
      directory: try DirectoryTemplate("recordings"))
    configuration.layout = .merged
    configuration.idleNanoseconds = 0
    change(&configuration, world)
    let listener = Listener(descriptor: 3, given: ":143", bound: "[::]:143", path: "", pathIdentity: nil, port: 143)
    let environment = RelayLoop<SimulatedRing>.Environment(
      listeners: [listener], targets: [SocketAddress()], directory: 5, index: 4, processID: 77, maxSessions: 10,
      maxSlots: 20)
    var loop = try RelayLoop.make(
      configuration: configuration, environment: environment, ring: SimulatedRing(world: world))
    loop.start()
    var turns = 0
    while !world.indexText.contains("\"end\"") {
      try loop.turn()
      turns += 1
      try #require(turns < 100_000, "the session does not end")
    }
    loop.endRequested()
    while !loop.isFinished { try loop.turn() }
    #expect(loop.pool.usedBytes == 0 && loop.heldLineBytes == 0, "seed \(seed): memory did not come home")
    let lines = world.indexText.split(separator: "\n").compactMap {
      try? JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any]
    }
    let end = try #require(lines.last { $0["event"] as? String == "end" })
    let file = world.file("\(end["id"] as? String ?? "").rawlog")
    return Recorded(file: file ?? [], end: end, violations: world.violations)
  }

  /// Memory may run out again just behind the line that tells of a gap: the gap grows, and the file tells of all of it.
  @Test func theFileTellsOfAllOfAGap() throws {
    var grown = 0
    for seed in 1...UInt64(40) {
      let said = (0..<60_000).map { $0 % 7000 == 6999 ? UInt8(ascii: "\n") : UInt8(ascii: "x") }
      let recorded = try Self.record(seed: seed, said) { configuration, world in
        configuration.logMemoryBytes = Limits.logMemoryMinimum
        configuration.logFull = .drop
        world.faults.fileSlow = 1
      }
      var told: [(Int, Int)] = []
      var place = 0
      for line in MergedText.lines(recorded.file) {
        place += line.text.count
        guard let gap = line.gap else { continue }
        #expect(gap.offset == place, "seed \(seed)")
        place += gap.bytes
        if let last = told.last, last.0 + last.1 == gap.offset {
          told[told.count - 1].1 += gap.bytes
          grown += 1
        } else {
          told.append(gap)
        }
      }
      let listed = recorded.gaps("in")
      #expect(told.map(\.0) == listed.map(\.0) && told.map(\.1) == listed.map(\.1), "seed \(seed)")
      #expect(recorded.violations == [], "seed \(seed)")
    }
    #expect(grown > 0, "no gap grew")
  }
}
