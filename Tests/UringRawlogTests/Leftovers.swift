@testable import UringRawlog

extension RelayLoop where R: ~Copyable {
  /// Ends sessions and loop at once, in as many turns as that takes.
  ///
  /// - Returns: what did not come home then.
  mutating func end(_ turns: inout Int) throws(Errno) -> [String] {
    endRequested()
    endRequested()
    while !isFinished, turns < 200_000 {
      try turn()
      turns += 1
    }
    return leftovers
  }

  /// What did not come home of a loop that has finished.
  var leftovers: [String] {
    mutating get {
      var left: [String] = []
      if pool.usedBytes != 0 { left.append("\(pool.usedBytes) bytes of staging did not come home") }
      if pool.peakBytes > pool.limit { left.append("staging took \(pool.peakBytes) bytes") }
      if spans.buffersHeld != 0 { left.append("\(spans.buffersHeld) spans still hold buffers") }
      if spans.parkedBytes != 0 { left.append("\(spans.parkedBytes) parked bytes did not come home") }
      if pipes.usedCount != 0 || pipes.idleCount != 0 { left.append("pipes did not come home") }
      if heap.count != 0 { left.append("\(heap.count) deadlines are left") }
      if tlsLegs.contains(where: { $0 != nil }) || sealedBytes != 0 || !tlsFacts.isEmpty {
        left.append("something of TLS did not come home: \(sealedBytes) bytes")
      }
      if !askings.isEmpty || !offerings.isEmpty { left.append("STARTTLS was left in the middle") }
      if activeSessions != 0 { left.append("\(activeSessions) sessions are counted as active") }
      return left
    }
  }
}

extension SimulatedWorld {
  /// The same of what the loop had of the world.
  var leftovers: [String] {
    var left: [String] = []
    if Set(freeBuffers).count != bufferCount || freeBuffers.count != bufferCount {
      left.append("\(freeBuffers.count) of \(bufferCount) receive buffers came home")
    }
    if openDescriptors != 0 { left.append("\(openDescriptors) descriptors are left open") }
    return left
  }
}
