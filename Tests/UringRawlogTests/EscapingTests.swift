import Testing

@testable import UringRawlog

@Suite struct EscapingTests {
  @Test(arguments: [
    ("", ""), ("plain text, 'quoted' \"twice\" and \\ too", "plain text, 'quoted' \"twice\" and \\ too"),
    ("\u{0}", "\\x00"), ("a\nb\r\nc\td", "a\\x0ab\\x0d\\x0ac\\x09d"),
    ("\u{1B}[31mred\u{1B}[0m", "\\x1b[31mred\\x1b[0m"),
    ("\u{7F}", "\\x7f"), ("\u{80}\u{9B}31m\u{9F}", "\\x80\\x9b31m\\x9f"), ("\u{2028}\u{2029}", "\\x2028\\x2029"),
    ("\u{A0}t\u{FC}rk\u{E7}e \u{1F600}", "\u{A0}t\u{FC}rk\u{E7}e \u{1F600}"), ("e\u{301}", "e\u{301}"),
    // A combining character does not hide the control before it.
    ("\n\u{301}", "\\x0a\u{301}"),
  ])
  func escapes(text: String, expected: String) {
    #expect(Array(text.escapedForMessage.utf8) == Array(expected.utf8))
  }

  @Test func noControlCharacterIsLeft() throws {
    for value in UInt32(0)...0x3000 {
      guard let scalar = Unicode.Scalar(value) else { continue }
      let escaped = "a\(scalar)b".escapedForMessage
      let isControl = scalar.properties.generalCategory == .control || value == 0x2028 || value == 0x2029
      try #require(escaped.unicodeScalars.contains(scalar) == (!isControl), "U+\(String(value, radix: 16))")
    }
  }
}
