@testable import UringRawlog

/// Makes up mail connections with known secrets: logins in every form, in between commands and messages of which some
/// look like logins, answered at once or later.
struct MailGrammar {
  /// What was made up: the connection, what of the client's bytes are credentials, and how each login ends.
  private(set) var conversation: MailConversation
  private(set) var secrets: [[UInt8]] = []
  /// The client's bytes with `<redacted>` for each of them.
  private(set) var recorded: [UInt8] = []
  private(set) var logins: [String] = []
  /// What must be nowhere in the recording; pieces of the secrets that are long enough not to be there by chance.
  private(set) var tokens: [String] = []

  private let mailProtocol: MailProtocol
  private var random: SeededGenerator
  private var client: [UInt8] = []
  private var server: [UInt8] = []
  private var lineEnd: [UInt8] = [13, 10]
  private var tag = 0
  private var isLoggedIn = false

  init(_ mailProtocol: MailProtocol, seed: UInt64) {
    self.mailProtocol = mailProtocol
    conversation = MailConversation(mailProtocol)
    random = SeededGenerator(seed: seed)
    if mailProtocol != .smtp && mailProtocol != .lmtp && random.once(in: 5) { lineEnd = [10] }
    greet()
    for _ in 0...random.below(4) {
      for _ in 0..<random.below(3) { command() }
      if !isLoggedIn { logIn() }
    }
    for _ in 0..<random.below(5) { command() }
    answerNow()
    sendNow()
  }

  // MARK: Sending

  private mutating func say(_ text: String) { say(Array(text.utf8)) }

  private mutating func say(_ bytes: [UInt8]) {
    client += bytes
    recorded += bytes
  }

  private mutating func sayLine(_ text: String) {
    say(text)
    say(lineEnd)
  }

  private mutating func saySecret(_ bytes: [UInt8]) {
    client += bytes
    guard !bytes.isEmpty else { return }
    recorded += MailConversation.mark
    secrets.append(bytes)
  }

  private mutating func answer(_ text: String) { server += Array(text.utf8) + lineEnd }

  /// What was said arrives.
  private mutating func sendNow() {
    conversation.add(.client, client)
    client = []
  }

  private mutating func answerNow() {
    sendNow()
    conversation.add(.server, server)
    server = []
  }

  private mutating func answerSoon() { if random.once(in: 2) { answerNow() } }

  // MARK: Words

  private mutating func pick(_ choices: [String]) -> String { choices[random.below(choices.count)] }

  /// A word in large, small or mixed letters.
  private mutating func anyCase(_ word: String) -> String {
    switch random.below(3) {
    case 0: return word
    case 1: return word.lowercased()
    default: return String(word.map { random.once(in: 2) ? Character($0.lowercased()) : $0 })
    }
  }

  private mutating func letters(_ count: Int) -> String {
    String((0..<count).map { _ in Character(UnicodeScalar(UInt8(ascii: "a") + UInt8(random.below(26)))) })
  }

  private mutating func nextTag() -> String {
    tag += 1
    return pick(["a\(tag)", "\(tag)", "tag.\(tag)", "LOGIN\(tag)", "[\(tag)"])
  }

  /// - Parameter isText: it goes to the end of a line, or into a string: no line ends, at least one byte.
  private mutating func password(isAtom: Bool = false, isText: Bool = true) -> [UInt8] {
    let token = "Geheim" + letters(6)
    tokens.append(token)
    if isAtom { return Array((token + pick(["", "+", "!x", "{5+}z", "*", "=", "."])).utf8) }
    let before = pick(["", "", " ", "*", "=", "\"", "\\", "{6+}", "<redacted>", "b LOGIN x y ", "\u{E4}\0", "PASS "])
    let behind = pick(["", "", " ", "\"", "\\", "{6", "<redacted>", " x", "\u{1}", "\t"])
    let breaks = isText ? "" : pick(["", "\r\n", "\n.\r\n", "\r", "\r\na1 LOGIN b c\r\n"])
    return Array((before + token + breaks + behind).utf8)
  }

