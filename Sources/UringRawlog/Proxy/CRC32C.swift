/// The checksum of a version 2 PROXY header: CRC-32C, Castagnoli's polynomial (RFC 3720 12.1, RFC 4960 appendix B).
///
/// It goes by half bytes. A header is short and seldom has a checksum, so a table of sixteen words does.
struct CRC32C {
  private var register: UInt32 = .max

  /// The remainders of the sixteen half bytes; the polynomial with its bits in reverse order is 0x82F63B78.
  private static let remainders: InlineArray<16, UInt32> = [
    0x0000_0000, 0x105E_C76F, 0x20BD_8EDE, 0x30E3_49B1, 0x417B_1DBC, 0x5125_DAD3, 0x61C6_9362, 0x7198_540D,
    0x82F6_3B78, 0x92A8_FC17, 0xA24B_B5A6, 0xB215_72C9, 0xC38D_26C4, 0xD3D3_E1AB, 0xE330_A81A, 0xF36E_6F75,
  ]

  mutating func add(_ bytes: UnsafeRawBufferPointer) {
    for byte in bytes { add(byte) }
  }

  mutating func add(_ byte: UInt8) {
    register ^= UInt32(byte)
    register = register >> 4 ^ Self.remainders[Int(register & 0xF)]
    register = register >> 4 ^ Self.remainders[Int(register & 0xF)]
  }

  /// The checksum of what was added so far.
  var value: UInt32 { ~register }
}
