@testable import UringRawlog

/// The captures that a simulated relay wrote, read back.
enum ScenarioCaptures {
  /// What all captures hold of a session together; nil when none has it.
  ///
  /// - Throws: what the readers say of captures that are not as they should be.
  static func session(_ id: String, in world: SimulatedWorld) throws -> CapturedRun? {
    var parts: [CapturedPart] = []
    for (name, file) in captures(world) {
      let source = CaptureInMemory(file, name)
      // A relay whose disk is full may not have come further.
      guard let reader = try? CaptureReader(source) else { continue }
      var listing = CaptureListing()
      try listing.read(reader)
      parts += listing.sessions.filter { $0.id == id }.map { CapturedPart(source, $0) }
    }
    return parts.isEmpty ? nil : try CapturedRun(CapturedSessionReader(parts))
  }

  /// In the order in which they were begun.
  static func captures(_ world: SimulatedWorld) -> [(name: String, bytes: [UInt8])] {
    world.files.filter { $0.key.contains(".pcapng") && !$0.value.isForeign }
      .map { (name: $0.key, bytes: $0.value.bytes) }
      .sorted { number($0.name) < number($1.name) }
  }

  /// `YYYYMMDD-HHMMSS.PID.N.pcapng`.
  private static func number(_ name: String) -> Int { Int(name.split(separator: ".")[2]) ?? 0 }

  /// What is wrong with captures that were ended: each is to be whole by itself, and its side file to name its sessions.
  static func faults(_ world: SimulatedWorld, mayLackSideFiles: Bool) -> [String] {
    var faults: [String] = []
    for (name, bytes) in captures(world) where !name.hasSuffix(".part") {
      do {
        var listing = CaptureListing()
        try listing.read(try CaptureReader(CaptureInMemory(bytes, name)))
        if listing.tail != .complete { faults.append("\(name) is \(listing.tail)") }
        if listing.damageCount > 0 { faults.append("\(name): \(listing.damages[0].text)") }
        let side = String(name.dropLast(".pcapng".count)) + ".idx"
        guard let lines = world.file(side) else {
          if !mayLackSideFiles { faults.append("\(name) has no side file") }
          continue
        }
        let index = try CaptureIndexReader(CaptureInMemory(lines, side))
        if index.captureBytes != UInt64(bytes.count) { faults.append("\(side) does not fit the capture") }
        let entries = listing.sessions.map {
          CaptureIndex.Entry(
            id: $0.id, firstBlock: $0.firstBlock, lastBlock: $0.lastBlock, blocks: $0.blocks, part: $0.part)
        }
        if Set(entries.map(\.id)) != Set(index.entries.map(\.id)) || !index.entries.allSatisfy(entries.contains) {
          faults.append("\(side) has other sessions than the capture: \(index.entries), not \(entries)")
        }
      } catch {
        faults.append("\(name): \(error)")
      }
    }
    return faults
  }
}
