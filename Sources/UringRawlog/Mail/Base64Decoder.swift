/// Base64 (RFC 4648 section 4), one character at a time.
struct Base64Decoder {
  private var bits: UInt32 = 0
  private var characters: UInt8 = 0
  private var isPadded = false
  /// Something came that is no base64.
  private(set) var isBroken = false

  /// Whether what came so far is a whole encoding. Missing padding is forgiven.
  var isWhole: Bool { !isBroken && characters & 3 != 1 }

  /// Takes a character; the answer is the byte that it completes.
  mutating func take(_ character: UInt8) -> UInt8? {
    if character == UInt8(ascii: "=") {
      isPadded = true
      return nil
    }
    guard !isPadded, let value = Self.value(character) else {
      isBroken = true
      return nil
    }
    bits = bits &<< 6 | value
    characters &+= 1
    switch characters & 3 {
    case 1: return nil
    case 2: return UInt8(truncatingIfNeeded: bits &>> 4)
    case 3: return UInt8(truncatingIfNeeded: bits &>> 2)
    default: return UInt8(truncatingIfNeeded: bits)
    }
  }

  private static func value(_ character: UInt8) -> UInt32? {
    switch character {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"): UInt32(character - UInt8(ascii: "A"))
    case UInt8(ascii: "a")...UInt8(ascii: "z"): UInt32(character - UInt8(ascii: "a")) + 26
    case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(character - UInt8(ascii: "0")) + 52
    case UInt8(ascii: "+"): 62
    case UInt8(ascii: "/"): 63
    default: nil
    }
  }
}
