import Testing

@testable import Benchmarks
@testable import UringRawlog

/// What the benchmark's verdict "every byte arrived" rests on.
@Suite struct ChecksumTests {
  private static func bytes(_ count: Int, seed: UInt64) -> [UInt8] {
    var random = SeededGenerator(seed: seed)
    return (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
  }

  private static func sum(_ bytes: [UInt8]) -> UInt64 {
    var checksum = Checksum()
    bytes.withUnsafeBytes { checksum.add($0) }
    return checksum.value
  }

  @Test func cutsDoNotMatter() {
    var random = SeededGenerator(seed: 1)
    for round in 0..<200 {
      let bytes = Self.bytes(random.below(round < 100 ? 200 : 5000), seed: UInt64(round))
      var whole = Checksum()
      bytes.withUnsafeBytes { whole.add($0) }
      var pieces = Checksum()
      var place = 0
      while place < bytes.count {
        // Also pieces of nothing, and many that do not fill a word.
        let count = min(bytes.count - place, random.below(random.once(in: 2) ? 5 : 100))
        Array(bytes[place..<place + count]).withUnsafeBytes { pieces.add($0) }
        place += count
      }
      #expect(pieces.value == whole.value && pieces.count == whole.count, "round \(round)")
      #expect(whole.count == UInt64(bytes.count))
    }
  }

  /// Every bit of every byte counts, wherever the byte lies between two words or blocks.
  @Test(arguments: [1, 7, 8, 31, 32, 33, 63, 64, 65, 100, 257])
  func everyChangedBitIsFound(count: Int) {
    let bytes = Self.bytes(count, seed: UInt64(count))
    var seen: Set<UInt64> = [Self.sum(bytes)]
    for place in bytes.indices {
      for bit in 0..<8 {
        var changed = bytes
        changed[place] ^= 1 << UInt8(bit)
        #expect(seen.insert(Self.sum(changed)).inserted, "bit \(bit) of byte \(place)")
      }
    }
  }

  /// As a relay does that is not clean for eight bits.
  @Test func twoLostHighBitsAreFound() {
    let bytes = Self.bytes(512, seed: 5).map { $0 | 0x80 }
    let right = Self.sum(bytes)
    for first in 0..<64 {
      for second in stride(from: first + 8, to: bytes.count, by: 8) {
        var changed = bytes
        changed[first] &= 0x7F
        changed[second] &= 0x7F
        #expect(Self.sum(changed) != right, "\(first) and \(second)")
      }
    }
  }

  @Test func orderCounts() {
    let bytes = Self.bytes(200, seed: 3)
    let right = Self.sum(bytes)
    for place in 0..<bytes.count {
      for distance in [1, 8, 32, 64] where place + distance < bytes.count && bytes[place] != bytes[place + distance] {
        var changed = bytes
        changed.swapAt(place, place + distance)
        #expect(Self.sum(changed) != right, "\(place) and \(place + distance)")
      }
    }
    // Blocks in another order.
    #expect(Self.sum(Array(bytes[32..<64] + bytes[..<32] + bytes[64...])) != right)
  }

  @Test func lostAndRepeatedBytesAreFound() {
    // All bytes the same: only their number tells.
    var seen: Set<UInt64> = []
    for count in 0..<300 { #expect(seen.insert(Self.sum(Array(repeating: 0, count: count))).inserted, "\(count)") }
    let bytes = Self.bytes(100, seed: 4)
    for place in bytes.indices {
      var lost = bytes
      lost.remove(at: place)
      var repeated = bytes
      repeated.insert(bytes[place], at: place)
      #expect(Self.sum(lost) != Self.sum(bytes) && Self.sum(repeated) != Self.sum(bytes))
    }
  }

  private static func totals(_ streams: [[UInt8]]) -> StreamTotals {
    var totals = StreamTotals()
    for stream in streams {
      var checksum = Checksum()
      stream.withUnsafeBytes { checksum.add($0) }
      totals.add(checksum)
    }
    return totals
  }

  @Test func totalsDoNotKnowTheOrderOfStreams() {
    let streams = (0..<20).map { Self.bytes($0 * 13, seed: UInt64($0)) }
    let right = Self.totals(streams)
    #expect(right == Self.totals(streams.reversed()))
    #expect(right.streams == 20 && right.bytes == UInt64(streams.map(\.count).reduce(0, +)))
    #expect(right != Self.totals(Array(streams.dropLast())))
    // A byte that went into another stream.
    var moved = streams
    moved[7].append(moved[8].removeLast())
    #expect(right != Self.totals(moved))
  }

  @Test func totalsComeBackFromText() throws {
    for totals in [StreamTotals(), Self.totals([Self.bytes(100, seed: 1), Self.bytes(5000, seed: 2)])] {
      #expect(StreamTotals(totals.text.split(separator: " ")[...]) == totals)
      // As they stand in an answer, among other fields.
      #expect(StreamTotals("done 5 \(totals.text) 7".split(separator: " ")[2...4]) == totals)
    }
    var largest = StreamTotals()
    largest.streams = .max
    largest.bytes = .max
    largest.sum = .max
    #expect(StreamTotals(largest.text.split(separator: " ")[...]) == largest)
    for wrong in ["", "1", "1 2", "1 2 3 4", "1 2 x", "1 -2 3", "a b c", "1 2 18446744073709551616"] {
      #expect(StreamTotals(wrong.split(separator: " ")[...]) == nil, "'\(wrong)'")
    }
  }
}
