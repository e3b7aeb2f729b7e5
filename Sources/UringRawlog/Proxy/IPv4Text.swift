/// An IPv4 address as text, byte by byte: four decimal numbers without leading zeros, as inet_pton(3) takes it.
struct IPv4Text {
  /// The numbers before the current one.
  private var leading: UInt32 = 0
  private var dots = 0
  private var number = DecimalText(upTo: 255)

  /// False at the first byte with which no address begins.
  mutating func take(_ byte: UInt8) -> Bool {
    guard byte == UInt8(ascii: ".") else { return number.take(byte) }
    guard dots < 3, number.digits > 0 else { return false }
    leading = leading << 8 | number.value
    dots += 1
    number = DecimalText(upTo: 255)
    return true
  }

  /// The address, if the bytes so far are one.
  var value: UInt32? { dots == 3 && number.digits > 0 ? leading << 8 | number.value : nil }
}
