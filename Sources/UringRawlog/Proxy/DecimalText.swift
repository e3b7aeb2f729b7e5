/// A number in decimal, byte by byte: no sign, no leading zero, no more than its maximum.
struct DecimalText {
  private(set) var value: UInt32 = 0
  private(set) var digits = 0
  private let maximum: UInt32

  init(upTo maximum: UInt32) {
    self.maximum = maximum
  }

  /// False at the first byte with which no such number begins.
  mutating func take(_ byte: UInt8) -> Bool {
    guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9"), digits == 0 || value > 0 else { return false }
    value = value * 10 + UInt32(byte - UInt8(ascii: "0"))
    digits += 1
    return value <= maximum
  }
}
