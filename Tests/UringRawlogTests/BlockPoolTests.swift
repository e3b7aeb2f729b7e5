import Testing

@testable import UringRawlog

@Suite struct BlockPoolTests {
  private func bytes(_ sizeClass: Int) -> Int { Limits.blockBytes[sizeClass] }

  @Test func aFreshBlockIsEmptyAndFitsItsMemory() throws {
    var pool = BlockPool(limit: 1 << 20)
    for sizeClass in 0..<BlockPool.classes {
      let block = try found(pool.take(sizeClass, share: .max))
      let header = block.header.pointee
      #expect(header.next == nil && header.used == 0 && header.relayed == 0 && header.written == 0)
      #expect(header.startsAtLineStart)
      #expect(Int(header.sizeClass) == sizeClass)
      #expect(block.memoryBytes == bytes(sizeClass))
      #expect(Int(header.capacity) + MemoryLayout<BlockPool.Header>.stride == bytes(sizeClass))
      #expect(block.room.count == Int(header.capacity))
      #expect(block.unwritten.isEmpty)
      block.room.copyBytes(from: [1, 2, 3, 4, 5])
      block.header.pointee.used = 5
      block.header.pointee.written = 2
      #expect(Array(block.unwritten) == [3, 4, 5])
      #expect(block.room.count == Int(header.capacity) - 5)
      pool.giveBack(block)
    }
    let used = pool.usedBytes
    #expect(used == 0)
  }

  /// A used block comes back as fresh as a new one, and it is the one that was given back last.
  @Test func blocksAreUsedAgain() throws {
    var pool = BlockPool(limit: 1 << 20)
    let first = try found(pool.take(1, share: .max))
    let second = try found(pool.take(1, share: .max))
    first.header.pointee.used = 77
    first.header.pointee.written = 7
    first.header.pointee.relayed = 70
    first.header.pointee.startsAtLineStart = false
    first.header.pointee.next = second
    pool.giveBack(second)
    pool.giveBack(first)
    let again = try found(pool.take(1, share: .max))
    #expect(again == first)
    let header = again.header.pointee
    #expect(header.next == nil && header.used == 0 && header.relayed == 0 && header.written == 0)
    #expect(header.startsAtLineStart)
    let other = try found(pool.take(1, share: .max))
    #expect(other == second)
    // Another class does not get memory of this one.
    pool.giveBack(again)
    let larger = try found(pool.take(2, share: .max))
    #expect(larger != again && larger.memoryBytes == bytes(2))
    pool.giveBack(larger)
    pool.giveBack(other)
    let used = pool.usedBytes
    #expect(used == 0)
  }

  @Test func theLimitHoldsAndSmallerClassesFillTheRest() throws {
    // Room for one of each of the three smaller classes, and a little.
    var pool = BlockPool(limit: bytes(0) + bytes(1) + bytes(2) + bytes(0) - 1)
    var blocks: [BlockPool.Block] = []
    for sizeClass in [2, 1, 0] {
      let block = try found(pool.take(3, share: .max))
      #expect(block.memoryBytes == bytes(sizeClass))
      blocks.append(block)
    }
    let full = pool.take(3, share: .max)
    let smallest = pool.take(0, share: .max)
    #expect(full == nil && smallest == nil)
    let used = pool.usedBytes
    #expect(used == bytes(0) + bytes(1) + bytes(2))
    // What comes back can be taken, as far as it goes.
    pool.giveBack(blocks[1])
    let again = try found(pool.take(3, share: .max))
    #expect(again.memoryBytes == bytes(1))
    pool.giveBack(again)
    pool.giveBack(blocks[0])
    pool.giveBack(blocks[2])
    let (end, peak) = (pool.usedBytes, pool.peakBytes)
    #expect(end == 0 && peak == bytes(0) + bytes(1) + bytes(2))
  }

