import Testing

@testable import UringRawlog

/// How the owner of a dialogue goes along with it.
@Suite struct DialogueTests {
  private final class Scanner {
    var dialogue: Dialogue
    private let memory = UnsafeMutablePointer<LoginMemory>.allocate(capacity: 1)

    init(_ mailProtocol: MailProtocol, isBehindStartTLS: Bool = false) {
      dialogue = Dialogue(mailProtocol, isBehindStartTLS: isBehindStartTLS)
      memory.initialize(to: LoginMemory())
    }

    deinit { memory.deallocate() }

    func scan(_ text: String, _ speaker: Dialogue.Speaker) -> DialogueStep {
      Array(text.utf8).withUnsafeBytes { dialogue.scan($0, from: speaker, memory: memory) }
    }

    /// All of it; the events that came.
    @discardableResult
    func pass(_ text: String, _ speaker: Dialogue.Speaker) -> [DialogueStep.Event] {
      var rest = Substring(text).utf8[...]
      var events: [DialogueStep.Event] = []
      while !rest.isEmpty {
        let step = scan(String(decoding: Array(rest), as: UTF8.self), speaker)
        if step.event != .none { events.append(step.event) }
        rest = rest.dropFirst(step.count)
      }
      return events
    }
  }

  /// Whoever terminates TLS must be able to keep what is behind it.
  @Test(arguments: [
    (MailProtocol.imap, "* OK\r\n", "a STARTTLS\r\n", "a OK\r\n"), (.pop3, "+OK\r\n", "STLS\r\n", "+OK\r\n"),
    (.smtp, "220 x\r\n", "STARTTLS\r\n", "220 go\r\n"), (.lmtp, "220 x\r\n", "starttls\r\n", "220 go\r\n"),
    (.sieve, "OK\r\n", "STARTTLS\r\n", "OK\r\n"),
  ])
  func aStepEndsBehindSTARTTLS(_ mailProtocol: MailProtocol, greeting: String, command: String, answer: String) {
    let scanner = Scanner(mailProtocol)
    scanner.pass(greeting, .server)
    let asked = scanner.scan(command + "injected\r\n", .client)
    #expect(asked == DialogueStep(count: command.utf8.count, event: .startTLSRequested))
    let agreed = scanner.scan(answer + "injected\r\n", .server)
    #expect(agreed == DialogueStep(count: answer.utf8.count, event: .startTLSAccepted))
  }

  /// Only ManageSieve greets again under TLS; everywhere else a greeting would be taken for an answer.
  @Test func goesOnBehindSTARTTLS() {
    for (mailProtocol, lines, login, answer) in [
      (MailProtocol.imap, "", "a LOGIN alice secret\r\n", "a OK\r\n"), (.pop3, "", "APOP alice secret\r\n", "+OK\r\n"),
      (.smtp, "", "AUTH PLAIN AGEAYg==\r\n", "235 ok\r\n"),
      (.sieve, "\"SASL\" \"\"\r\nOK\r\n", "AUTHENTICATE \"PLAIN\" \"AGEAYg==\"\r\n", "OK\r\n"),
    ] {
      let scanner = Scanner(mailProtocol, isBehindStartTLS: true)
      #expect(scanner.pass(lines, .server) == [])
      #expect(scanner.pass(login, .client) == [.userNamed])
      #expect(scanner.pass(answer, .server) == [.loginSucceeded])
    }
    let scanner = Scanner(.imap, isBehindStartTLS: true)
    #expect(scanner.pass("* PREAUTH\r\n", .server) == [])
  }

