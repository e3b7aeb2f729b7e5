import Testing

@testable import UringRawlog

@Suite struct CRC32CTests {
  private func checksum(_ bytes: [UInt8]) -> UInt32 {
    var sum = CRC32C()
    bytes.withUnsafeBytes { sum.add($0) }
    return sum.value
  }

  /// RFC 3720 B.4, where the bytes of the results are in the other order.
  @Test func theExamplesOfTheStandard() {
    #expect(checksum(Array(repeating: 0, count: 32)) == 0x8A91_36AA)
    #expect(checksum(Array(repeating: 0xFF, count: 32)) == 0x62A8_AB43)
    #expect(checksum(Array(0..<32)) == 0x46DD_794E)
    #expect(checksum(Array((0..<32).reversed())) == 0x113F_DB5C)
    let read = hex(
      """
      01c00000 00000000 00000000 00000000 14000000 00000400 00000014 00000018
      28000000 00000000 02000000 00000000
      """)
    #expect(checksum(read) == 0xD996_3A56)
  }

  /// The check value by which the algorithm is known.
  @Test func theCheckValue() {
    #expect(checksum(Array("123456789".utf8)) == 0xE306_9283)
    #expect(checksum([]) == 0)
  }

  /// The table against the definition, bit by bit.
  @Test func everyByteAsTheDefinitionHasIt() {
    for byte in UInt8.min...UInt8.max {
      for before in [[], [0x5A], [0xFF, 0, 0x80]] as [[UInt8]] {
        var register = UInt32.max
        for added in before + [byte] {
          register ^= UInt32(added)
          for _ in 0..<8 { register = register & 1 == 1 ? register >> 1 ^ 0x82F6_3B78 : register >> 1 }
        }
        #expect(checksum(before + [byte]) == ~register)
      }
    }
  }
}
