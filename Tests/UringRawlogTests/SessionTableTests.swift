import Testing

@testable import UringRawlog

@Suite struct SessionTableTests {
  @Test func slotsAreGivenInOrderAndTheLastFreedFirst() throws {
    var table = try SessionTable.make(capacity: 4)
    for expected in 0..<4 {
      let slot = table.add()
      #expect(slot == expected)
      table[expected].phase = .relaying
    }
    let full = table.add()
    #expect(full == nil)
    let (count, usedSlots) = (table.count, table.usedSlots)
    #expect(count == 4 && usedSlots == 4)
    table.remove(1)
    table.remove(3)
    table.remove(0)
    for expected in [0, 3, 1] {
      let slot = table.add()
      #expect(slot == expected)
    }
    let again = table.add()
    #expect(again == nil)
    let usedAtTheEnd = table.usedSlots
    #expect(usedAtTheEnd == 4)
  }

  @Test func tokensGoStale() throws {
    var table = try SessionTable.make(capacity: 3)
    let slot = try found(table.add())
    let early = Token(.connect, slot: slot, generation: table.generation(slot))
    let isCurrentBeforePhase = table.isCurrent(early)
    #expect(!isCurrentBeforePhase)
    table[slot].phase = .connecting
    let isCurrent = table.isCurrent(early)
    #expect(isCurrent)
    // Any kind of operation, but no other slot and no other generation.
    for (token, expected) in [
      (Token(.writeOut, slot: slot, generation: table.generation(slot)), true),
      (Token(.connect, slot: slot, generation: table.generation(slot) &+ 1), false),
      (Token(.connect, slot: slot + 1, generation: 0), false),
      (Token(.connect, slot: 0xFF_FFFF, generation: 0), false),
    ] {
      let isCurrent = table.isCurrent(token)
      #expect(isCurrent == expected)
    }
    table.remove(slot)
    let isCurrentAfterRemove = table.isCurrent(early)
    #expect(!isCurrentAfterRemove)
    let again = try found(table.add())
    #expect(again == slot)
    table[again].phase = .connecting
    let late = Token(.connect, slot: again, generation: table.generation(again))
    let (isLateCurrent, isEarlyCurrent) = (table.isCurrent(late), table.isCurrent(early))
    #expect(isLateCurrent && !isEarlyCurrent)
  }

  @Test func aSlotThatIsUsedAgainIsFresh() throws {
    var table = try SessionTable.make(capacity: 2)
    let slot = try found(table.add())
    table[slot].phase = .relaying
    table[slot].number = 9
    table[slot].heapPlace = 5
    table[slot].isTouched = true
    for direction in [Direction.in, .out] {
      table[flow: FlowIndex(slot, direction)].received(100, pauseAbove: 10)
      table[flow: FlowIndex(slot, direction)].isHeld = true
      table[queue: FlowIndex(slot, direction)].head = 3
      table[queue: FlowIndex(slot, direction)].base = 3
      table[file: FlowIndex(slot, direction)].state = .open
      table[file: FlowIndex(slot, direction)].position = 100
    }
    table.remove(slot)
    let again = try found(table.add())
    #expect(again == slot)
    let session = table[again]
    #expect(session.phase == .free && session.number == 0 && session.heapPlace == -1 && !session.isTouched)
    for direction in [Direction.in, .out] {
      let flow = table[flow: FlowIndex(again, direction)]
      let queue = table[queue: FlowIndex(again, direction)]
      let file = table[file: FlowIndex(again, direction)]
      #expect(flow.received == 0 && !flow.isPaused && !flow.isHeld)
      #expect(queue.head == -1 && queue.tail == -1 && queue.base == 0)
      #expect(file.state == .none && file.position == 0 && file.descriptor == -1)
    }
  }

  /// The two directions of all sessions are places of their own.
  @Test func placesDoNotOverlap() throws {
    var table = try SessionTable.make(capacity: 50)
    for number in 0..<50 {
      let slot = try found(table.add())
      table[slot].number = UInt64(number)
      for direction in [Direction.in, .out] {
        let index = FlowIndex(slot, direction)
        try #require(index.slot == slot && index.direction == direction && index.reverse.reverse == index)
        try #require(index.reverse.slot == slot && index.reverse.direction == direction.reverse)
        try #require(index.source == (direction == .in ? .client : .server) && index.sink != index.source)
        table[flow: index].received(1 + index.rawValue, pauseAbove: .max)
        table[queue: index].base = UInt64(index.rawValue)
        table[file: index].position = UInt64(index.rawValue)
      }
    }
    for slot in 0..<50 {
      let number = table[slot].number
      try #require(number == UInt64(slot))
      for direction in [Direction.in, .out] {
        let index = FlowIndex(slot, direction)
        let (received, base) = (table[flow: index].received, table[queue: index].base)
        let position = table[file: index].position
        try #require(received == UInt64(1 + index.rawValue) && base == UInt64(index.rawValue) && position == base)
      }
    }
  }

  @Test func agreesWithAModel() throws {
    for seed in 1...UInt64(10) {
      var random = SeededGenerator(seed: seed)
      let capacity = 1 + random.below(40)
      var table = try SessionTable.make(capacity: capacity)
      var live: [Int: Token] = [:]
      var stale: [Token] = []
      var free: [Int] = []
      var used = 0
      for _ in 0..<1000 {
        if random.below(100) < 55 {
          let expected = free.popLast() ?? (used < capacity ? used : nil)
          let slot = table.add()
          try #require(slot == expected, "seed \(seed)")
          guard let slot else { continue }
          used = max(used, slot + 1)
          table[slot].phase = .connecting
          live[slot] = Token(.openIn, slot: slot, generation: table.generation(slot))
        } else if let (slot, token) = live.sorted(by: { $0.key < $1.key }).randomElement(using: &random) {
          table.remove(slot)
          live[slot] = nil
          stale.append(token)
          free.append(slot)
        }
        let (count, usedSlots) = (table.count, table.usedSlots)
        try #require(count == live.count && usedSlots == used, "seed \(seed)")
      }
      for token in live.values {
        let isCurrent = table.isCurrent(token)
        try #require(isCurrent, "seed \(seed)")
      }
      for token in stale {
        let isCurrent = table.isCurrent(token)
        try #require(!isCurrent, "seed \(seed)")
      }
    }
  }
}
