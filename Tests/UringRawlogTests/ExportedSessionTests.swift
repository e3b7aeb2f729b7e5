import Testing

@testable import UringRawlog

/// Addresses of the index, read back.
@Suite struct ExportedSessionTests {
  @Test(arguments: ["192.0.2.7:45584", "[2001:db8::7]:143", "127.0.0.1:0"])
  func addressesAreReadAsTheyAreWritten(_ text: String) throws {
    var bytes = Bytes()
    try #require(ExportedSession.address(text)).append(to: &bytes)
    #expect(String(decoding: bytes.span, as: UTF8.self) == text)
  }

  @Test(arguments: ["", "192.0.2.7", "192.0.2.7:", "192.0.2.7:65536", "[2001:db8::7]", "name:143", "[192.0.2.7]:1"])
  func whatIsNoAddressIsNone(_ text: String) {
    #expect(ExportedSession.address(text) == nil)
  }

  @Test func unixSocketsHaveNoAddress() {
    #expect(ExportedSession.address("unix:/run/mail.sock")?.family == .unix)
  }
}
