import Testing

@testable import UringRawlog

/// The relay asks servers for TLS: what they say, and what comes of it.
@Suite struct StartTLSExchangeTests {
  private typealias Step = StartTLSExchange.Step

  private static let notOffered = Step.refused("the server does not offer STARTTLS")
  private static let refusal = Step.refused("the server refused STARTTLS")

  /// What comes of lines, and what the client is greeted with.
  private func exchange(_ mailProtocol: MailProtocol, _ lines: [String]) -> (steps: [Step], greeting: String) {
    var exchange = StartTLSExchange(mailProtocol)
    let steps = lines.map { line in Array((line + "\r\n").utf8).withUnsafeBytes { exchange.take($0) } }
    return (steps, String(decoding: exchange.greeting, as: UTF8.self))
  }

  @Test(arguments: [
    ("* OK [CAPABILITY IMAP4rev1 STARTTLS] hello", "* OK hello\r\n"), ("* OK hello", "* OK hello\r\n"),
    ("* ok [capability IMAP4rev1]hello", "* OK hello\r\n"), ("* OK [ALERT] hello", "* OK [ALERT] hello\r\n"),
    ("* OK [CAPABILITY IMAP4rev1", "* OK [CAPABILITY IMAP4rev1\r\n"), ("* OK", "* OK\r\n"),
  ])
  func imap(greeting: String, passedOn: String) {
    let (steps, greeted) = exchange(.imap, [greeting, "* OK still here", "rawlog OK go"])
    #expect(steps == [.send("rawlog STARTTLS\r\n"), .wait, .granted])
    #expect(greeted == passedOn)
  }

  @Test func imapRefused() {
    #expect(exchange(.imap, ["* OK", "rawlog NO"]).steps.last == Self.refusal)
    #expect(exchange(.imap, ["* OK", "rawlog BAD what"]).steps.last == Self.refusal)
    #expect(
      exchange(.imap, ["* PREAUTH"]).steps == [.refused("the server greets with PREAUTH, which allows no STARTTLS")])
    #expect(exchange(.imap, ["* BYE"]).steps == [.refused("the server does not greet with OK")])
    #expect(exchange(.imap, ["* OK", "* BYE"]).steps.last == .refused("the server said BYE instead of starting TLS"))
  }

  @Test func pop3() {
    let (steps, greeted) = exchange(.pop3, ["+OK <1.2@x>", "+OK go"])
    #expect(steps == [.send("STLS\r\n"), .granted] && greeted == "+OK <1.2@x>\r\n")
    #expect(exchange(.pop3, ["-ERR"]).steps == [.refused("the server does not greet with +OK")])
    #expect(exchange(.pop3, ["+OK", "-ERR"]).steps.last == Self.refusal)
  }

  @Test(arguments: [(MailProtocol.smtp, "EHLO localhost\r\n" as StaticString), (.lmtp, "LHLO localhost\r\n")])
  func smtp(mailProtocol: MailProtocol, hello: StaticString) {
    let (steps, greeted) = exchange(
      mailProtocol, ["220-one", "220 two", "250-me", "250-starttls", "250 SIZE", "220-well", "220 go"])
    #expect(steps == [.wait, .send(hello), .wait, .wait, .send("STARTTLS\r\n"), .wait, .granted])
    #expect(greeted == "220-one\r\n220 two\r\n")
    #expect(
      exchange(mailProtocol, ["220 x", "250 STARTTLS"]).steps == [.send(hello), .send("STARTTLS\r\n")])
    for lines in [["250-me", "250 SIZE"], ["250-me", "250 STARTTLSX"], ["250 XSTARTTLS"], ["500 what"], ["250"]] {
      #expect(exchange(mailProtocol, ["220 x"] + lines).steps.last == Self.notOffered)
    }
    #expect(exchange(mailProtocol, ["220 x", "250 STARTTLS", "454 later"]).steps.last == Self.refusal)
    #expect(exchange(mailProtocol, ["554 x"]).steps == [.refused("the server does not greet with 220")])
  }

  @Test func manageSieve() {
    let (steps, greeted) = exchange(.sieve, ["\"IMPLEMENTATION\" \"OK\"", "\"starttls\"", "OK \"x\"", "OK"])
    #expect(steps == [.wait, .wait, .send("STARTTLS\r\n"), .granted])
    // Under TLS the server greets again.
    #expect(greeted.isEmpty)
    #expect(exchange(.sieve, ["\"SIEVE\" \"\"", "OK"]).steps.last == Self.notOffered)
    #expect(exchange(.sieve, ["\"STARTTLS\"", "OK", "NO"]).steps.last == Self.refusal)
    #expect(exchange(.sieve, ["BYE"]).steps == [.refused("the server does not greet with OK")])
  }

  @Test(arguments: MailProtocol.allCases)
  func aServerThatNeverComesToTheEnd(mailProtocol: MailProtocol) {
    let line: String
    switch mailProtocol {
    case .imap: line = "* OK"
    case .pop3: line = ""
    case .smtp, .lmtp: line = "220-x"
    case .sieve: line = "\"X\""
    }
    let (steps, _) = exchange(mailProtocol, Array(repeating: line, count: 201))
    guard case .refused = steps.last else {
      Issue.record("it goes on")
      return
    }
  }
}
