import Testing

@testable import UringRawlog

@Suite struct InternetChecksumTests {
  /// As RFC 1071 §4.1 does it, word by word in the order of the network.
  private func plain(_ bytes: some Collection<UInt8>) -> UInt16 {
    var sum: UInt32 = 0
    for (place, byte) in bytes.enumerated() { sum += place & 1 == 0 ? UInt32(byte) << 8 : UInt32(byte) }
    while sum >> 16 != 0 { sum = sum & 0xFFFF + sum >> 16 }
    return UInt16(sum)
  }

  private func fast(_ bytes: [UInt8]) -> UInt16 {
    bytes.withUnsafeBytes { UInt16(bigEndian: InternetChecksum.folded(InternetChecksum.sum($0))) }
  }

  @Test func exampleOfTheRFC() {
    #expect(fast([0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7]) == 0xDDF2)
  }

  @Test func everyLength() {
    var generator = SeededGenerator(seed: 1)
    for count in 0...300 {
      let bytes = (0..<count).map { _ in UInt8(generator.below(256)) }
      #expect(fast(bytes) == plain(bytes), "\(count) bytes")
    }
  }

  @Test func largestSums() {
    for count in [65534, 65535] {
      let bytes = [UInt8](repeating: 0xFF, count: count)
      #expect(fast(bytes) == plain(bytes))
    }
    #expect(InternetChecksum.folded(.max) == 0xFFFF)
    #expect(InternetChecksum.folded(0) == 0)
    #expect(InternetChecksum.folded(0x1_0000) == 1)
    #expect(InternetChecksum.folded(0x1_FFFE_FFFF) == 0xFFFF)
  }

  @Test func sumsOfPartsAdd() {
    let bytes = (0..<200).map { UInt8($0) }
    let parts = bytes.withUnsafeBytes {
      InternetChecksum.sum(UnsafeRawBufferPointer(rebasing: $0[..<66]))
        + InternetChecksum.sum(UnsafeRawBufferPointer(rebasing: $0[66...]))
    }
    #expect(UInt16(bigEndian: InternetChecksum.folded(parts)) == plain(bytes))
  }
}
