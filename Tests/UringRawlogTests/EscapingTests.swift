import Testing

@testable import UringRawlog

@Suite struct EscapingTests {
  @Test(arguments: [
    ("", ""), ("plain text, 'quoted' \"twice\" and \\ too", "plain text, 'quoted' \"twice\" and \\ too"),
    ("\u{0}", "\\x00"), ("a\nb\r\nc\td", "a\\x0ab\\x0d\\x0ac\\x09d"),
    ("\u{1B}[31mred\u{1B}[0m", "\\x1b[31mred\\x1b[0m"),
    ("\u{7F}", "\\x7f"), ("\u{80}\u{9B}31m\u{9F}", "\\x80\\x9b31m\\x9f"), ("\u{2028}\u{2029}", "\\x2028\\x2029"),
    ("\u{A0}t\u{FC}rk\u{E7}e \u{1F600}", "\u{A0}t\u{FC}rk\u{E7}e \u{1F600}"), ("e\u{301}", "e\u{301}"),
    // What is written behind an override is shown before it.
    ("a\u{202E}gpj.exe", "a\\x202egpj.exe"), ("\u{61C}\u{200E}\u{200F}", "\\x61c\\x200e\\x200f"),
    ("\u{202A}\u{202B}\u{202C}\u{202D}", "\\x202a\\x202b\\x202c\\x202d"),
    ("\u{2066}\u{2067}\u{2068}\u{2069}", "\\x2066\\x2067\\x2068\\x2069"),
    // What joins letters is a part of words.
    ("\u{200C}\u{200D}\u{2010}\u{2065}", "\u{200C}\u{200D}\u{2010}\u{2065}"),
    // A combining character does not hide the control before it.
    ("\n\u{301}", "\\x0a\u{301}"),
  ])
  func escapes(text: String, expected: String) {
    #expect(Array(text.escapedForMessage.utf8) == Array(expected.utf8))
  }

  /// Bidi_Control of Unicode's PropList.txt.
  private static let bidirectional: Set<UInt32> = [
    0x61C, 0x200E, 0x200F, 0x202A, 0x202B, 0x202C, 0x202D, 0x202E, 0x2066, 0x2067, 0x2068, 0x2069,
  ]

  @Test func noControlCharacterIsLeft() throws {
    for value in UInt32(0)...0x3000 {
      guard let scalar = Unicode.Scalar(value) else { continue }
      let escaped = "a\(scalar)b".escapedForMessage
      let isControl =
        scalar.properties.generalCategory == .control || value == 0x2028 || value == 0x2029
        || Self.bidirectional.contains(value)
      try #require(escaped.unicodeScalars.contains(scalar) == (!isControl), "U+\(String(value, radix: 16))")
      let json = String(decoding: jsonString("a\(scalar)b"), as: UTF8.self).dropFirst().dropLast()
      try #require(json.unicodeScalars.contains(scalar) == (!isControl), "U+\(String(value, radix: 16))")
    }
  }
}
