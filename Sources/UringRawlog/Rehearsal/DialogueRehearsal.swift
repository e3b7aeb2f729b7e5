/// The scanner of mail dialogues by itself: sessions that log in and then move some messages, one after the other, each
/// part of them in one span.
struct DialogueRehearsal {
  private struct Part {
    var speaker: Dialogue.Speaker
    var bytes: [UInt8]
  }

  /// What one session, or the beginning of one, must bring.
  private struct Outcome: Equatable {
    var recorded = 0
    var redactions = 0
    var logins = 0
    var events = 0
  }

  private let mailProtocol: MailProtocol
  private let parts: [Part]
  /// Bytes of a session, both directions.
  private let sessionBytes: Int
  private let secret: String

  init(_ mailProtocol: MailProtocol) {
    self.mailProtocol = mailProtocol
    let script = Self.script(mailProtocol)
    parts = script.parts.map { Part(speaker: $0.0, bytes: Array($0.1.utf8)) }
    sessionBytes = parts.reduce(0) { $0 + $1.bytes.count }
    secret = script.secret
  }

  /// Scans `count` bytes; the last session may be shorter than the others.
  func scan(_ count: Int) throws(ValueError) -> String {
    let memory = UnsafeMutablePointer<LoginMemory>.allocate(capacity: 1)
    memory.initialize(to: LoginMemory())
    defer { memory.deallocate() }
    var left = count
    var sessions = 0
    var whole = Outcome()
    while left >= sessionBytes {
      scan(sessionBytes, memory, &whole)
      left -= sessionBytes
      sessions += 1
    }
    try check(whole, sessions)
    if left > 0 {
      var rest = Outcome()
      scan(left, memory, &rest)
      // Whatever is missing of it is the credential, or a part of that.
      guard rest.logins <= 1, left - secret.utf8.count <= rest.recorded, rest.recorded <= left else {
        throw ValueError("\(rest.recorded) bytes recorded of the first \(left) of a session")
      }
      sessions += 1
    }
    return "\(count) bytes in \(sessions) sessions of \(sessionBytes)"
  }

  private func check(_ outcome: Outcome, _ sessions: Int) throws(ValueError) {
    let hasLogin = !secret.isEmpty
    try Rehearsal.check("recorded bytes", outcome.recorded, sessions * (sessionBytes - secret.utf8.count))
    try Rehearsal.check("credentials", outcome.redactions, hasLogin ? sessions : 0)
    try Rehearsal.check("logins", outcome.logins, hasLogin ? sessions : 0)
    try Rehearsal.check("events", outcome.events, hasLogin ? 2 * sessions : 0)
  }

  /// The first bytes of a session.
  private func scan(_ count: Int, _ memory: UnsafeMutablePointer<LoginMemory>, _ outcome: inout Outcome) {
    var dialogue = Dialogue(mailProtocol)
    var left = count
    for part in parts {
      guard left > 0 else { return }
      part.bytes.withUnsafeBytes { bytes in
        var rest = UnsafeRawBufferPointer(rebasing: bytes[..<min(left, bytes.count)])
        left -= rest.count
        while !rest.isEmpty {
          let step = dialogue.scan(rest, from: part.speaker, memory: memory)
          outcome.recorded += Int(step.released) + (step.treatment == .record ? step.count : 0)
          if step.treatment == .redact { outcome.redactions += 1 }
          if step.event != .none { outcome.events += 1 }
          if step.event == .loginSucceeded { outcome.logins += 1 }
          rest = UnsafeRawBufferPointer(rebasing: rest[step.count...])
        }
      }
    }
  }

  // MARK: Sessions

  /// A text in lines of 72 bytes, with a dot in each tenth.
  private static func text(_ bytes: Int) -> String {
    (0..<bytes / 72).map { number in
      let line = "\(number)" + (number % 10 == 0 ? " The end of it. " : " the quick brown fox ")
      return line + String(repeating: "x", count: 70 - line.utf8.count) + "\r\n"
    }.joined()
  }

  private static func script(_ mailProtocol: MailProtocol) -> (parts: [(Dialogue.Speaker, String)], secret: String) {
    let response = "AGFsaWNlQGV4YW1wbGUub3JnAHNlY3JldA=="
    return switch mailProtocol {
    case .imap: (imap, "secret")
    case .pop3: (pop3, "secret")
    case .smtp: (smtp("EHLO", logIn: "AUTH PLAIN \(response)\r\n"), response)
    case .lmtp: (smtp("LHLO", logIn: nil), "")
    case .sieve: (sieve(response), response)
    }
  }

