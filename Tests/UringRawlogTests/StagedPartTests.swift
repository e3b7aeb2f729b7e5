import Testing

@testable import UringRawlog

/// The part of a session in memory that it shares, against a list of every byte's owner.
@Suite struct StagedPartTests {
  @Test func neverLessThanWhatWaits() {
    var random = SeededGenerator(seed: 7)
    for _ in 0..<200 {
      var parts = [StagedPart](repeating: StagedPart(), count: 3)
      var waiting: [(owner: Int, bytes: Int)] = []
      var total: UInt64 = 0
      var isBusy = false
      for _ in 0..<300 {
        let bytes = waiting.reduce(0) { $0 + $1.bytes }
        if random.once(in: 4) {
          // A write takes the oldest bytes.
          var rest = random.once(in: 3) ? bytes : random.below(bytes + 1)
          while rest > 0 {
            let taken = min(rest, waiting[0].bytes)
            waiting[0].bytes -= taken
            rest -= taken
            if waiting[0].bytes == 0 { waiting.removeFirst() }
          }
        } else {
          let owner = random.below(3)
          let count = 1 + random.below(500)
          let written = total - UInt64(bytes)
          total += UInt64(count)
          parts[owner].add(count, end: total, written: written)
          waiting.append((owner, count))
        }
        let left = waiting.reduce(0) { $0 + $1.bytes }
        for owner in 0..<3 {
          let exact = waiting.reduce(0) { $0 + ($1.owner == owner ? $1.bytes : 0) }
          let told = parts[owner].count(written: total - UInt64(left))
          #expect(told >= exact)
          if left == 0 { #expect(told == 0) }
          if told > exact { isBusy = true }
        }
      }
      #expect(isBusy)
    }
  }

  /// Whoever moved much while the disk was prompt has no more in memory for that.
  @Test func whatWasWrittenLongAgoIsForgotten() {
    var part = StagedPart()
    var total: UInt64 = 0
    for _ in 0..<1000 {
      total += 1000
      // One write is always under way.
      part.add(1000, end: total, written: max(total, 2000) - 2000)
    }
    #expect(part.count(written: total - 1000) <= 5000)
  }
}
