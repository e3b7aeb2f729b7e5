/// Recorded bytes as text that a terminal shows and does not obey.
///
/// Each byte of a control character (C0, DEL, C1), of a control of bidirectional text, of a line separator, and each that
/// belongs to no valid UTF-8, is written `\xHH`. Other valid UTF-8 is written as it is. A backslash is `\x5c` only where
/// it would look like the beginning of such an escape, so that what is shown can be turned back.
struct DisplayedBytes {
  /// What stands in front of and behind escapes, to set them off; empty for nothing.
  var beforeEscapes: StaticString = ""
  var behindEscapes: StaticString = ""

  func append(_ bytes: UnsafeRawBufferPointer, to text: inout Bytes) {
    var place = 0
    var isEscaping = false
    while place < bytes.count {
      let length = Self.shownPrefix(bytes, at: place)
      if isEscaping != (length == 0) {
        text.append(isEscaping ? behindEscapes : beforeEscapes)
        isEscaping.toggle()
      }
      if length == 0 { Self.appendEscape(of: bytes[place], to: &text) }
      text.append(UnsafeRawBufferPointer(rebasing: bytes[place..<place + length]))
      place += max(1, length)
    }
    if isEscaping { text.append(behindEscapes) }
  }

  /// How many bytes from `place` on are shown as they are: 0 when the one there is escaped.
  private static func shownPrefix(_ bytes: UnsafeRawBufferPointer, at place: Int) -> Int {
    let first = bytes[place]
    if first >= 0x80 {
      guard let (scalar, length) = scalar(bytes, at: place), !scalar.isObeyed else { return 0 }
      return length
    }
    // Printable ASCII is most of what there is.
    var end = place
    while end < bytes.count {
      let byte = bytes[end]
      guard byte >= 0x20, byte < 0x7F else { break }
      if byte == UInt8(ascii: "\\"), end + 1 < bytes.count, bytes[end + 1] == UInt8(ascii: "x") { break }
      end += 1
    }
    return end - place
  }

  private static func appendEscape(of byte: UInt8, to text: inout Bytes) {
    text.append("\\x")
    text.append(hexDigit(byte >> 4))
    text.append(hexDigit(byte & 15))
  }

  private static func hexDigit(_ value: UInt8) -> UInt8 {
    value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
  }

  /// The character of well-formed UTF-8 that begins at `place` (Unicode, table 3-7); nil when there is none.
  private static func scalar(_ bytes: UnsafeRawBufferPointer, at place: Int) -> (Unicode.Scalar, length: Int)? {
    let first = bytes[place]
    let length: Int
    var value: UInt32
    switch first {
    case 0xC2...0xDF: (length, value) = (2, UInt32(first & 0x1F))
    case 0xE0...0xEF: (length, value) = (3, UInt32(first & 0x0F))
    case 0xF0...0xF4: (length, value) = (4, UInt32(first & 0x07))
    default: return nil
    }
    guard place + length <= bytes.count else { return nil }
    for step in 1..<length {
      let byte = bytes[place + step]
      guard byte & 0xC0 == 0x80 else { return nil }
      value = value << 6 | UInt32(byte & 0x3F)
    }
    // Neither longer than it need be, nor a surrogate, nor beyond the last character.
    guard value >= (length == 2 ? 0x80 : length == 3 ? 0x800 : 0x10000) else { return nil }
    return Unicode.Scalar(value).map { ($0, length) }
  }
}
