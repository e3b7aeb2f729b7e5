import Testing

@testable import UringRawlog

@Suite struct ServerNameTests {
  @Test(arguments: [
    ("mail.example.org", "mail.example.org"), ("mail.example.org.", "mail.example.org"), ("localhost", "localhost"),
    ("xn--bcher-kva.example", "xn--bcher-kva.example"), ("a_b.example", "a_b.example"), ("1.2.3", "1.2.3"),
  ])
  func hosts(text: String, expected: String) throws {
    #expect(try ServerName(text) == .host(expected))
    #expect(try ServerName(text).text == expected)
  }

  @Test(arguments: [("192.0.2.1", "192.0.2.1"), ("2001:db8::1", "2001:db8::1"), ("[2001:db8::1]", "2001:db8::1")])
  func addresses(text: String, expected: String) throws {
    #expect(try ServerName(text) == .address(expected))
  }

  @Test(arguments: [
    "", ".", "a..b", ".a", "*.example.org", "bücher.example", "a b", "a\n", "a/b", "mail.example.org:993",
    "fe80::1%eth0",
    "[mail.example.org]", String(repeating: "a", count: 64), Array(repeating: "abc", count: 64).joined(separator: "."),
  ])
  func neither(text: String) {
    #expect(throws: ValueError.self) { try ServerName(text) }
  }

  @Test func longestNames() throws {
    let label = String(repeating: "a", count: 63)
    #expect(try ServerName("\(label).\(label).\(label).\(label.dropLast(2))").text.utf8.count == 253)
  }
}
