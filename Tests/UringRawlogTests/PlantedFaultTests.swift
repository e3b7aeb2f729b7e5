import Foundation
import Testing

@testable import UringRawlog

/// What the oracles are worth: a loop without a bug passes them, and each bug planted in the seam is noticed.
///
/// The oracles are those of `Scenario`, in short, and those of the simulated world itself.
@Suite struct PlantedFaultTests {
  /// What the oracles say about one run; nil when the bug found no chance to strike.
  private func run(_ fault: FaultyRing.Fault, seed: UInt64, isSpliced: Bool) throws -> [String]? {
    var random = SeededGenerator(seed: seed)
    let world = SimulatedWorld(
      seed: seed, bufferCount: 8, bufferBytes: [100, 1000].randomElement(using: &random)!,
      hasBundles: random.once(in: 2))
    func script() -> [UInt8] { (0..<200 + random.below(3000)).map { _ in UInt8(truncatingIfNeeded: random.next()) } }
    var servers: [SimulatedWorld.Peer] = []
    let clients = (1...3).map { number in
      let client = SimulatedWorld.Peer(script: script())
      client.number = number
      // The first end is passed on while the other direction still works.
      client.waitsForEnd = number == 2
      return client
    }
    let serverScripts = clients.map { _ in script() }
    world.makeServer = {
      let server = SimulatedWorld.Peer(script: serverScripts[servers.count % 3])
      servers.append(server)
      return server
    }
    var configuration = RelayConfiguration(
      listen: [try Address(listening: ":143")], connect: try Address(connecting: "127.0.0.1:1143"),
      directory: try DirectoryTemplate("recordings"))
    configuration.flushNanoseconds = 20_000_000
    configuration.idleNanoseconds = 5_000_000_000
    // Nobody's bytes are recorded, so that all may be spliced.
    if isSpliced { configuration.only = [try CIDR("192.0.2.1")] }
    configuration.relay = isSpliced ? .splice : .copy
    let listener = Listener(descriptor: 3, given: ":143", bound: "[::]:143", path: "", pathIdentity: nil, port: 143)
    let environment = RelayLoop<FaultyRing>.Environment(
      listeners: [listener], targets: [SocketAddress()], directory: 5, index: 4, processID: 77, maxSessions: 10,
      maxSlots: 20, maxPipes: isSpliced ? 4 : 0, leastPipeBytes: 1)
    let plant = FaultyRing.Plant(fault, chance: random.below(3))
    var loop = try RelayLoop.make(
      configuration: configuration, environment: environment, ring: FaultyRing(world, plant))
    loop.start()
    world.backlog = clients
    // Which server a client was connected to: sessions may connect in any order.
    var pairs: [Int: SimulatedWorld.Peer] = [:]
    var turns = 0
    var error: Errno?
    do throws(Errno) {
      while turns < 20_000, pairs.count < 3 || loop.sessions.count > 0 {
        try loop.turn()
        turns += 1
        for slot in 0..<loop.sessions.usedSlots where loop.sessions[slot].phase == .relaying {
          guard let client = world.peer(loop.sessions[slot].clientSocket) else { continue }
          pairs[client.number] = world.peer(loop.sessions[slot].serverSocket)
        }
      }
      loop.endRequested()
      loop.endRequested()
      while !loop.isFinished, turns < 30_000 {
        try loop.turn()
        turns += 1
      }
    } catch let thrown {
      error = thrown
    }
    guard plant.hasStruck || fault == .none else { return nil }

    var faults = world.violations
    if let error { faults.append("the loop failed: \(error.text)") }
    if !loop.isFinished { faults.append("no end") }
    if world.freeBuffers.sorted() != Array(0..<world.bufferCount) { faults.append("receive buffers") }
    if world.openDescriptors != 0 { faults.append("descriptors") }
    var stems: [String: String] = [:]
    for line in world.indexText.split(separator: "\n") {
      guard let record = try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any],
        let client = record["client"] as? String, let stem = record["id"] as? String
      else { continue }
      stems[client] = stem
      // All peers come to their end by themselves, long before the session is ended for idleness.
      if record["seconds"] as? Double ?? 0 >= 5 { faults.append("a session stood still") }
    }
    for client in clients {
      guard let server = pairs[client.number] else {
        faults.append("no server")
        continue
      }
      if server.received != client.script { faults.append("other bytes arrived at the server") }
      if client.received != server.script { faults.append("other bytes arrived at the client") }
      guard let stem = stems["127.0.0.1:\(client.number)"] else {
        faults.append("no record")
        continue
      }
      if isSpliced { continue }
      if world.file(stem + ".in") != client.script { faults.append("the recording of the client") }
      if world.file(stem + ".out") != server.script { faults.append("the recording of the server") }
    }
    return faults
  }

  @Test(arguments: [false, true])
  func withoutABugTheOraclesAreSilent(isSpliced: Bool) throws {
    for seed in 1...UInt64(20) {
      let faults = try run(.none, seed: seed, isSpliced: isSpliced)
      #expect(faults == [], "seed \(seed)")
    }
  }

  @Test(arguments: FaultyRing.Fault.allCases.filter { $0 != .none })
  func aPlantedBugIsNoticed(_ fault: FaultyRing.Fault) throws {
    var struck = 0
    for seed in 1...UInt64(20) {
      guard let faults = try run(fault, seed: seed, isSpliced: fault.isOfSplice) else { continue }
      struck += 1
      #expect(!faults.isEmpty, "seed \(seed)")
    }
    #expect(struck > 10)
  }

  /// A buffer given back twice would be filled twice at once; the world sees it.
  @Test func aBufferGivenBackTwiceIsNoticed() {
    let world = SimulatedWorld(seed: 1, bufferCount: 2, bufferBytes: 16, hasBundles: false)
    #expect(world.violations.isEmpty)
    world.returnBuffer(1)
    #expect(world.violations.count == 1)
  }

  @Test func misuseOfDescriptorsIsNoticed() {
    let world = SimulatedWorld(seed: 1, bufferCount: 2, bufferBytes: 16, hasBundles: false)
    world.submit(SimulatedWorld.Operation(kind: .close, descriptor: 99, token: Token(.close)))
    #expect(world.violations.count == 1)
    world.shutdown(99)
    #expect(world.violations.count == 2)
    _ = world.bufferAfter(0)
    #expect(world.violations.count == 3)
  }
}
