import Testing

@testable import UringRawlog

@Suite struct LiteralHeaderTests {
  private func header(_ text: String) -> LiteralHeader {
    var header = LiteralHeader()
    for byte in text.utf8 { header.take(byte) }
    return header
  }

  @Test(arguments: [
    ("{5}\r\n", UInt64(5)), ("{0}\n", 0), ("x{{7}\r\n", 7), ("{1}{23}\r\n", 23), ("{00012}\r\n", 12),
    ("{18446744073709551615}\r\n", .max), ("{18446744073709551616}\r\n", .max), ("~{9}\r\n", 9),
    ("{00000000000000000005}\r\n", 5), ("{000000000000000000005}\r\n", .max),
    ("{99999999999999999999999999}\r\n", .max),
  ])
  func isFound(_ text: String, count: UInt64) {
    let header = header(text)
    #expect(header.phase == .complete && header.count == count && !header.isNonSynchronizing)
    #expect(header.isAbsurd == (count == .max))
  }

  @Test func mayBeNonSynchronizing() {
    let header = header("{31+}\r\n")
    #expect(header.phase == .complete && header.count == 31 && header.isNonSynchronizing)
  }

  @Test(arguments: [
    "{}\r\n", "{+}\r\n", "{5\r\n", "{5} \r\n", "{5}\r\r\n", "{5++}\r\n", "{5-}\r\n", "{-5}\r\n", "{5+ }\r\n", "5}\r\n",
  ])
  func isNone(_ text: String) {
    #expect(header(text).phase != .complete)
  }

  // MARK: At the end of a line

  private func tail(_ pieces: [String]) -> LineTail {
    var tail = LineTail()
    for piece in pieces { Array(piece.utf8).withUnsafeBytes { tail.take($0.baseAddress!, $0.count) } }
    return tail
  }

  @Test(arguments: [
    (["a APPEND x {5}\r\n"], true), (["a APPEND \"x\" ", "{", "5", "+}", "\r", "\n"], true),
    (["a SEARCH \"x {5}\r\n"], false), (["a SEARCH \"x\\", "\" {5}\r\n"], false),
    (["a SEARCH \"x\\\\", "\" {5}\r\n"], true), (["a SEARCH \"{5}\"\r\n"], false),
    ([String(repeating: "x", count: 1000) + "{5}\r\n"], true),
    (["\"" + String(repeating: "x", count: 1000), "{5}\r\n"], false),
  ])
  func onlyOutsideOfStrings(_ pieces: [String], isHeader: Bool) {
    #expect((tail(pieces).header.phase == .complete) == isHeader)
  }
}