  @Test func theShareHoldsToo() {
    var pool = BlockPool(limit: 1 << 30)
    for share in [Int.min, -1, 0, bytes(0) - 1] {
      let block = pool.take(3, share: share)
      #expect(block == nil, "share \(share)")
    }
    let used = pool.usedBytes
    #expect(used == 0)
    for sizeClass in 0..<BlockPool.classes {
      for share in [bytes(sizeClass), bytes(sizeClass) + bytes(0) - 1] {
        let block = pool.take(BlockPool.classes - 1, share: share)
        #expect(block?.memoryBytes == bytes(sizeClass), "share \(share)")
        if let block { pool.giveBack(block) }
      }
      // Never more than was wanted.
      let block = pool.take(sizeClass, share: .max)
      #expect(block?.memoryBytes == bytes(sizeClass))
      if let block { pool.giveBack(block) }
    }
  }

  /// More is given back than is kept for the next time.
  @Test func memoryBeyondTheIdleLimitIsFreed() throws {
    let count = Limits.idleBlockBytes / bytes(3) + 10
    var pool = BlockPool(limit: .max)
    for _ in 0..<2 {
      var blocks: [BlockPool.Block] = []
      for _ in 0..<count { blocks.append(try found(pool.take(3, share: .max))) }
      #expect(Set(blocks.map { UnsafeRawPointer($0.header) }).count == count)
      let used = pool.usedBytes
      #expect(used == count * bytes(3))
      for block in blocks { pool.giveBack(block) }
    }
    let (used, peak) = (pool.usedBytes, pool.peakBytes)
    #expect(used == 0 && peak == count * bytes(3))
  }

  /// What is kept for the next time can be given up at any time; what is in use stays.
  @Test func trimmingFreesWhatIsIdle() throws {
    var pool = BlockPool(limit: 1 << 20)
    let held = try found(pool.take(1, share: .max))
    held.room.copyBytes(from: [7, 8, 9])
    for sizeClass in 0..<BlockPool.classes {
      let block = try found(pool.take(sizeClass, share: .max))
      pool.giveBack(block)
    }
    let idle = pool.idleBytes
    #expect(idle == (0..<BlockPool.classes).map { bytes($0) }.reduce(0, +))
    for _ in 0..<2 {
      pool.trim()
      let (idle, used) = (pool.idleBytes, pool.usedBytes)
      #expect(idle == 0 && used == bytes(1) && Array(held.room.prefix(3)) == [7, 8, 9])
    }
    for sizeClass in 0..<BlockPool.classes {
      let block = try found(pool.take(sizeClass, share: .max))
      #expect(block.memoryBytes == bytes(sizeClass) && block != held)
      pool.giveBack(block)
    }
    pool.giveBack(held)
    let (used, taken) = (pool.usedBytes, pool.takenBlocks)
    #expect(used == 0 && taken == 2 * BlockPool.classes + 1)
  }

  /// Blocks in use never share memory, and the accounts are right, whatever the order.
  @Test func agreesWithAModel() throws {
    for seed in 1...UInt64(10) {
      var random = SeededGenerator(seed: seed)
      let limit = Limits.logMemoryMinimum + random.below(1 << 20)
      var pool = BlockPool(limit: limit)
      var held: [(block: BlockPool.Block, mark: UInt8)] = []
      var used = 0
      var peak = 0
      for turn in 0..<1500 {
        if random.below(100) < (turn / 300 % 2 == 0 ? 65 : 35) {
          let wanted = random.below(BlockPool.classes)
          let share = random.once(in: 3) ? random.below(300 << 10) : .max
          let fitting = (0...wanted).last { bytes($0) <= min(share, limit - used) }
          let block = pool.take(wanted, share: share)
          try #require(block.map { Int($0.header.pointee.sizeClass) } == fitting, "seed \(seed)")
          if let block {
            let mark = UInt8(truncatingIfNeeded: random.next())
            block.room.copyBytes(from: [mark, mark])
            block.room[block.room.count - 1] = mark
            held.append((block, mark))
            used += block.memoryBytes
          }
        } else if !held.isEmpty {
          let (block, mark) = held.remove(at: random.below(held.count))
          try #require(block.room[0] == mark && block.room[1] == mark && block.room[block.room.count - 1] == mark)
          used -= block.memoryBytes
          pool.giveBack(block)
        }
        peak = max(peak, used)
        let (poolUsed, poolPeak) = (pool.usedBytes, pool.peakBytes)
        try #require(poolUsed == used && poolPeak == peak && used <= limit, "seed \(seed)")
      }
      for (block, _) in held { pool.giveBack(block) }
      let end = pool.usedBytes
      try #require(end == 0)
    }
  }
}