  private mutating func user() -> String {
    pick(["alice", "bob@example.org", "\u{E4}\u{F6}", "x", letters(1 + random.below(60)), "user+tag"])
  }

  /// A text whose lines look like commands and answers.
  private mutating func message(_ lines: Int) -> [UInt8] {
    var text: [UInt8] = []
    for _ in 0..<lines {
      text += Array(
        pick([
          "a1 LOGIN alice secret", "AUTH PLAIN AGFsaWNlAHNlY3JldA==", "PASS secret", "* OK {5}", "+OK", "-ERR", "+ ",
          "a1 OK done", "AUTHENTICATE \"PLAIN\" \"abcd\"", "..", ". ", ".x", "235 ok", "354 go", "NO", "{4+}", "",
          letters(random.below(100)), "APOP alice 0123", "*", "a2 AUTHENTICATE PLAIN", "\"", "OK",
        ]).utf8)
      text += [13, 10]
    }
    return text
  }

  private func quoted(_ bytes: [UInt8]) -> [UInt8] {
    bytes.flatMap { $0 == UInt8(ascii: "\"") || $0 == UInt8(ascii: "\\") ? [UInt8(ascii: "\\"), $0] : [$0] }
  }

  // MARK: The connection begins

  private mutating func greet() {
    switch mailProtocol {
    case .imap: answer(pick(["* OK ready", "* OK [CAPABILITY IMAP4rev1 LITERAL+] {5}"]))
    case .pop3: answer("+OK <1896.697170952@example.org>")
    case .smtp, .lmtp:
      answer("220-mail.example.org")
      answer("220 ready")
      sayLine(mailProtocol == .lmtp ? "LHLO client" : "EHLO client")
      answer("250-mail.example.org")
      answer("250-CHUNKING")
      answer("250 AUTH PLAIN LOGIN SCRAM-SHA-256-PLUS")
    case .sieve:
      answer("\"IMPLEMENTATION\" \"some\"")
      answer("\"SASL\" {5}")
      answer("PLAIN")
      answer("OK")
    }
    answerNow()
  }

  private mutating func ended(_ accepted: Bool, _ name: String?, authorization: String? = nil) {
    isLoggedIn = accepted
    let names =
      name.map { "'\($0)'" + (authorization.map { other in other == name ? "" : " as '\(other)'" } ?? "") } ?? "-"
    logins.append("\(accepted ? "loginSucceeded" : "loginFailed") \(names)")
  }

  // MARK: Commands

  private mutating func command() {
    switch mailProtocol {
    case .imap: commandIMAP()
    case .pop3: commandPOP3()
    case .smtp, .lmtp: commandSMTP()
    case .sieve: commandSieve()
    }
    answerSoon()
  }

  private mutating func commandIMAP() {
    let tag = nextTag()
    switch random.below(6) {
    case 0:
      sayLine("\(tag) \(anyCase("NOOP"))")
      answer("\(tag) OK {7}")
    case 1:
      let body = message(random.below(5))
      say("\(tag) APPEND \"x\\\"y\" {\(body.count)+}")
      say(lineEnd)
      say(body)
      say(lineEnd)
      answer("\(tag) NO [TRYCREATE] who knows")
    case 2:
      let body = message(1 + random.below(5))
      say("\(tag) append {1+}")
      say(lineEnd)
      say("x (\\Seen) {\(body.count)}")
      say(lineEnd)
      answerNow()
      answer("+ go on")
      answerNow()
      say(body)
      say(lineEnd)
      answer("\(tag) OK")
    case 3:
      sayLine("\(tag) UID FETCH 1:* (BODY[] \"{9}\")")
      let body = message(random.below(6))
      answer("* 1 FETCH (UID 1 BODY[] {\(body.count)}")
      server += body
      answer(" FLAGS (\"{3}\"))")
      answer("* \(tag) OK no")
      answer("\(tag) OK")
    case 4:
      sayLine("\(tag) IDLE")
      answerNow()
      answer("+ idling")
      answer("* 4 EXISTS")
      answerNow()
      sayLine("DONE")
      answer("\(tag) OK")
    default:
      // Refused, and so never sent.
      say("\(tag) SEARCH SUBJECT {\(random.below(100))}")
      say(lineEnd)
      answerNow()
      answer("\(tag) \(pick(["NO", "BAD"])) no")
      answerNow()
    }
  }