  /// What is recorded of a recording is that recording, in whatever way a literal was redacted.
  @Test(arguments: [
    "a LOGIN {5}\r\nalice {6}\r\n<redacted>\r\nb NOOP\r\n", "a LOGIN alice {600+}\r\n<redacted>\r\nb NOOP\r\n",
    "a LOGIN alice {10+}\r\n<redacted>\r\nb NOOP\r\n", "a LOGIN alice {3+}\r\n<redacted><redacted>\r\nb NOOP\r\n",
    "a LOGIN alice \"<redacted>\" <redacted>\r\nb NOOP\r\n", "a NOOP {900+}\r\n<redacted> <redacted>\r\nb NOOP\r\n",
    "a AUTHENTICATE LOGIN <redacted>\r\n<redacted>\r\nb NOOP\r\n",
    "a AUTHENTICATE {5+}\r\nPLAIN {28+}\r\n<redacted>\r\nb NOOP\r\n",
  ])
  func redactingTwiceChangesNothing(_ recording: String) {
    var conversation = MailConversation(.imap)
    conversation.add(.server, Array("* OK\r\n".utf8))
    conversation.add(.client, Array(recording.utf8))
    let outcome = conversation.scan(readsRecording: true)
    #expect(outcome.clientText == recording)
    #expect(conversation.scan(readsRecording: true) { _ in 1 } == outcome)
  }

  /// Literals that only begin like the mark are as long as they say.
  @Test(arguments: [
    ("a LOGIN alice {1+}\r\n<\r\nb NOOP\r\n", "a LOGIN alice {1+}\r\n<redacted>\r\nb NOOP\r\n"),
    ("a LOGIN alice {12+}\r\n<redact>1234\r\nb NOOP\r\n", "a LOGIN alice {12+}\r\n<redacted>\r\nb NOOP\r\n"),
  ])
  func aLiteralMayBeginLikeTheMark(_ recording: String, redacted: String) {
    var conversation = MailConversation(.imap)
    conversation.add(.client, Array(recording.utf8))
    #expect(conversation.scan(readsRecording: true).clientText == redacted)
    #expect(conversation.scan(readsRecording: true) { _ in 1 }.clientText == redacted)
    #expect(conversation.scan().clientText == redacted)
  }

  @Test func bodiesComeInOneStep() {
    let scanner = Scanner(.imap)
    scanner.pass("* PREAUTH\r\n", .server)
    scanner.pass("a FETCH 1 BODY[]\r\n", .client)
    let span = "* 1 FETCH (BODY[] {50000}\r\n" + String(repeating: "x", count: 50000) + ")\r\na OK\r\n"
    #expect(scanner.scan(span, .server) == DialogueStep(count: span.utf8.count))
  }

  @Test func aLoginTakesFewSteps() {
    let scanner = Scanner(.imap)
    scanner.pass("* OK\r\n", .server)
    #expect(scanner.scan("a LOGIN alice secret\r\n", .client) == DialogueStep(count: 14))
    #expect(scanner.scan("secret\r\n", .client) == DialogueStep(count: 6, treatment: .redact))
    #expect(scanner.scan("\r\n", .client) == DialogueStep(count: 2, event: .userNamed))
  }

  /// What is withheld when nothing more comes is redacted, and only that.
  @Test func anEndRedactsWhatIsWithheld() {
    let scanner = Scanner(.imap)
    #expect(scanner.dialogue.finish() == DialogueStep())
    scanner.pass("* OK\r\n", .server)
    scanner.pass("a AUTHENTICATE PLAIN\r\n", .client)
    scanner.pass("+ \r\n", .server)
    #expect(scanner.scan("*", .client) == DialogueStep(count: 1, treatment: .withhold))
    #expect(scanner.dialogue.withheldCount == 1)
    #expect(scanner.dialogue.finish() == DialogueStep(treatment: .redact))
    #expect(scanner.dialogue.finish() == DialogueStep())
  }

  @Test func nothingIsSaidAboutWhatIsOpaque() {
    let scanner = Scanner(.imap)
    scanner.pass("* PREAUTH\r\n", .server)
    scanner.pass("a COMPRESS DEFLATE\r\n", .client)
    #expect(!scanner.dialogue.isQuiet)
    #expect(scanner.pass("a OK\r\n", .server) == [.compressed])
    #expect(scanner.dialogue.isQuiet)
  }

