/// An IPv6 address as text, byte by byte, as inet_pton(3) takes it (RFC 4291 2.2): groups of up to four hexadecimal
/// digits, `::` once for at least one group of zeros, the last two groups perhaps as an IPv4 address.
///
/// HAProxy writes the latter for an IPv4-mapped address, although the PROXY standard speaks of hexadecimal digits only.
struct IPv6Text {
  private var groups = InlineArray<8, UInt16>(repeating: 0)
  /// Groups that are over.
  private var count = 0
  /// How many groups stood before the `::`.
  private var gap: Int?
  /// The current group: its digits so far, and what they are if they turn out to be the start of an IPv4 address.
  private var digits = 0
  private var group: UInt16 = 0
  private var dotted: IPv4Text? = IPv4Text()
  private var isDotted = false
  /// Colons directly before the next byte.
  private var colons = 0

  /// The most groups that may be written: `::` stands for at least one.
  private var countMaximum: Int { gap == nil ? 8 : 7 }

  /// False at the first byte with which no address begins.
  mutating func take(_ byte: UInt8) -> Bool {
    if isDotted { return takeDotted(byte) }
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): return take(byte, digit: byte - UInt8(ascii: "0"))
    case UInt8(ascii: "a")...UInt8(ascii: "f"): return take(byte, digit: byte - UInt8(ascii: "a") + 10)
    case UInt8(ascii: "A")...UInt8(ascii: "F"): return take(byte, digit: byte - UInt8(ascii: "A") + 10)
    case UInt8(ascii: ":"): return takeColon()
    case UInt8(ascii: "."):
      // Two groups are to come from it, and they are the last.
      guard digits > 0, gap == nil ? count == 6 : count <= 5 else { return false }
      isDotted = true
      return takeDotted(byte)
    default: return false
    }
  }

  private mutating func takeDotted(_ byte: UInt8) -> Bool { dotted?.take(byte) ?? false }

  private mutating func take(_ byte: UInt8, digit: UInt8) -> Bool {
    let isBehindFirstColon = count == 0 && gap == nil && colons == 1
    guard digits < 4, count < countMaximum, !isBehindFirstColon else { return false }
    group = group << 4 | UInt16(digit)
    digits += 1
    colons = 0
    if !takeDotted(byte) { dotted = nil }
    return true
  }

  private mutating func takeColon() -> Bool {
    colons += 1
    if digits > 0 {
      groups[count] = group
      count += 1
      digits = 0
      group = 0
      dotted = IPv4Text()
      // At least one more group follows, or a `::` for it.
      return count < countMaximum
    }
    guard colons == 2 else { return colons == 1 && count == 0 && gap == nil }
    guard gap == nil else { return false }
    gap = count
    return true
  }

  /// The address in two halves, if the bytes so far are one.
  var value: (high: UInt64, low: UInt64)? {
    var written = groups
    var count = count
    if isDotted {
      guard let address = dotted?.value else { return nil }
      written[count] = UInt16(truncatingIfNeeded: address >> 16)
      written[count + 1] = UInt16(truncatingIfNeeded: address)
      count += 2
    } else if digits > 0 {
      written[count] = group
      count += 1
    } else if colons != 2 {
      return nil
    }
    guard count == 8 || gap != nil else { return nil }
    let zeros = 8 - count
    var halves: InlineArray<2, UInt64> = [0, 0]
    for place in 0..<8 {
      let isWritten = place < gap ?? 8
      let number = isWritten ? written[place] : place < gap! + zeros ? 0 : written[place - zeros]
      halves[place / 4] = halves[place / 4] << 16 | UInt64(number)
    }
    return (halves[0], halves[1])
  }
}