  private mutating func commandPOP3() {
    switch random.below(4) {
    case 0:
      sayLine(anyCase("NOOP"))
      answer("+OK")
    case 1:
      sayLine(pick(["RETR 1", "TOP 1 5", "retr 99"]))
      if random.once(in: 4) { return answer("-ERR") }
      answer("+OK")
      for line in message(random.below(6)).split(separator: 13) {
        let text = line.drop { $0 == 10 }
        server += (text.first == UInt8(ascii: ".") ? [UInt8(ascii: ".")] : []) + text + lineEnd
      }
      answer(".")
    case 2:
      let isOne = random.once(in: 2)
      sayLine(pick(["LIST", "UIDL"]) + (isOne ? " 1" : ""))
      answer("+OK 1 x")
      if !isOne {
        answer("-ERR")
        answer(".")
      }
    default:
      // While a login is under way, what is no command that is known is secret.
      answerNow()
      sayLine("XYZZY +OK")
      answer("-ERR")
    }
  }

  private mutating func commandSMTP() {
    switch random.below(4) {
    case 0:
      sayLine(pick(["NOOP", "RSET", "VRFY AUTH", "help"]))
      answer("250-ok")
      answer("250 ok")
    case 1, 2: mail()
    default:
      answerNow()
      sayLine("XYZZY 334")
      answer("500 what?")
    }
  }

  private mutating func mail() {
    sayLine(anyCase("MAIL") + " FROM:<a@example.org> AUTH=<>")
    answer("250 ok")
    let recipients = 1 + random.below(3)
    for _ in 0..<recipients {
      sayLine("RCPT TO:<b@example.org>")
      answer("250 ok")
    }
    // One of them is refused.
    sayLine("RCPT TO:<c@example.org>")
    answer("550 no")
    if random.once(in: 2) {
      let body = message(random.below(5))
      let half = random.below(body.count + 1)
      say("BDAT \(half)\r\n")
      say(Array(body[..<half]))
      answer("250 ok")
      say("\(anyCase("BDAT")) \(body.count - half) LAST\r\n")
      say(Array(body[half...]))
    } else {
      sayLine(anyCase("DATA"))
      answer("354 go")
      answerNow()
      for line in message(random.below(5)).split(separator: 13) {
        let text = Array(line.drop { $0 == 10 })
        say((text.first == UInt8(ascii: ".") ? [UInt8(ascii: ".")] : []) + text + lineEnd)
      }
      sayLine(".")
    }
    for _ in 0..<(mailProtocol == .lmtp ? recipients : 1) { answer(pick(["250 ok", "451 no"])) }
  }

  private mutating func commandSieve() {
    switch random.below(4) {
    case 0:
      sayLine(anyCase("NOOP") + " \"{5+}\"")
      answer("OK (TAG \"NO\") \"done\"")
    case 1:
      let body = message(random.below(5))
      say("PUTSCRIPT \"x\" {\(body.count)+}")
      say(lineEnd)
      say(body)
      say(lineEnd)
      answer("NO {4}")
      answer("OK\r\n")
    case 2:
      sayLine("GETSCRIPT \"x\"")
      let body = message(random.below(5))
      answer("{\(body.count)}")
      server += body
      answer("")
      answer("OK")
    default:
      sayLine("LISTSCRIPTS")
      answer("\"NO\" ACTIVE")
      answer("\"OK\"")
      answer("OK")
    }
  }

