import Testing

@testable import UringRawlog

@Suite struct LineStampTests {
  private func match(_ text: String, at place: Int = 0) -> LineStamp {
    Array(text.utf8).withUnsafeBytes { LineStamp.match($0, at: place) }
  }

  @Test(arguments: [
    ("1795340682.095328 a1 NOOP", 1_795_340_682_095_328, 18), ("0.000000 ", 0, 9), ("9.999999  two", 9_999_999, 9),
    ("9223372036854.775807 ", Int64.max, 21),
  ])
  func stamps(text: String, microseconds: Int64, length: Int) {
    #expect(match(text) == .stamp(microseconds: microseconds, length: length))
    // Each beginning of it may become one.
    for count in 0..<length { #expect(match(String(text.prefix(count))) == .incomplete, "\(count)") }
  }

  @Test(arguments: [
    " 1795340682.095328 ", "a1 NOOP", ".000000 ", "1.00000 x", "1.0000000 ", "1.000000\t", "1,000000 ", "01.000000 ",
    "00.000000 ", "-1.000000 ", "+1.000000 ", "1795340682 ", "9223372036854.775808 ", "92233720368540.000000 ",
    "12345678901234.000000 ", "1.00000a ", "1.-00001 ", "\n", "1\n", "1.\n", "1.000000\n", "0x1.000000 ", "1 .000000 ",
  ])
  func others(text: String) {
    #expect(match(text) == .none)
  }

  @Test func anywhere() {
    #expect(match("ab1.000002 ", at: 2) == .stamp(microseconds: 1_000_002, length: 9))
    #expect(match("ab1.000002 ", at: 1) == .none)
    #expect(match("1.000002 ", at: 9) == .incomplete)
  }

  /// What the encoder writes is read.
  @Test func allThatAreWritten() {
    var random = SeededGenerator(seed: 7)
    for bits in 0..<63 {
      let microseconds = Int64(random.next() >> (64 - 1 - UInt64(bits)) & UInt64(Int64.max))
      let stamp = Encoder.Stamp(microseconds: microseconds)
      let bytes = (0..<stamp.count).map { stamp.text[$0] }
      let found = bytes.withUnsafeBytes { LineStamp.match($0) }
      #expect(found == .stamp(microseconds: microseconds, length: bytes.count))
    }
  }
}
