import Testing

@testable import UringRawlog

@Suite struct DisplayedBytesTests {
  private func shown(_ bytes: [UInt8], _ displayed: DisplayedBytes = DisplayedBytes()) -> String {
    var text = Bytes()
    bytes.withUnsafeBytes { displayed.append($0, to: &text) }
    let made = text.text
    return made
  }

  @Test(arguments: [
    ("", ""), ("a1 LOGIN alice \"x y\"", "a1 LOGIN alice \"x y\""),
    ("\0\t\r\n\u{1B}[2J\u{7F}", "\\x00\\x09\\x0d\\x0a\\x1b[2J\\x7f"),
    ("türkçe \u{1F600} e\u{301}", "türkçe \u{1F600} e\u{301}"),
    // C1 as UTF-8, line separators, an override of bidirectional text.
    ("\u{9B}31m", "\\xc2\\x9b31m"), ("\u{2028}", "\\xe2\\x80\\xa8"), ("a\u{202E}gpj.exe", "a\\xe2\\x80\\xaegpj.exe"),
    ("\u{200F}\u{61C}", "\\xe2\\x80\\x8f\\xd8\\x9c"),
    // A backslash only where it would look like an escape.
    (#"(\Seen \Deleted) \\ \"#, #"(\Seen \Deleted) \\ \"#), (#"\x1b"#, #"\x5cx1b"#), (#"\\x"#, #"\\x5cx"#),
    (#"\X1"#, #"\X1"#),
  ])
  func texts(text: String, expected: String) {
    #expect(shown(Array(text.utf8)) == expected)
  }

  @Test(arguments: [
    ([0x80], "\\x80"), ([0x9B, 0x33], "\\x9b3"), ([0xFF, 0xFE], "\\xff\\xfe"), ([0xC3], "\\xc3"),
    ([0xC3, 0x41], "\\xc3A"),
    // Longer than need be, surrogates, beyond Unicode.
    ([0xC0, 0x80], "\\xc0\\x80"), ([0xC1, 0xBF], "\\xc1\\xbf"), ([0xE0, 0x82, 0x9B], "\\xe0\\x82\\x9b"),
    ([0xED, 0xA0, 0x80], "\\xed\\xa0\\x80"), ([0xF0, 0x80, 0x82, 0x9B], "\\xf0\\x80\\x82\\x9b"),
    ([0xF4, 0x90, 0x80, 0x80], "\\xf4\\x90\\x80\\x80"), ([0xF5, 0x80, 0x80, 0x80], "\\xf5\\x80\\x80\\x80"),
    ([0xE2, 0x82], "\\xe2\\x82"), ([0xE2, 0x82, 0xAC], "€"), ([0xF0, 0x9F, 0x98, 0x80], "\u{1F600}"),
  ])
  func bytesThatAreNoText(bytes: [UInt8], expected: String) {
    #expect(shown(bytes) == expected)
  }

  @Test func escapesAreSetOffTogether() {
    let displayed = DisplayedBytes(beforeEscapes: "<", behindEscapes: ">")
    #expect(shown([97, 0, 1, 98, 2], displayed) == "a<\\x00\\x01>b<\\x02>")
    #expect(shown([0xC3, 0xA9, 0x80], displayed) == "é<\\x80>")
  }

  @Test func everyCharacterAndEveryByteComesBack() throws {
    for value in 0...UInt32(0x10FFFF) {
      guard let scalar = Unicode.Scalar(value), value < 0x3000 || value % 97 == 0 else { continue }
      let bytes = Array(String(scalar).utf8)
      let text = shown(bytes)
      try #require(text.unicodeScalars.allSatisfy { !$0.isObeyed }, "U+\(String(value, radix: 16))")
      try #require(TranscriptLine.unescaped(Array(text.utf8)) == bytes)
    }
    var random = SeededGenerator(seed: 3)
    let alphabet: [UInt8] = [
      0, 9, 10, 13, 27, 0x5C, 0x78, 0x31, 0x62, 0x7F, 0x80, 0x9B, 0xC2, 0xC3, 0xE2, 0xF0, 0xFF, 65,
    ]
    for _ in 0..<5000 {
      let bytes = (0..<random.below(12)).map { _ in
        random.once(in: 5) ? UInt8(truncatingIfNeeded: random.next()) : alphabet.randomElement(using: &random)!
      }
      let text = shown(bytes)
      try #require(text.unicodeScalars.allSatisfy { !$0.isObeyed })
      try #require(TranscriptLine.unescaped(Array(text.utf8)) == bytes, "\(bytes)")
    }
  }
}
