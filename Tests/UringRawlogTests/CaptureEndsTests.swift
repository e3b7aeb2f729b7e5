import Testing

@testable import UringRawlog

/// The queue of sessions whose last packets are on their way to the disk.
@Suite struct CaptureEndsTests {
  @Test func recordsComeInTheirOrder() {
    var ends = CaptureEnds()
    var random = SeededGenerator(seed: 3)
    var expected: [(session: UInt64, record: [UInt8])] = []
    var number: UInt64 = 0
    for _ in 0..<2000 {
      if expected.isEmpty || random.once(in: 2) {
        number += 1
        let record = [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: random.below(300))
        record.withUnsafeBytes { ends.append(number, capture: number / 100, position: number * 10, record: $0) }
        expected.append((number, record))
      } else {
        let first = expected.removeFirst()
        #expect(ends.first.session == first.session && ends.first.position == first.session * 10)
        #expect(ends.first.recordBytes == first.record.count && ends.firstRecord.elementsEqual(first.record))
        ends.removeFirst()
      }
      #expect(ends.count == expected.count)
    }
  }
}
