import Testing

@testable import UringRawlog

/// The relay offers TLS in a server's place: what becomes of the server's lists, and what the client's command is.
@Suite struct StartTLSOfferTests {
  /// Lines as the client gets them.
  private func edited(
    _ mailProtocol: MailProtocol, _ lines: [String], answersHello: Bool = false, answersCapabilities: Bool = false
  ) -> String {
    var offer = StartTLSOffer(mailProtocol)
    var result: [UInt8] = []
    var isFirst = true
    for line in lines {
      let bytes = Array(line.utf8)
      result +=
        bytes.withUnsafeBytes {
          offer.edited($0, answersHello: answersHello, answersCapabilities: answersCapabilities && isFirst)
        } ?? bytes
      isFirst = false
    }
    return String(decoding: result, as: UTF8.self)
  }

  private func answer(_ mailProtocol: MailProtocol, _ line: String) -> String? {
    Array(line.utf8).withUnsafeBytes { StartTLSOffer(mailProtocol).answer(to: $0) }
      .map { String(decoding: $0, as: UTF8.self) }
  }

  // MARK: Lists

  @Test(arguments: [
    ("* CAPABILITY IMAP4rev1 IDLE\r\n", "* CAPABILITY STARTTLS IMAP4rev1 IDLE\r\n"),
    ("* OK [CAPABILITY IMAP4rev1] hi\r\n", "* OK [CAPABILITY STARTTLS IMAP4rev1] hi\r\n"),
    ("* capability IMAP4rev1\n", "* capability STARTTLS IMAP4rev1\n"),
    ("* CAPABILITY IMAP4rev1 starttls\r\n", "* CAPABILITY IMAP4rev1 starttls\r\n"),
    ("* OK [CAPABILITY STARTTLS] x\r\n", "* OK [CAPABILITY STARTTLS] x\r\n"),
    ("* CAPABILITY IMAP4rev1 XSTARTTLS\r\n", "* CAPABILITY STARTTLS IMAP4rev1 XSTARTTLS\r\n"),
    ("* OK hello\r\n", "* OK hello\r\n"), ("a OK [CAPABILITY IMAP4rev1]\r\n", "a OK [CAPABILITY IMAP4rev1]\r\n"),
  ])
  func imap(line: String, expected: String) {
    #expect(edited(.imap, [line]) == expected)
  }

  @Test func pop3() {
    #expect(
      edited(.pop3, ["+OK\r\n", "TOP\r\n", ".\r\n"], answersCapabilities: true) == "+OK\r\nTOP\r\nSTLS\r\n.\r\n")
    #expect(edited(.pop3, ["+OK\r\n", "STLS\r\n", ".\r\n"], answersCapabilities: true) == "+OK\r\nSTLS\r\n.\r\n")
    #expect(edited(.pop3, ["+OK\r\n", ".\r\n"]) == "+OK\r\n.\r\n")
    #expect(edited(.pop3, ["-ERR\r\n", ".\r\n"], answersCapabilities: true) == "-ERR\r\n.\r\n")
  }

  @Test(arguments: [MailProtocol.smtp, .lmtp])
  func smtp(mailProtocol: MailProtocol) {
    func hello(_ lines: String...) -> String { edited(mailProtocol, lines, answersHello: true) }
    #expect(hello("250-me\r\n", "250 SIZE 1\r\n") == "250-me\r\n250-SIZE 1\r\n250 STARTTLS\r\n")
    #expect(hello("250 me\r\n") == "250-me\r\n250 STARTTLS\r\n")
    #expect(hello("250-me\r\n", "250-starttls\r\n", "250 SIZE\r\n") == "250-me\r\n250-starttls\r\n250 SIZE\r\n")
    #expect(hello("250-me\r\n", "250 STARTTLS\r\n") == "250-me\r\n250 STARTTLS\r\n")
    #expect(hello("550 no\r\n") == "550 no\r\n")
    // A code alone is an answer too.
    #expect(hello("250\r\n") == "250-\r\n250 STARTTLS\r\n" && hello("250\n") == "250-\n250 STARTTLS\r\n")
    #expect(edited(mailProtocol, ["250 ok\r\n"]) == "250 ok\r\n")
    // Each answer has its own list.
    #expect(hello("250 STARTTLS\r\n", "250 x\r\n") == "250 STARTTLS\r\n250-x\r\n250 STARTTLS\r\n")
  }

  @Test func manageSieve() {
    #expect(edited(.sieve, ["\"SIEVE\" \"\"\r\n", "OK\r\n"]) == "\"SIEVE\" \"\"\r\n\"STARTTLS\"\r\nOK\r\n")
    #expect(edited(.sieve, ["\"starttls\"\r\n", "OK\r\n"]) == "\"starttls\"\r\nOK\r\n")
    #expect(edited(.sieve, ["OK\r\n", "NO\r\n"]) == "OK\r\nNO\r\n")
  }

  // MARK: The command

  @Test(arguments: [
    (MailProtocol.imap, "a STARTTLS\r\n", "a OK Begin TLS negotiation now.\r\n"),
    (.imap, "tag-1.x starttls \n", "tag-1.x OK Begin TLS negotiation now.\r\n"),
    (.pop3, "stls\r\n", "+OK Begin TLS negotiation now.\r\n"),
    (.smtp, "STARTTLS\r\n", "220 2.0.0 Ready to start TLS\r\n"),
    (.lmtp, "StartTLS\r\n", "220 2.0.0 Ready to start TLS\r\n"),
    (.sieve, "STARTTLS\r\n", "OK \"Begin TLS negotiation now.\"\r\n"),
  ])
  func theCommandIsAnswered(mailProtocol: MailProtocol, line: String, expected: String) {
    #expect(answer(mailProtocol, line) == expected)
  }

  @Test(arguments: [
    (MailProtocol.imap, "STARTTLS\r\n"), (.imap, " STARTTLS\r\n"), (.imap, "a  STARTTLS\r\n"),
    (.imap, "a STARTTLS now\r\n"), (.imap, "{9} STARTTLS\r\n"), (.imap, "\"a\" STARTTLS\r\n"),
    (.imap, "a\u{1B} STARTTLS\r\n"), (.imap, String(repeating: "a", count: 65) + " STARTTLS\r\n"),
    (.pop3, "STLS x\r\n"), (.pop3, "STARTTLS\r\n"), (.smtp, "STARTTLS x\r\n"), (.smtp, " STARTTLS\r\n"),
    (.smtp, "STLS\r\n"), (.sieve, "\"STARTTLS\"\r\n"), (.sieve, "a STARTTLS\r\n"), (.sieve, "\r\n"),
  ])
  func nothingElseIs(mailProtocol: MailProtocol, line: String) {
    #expect(answer(mailProtocol, line) == nil)
  }
}
