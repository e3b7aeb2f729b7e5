import Testing

@testable import UringRawlog

@Suite struct SlotQueueTests {
  @Test func agreesWithAnArray() throws {
    for seed in 1...UInt64(20) {
      var random = SeededGenerator(seed: seed)
      var queue = SlotQueue(capacity: 1 << random.below(4))
      var model: [UInt64] = []
      var most = 0
      for _ in 0..<2000 {
        // Phases of growing and of shrinking, so that the queue wraps around at many fillings.
        let grows = random.below(100) < (model.count < 20 ? 70 : 30)
        if grows || model.isEmpty {
          let value = random.next()
          queue.append(value)
          model.append(value)
        } else {
          let first = queue.first
          let removed = queue.removeFirst()
          let expected = model.removeFirst()
          try #require(first == expected && removed == expected)
        }
        most = max(most, model.count)
        let count = queue.count
        let isEmpty = queue.isEmpty
        try #require(count == model.count && isEmpty == model.isEmpty)
      }
      try #require(most > 16)
    }
  }

  /// Growing in the middle of a wrap keeps the order.
  @Test(arguments: 0..<8)
  func growsWhileWrapped(removed: Int) throws {
    var queue = SlotQueue(capacity: 8)
    for value in 0..<8 { queue.append(UInt64(value)) }
    for value in 0..<removed {
      let first = queue.removeFirst()
      try #require(first == UInt64(value))
    }
    for value in 8..<30 { queue.append(UInt64(value)) }
    for value in removed..<30 {
      let first = queue.removeFirst()
      try #require(first == UInt64(value))
    }
    let isEmpty = queue.isEmpty
    try #require(isEmpty)
  }

  @Test func holdsEveryValue() {
    var queue = SlotQueue(capacity: 1)
    let values = [0, 1, UInt64.max, 1 << 63, 0xFFFF_FFFF]
    for value in values { queue.append(value) }
    for value in values {
      let first = queue.removeFirst()
      #expect(first == value)
    }
  }
}