  // MARK: Logins

  private mutating func logIn() {
    switch mailProtocol {
    case .imap where random.once(in: 2): return logInIMAP()
    case .pop3 where random.once(in: 2): return logInPOP3()
    case .imap, .pop3, .smtp, .lmtp, .sieve: authenticate()
    }
  }

  private mutating func logInIMAP() {
    let tag = nextTag()
    let name = user()
    say("\(tag) \(anyCase("LOGIN")) ")
    string(Array(name.utf8), isSecret: false)
    say(" ")
    string(nil, isSecret: true)
    say(lineEnd)
    let isAccepted = random.once(in: 2)
    answer("\(tag) \(isAccepted ? "OK" : pick(["NO", "BAD"])) [X] done")
    ended(isAccepted, name)
    answerSoon()
  }

  /// A string in one of its forms; a password when none is given.
  private mutating func string(_ given: [UInt8]?, isSecret: Bool) {
    let form = random.below(5)
    let bytes = given ?? (form == 0 ? password(isAtom: true) : password(isText: form < 2))
    switch form {
    case 0: isSecret ? saySecret(bytes) : say(bytes)
    case 1:
      say("\"")
      isSecret ? saySecret(quoted(bytes)) : say(quoted(bytes))
      say("\"")
    default:
      let isSynchronizing = mailProtocol == .imap && form < 4
      say("{\(bytes.count)\(isSynchronizing ? "" : "+")}")
      say(lineEnd)
      if form == 3 || form == 2 && isSynchronizing {
        answerNow()
        if isSynchronizing { answer("+") }
        answerNow()
      }
      isSecret ? saySecret(bytes) : say(bytes)
    }
  }

  private mutating func logInPOP3() {
    let name = user()
    let isAccepted = random.once(in: 2)
    if random.once(in: 3) {
      say("\(anyCase("APOP")) \(name) ")
      let digest = "0123456789" + letters(22)
      tokens.append(digest)
      saySecret(Array(digest.utf8))
      say(lineEnd)
    } else {
      sayLine("\(anyCase("USER")) \(name)")
      answer("+OK")
      answerSoon()
      say("\(anyCase("PASS")) ")
      saySecret(password())
      say(lineEnd)
    }
    answer(isAccepted ? "+OK in" : "-ERR no")
    ended(isAccepted, name)
    answerSoon()
  }

  // MARK: SASL

  private struct Exchange {
    var mechanism: String
    var responses: [[UInt8]]
    /// The first of them is a user name that stays.
    var staysFirst = false
    var name: String?
    var authorization: String?
  }

