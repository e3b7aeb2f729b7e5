import Testing

@testable import UringRawlog

@Suite struct PipePoolTests {
  private func pipe(_ number: Int32) -> Pipe { Pipe(reading: number * 2, writing: number * 2 + 1, bytes: 1000) }

  @Test func anEmptyPoolHasNoRoom() {
    var pool = PipePool(limit: 0)
    let (hasRoom, idle) = (pool.hasRoom, pool.takeIdle())
    #expect(!hasRoom && idle == nil)
  }

  @Test func pipesAreCountedAndKept() {
    var pool = PipePool(limit: 2)
    let first = pool.add(pipe(1))
    let second = pool.add(pipe(2))
    let (hasRoom, used, idle) = (pool.hasRoom, pool.usedCount, pool.idleCount)
    #expect(!hasRoom && used == 2 && idle == 0 && first != second)
    let (one, other) = (pool[first], pool[second])
    #expect(one == pipe(1) && other == pipe(2))
    // Given back empty it is kept, and the next flow gets it.
    let closed = pool.giveBack(first)
    let (usedThen, idleThen) = (pool.usedCount, pool.idleCount)
    #expect(closed == nil && usedThen == 1 && idleThen == 1)
    let taken = pool.takeIdle()
    #expect(taken == first)
    // One that is closed leaves room for another.
    let removed = pool.remove(second)
    let hasRoomThen = pool.hasRoom
    #expect(removed == pipe(2) && hasRoomThen)
    let third = pool.add(pipe(3))
    let (newest, oldest) = (pool[third], pool[first])
    #expect(newest == pipe(3) && oldest == pipe(1))
  }

  @Test func onlySomeAreKept() {
    var pool = PipePool(limit: Limits.pipes)
    let numbers = (0..<Limits.pipes).map { pool.add(pipe(Int32($0))) }
    #expect(Set(numbers).count == Limits.pipes)
    var closed: [Pipe] = []
    for number in numbers {
      if let pipe = pool.giveBack(number) { closed.append(pipe) }
    }
    let (used, idle) = (pool.usedCount, pool.idleCount)
    #expect(used == 0 && idle == Limits.pipesIdle && closed.count == Limits.pipes - Limits.pipesIdle)
  }

  /// Whatever is taken and given back, no pipe has two owners and none is lost.
  @Test func agreesWithAModel() {
    for seed in 1...UInt64(200) {
      var random = SeededGenerator(seed: seed)
      let limit = 1 + random.below(Limits.pipesIdle * 2)
      var pool = PipePool(limit: limit)
      var lent: [Int32: Pipe] = [:]
      var kept: [Pipe] = []
      var made: Int32 = 0
      for _ in 0..<300 {
        switch random.below(4) {
        case 0:
          guard pool.hasRoom else { continue }
          made += 1
          lent[pool.add(pipe(made))] = pipe(made)
        case 1:
          let number = pool.takeIdle()
          #expect((number == nil) == kept.isEmpty)
          if let number { lent[number] = kept.removeLast() }
        case 2:
          guard let (number, pipe) = lent.randomElement(using: &random) else { continue }
          lent[number] = nil
          let closed = pool.giveBack(number)
          #expect(closed == (kept.count < Limits.pipesIdle ? nil : pipe))
          if closed == nil { kept.append(pipe) }
        default:
          guard let (number, pipe) = lent.randomElement(using: &random) else { continue }
          lent[number] = nil
          let removed = pool.remove(number)
          #expect(removed == pipe)
        }
        for (number, pipe) in lent {
          let found = pool[number]
          #expect(found == pipe)
        }
        let (used, idle, hasRoom) = (pool.usedCount, pool.idleCount, pool.hasRoom)
        #expect(used == lent.count && idle == kept.count && hasRoom == (used + idle < limit))
      }
    }
  }
}
