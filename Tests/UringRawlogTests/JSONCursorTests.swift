import Testing

@testable import UringRawlog

@Suite struct JSONCursorTests {
  private func isRight(_ text: String) -> Bool {
    Array(text.utf8).withUnsafeBytes {
      do throws(JSONError) {
        var cursor = JSONCursor($0)
        try cursor.skip()
        try cursor.end()
        return true
      } catch {
        return false
      }
    }
  }

  private func string(_ text: String) -> String? {
    Array(text.utf8).withUnsafeBytes {
      var cursor = JSONCursor($0)
      return try? cursor.string()
    }
  }

  @Test(arguments: [
    "{}", "[]", "null", "true", "false", "0", "-0", "12", "-1.5e+10", "1E2", "0.5", #""""#, #""a""#, " { } ",
    #"{"a":1,"b":[1,{"c":null}],"d":"x"}"#, "[1 , 2\t,\r\n3]", #""\u00e9\"\\\/\b\f\n\r\t""#,
    #"{"a":{"a":{"a":[[[]]]}}}"#,
  ])
  func right(text: String) {
    #expect(isRight(text))
  }

  @Test(arguments: [
    "", " ", "{", "}", "[", "]", "[1", "[1,", "[1,]", "[,1]", "{,}", #"{"a"}"#, #"{"a":}"#, #"{"a":1,}"#, #"{"a":1"#,
    "{a:1}",
    "nul", "nulll", "True", "01", "-", "1.", ".5", "1e", "1e+", "+1", "0x1", "1 2", #"""#, #""a"#, #""\x""#, #""\u12""#,
    #""\u12g4""#, "\"\u{1}\"", "\"\n\"", "'a'", "[1}", #"{"a":1]"#, #""a"b"#, "// x", "NaN", "Infinity",
  ])
  func wrong(text: String) {
    #expect(!isRight(text))
  }

  @Test(
    arguments: [
      (#""""#, ""), (#""plain é €""#, "plain é €"), (#""\u001b[2J""#, "\u{1B}[2J"), (#""\ud83d\ude00!""#, "\u{1F600}!"),
      (#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{C}\n\r\t"), (#""\u202E""#, "\u{202E}"), (#""\u0000""#, "\0"),
      (#""\ud83d""#, nil), (#""\ude00\ud83d""#, nil), (#""\ud83dx""#, nil), (#""\ud83d\n""#, nil),
      (#""\ud83d\ud83d""#, nil),
    ] as [(String, String?)])
  func strings(text: String, expected: String?) {
    #expect(string(text) == expected)
  }

  @Test func stringsThatAreNoUTF8() {
    let bytes: [UInt8] = [0x22, 0xFF, 0x22]
    bytes.withUnsafeBytes {
      var cursor = JSONCursor($0)
      #expect(throws: JSONError.self) { try cursor.string() }
    }
  }

  @Test(
    arguments: [
      ("0", 0), ("18446744073709551615", UInt64.max), ("18446744073709551616", nil), ("-1", nil), ("1.0", nil),
      ("1e3", nil),
      ("\"1\"", nil), ("", nil),
    ] as [(String, UInt64?)])
  func counts(text: String, expected: UInt64?) {
    let count = Array(text.utf8).withUnsafeBytes {
      var cursor = JSONCursor($0)
      return try? cursor.count()
    }
    #expect(count == expected)
  }

  @Test func depthIsBounded() {
    #expect(isRight(String(repeating: "[", count: 16) + String(repeating: "]", count: 16)))
    for count in [17, 100_000] {
      #expect(!isRight(String(repeating: "[", count: count) + String(repeating: "]", count: count)))
      #expect(!isRight(String(repeating: #"{"a":"#, count: count)))
    }
  }

  /// What the index writes is read back.
  @Test func whatIsWrittenIsRead() {
    for value in UInt32(0)...0x2100 {
      guard let scalar = Unicode.Scalar(value) else { continue }
      let text = "a\(scalar)b"
      #expect(string(String(decoding: jsonString(text), as: UTF8.self)) == text)
    }
  }
}