  /// As the benchmark's mail client: log in, look at the folder, fetch two messages, store one, mark it, leave.
  private static var imap: [(Dialogue.Speaker, String)] {
    let message = text(16_384)
    let small = text(4_096)
    let list = (1...20).map { "* \($0) FETCH (UID \(1000 + $0) FLAGS (\\Seen) RFC822.SIZE \($0 * 997))\r\n" }.joined()
    return [
      (.server, "* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL+ IDLE] ready\r\n"),
      (.client, "a1 LOGIN alice@example.org secret\r\n"),
      (.server, "a1 OK [CAPABILITY IMAP4rev1 IDLE UIDPLUS CONDSTORE] Logged in\r\n"),
      (.client, "a2 SELECT INBOX\r\n"),
      (
        .server,
        "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)\r\n* 20 EXISTS\r\n* 0 RECENT\r\n"
          + "* OK [UIDVALIDITY 1795340682] UIDs valid\r\n* OK [UIDNEXT 1021] Predicted next UID\r\n"
          + "a2 OK [READ-WRITE] Select completed\r\n"
      ), (.client, "a3 UID FETCH 1001:* (FLAGS RFC822.SIZE)\r\n"), (.server, list + "a3 OK Fetch completed\r\n"),
      (.client, "a4 UID FETCH 1007 BODY.PEEK[]\r\n"),
      (.server, "* 7 FETCH (UID 1007 BODY[] {\(message.utf8.count)}\r\n" + message + ")\r\na4 OK Fetch completed\r\n"),
      (.client, "a5 UID FETCH 1008 BODY.PEEK[]\r\n"),
      (.server, "* 8 FETCH (UID 1008 BODY[] {\(small.utf8.count)}\r\n" + small + ")\r\na5 OK Fetch completed\r\n"),
      (.client, "a6 APPEND Sent (\\Seen) {\(small.utf8.count)+}\r\n" + small + "\r\n"),
      (.server, "a6 OK [APPENDUID 1795340690 44] Append completed\r\n"),
      (.client, "a7 UID STORE 1007 +FLAGS (\\Seen)\r\n"),
      (.server, "* 7 FETCH (UID 1007 FLAGS (\\Seen))\r\na7 OK Store completed\r\n"), (.client, "a8 LOGOUT\r\n"),
      (.server, "* BYE Logging out\r\na8 OK Logout completed\r\n"),
    ]
  }

  private static var pop3: [(Dialogue.Speaker, String)] {
    let list = (1...20).map { "\($0) \($0 * 997)\r\n" }.joined()
    return [
      (.server, "+OK ready\r\n"), (.client, "USER alice@example.org\r\n"), (.server, "+OK\r\n"),
      (.client, "PASS secret\r\n"), (.server, "+OK Logged in.\r\n"), (.client, "LIST\r\n"),
      (.server, "+OK 20 messages:\r\n" + list + ".\r\n"), (.client, "RETR 1\r\n"),
      (.server, "+OK 16384 octets\r\n" + text(16_384) + ".\r\n"), (.client, "RETR 2\r\n"),
      (.server, "+OK 4096 octets\r\n" + text(4_096) + ".\r\n"), (.client, "DELE 1\r\n"), (.server, "+OK\r\n"),
      (.client, "QUIT\r\n"), (.server, "+OK Logging out.\r\n"),
    ]
  }

  private static func smtp(_ hello: String, logIn: String?) -> [(Dialogue.Speaker, String)] {
    let login: [(Dialogue.Speaker, String)] =
      logIn.map { [(.client, $0), (.server, "235 2.7.0 Logged in.\r\n")] } ?? []
    return [
      (.server, "220 mail.example.org ready\r\n"), (.client, "\(hello) client.example.net\r\n"),
      (
        .server,
        "250-mail.example.org\r\n250-PIPELINING\r\n250-SIZE 41943040\r\n250-AUTH PLAIN LOGIN\r\n250 CHUNKING\r\n"
      ),
    ] + login + [
      (.client, "MAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n"),
      (.server, "250 2.1.0 OK\r\n250 2.1.5 OK\r\n354 OK\r\n"), (.client, text(16_384) + ".\r\n"),
      (.server, "250 2.0.0 Saved\r\n"), (.client, "QUIT\r\n"), (.server, "221 2.0.0 Bye\r\n"),
    ]
  }

  private static func sieve(_ response: String) -> [(Dialogue.Speaker, String)] {
    let script = text(4_096)
    return [
      (
        .server,
        "\"IMPLEMENTATION\" \"some\"\r\n\"SIEVE\" \"fileinto reject\"\r\n\"SASL\" \"PLAIN\"\r\nOK \"ready\"\r\n"
      ),
      (.client, "AUTHENTICATE \"PLAIN\" \"\(response)\"\r\n"), (.server, "OK \"Logged in.\"\r\n"),
      (.client, "LISTSCRIPTS\r\n"), (.server, "\"one\"\r\n\"two\" ACTIVE\r\nOK\r\n"),
      (.client, "GETSCRIPT \"two\"\r\n"), (.server, "{\(script.utf8.count)}\r\n" + script + "\r\nOK\r\n"),
      (.client, "PUTSCRIPT \"two\" {\(script.utf8.count)+}\r\n" + script + "\r\n"), (.server, "OK\r\n"),
      (.client, "LOGOUT\r\n"), (.server, "OK \"Logout completed.\"\r\n"),
    ]
  }
}
