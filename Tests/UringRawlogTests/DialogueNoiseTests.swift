import Testing

@testable import UringRawlog

/// Pieces of protocols in any order, and random bytes: nothing traps or stands still, what is said does not depend on the
/// split, and what is recorded is the traffic but for what is redacted.
@Suite struct DialogueNoiseTests {
  private static let common = [
    "\r\n", "\r\n", "\n", "\r", " ", "\t", "\0", "*", "=", "+", "+ ", "\"", "\\", "{5}", "{5+}", "{0}", "{0+}", "{",
    "}",
    "{300+}\r\n", "{18446744073709551616+}", "{99999999999999999999}", "abc", "alice", "AGFsaWNlAHNlY3JldA==",
    "YWxpY2U=",
    ".", ".\r\n", "\r\n.\r\n", "\n.\n", "a", "b", "a1", "(", ")", "<redacted>", "\u{16}", "\u{E4}", "PLAIN", "LOGIN",
    "CRAM-MD5", "SCRAM-SHA-1", "EXTERNAL", "X-NEW", "XOAUTH2",
  ]

  private static func words(_ mailProtocol: MailProtocol, _ speaker: Dialogue.Speaker) -> [String] {
    switch (mailProtocol, speaker) {
    case (.imap, .client):
      [
        "a LOGIN ", "LOGIN", "AUTHENTICATE", "b AUTHENTICATE PLAIN", "a STARTTLS\r\n", "a COMPRESS DEFLATE\r\n",
        "b IDLE\r\n", "DONE\r\n", "a NOOP\r\n", "b APPEND x ", "c UNAUTHENTICATE\r\n", "a LOGIN alice secret\r\n",
        "b AUTHENTICATE LOGIN\r\n", "a LOGIN {5}\r\n", "b LOGIN \"alice\" ",
      ]
    case (.imap, .server):
      [
        "* OK ", "* PREAUTH", "* BAD\r\n", "a OK\r\n", "b OK\r\n", "a NO\r\n", "b BAD\r\n", "+ \r\n", "* 1 FETCH ",
        "* CAPABILITY AUTH=EXTERNAL AUTH=SCRAM-SHA-1-PLUS\r\n", "c OK\r\n", "* BYE\r\n",
      ]
    case (.pop3, .client):
      ["USER ", "PASS ", "APOP ", "AUTH ", "AUTH PLAIN\r\n", "STLS\r\n", "RETR 1\r\n", "LIST", "CAPA\r\n", "NOOP\r\n"]
    case (.pop3, .server): ["+OK\r\n", "-ERR\r\n", "+ \r\n", "+OK", "-ERR", "SASL EXTERNAL"]
    case (.smtp, .client), (.lmtp, .client):
      [
        "AUTH ", "AUTH LOGIN\r\n", "AUTH PLAIN ", "EHLO x\r\n", "LHLO x\r\n", "MAIL FROM:<>\r\n", "RCPT TO:<x>\r\n",
        "DATA\r\n", "BDAT 5\r\n", "BDAT 7 LAST\r\n", "BDAT ", "STARTTLS\r\n", "QUIT\r\n", "RSET\r\n", "NOOP",
      ]
    case (.smtp, .server), (.lmtp, .server):
      [
        "250 ok\r\n", "250-CHUNKING\r\n", "250-AUTH PLAIN", "220 x\r\n", "334 \r\n", "235 ok\r\n", "354 go\r\n",
        "535 no\r\n", "454 x\r\n", "221", "5", "250-",
      ]
    case (.sieve, .client):
      [
        "AUTHENTICATE ", "AUTHENTICATE \"PLAIN\" ", "AUTHENTICATE \"LOGIN\"\r\n", "STARTTLS\r\n", "PUTSCRIPT \"x\" ",
        "NOOP\r\n", "\"YWxpY2U=\"\r\n", "\"*\"\r\n", "{8+}\r\nYWxpY2U=\r\n",
      ]
    case (.sieve, .server): ["OK\r\n", "NO\r\n", "BYE\r\n", "\"\"\r\n", "OK \"x\"\r\n", "{3}\r\nabc", "\"SASL\" "]
    }
  }

