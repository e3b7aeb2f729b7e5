import Testing

@testable import UringRawlog

@Suite struct DeadlineHeapTests {
  @Test func anEmptyHeapHasNoDeadline() throws {
    var heap = try DeadlineHeap.make(capacity: 1)
    var sessions = try SessionTable.make(capacity: 1)
    let slot = try found(sessions.add())
    heap.remove(slot, in: &sessions)
    let (count, earliest) = (heap.count, heap.earliest)
    #expect(count == 0 && earliest == nil)
    heap.set(slot, to: 7, in: &sessions)
    heap.set(slot, to: 9, in: &sessions)
    let (one, later) = (heap.count, heap.earliest)
    #expect(one == 1 && later == 9)
    heap.remove(slot, in: &sessions)
    let (none, place) = (heap.count, sessions[slot].heapPlace)
    #expect(none == 0 && place == -1)
  }

  @Test func tighteningOnlyEverMakesEarlier() throws {
    var heap = try DeadlineHeap.make(capacity: 2)
    var sessions = try SessionTable.make(capacity: 2)
    let slot = try found(sessions.add())
    for (deadline, expected) in [(50, 50), (60, 50), (50, 50), (40, 40), (0, 0), (1, 0)] as [(UInt64, UInt64)] {
      heap.tighten(slot, to: deadline, in: &sessions)
      let earliest = heap.earliest
      #expect(earliest == expected)
    }
  }

  @Test func agreesWithAModel() throws {
    for seed in 1...UInt64(12) {
      var random = SeededGenerator(seed: seed)
      let capacity = 1 + random.below(200)
      var heap = try DeadlineHeap.make(capacity: capacity)
      var sessions = try SessionTable.make(capacity: capacity)
      for _ in 0..<capacity { _ = sessions.add() }
      var model: [Int: UInt64] = [:]
      // Few different deadlines make many that are equal.
      let range = random.once(in: 2) ? 10 : 1_000_000
      for _ in 0..<1500 {
        let slot = random.below(capacity)
        let deadline = random.once(in: 50) ? UInt64.max : UInt64(random.below(range))
        switch random.below(4) {
        case 0:
          heap.set(slot, to: deadline, in: &sessions)
          model[slot] = deadline
        case 1:
          heap.tighten(slot, to: deadline, in: &sessions)
          model[slot] = min(model[slot] ?? .max, deadline)
        case 2:
          heap.remove(slot, in: &sessions)
          model[slot] = nil
        default:
          // As the loop does: what has come up is removed or moved.
          guard heap.earliest != nil else { continue }
          let earliest = heap.earliestSlot
          if random.once(in: 2) {
            heap.remove(earliest, in: &sessions)
            model[earliest] = nil
          } else {
            heap.set(earliest, to: deadline, in: &sessions)
            model[earliest] = deadline
          }
        }
        let (count, earliest) = (heap.count, heap.earliest)
        try #require(count == model.count && earliest == model.values.min(), "seed \(seed)")
        if earliest != nil {
          let slot = heap.earliestSlot
          try #require(model[slot] == earliest, "seed \(seed)")
        }
      }
      // Each session knows its place: no two the same, none without a deadline.
      var places: Set<Int32> = []
      for slot in 0..<capacity {
        let place = sessions[slot].heapPlace
        try #require((place >= 0) == (model[slot] != nil), "seed \(seed)")
        if place >= 0 { try #require(places.insert(place).inserted && Int(place) < model.count, "seed \(seed)") }
      }
      // And they come up in order.
      var last: UInt64 = 0
      while let earliest = heap.earliest {
        try #require(earliest >= last, "seed \(seed)")
        last = earliest
        let slot = heap.earliestSlot
        try #require(model.removeValue(forKey: slot) == earliest, "seed \(seed)")
        heap.remove(slot, in: &sessions)
      }
      try #require(model.isEmpty)
    }
  }
}