  @Test(arguments: [
    (MailProtocol.imap, "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN AUTH=EXTERNAL] ready\r\n", false, true),
    (.imap, "* CAPABILITY AUTH=SCRAM-SHA-256-PLUS\r\n", true, false),
    (.imap, "* OK EXTERNALS are not meant\r\n* 1 FETCH EXTERNAL\r\n", false, false),
    (.sieve, "\"SASL\" \"PLAIN EXTERNAL SCRAM-SHA-1-PLUS\"\r\nOK\r\n", true, true),
    (.sieve, "\"SASL\" {10}\r\nX EXTERNAL\r\nOK\r\n", false, false),
    (.smtp, "220 EXTERNAL\r\n", false, false),
  ])
  func noticesMechanismsThatTLSBreaks(
    _ mailProtocol: MailProtocol, greeting: String, channelBinding: Bool, external: Bool
  ) {
    let scanner = Scanner(mailProtocol)
    scanner.pass(greeting, .server)
    #expect(scanner.dialogue.offered.channelBinding == channelBinding)
    #expect(scanner.dialogue.offered.external == external)
  }

  @Test func noticesThemInListsThatWereAskedFor() {
    let smtp = Scanner(.smtp)
    smtp.pass("220 x\r\n", .server)
    smtp.pass("EHLO x\r\n", .client)
    smtp.pass("250-mail EXTERNAL\r\n250 AUTH PLAIN SCRAM-SHA-1-PLUS\r\n", .server)
    #expect(smtp.dialogue.offered.channelBinding && !smtp.dialogue.offered.external)
    let pop3 = Scanner(.pop3)
    pop3.pass("+OK\r\n", .server)
    pop3.pass("CAPA\r\n", .client)
    pop3.pass("+OK\r\nSASL PLAIN EXTERNAL\r\n.\r\n", .server)
    #expect(!pop3.dialogue.offered.channelBinding && pop3.dialogue.offered.external)
  }

  /// A header of a proxy in front that this relay does not take off: its addresses have blanks and line feeds.
  @Test(arguments: MailProtocol.allCases)
  func aProxyHeaderIsNoLine(_ mailProtocol: MailProtocol) throws {
    let signature: [UInt8] = [13, 10, 13, 10, 0, 13, 10] + Array("QUIT\n".utf8)
    let addresses: [UInt8] = [10, 32, 32, 7, 127, 0, 0, 1, 32, 10, 13, 10]
    let logins: [MailProtocol: String] = [
      .imap: "a LOGIN alice hunter2\r\n", .pop3: "PASS hunter2\r\n", .smtp: "AUTH PLAIN hunter2\r\n",
      .lmtp: "AUTH PLAIN hunter2\r\n", .sieve: "AUTHENTICATE \"PLAIN\" \"hunter2\"\r\n",
    ]
    let login = Array(logins[mailProtocol]!.utf8)
    let header = signature + [0x21, 0x11, 0, 12] + addresses
    let redacted = Array(logins[mailProtocol]!.replacing("hunter2", with: "<redacted>").utf8)
    // As it should be, cut off within, and something that only begins so.
    for begin in [header, signature + [0x20, 0, 0, 0]] + (1..<12).map({ Array(signature[..<$0]) + [13, 10] }) {
      var conversation = MailConversation(mailProtocol)
      conversation.add(.client, begin + login)
      let whole = conversation.scan()
      #expect(whole.client.suffix(redacted.count) == redacted, "\(begin): \(whole.clientText)")
      #expect(conversation.scan { _ in 1 } == whole, "\(begin)")
    }
    var conversation = MailConversation(mailProtocol)
    conversation.add(.client, header + login)
    #expect(conversation.scan().client == header + redacted)
  }
}