  /// - Parameter noise: one of so many pieces is random bytes.
  private static func conversation(_ mailProtocol: MailProtocol, _ seed: UInt64, noise: Int) -> MailConversation {
    var random = SeededGenerator(seed: seed)
    var conversation = MailConversation(mailProtocol)
    for _ in 0..<random.below(40) {
      let speaker: Dialogue.Speaker = random.once(in: 3) ? .server : .client
      var bytes: [UInt8] = []
      for _ in 0...random.below(6) {
        if random.once(in: noise) {
          bytes += (0..<random.below(400)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        } else {
          let choices = random.once(in: 2) ? words(mailProtocol, speaker) : common
          bytes += Array(choices[random.below(choices.count)].utf8)
        }
      }
      conversation.add(speaker, bytes)
    }
    return conversation
  }

  @Test(arguments: MailProtocol.allCases, [5, 50, 10_000])
  func anythingIsScannedTheSameWay(_ mailProtocol: MailProtocol, noise: Int) throws {
    for seed in 1...UInt64(80) {
      let conversation = Self.conversation(mailProtocol, seed, noise: noise)
      let whole = conversation.scan()
      let byByte = conversation.scan { _ in 1 }
      let fault = firstDifference(byByte.client, whole.client)
      try #require(byByte == whole, "seed \(seed), byte by byte: \(fault ?? "\(byByte.events) \(whole.events)")")
      var cuts = SeededGenerator(seed: seed)
      try #require(conversation.scan { _ in 1 + cuts.below(9) } == whole, "seed \(seed), in pieces")
      try #require(whole.server == conversation.traffic(.server), "seed \(seed)")
      let isTraffic = Self.matches(whole.client, conversation.traffic(.client))
      try #require(isTraffic, "seed \(seed)")
    }
  }

  /// Whether the traffic is what was recorded, when each mark may stand for any bytes.
  private static func matches(_ recorded: [UInt8], _ traffic: [UInt8]) -> Bool {
    var parts: [ArraySlice<UInt8>] = []
    var start = 0
    var place = 0
    while place < recorded.count {
      if recorded[place...].starts(with: MailConversation.mark) {
        parts.append(recorded[start..<place])
        place += MailConversation.mark.count
        start = place
      } else {
        place += 1
      }
    }
    parts.append(recorded[start...])
    guard parts.count > 1 else { return recorded == traffic }
    guard traffic.starts(with: parts[0]), traffic.reversed().starts(with: parts[parts.count - 1].reversed()) else {
      return false
    }
    var from = parts[0].count
    for part in parts.dropFirst().dropLast() where !part.isEmpty {
      guard let found = (from..<traffic.count).first(where: { traffic[$0...].starts(with: part) }) else { return false }
      from = found + part.count
    }
    return from + parts[parts.count - 1].count <= traffic.count
  }

  // MARK: What has no end

  @Test(arguments: MailProtocol.allCases)
  func aLineWithoutEndIsPassedOver(_ mailProtocol: MailProtocol) {
    var conversation = MailConversation(mailProtocol)
    let piece = [UInt8](repeating: UInt8(ascii: "x"), count: 60_000)
    for _ in 0..<5 {
      conversation.add(.client, piece)
      conversation.add(.server, piece)
    }
    let outcome = conversation.scan()
    #expect(outcome.client == conversation.traffic(.client))
    #expect(outcome.server == conversation.traffic(.server))
    #expect(outcome.events.isEmpty)
  }

  @Test func aResponseWithoutEndIsOneCredential() {
    var conversation = MailConversation(.imap, "S: * OK\nC: a AUTHENTICATE PLAIN\nS: + ")
    for _ in 0..<5 { conversation.add(.client, [UInt8](repeating: UInt8(ascii: "A"), count: 60_000)) }
    let outcome = conversation.scan()
    #expect(outcome.clientText == "a AUTHENTICATE PLAIN\r\n<redacted>")
    #expect(outcome.redactions == 1)
  }

  @Test(arguments: [255, 256, 300, 4096])
  func aNameMayBeTooLong(length: Int) {
    let name = String(repeating: "n", count: length)
    let expected = length <= 255 ? "'\(name)'" : "?"
    for (login, recorded) in [
      ("a LOGIN \(name) secret", "a LOGIN \(name) <redacted>"),
      ("a LOGIN {\(length)+}\\r\\n\(name) secret", "a LOGIN {\(length)+}\r\n\(name) <redacted>"),
      ("a AUTHENTICATE PLAIN \(base64("\0\(name)\0secret"))", "a AUTHENTICATE PLAIN <redacted>"),
    ] {
      let conversation = MailConversation(.imap, "S: * OK\nC: \(login)\nS: a OK")
      let outcome = conversation.scan()
      #expect(outcome.clientText == recorded + "\r\n")
      #expect(outcome.events.last == "loginSucceeded server@12 \(expected)")
      #expect(conversation.scan { _ in 1 } == outcome)
    }
  }

  /// Where a name is withheld until its end is seen, one that is too long for that is redacted.
  @Test(arguments: [255, 256, 4096])
  func aQuotedNameThatIsTooLongIsRedacted(length: Int) {
    let name = String(repeating: "n", count: length)
    let conversation = MailConversation(.imap, "S: * OK\nC: a LOGIN \"\(name)\" \"secret\"")
    let outcome = conversation.scan()
    #expect(outcome.clientText == "a LOGIN \"\(length <= 255 ? name : "<redacted>")\" \"<redacted>\"\r\n")
    #expect(conversation.scan { _ in 1 } == outcome)
  }

  /// Two names of which each is as long as may be.
  @Test func twoLongNamesHaveRoom() {
    let one = String(repeating: "a", count: 255)
    let other = String(repeating: "b", count: 255)
    let conversation = MailConversation(
      .smtp, "S: 220\nC: AUTH PLAIN \(base64("\(one)\0\(other)\0secret"))\nS: 235 ok")
    #expect(conversation.scan().events.last == "loginSucceeded server@13 '\(other)' as '\(one)'")
  }

  /// So many at once that not all of their names have room: none is taken for another's.
  @Test(arguments: [4, 16, 30])
  func manyLoginsAtOnce(number: Int) {
    var text = "S: * OK\n"
    for attempt in 0..<number { text += "C: t\(attempt) LOGIN user\(attempt) wrong\n" }
    for attempt in 0..<number { text += "S: t\(attempt) NO\n" }
    let outcome = MailConversation(.imap, text).scan()
    let names = outcome.events.filter { $0.hasPrefix("login") }.map { $0.split(separator: " ")[2] }
    #expect(names.count == min(number, 16))
    for (attempt, name) in names.enumerated() {
      #expect(name == (attempt < 4 && number <= 16 ? "'user\(attempt)'" : "?"))
    }
    #expect(outcome.redactions == number)
  }

  @Test func manyCommandsAtOnce() {
    var text = "S: +OK\n"
    // Neither is the same as the one before, so they do not share a place.
    for _ in 0..<40 { text += "C: RETR 1\nC: DELE 1\n" }
    text += "C: USER alice\nC: PASS secret\n"
    for _ in 0..<40 { text += "S: +OK\nS: +OK\nS: .\nS: +OK\n" }
    text += "S: +OK\nS: +OK\nC: USER bob\nC: PASS secret\nS: +OK\nS: +OK\n"
    let outcome = MailConversation(.pop3, text).scan()
    #expect(outcome.redactions == 2)
    #expect(!outcome.clientText.contains("secret"))
    // Which answer is whose is not known any more.
    #expect(!outcome.events.contains { $0.hasPrefix("login") })
  }

  @Test func anIdleSessionTakesFewBytes() {
    #expect(MemoryLayout<Dialogue>.size <= 512)
    #expect(MemoryLayout<DialogueStep>.size <= 16)
  }
}
