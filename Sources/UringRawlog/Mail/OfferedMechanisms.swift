/// What of the mechanisms that a server offers cannot work through somebody who terminates TLS: those that bind to the
/// channel (`-PLUS`, RFC 5802) and EXTERNAL, which goes by the client's certificate.
struct OfferedMechanisms {
  private(set) var channelBinding = false
  private(set) var external = false
  /// The last eight bytes of the word that is being read, and how many it has.
  private var recent: UInt64 = 0
  private var count: UInt8 = 0

  mutating func take(_ byte: UInt8) {
    switch byte {
    case 0...0x20, .quote, UInt8(ascii: "="), UInt8(ascii: "]"):
      if recent & 0xFF_FFFF_FFFF == Self.plus { channelBinding = true }
      if recent == Self.externalName, count == 8 { external = true }
      recent = 0
      count = 0
    default:
      recent = recent &<< 8 | UInt64(byte &- UInt8(ascii: "a") < 26 ? byte & 0xDF : byte)
      if count < .max { count += 1 }
    }
  }

  /// `-PLUS` and `EXTERNAL`, the last letter lowest.
  private static let plus: UInt64 = 0x2D_504C_5553
  private static let externalName: UInt64 = 0x4558_5445_524E_414C
}