  private mutating func exchange() -> Exchange {
    let name = user()
    let other = user()
    let secret = password()
    func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }
    func escaped(_ text: String) -> String { text.replacing("=", with: "=3D").replacing(",", with: "=2C") }
    switch random.below(9) {
    case 0: return Exchange(mechanism: "PLAIN", responses: [bytes("\0\(name)\0") + secret], name: name)
    case 1:
      return Exchange(
        mechanism: "PLAIN", responses: [bytes("\(other)\0\(name)\0") + secret], name: name, authorization: other)
    case 2: return Exchange(mechanism: "LOGIN", responses: [bytes(name), secret], staysFirst: true, name: name)
    case 3: return Exchange(mechanism: "CRAM-MD5", responses: [bytes("\(name) ") + bytes(letters(32))], name: name)
    case 4:
      return Exchange(
        mechanism: pick(["SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"]),
        responses: [bytes("n,a=\(escaped(other)),n=\(escaped(name)),r=") + secret, bytes("c=biws,p=") + secret],
        name: name, authorization: other)
    case 5:
      return Exchange(
        mechanism: "XOAUTH2", responses: [bytes("user=\(name)\u{1}auth=Bearer ") + secret + [1, 1]], name: name)
    case 6:
      return Exchange(
        mechanism: "OAUTHBEARER", responses: [bytes("n,a=\(escaped(name)),\u{1}auth=Bearer ") + secret + [1, 1]],
        name: name)
    case 7: return Exchange(mechanism: "EXTERNAL", responses: [bytes(name)], name: name)
    default:
      return Exchange(mechanism: "X-\(letters(5))", responses: (0...random.below(4)).map { _ in secret })
    }
  }

  private mutating func authenticate() {
    let exchange = exchange()
    let tag = nextTag()
    answerNow()
    var line = anyCase(mailProtocol == .imap || mailProtocol == .sieve ? "AUTHENTICATE" : "AUTH") + " "
    if mailProtocol == .imap { line = "\(tag) \(line)" }
    let mechanism = anyCase(exchange.mechanism)
    say(line + (mailProtocol == .sieve ? "\"\(mechanism)\"" : mechanism))
    let hasInitial = random.once(in: 2)
    let cancelsAt = random.once(in: 6) ? random.below(exchange.responses.count) : -1
    var isNamed = false
    for (place, response) in exchange.responses.enumerated() {
      if place > 0 || !hasInitial {
        if place == 0 { say(lineEnd) }
        answerNow()
        challenge()
        answerNow()
        if place == cancelsAt { break }
      } else {
        say(" ")
      }
      respond(response, stays: place == 0 && exchange.staysFirst)
      if place == 0 { isNamed = true }
      say(lineEnd)
    }
    let isCancelled = cancelsAt >= 0 && !(hasInitial && cancelsAt == 0)
    if isCancelled { say(mailProtocol == .sieve ? "\"*\"\r\n" : "*" + String(decoding: lineEnd, as: UTF8.self)) }
    let isAccepted = !isCancelled && random.once(in: 2)
    answerAuthentication(tag, isAccepted)
    let name = isNamed ? exchange.name : nil
    // What cancels is a response too; the first one should have said who it is.
    ended(isAccepted, name, authorization: isNamed ? exchange.authorization : nil)
    // Who does not know a mechanism cannot tell its responses from commands until the answer is there.
    if isCancelled || exchange.mechanism.hasPrefix("X-") {
      answerNow()
      knownCommand()
    } else {
      answerSoon()
    }
  }

  private mutating func knownCommand() {
    switch mailProtocol {
    case .imap:
      let tag = nextTag()
      sayLine("\(tag) NOOP")
      answer("\(tag) OK")
    case .pop3:
      sayLine("NOOP")
      answer("+OK")
    case .smtp, .lmtp:
      sayLine("NOOP")
      answer("250 ok")
    case .sieve:
      sayLine("NOOP")
      answer("OK")
    }
  }

  private mutating func respond(_ response: [UInt8], stays: Bool) {
    let encoded = Array(base64(response).utf8)
    if mailProtocol != .sieve {
      stays ? say(encoded) : saySecret(encoded)
    } else if random.once(in: 2) {
      say("\"")
      stays ? say(encoded) : saySecret(encoded)
      say("\"")
    } else {
      say("{\(encoded.count)+}")
      say(lineEnd)
      stays ? say(encoded) : saySecret(encoded)
    }
  }

  private mutating func challenge() {
    let text = base64(letters(random.below(30)))
    switch mailProtocol {
    case .imap, .pop3: answer("+ \(text)")
    case .smtp, .lmtp: answer("334 \(text)")
    case .sieve: answer("\"\(text)\"")
    }
  }

  private mutating func answerAuthentication(_ tag: String, _ isAccepted: Bool) {
    switch mailProtocol {
    case .imap: answer("\(tag) \(isAccepted ? "OK" : pick(["NO", "BAD"])) done")
    case .pop3: answer(isAccepted ? "+OK" : "-ERR")
    case .smtp, .lmtp: answer(isAccepted ? "235 ok" : pick(["535 no", "454 later", "501 what?"]))
    case .sieve: answer(isAccepted ? "OK (SASL \"abcd\") \"in\"" : "NO {2}\r\nOK")
    }
  }
}
