import Testing

@testable import UringRawlog

/// Every form in which somebody may log in: what is recorded of it, what is said about it, and that neither depends on
/// how the bytes were split.
@Suite struct DialogueFormTests {
  struct Form: Sendable, CustomTestStringConvertible {
    var name: String
    var mailProtocol: MailProtocol
    var dialogue: String
    /// The client's lines as they are recorded, in the same notation.
    var recorded: String
    var events: [String]
    var testDescription: String { "\(mailProtocol.rawValue): \(name)" }

    init(_ name: String, _ mailProtocol: MailProtocol, _ dialogue: String, _ recorded: String, _ events: [String]) {
      self.name = name
      self.mailProtocol = mailProtocol
      self.dialogue = dialogue
      self.recorded = recorded
      self.events = events
    }
  }

  @Test(arguments: imap + imapOdd + pop3 + smtp + sieve)
  func isRecordedAs(_ form: Form) throws {
    let conversation = MailConversation(form.mailProtocol, form.dialogue)
    let whole = conversation.scan()
    let expected = MailConversation(form.mailProtocol, form.recorded).traffic(.client)
    #expect(whole.clientText == String(decoding: expected, as: UTF8.self))
    #expect(whole.server == conversation.traffic(.server))
    #expect(whole.events.map(Self.withoutPlace) == form.events)
    #expect(conversation.scan { _ in 1 } == whole, "byte by byte")
    #expect(whole.pieces.scan(readsRecording: true).clientText == whole.clientText, "redacted twice")
    let longest = conversation.pieces.map(\.bytes.count).max() ?? 0
    for place in 1..<max(2, longest) {
      // Each piece in two, at that place of it.
      var isSecond = false
      let halves = conversation.scan { left in
        isSecond.toggle()
        guard isSecond, place < left else {
          isSecond = false
          return left
        }
        return place
      }
      #expect(halves == whole, "split at \(place)")
    }
  }

  /// `event speaker@place names` without the place.
  private static func withoutPlace(_ event: String) -> String {
    var words = event.split(separator: " ", omittingEmptySubsequences: false)
    words.remove(at: 1)
    return words.joined(separator: " ")
  }

  // MARK: IMAP

  private static let plain = base64("\0alice\0secret")

  static let imap = [
    Form(
      "LOGIN with atoms", .imap,
      """
      S: * OK ready
      C: a LOGIN alice secret
      S: a OK [CAPABILITY IMAP4rev1] Logged in
      C: b NOOP
      S: b OK done
      """,
      """
      C: a LOGIN alice <redacted>
      C: b NOOP
      """, ["userNamed 'alice'", "loginSucceeded 'alice'"]),
    Form(
      "LOGIN in small letters, fails, then works", .imap,
      """
      S: * OK ready
      C: a login alice wrong
      S: a NO [AUTHENTICATIONFAILED] Authentication failed.
      C: b Login alice secret
      S: b OK
      """,
      """
      C: a login alice <redacted>
      C: b Login alice <redacted>
      """, ["userNamed 'alice'", "loginFailed 'alice'", "userNamed 'alice'", "loginSucceeded 'alice'"]),
    Form(
      "LOGIN with quoted strings and escapes", .imap,
      #"""
      S: * OK ready
      C: a LOGIN "al\\"i\\\\ce" "sec\\"ret\\\\"
      S: a OK
      """#,
      #"""
      C: a LOGIN "al\\"i\\\\ce" "<redacted>"
      """#, [#"userNamed 'al"i\ce'"#, #"loginSucceeded 'al"i\ce'"#]),
    Form(
      "LOGIN with synchronising literals", .imap,
      #"""
      S: * OK ready
      C: a LOGIN {5}
      S: + go on
      C: alice {6}
      S: +
      C: secret
      S: a OK
      """#,
      """
      C: a LOGIN {5}
      C: alice {6}
      C: <redacted>
      """, ["userNamed 'alice'", "loginSucceeded 'alice'"]),
    Form(
      "LOGIN with non-synchronising literals, in which there are line ends", .imap,
      #"""
      S: * OK ready
      C: a LOGIN {7+}\r\nali\r\nce {8+}\r\nsec\r\nret
      S: a OK
      """#,
      #"""
      C: a LOGIN {7+}\r\nali\r\nce {8+}\r\n<redacted>
      """#, ["userNamed 'ali\r\nce'", "loginSucceeded 'ali\r\nce'"]),
    Form(
      "LOGIN with an atom and a literal", .imap,
      """
      S: * OK ready
      C: a LOGIN alice {6}
      S: +
      C: secret
      S: a OK
      """,
      """
      C: a LOGIN alice {6}
      C: <redacted>
      """, ["userNamed 'alice'", "loginSucceeded 'alice'"]),
    Form(
      "LOGIN with a literal and a quoted string", .imap,
      """
      S: * OK ready
      C: a LOGIN {5+}
      C: alice "secret"
      S: a OK
      """,
      """
      C: a LOGIN {5+}
      C: alice "<redacted>"
      """, ["userNamed 'alice'", "loginSucceeded 'alice'"]),
    Form(
      "LOGIN with an empty password and an empty name", .imap,
      """
      S: * OK ready
      C: a LOGIN alice ""
      S: a NO
      C: b LOGIN "" {0+}
      C: 
      S: b NO
      """,
      """
      C: a LOGIN alice ""
      C: b LOGIN "" {0+}
      C: 
      """, ["userNamed 'alice'", "loginFailed 'alice'", "userNamed ''", "loginFailed ''"]),
    Form(
      "AUTHENTICATE PLAIN with a challenge", .imap,
      """
      S: * OK ready
      C: a AUTHENTICATE PLAIN
      S: + 
      C: \(plain)
      S: a OK
      """,
      """
      C: a AUTHENTICATE PLAIN
      C: <redacted>
      """, ["userNamed 'alice'", "loginSucceeded 'alice'"]),
    Form(
      "AUTHENTICATE PLAIN with an initial response and an authorization identity", .imap,
      """
      S: * OK ready
      C: a authenticate plain \(base64("bob\0alice\0secret"))
      S: a OK
      """,
      """
      C: a authenticate plain <redacted>
      """, ["userNamed 'alice' as 'bob'", "loginSucceeded 'alice' as 'bob'"]),
    Form(
      "AUTHENTICATE with an empty initial response", .imap,
      """
      S: * OK ready
      C: a AUTHENTICATE EXTERNAL =
      S: a OK
      """,
      """
      C: a AUTHENTICATE EXTERNAL =
      """, ["loginSucceeded -"]),
    Form(
      "AUTHENTICATE LOGIN", .imap,
      """
      S: * OK ready
      C: a AUTHENTICATE LOGIN
      S: + VXNlcm5hbWU6
      C: \(base64("alice"))
      S: + UGFzc3dvcmQ6
      C: \(base64("secret"))
      S: a OK
      """,
      """
      C: a AUTHENTICATE LOGIN
      C: \(base64("alice"))
      C: <redacted>
      """, ["userNamed 'alice'", "loginSucceeded 'alice'"]),
    Form(
      "AUTHENTICATE LOGIN with an initial response", .imap,
      """
      S: * OK ready
      C: a AUTHENTICATE LOGIN \(base64("alice"))
      S: + UGFzc3dvcmQ6
      C: \(base64("secret"))
      S: a NO
      """,
      """
      C: a AUTHENTICATE LOGIN \(base64("alice"))
      C: <redacted>
      """, ["userNamed 'alice'", "loginFailed 'alice'"]),
    Form(
      "AUTHENTICATE CRAM-MD5", .imap,
      """
      S: * OK ready
      C: a AUTHENTICATE CRAM-MD5
      S: + \(base64("<1896.697170952@postoffice.example>"))
      C: \(base64("al ice b913a602c7eda7a495b4e6e7334d3890"))
      S: a OK
      """,
      """
      C: a AUTHENTICATE CRAM-MD5
      C: <redacted>
      """, ["userNamed 'al ice'", "loginSucceeded 'al ice'"]),
    Form(
      "AUTHENTICATE SCRAM-SHA-256 with an authorization identity", .imap,
      """
      S: * OK ready
      C: a AUTHENTICATE SCRAM-SHA-256 \(base64("n,a=b=2Cob,n=al=3Dice,r=rOprNGfwEbeRWgbNEkqO"))
      S: + \(base64("r=rOprNGfwEbeRWgbNEkqO%hvYD,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"))
      C: \(base64("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYD,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="))
      S: + \(base64("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="))
      C: 
      S: a OK
      """,
      """
      C: a AUTHENTICATE SCRAM-SHA-256 <redacted>
      C: <redacted>
      C: 
      """, ["userNamed 'al=ice' as 'b,ob'", "loginSucceeded 'al=ice' as 'b,ob'"]),
    Form(
      "AUTHENTICATE SCRAM-SHA-1-PLUS without an initial response", .imap,
      """
      S: * OK ready
      C: a AUTHENTICATE SCRAM-SHA-1-PLUS
      S: + 
      C: \(base64("p=tls-unique,,m=x,n=alice,r=abc"))
      S: + \(base64("r=abcdef,s=c2FsdA==,i=1"))
      C: \(base64("c=cD10bHMtdW5pcXVlLCw=,r=abcdef,p=cHJvb2Y="))
      S: a OK
      """,
      """
      C: a AUTHENTICATE SCRAM-SHA-1-PLUS
      C: <redacted>
      C: <redacted>
      """, ["userNamed 'alice'", "loginSucceeded 'alice'"]),
    Form(
      "AUTHENTICATE XOAUTH2 refused with a challenge", .imap,
      """
      S: * OK ready
      C: a AUTHENTICATE XOAUTH2 \(base64("user=alice@example.org\u{1}auth=Bearer vF9dft4qmT\u{1}\u{1}"))
      S: + \(base64("{\"status\":\"401\"}"))
      C: 
      S: a NO
      """,
      """
      C: a AUTHENTICATE XOAUTH2 <redacted>
      C: 
      """, ["userNamed 'alice@example.org'", "loginFailed 'alice@example.org'"]),
    Form(
      "AUTHENTICATE OAUTHBEARER refused with a challenge", .imap,
      """
      S: * OK ready
      C: a AUTHENTICATE OAUTHBEARER \(base64("n,a=alice@example.org,\u{1}host=h\u{1}port=143\u{1}auth=Bearer vF9d\u{1}\u{1}"))
      S: + \(base64("{\"status\":\"invalid_token\"}"))
      C: AQ==
      S: a NO
      """,
      """
      C: a AUTHENTICATE OAUTHBEARER <redacted>
      C: <redacted>
      """, ["userNamed 'alice@example.org'", "loginFailed 'alice@example.org'"]),
    Form(
      "AUTHENTICATE EXTERNAL with an authorization identity", .imap,
      """
      S: * OK ready
      C: a AUTHENTICATE EXTERNAL \(base64("alice"))
      S: a OK
      """,
      """
      C: a AUTHENTICATE EXTERNAL <redacted>
      """, ["userNamed 'alice'", "loginSucceeded 'alice'"]),
    Form(
      "AUTHENTICATE with a mechanism nobody has heard of", .imap,
      """
      S: * OK ready
      C: a AUTHENTICATE X-WHATEVER
      S: + abc
      C: first
      S: + def
      C: second third
      S: + ghi
      C: 
      S: a OK
      C: b NOOP
      """,
      """
      C: a AUTHENTICATE X-WHATEVER
      C: <redacted>
      C: <redacted>
      C: 
      C: b NOOP
      """, ["loginSucceeded -"]),
    Form(
      "AUTHENTICATE cancelled", .imap,
      """
      S: * OK ready
      C: a AUTHENTICATE PLAIN
      S: + 
      C: *
      S: a BAD cancelled
      C: b LOGIN alice secret
      S: b OK
      """,
      """
      C: a AUTHENTICATE PLAIN
      C: *
      C: b LOGIN alice <redacted>
      """, ["loginFailed -", "userNamed 'alice'", "loginSucceeded 'alice'"]),
    Form(
      "a response that only begins like a cancellation", .imap,
      #"""
      S: * OK ready
      C: a AUTHENTICATE PLAIN
      S: + 
      C: *secret
      S: a BAD
      C: b AUTHENTICATE PLAIN
      S: + 
      C: *\r\r\nc NOOP
      """#,
      #"""
      C: a AUTHENTICATE PLAIN
      C: <redacted>
      C: b AUTHENTICATE PLAIN
      C: <redacted>\r\nc NOOP
      """#, ["userNamed ?", "loginFailed ?", "userNamed ?"]),
    Form(
      "mechanism and response as strings, as some servers allow", .imap,
      #"""
      S: * OK ready
      C: a AUTHENTICATE "PLAIN" "\#(plain)"
      S: a NO
      C: b AUTHENTICATE {5+}\r\nLOGIN {8+}\r\n\#(base64("alice"))
      S: + 
      C: \#(base64("secret"))
      S: b OK
      """#,
      #"""
      C: a AUTHENTICATE "PLAIN" "<redacted>"
      C: b AUTHENTICATE {5+}\r\nLOGIN {8+}\r\n\#(base64("alice"))
      C: <redacted>
      """#, ["userNamed 'alice'", "loginFailed 'alice'", "userNamed 'alice'", "loginSucceeded 'alice'"]),
    Form(
      "commands behind the login, pipelined", .imap,
      """
      S: * OK ready
      C: a LOGIN alice secret
      C: b SELECT INBOX
      C: c LOGOUT
      S: a OK
      S: b OK
      """,
      """
      C: a LOGIN alice <redacted>
      C: b SELECT INBOX
      C: c LOGOUT
      """, ["userNamed 'alice'", "loginSucceeded 'alice'"]),
    Form(
      "commands behind AUTHENTICATE with an initial response, pipelined", .imap,
      """
      S: * OK ready
      C: a AUTHENTICATE PLAIN \(plain)
      C: b SELECT INBOX
      C: \(plain)
      C: c UID FETCH 1 (FLAGS)
      S: a OK
      C: d NOOP
      """,
      """
      C: a AUTHENTICATE PLAIN <redacted>
      C: b SELECT INBOX
      C: <redacted>
      C: c UID FETCH 1 (FLAGS)
      C: d NOOP
      """, ["userNamed 'alice'", "loginSucceeded 'alice'"]),
    Form(
      "two logins at once", .imap,
      """
      S: * OK ready
      C: a LOGIN mallory wrong
      C: b LOGIN alice secret
      S: a NO
      S: b OK
      """,
      """
      C: a LOGIN mallory <redacted>
      C: b LOGIN alice <redacted>
      """, ["userNamed 'mallory'", "userNamed 'alice'", "loginFailed 'mallory'", "loginSucceeded 'alice'"]),
    Form(
      "two logins at once, answered the other way round", .imap,
      """
      S: * OK ready
      C: a LOGIN mallory wrong
      C: b LOGIN alice secret
      S: b OK
      S: a NO
      """,
      """
      C: a LOGIN mallory <redacted>
      C: b LOGIN alice <redacted>
      """, ["userNamed 'mallory'", "userNamed 'alice'", "loginSucceeded 'alice'", "loginFailed 'mallory'"]),
    Form(
      "PREAUTH", .imap,
      """
      S: * PREAUTH [CAPABILITY IMAP4rev1] logged in as alice
      C: a NOOP
      """,
      """
      C: a NOOP
      """, ["loginSucceeded -"]),
    Form(
      "STARTTLS", .imap,
      """
      S: * OK ready
      C: a STARTTLS
      S: a OK begin
      """,
      """
      C: a STARTTLS
      """, ["startTLSRequested", "startTLSAccepted"]),
    Form(
      "STARTTLS refused", .imap,
      """
      S: * OK ready
      C: a starttls
      S: a BAD no
      C: b LOGIN alice secret
      """,
      """
      C: a starttls
      C: b LOGIN alice <redacted>
      """, ["startTLSRequested", "startTLSRefused", "userNamed 'alice'"]),
    Form(
      "TLS passed through", .imap,
      #"""
      S: * OK ready
      C: a STARTTLS
      S: a OK begin
      C: \#u{16}\#u{3}\#u{1} b LOGIN alice secret
      S: \#u{16}\#u{3}\#u{1} * PREAUTH
      """#,
      """
      C: a STARTTLS
      C: \u{16}\u{3}\u{1} b LOGIN alice secret
      """, ["startTLSRequested", "startTLSAccepted"]),
    Form(
      "TLS from the first byte, passed through", .imap,
      #"""
      C: \#u{16}\#u{3}\#u{1} a LOGIN alice secret
      S: \#u{16}\#u{3}\#u{3} * PREAUTH
      C: b LOGIN alice secret
      S: b OK
      """#,
      """
      C: \u{16}\u{3}\u{1} a LOGIN alice secret
      C: b LOGIN alice secret
      """, []),
    Form(
      "what only begins like TLS", .imap,
      #"""
      C: \#u{16} LOGIN alice secret
      S: * OK ready
      C: \#u{16}\#u{3}\#u{1} a LOGIN alice secret
      S: a BAD
      C: c STARTTLS
      S: c OK begin
      C: \#u{16}\#u{3}x LOGIN alice secret
      C: d STARTTLS
      S: d OK begin
      C: \#u{16}\#u{3}\#u{3}
      S: * BAD what?
      C: secret
      C: e LOGIN alice secret
      """#,
      """
      C: \u{16} LOGIN alice <redacted>
      C: \u{16}\u{3}\u{1} a LOGIN alice secret
      C: c STARTTLS
      C: \u{16}\u{3}x LOGIN alice <redacted>
      C: d STARTTLS
      C: \u{16}\u{3}\u{3}
      C: <redacted>
      C: e LOGIN alice <redacted>
      """,
      [
        "userNamed 'alice'", "startTLSRequested", "startTLSAccepted", "userNamed 'alice'", "startTLSRequested",
        "startTLSAccepted", "userNamed 'alice'",
      ]),
    Form(
      "COMPRESS behind a login", .imap,
      """
      S: * PREAUTH
      C: a COMPRESS DEFLATE
      S: a OK compressed
      C: b LOGIN alice secret
      S: b OK
      """,
      """
      C: a COMPRESS DEFLATE
      C: b LOGIN alice secret
      """, ["loginSucceeded -", "compressed"]),
    Form(
      "COMPRESS before a login: everything may be it", .imap,
      #"""
      S: * OK
      C: a COMPRESS DEFLATE
      S: a OK compressed
      C: xyz
      S: abc
      C: b LOGIN alice secret
      """#,
      #"""
      C: a COMPRESS DEFLATE
      C: <redacted>\
      """#, ["compressed"]),
    Form(
      "UNAUTHENTICATE and another login", .imap,
      """
      S: * OK
      C: a LOGIN alice secret
      S: a OK
      C: b UNAUTHENTICATE
      S: b OK
      C: c LOGIN bob secret
      S: c OK
      """,
      """
      C: a LOGIN alice <redacted>
      C: b UNAUTHENTICATE
      C: c LOGIN bob <redacted>
      """, ["userNamed 'alice'", "loginSucceeded 'alice'", "userNamed 'bob'", "loginSucceeded 'bob'"]),
  ]

  // MARK: IMAP, what should not be

  static let imapOdd = [
    Form(
      "a literal refused: the client goes on with another command", .imap,
      """
      S: * OK
      C: a LOGIN {5}
      S: a NO not here
      C: b LOGIN alice secret
      S: b OK
      """,
      """
      C: a LOGIN {5}
      C: b LOGIN alice <redacted>
      """, ["loginFailed -", "userNamed 'alice'", "loginSucceeded 'alice'"]),
    Form(
      "a literal refused: the client had sent it without waiting", .imap,
      """
      S: * OK
      C: a LOGIN {5}
      S: a BAD not here
      C: alice {6}
      C: secret
      C: b NOOP
      S: b OK
      C: hello
      """,
      """
      C: a LOGIN {5}
      C: <redacted>
      C: <redacted>
      C: b NOOP
      C: hello
      """, ["loginFailed -"]),
    Form(
      "the literal of the password refused", .imap,
      """
      S: * OK
      C: a LOGIN alice {6}
      S: * BAD what?
      C: secret
      C: b LOGOUT
      """,
      """
      C: a LOGIN alice {6}
      C: <redacted>
      C: b LOGOUT
      """, []),
    Form(
      "synchronising literals sent without waiting", .imap,
      """
      S: * OK
      C: a LOGIN {5}
      C: alice {6}
      C: secret
      C: b NOOP
      S: a BAD
      """,
      """
      C: a LOGIN {5}
      C: alice {6}
      C: <redacted>
      C: b NOOP
      """, ["userNamed 'alice'", "loginFailed 'alice'"]),
    Form(
      "a response that came before the refusal, and one behind it", .imap,
      """
      S: * OK
      C: a AUTHENTICATE PLAIN
      C: \(plain)
      S: a NO
      C: b AUTHENTICATE PLAIN
      S: b NO
      C: \(plain)
      C: c CAPABILITY
      C: hello
      """,
      """
      C: a AUTHENTICATE PLAIN
      C: <redacted>
      C: b AUTHENTICATE PLAIN
      C: <redacted>
      C: c CAPABILITY
      C: hello
      """, ["userNamed 'alice'", "loginFailed 'alice'", "loginFailed -"]),
    Form(
      "LOGIN with too many arguments", .imap,
      #"""
      S: * OK
      C: a LOGIN alice my secret "word" {5}
      C: x y
      C: b LOGIN "alice" "sec" "ret" more
      C: c LOGIN {5+}\r\nalice {3+}\r\nsecret
      C: d LOGIN {5+}\r\naliceb secret
      """#,
      #"""
      C: a LOGIN alice <redacted>
      C: <redacted>
      C: b LOGIN "alice" "<redacted>" <redacted>
      C: c LOGIN {5+}\r\nalice {3+}\r\n<redacted><redacted>
      C: d LOGIN {5+}\r\nalice<redacted>
      """#, ["userNamed 'alice'", "userNamed 'alice'", "userNamed 'alice'", "userNamed 'alice'"]),
    Form(
      "LOGIN with a string that has no end", .imap,
      """
      S: * OK
      C: a LOGIN "alice secret
      S: a BAD
      C: secret
      C: b LOGIN "alice" "secret
      S: b BAD
      C: c NOOP
      """,
      """
      C: a LOGIN "<redacted>
      C: <redacted>
      C: b LOGIN "alice" "<redacted>
      C: c NOOP
      """, ["userNamed ?", "loginFailed ?", "userNamed 'alice'", "loginFailed 'alice'"]),
    Form(
      "LOGIN with too few arguments", .imap,
      """
      S: * OK
      C: a LOGIN alice
      S: a BAD
      C: secret
      C: b LOGIN
      S: b BAD
      C: alice secret
      """,
      """
      C: a LOGIN alice
      C: <redacted>
      C: b LOGIN
      C: <redacted>
      """, ["userNamed 'alice'", "loginFailed 'alice'", "loginFailed -"]),
    Form(
      "the tag is missing", .imap,
      """
      S: * OK
      C: AUTHENTICATE PLAIN \(plain)
      S: AUTHENTICATE BAD
      C: \(plain)
      C: a NOOP
      C: LOGIN alice secret
      S: LOGIN BAD
      C: secret
      C: login LOGIN alice secret
      """,
      """
      C: AUTHENTICATE PLAIN <redacted>
      C: <redacted>
      C: a NOOP
      C: LOGIN alice <redacted>
      C: <redacted>
      C: login LOGIN alice <redacted>
      """, ["userNamed 'alice'"]),
    Form(
      "spaces, tabs, odd tags", .imap,
      #"""
      S: * OK
      C:   a  LOGIN   alice   secret
      C: "(*%{5+} LOGIN	alice	secret
      C: + LOGIN alice secret
      C: \#u{E4}\0 LOGIN alice "secret" 
      """#,
      #"""
      C:   a  LOGIN   alice   <redacted>
      C: "(*%{5+} LOGIN	alice	<redacted>
      C: + LOGIN alice <redacted>
      C: \#u{E4}\0 LOGIN alice "<redacted>" 
      """#, ["userNamed 'alice'", "userNamed 'alice'", "userNamed 'alice'", "userNamed 'alice'"]),
    Form(
      "line feeds alone, and CRs alone", .imap,
      #"""
      S: * OK\n\
      C: a LOGIN alice secret\n\
      S: a NO\n\
      C: b LOGIN {5+}\nalice {6}\n\
      S: +\n\
      C: secret\n\
      S: b NO\n\
      C: c NOOP\rd LOGIN alice secret\re NOOP\r
      C: f NOOP
      C: g LOGIN alice secret\rh LOGIN bob secret\r
      """#,
      #"""
      C: a LOGIN alice <redacted>\n\
      C: b LOGIN {5+}\nalice {6}\n\
      C: <redacted>\n\
      C: c NOOP\rd LOGIN alice <redacted>
      C: f NOOP
      C: g LOGIN alice <redacted>
      """#,
      ["userNamed 'alice'", "loginFailed 'alice'", "userNamed 'alice'", "loginFailed 'alice'", "userNamed 'alice'"]),
    Form(
      "what looks like a login and is a message", .imap,
      #"""
      S: * PREAUTH
      C: a APPEND Drafts (\\Seen) {27+}\r\nx LOGIN alice secret\r\n{9}\r\n
      C: b APPEND Drafts {27}
      S: + go
      C: y AUTHENTICATE PLAIN abcd\r\n {3+}\r\nabc
      S: * OK {5}
      S: b OK {5}
      S: * 1 FETCH (BODY[] {22}\r\nb OK done\r\n* PREAUTH\r\n)
      C: c SEARCH SUBJECT "d LOGIN alice {9}" BODY {7+}\r\nf LOGIN
      C: e NOOP
      """#,
      #"""
      C: a APPEND Drafts (\\Seen) {27+}\r\nx LOGIN alice secret\r\n{9}\r\n
      C: b APPEND Drafts {27}
      C: y AUTHENTICATE PLAIN abcd\r\n {3+}\r\nabc
      C: c SEARCH SUBJECT "d LOGIN alice {9}" BODY {7+}\r\nf LOGIN
      C: e NOOP
      """#, ["loginSucceeded -"]),
    Form(
      "a literal in a command that should have none before a login", .imap,
      #"""
      S: * OK
      C: c ID ("name" {4}
      S: +
      C: some "version" {3+}\r\n1.0 "x" NIL)
      C: a NOOP {22+}\r\nb LOGIN alice secret\r\n
      C: d NOOP {5}
      C: hello "rest" {3}
      C: abc rest
      C: e APPEND x {22+}\r\nb LOGIN alice secret\r\n
      S: e BAD
      """#,
      #"""
      C: c ID ("name" {4}
      C: some "version" {3+}\r\n<redacted> <redacted>
      C: a NOOP {22+}\r\n<redacted>
      C: d NOOP {5}
      C: <redacted> <redacted>
      C: <redacted>
      C: e APPEND x {22+}\r\nb LOGIN alice secret\r\n
      """#, []),
    Form(
      "AUTHENTICATE refused without its tag", .imap,
      """
      S: * OK
      C: a AUTHENTICATE PLAIN
      S: * BAD what?
      C: b LOGIN alice secret
      S: b OK
      C: c NOOP
      """,
      """
      C: a AUTHENTICATE PLAIN
      C: b LOGIN alice <redacted>
      C: c NOOP
      """, ["userNamed 'alice'", "loginSucceeded 'alice'"]),
    Form(
      "a tag that is used twice", .imap,
      """
      S: * OK
      C: a NOOP
      C: a LOGIN alice wrong
      S: a OK
      S: a NO
      """,
      """
      C: a NOOP
      C: a LOGIN alice <redacted>
      """, ["userNamed 'alice'", "loginFailed 'alice'"]),
    Form(
      "a literal that no server takes", .imap,
      #"""
      S: * OK
      C: a LOGIN alice {99999999999999999999+}\r\nsecret
      C: b NOOP {18446744073709551616+}
      C: c LOGIN alice secret
      C: hello
      """#,
      #"""
      C: a LOGIN alice {99999999999999999999+}\r\n<redacted>
      C: b NOOP {18446744073709551616+}
      C: c LOGIN alice <redacted>
      C: hello
      """#, ["userNamed 'alice'", "userNamed 'alice'"]),
    Form(
      "a header inside an atom, or in a string without an end", .imap,
      #"""
      S: * OK
      C: a LOGIN al{5+}\r\nsecret
      C: b LOGIN alice sec{5+}\r\nret
      C: c NOOP "{20+}
      C: d LOGIN alice secret
      """#,
      #"""
      C: a LOGIN al{5+}\r\n<redacted>
      C: b LOGIN alice <redacted>\r\n<redacted>
      C: c NOOP "{20+}
      C: d LOGIN alice <redacted>
      """#, ["userNamed 'al{5+}'", "userNamed 'alice'", "userNamed 'alice'"]),
    Form(
      "passwords that begin like a header", .imap,
      """
      S: * OK
      C: a LOGIN alice {secret}
      C: b LOGIN alice {5
      C: c LOGIN alice {5}x
      C: d LOGIN {5x secret
      """,
      """
      C: a LOGIN alice <redacted>
      C: b LOGIN alice <redacted>
      C: c LOGIN alice <redacted>
      C: d LOGIN {5x <redacted>
      """, ["userNamed 'alice'", "userNamed 'alice'", "userNamed 'alice'", "userNamed '{5x'"]),
    Form(
      "a challenge that nobody asked for", .imap,
      """
      S: * OK
      C: a NOOP
      S: + password?
      C: secret
      C: b NOOP
      S: a OK
      """,
      """
      C: a NOOP
      C: <redacted>
      C: b NOOP
      """, []),
    Form(
      "IDLE is answered by a plus too", .imap,
      """
      S: * OK
      C: a IDLE
      S: + idling
      C: DONE
      S: a OK
      C: hello
      C: b IDLE
      C: c LOGIN {5}
      S: + idling
      S: c BAD
      C: d LOGIN alice secret
      """,
      """
      C: a IDLE
      C: DONE
      C: hello
      C: b IDLE
      C: c LOGIN {5}
      C: d LOGIN alice <redacted>
      """, ["loginFailed -", "userNamed 'alice'"]),
    Form(
      "a name of AUTHENTICATE LOGIN that is none", .imap,
      """
      S: * OK
      C: a AUTHENTICATE LOGIN \(plain)
      S: + UGFzc3dvcmQ6
      C: \(base64("secret"))
      S: a NO
      C: b AUTHENTICATE LOGIN
      S: + 
      C: secret!
      S: + 
      C: secret
      S: b NO
      """,
      """
      C: a AUTHENTICATE LOGIN <redacted>
      C: <redacted>
      C: b AUTHENTICATE LOGIN
      C: <redacted>
      C: <redacted>
      """, ["userNamed ?", "loginFailed ?", "userNamed ?", "loginFailed ?"]),
    Form(
      "commands behind BYE", .imap,
      """
      S: * OK
      C: a LOGOUT
      S: * BYE
      S: a OK
      C: b LOGIN alice secret
      S: z OK
      """,
      """
      C: a LOGOUT
      C: b LOGIN alice <redacted>
      """, ["userNamed 'alice'"]),
    Form(
      "an end in the middle", .imap,
      #"""
      S: * OK
      C: a AUTHENTICATE PLAIN
      S: + 
      C: *\
      """#,
      #"""
      C: a AUTHENTICATE PLAIN
      C: <redacted>\
      """#, []),
  ]

  // MARK: POP3

  static let pop3 = [
    Form(
      "USER and PASS", .pop3,
      """
      S: +OK ready
      C: USER alice
      S: +OK
      C: PASS secret
      S: +OK logged in
      C: STAT
      S: +OK 0 0
      """,
      """
      C: USER alice
      C: PASS <redacted>
      C: STAT
      """, ["userNamed 'alice'", "loginSucceeded 'alice'"]),
    Form(
      "passwords with spaces, in small letters, failing, pipelined", .pop3,
      #"""
      S: +OK ready
      C: user al ice
      C: pass  my secret \r\nPASS\tmore\r\nPaSs
      S: +OK
      S: -ERR no
      S: -ERR no
      S: -ERR no
      C:  PASS again
      S: -ERR
      """#.replacing("\\t", with: "\t"),
      #"""
      C: user al ice
      C: pass <redacted>\r\nPASS\t<redacted>\r\nPaSs
      C:  PASS <redacted>
      """#.replacing("\\t", with: "\t"),
      [
        "userNamed 'al ice'", "userNamed 'al ice'", "userNamed 'al ice'", "loginFailed 'al ice'",
        "loginFailed 'al ice'", "loginFailed 'al ice'", "userNamed 'al ice'", "loginFailed 'al ice'",
      ]),
    Form(
      "APOP", .pop3,
      """
      S: +OK <1896.697170952@dbc.mtview.ca.us>
      C: APOP alice c4c9334bac560ecc979e58001b3e22fb
      S: -ERR
      C: apop  alice  c4c9334bac560ecc979e58001b3e22fb more
      S: +OK
      """,
      """
      C: APOP alice <redacted>
      C: apop  alice  <redacted>
      """, ["userNamed 'alice'", "loginFailed 'alice'", "userNamed 'alice'", "loginSucceeded 'alice'"]),
    Form(
      "AUTH PLAIN, with an initial response and without", .pop3,
      """
      S: +OK
      C: AUTH
      S: +OK
      S: PLAIN
      S: +OK
      S: .
      C: AUTH PLAIN
      S: + 
      C: \(plain)
      S: -ERR
      C: AUTH PLAIN \(plain)
      S: +OK
      """,
      """
      C: AUTH
      C: AUTH PLAIN
      C: <redacted>
      C: AUTH PLAIN <redacted>
      """, ["userNamed 'alice'", "loginFailed 'alice'", "userNamed 'alice'", "loginSucceeded 'alice'"]),
    Form(
      "AUTH LOGIN and CRAM-MD5, cancelled once", .pop3,
      """
      S: +OK
      C: AUTH LOGIN
      S: + VXNlcm5hbWU6
      C: \(base64("alice"))
      S: + UGFzc3dvcmQ6
      C: *
      S: -ERR cancelled
      C: AUTH CRAM-MD5
      S: + PDE+
      C: \(base64("alice b913a602c7eda7a495b4e6e7334d3890"))
      S: +OK
      """,
      """
      C: AUTH LOGIN
      C: \(base64("alice"))
      C: *
      C: AUTH CRAM-MD5
      C: <redacted>
      """, ["userNamed 'alice'", "loginFailed 'alice'", "userNamed 'alice'", "loginSucceeded 'alice'"]),
    Form(
      "AUTH at once, without waiting", .pop3,
      """
      S: +OK
      C: AUTH LOGIN
      C: \(base64("alice"))
      C: \(base64("secret"))
      C: STAT
      S: + VXNlcm5hbWU6
      S: + UGFzc3dvcmQ6
      S: +OK
      S: +OK 0 0
      """,
      """
      C: AUTH LOGIN
      C: \(base64("alice"))
      C: <redacted>
      C: STAT
      """, ["userNamed 'alice'", "loginSucceeded 'alice'"]),
    Form(
      "messages and lists that look like answers", .pop3,
      #"""
      S: +OK
      C: USER alice
      S: +OK
      C: LIST
      C: LIST 1
      C: UIDL 
      C: RETR 1
      C: TOP 1 0
      C: CAPA
      C: RETR 9
      C: PASS secret
      S: +OK\r\n1 10\r\n.
      S: +OK 1 10
      S: +OK\r\n.
      S: +OK 20 octets\r\n+OK\r\n..\r\n-ERR\r\n..+OK .\r\n.x\r\n +OK.\r\n.
      S: +OK\r\n.
      S: +OK\r\nSASL PLAIN EXTERNAL\r\n.
      S: -ERR
      S: +OK logged in
      """#,
      """
      C: USER alice
      C: LIST
      C: LIST 1
      C: UIDL 
      C: RETR 1
      C: TOP 1 0
      C: CAPA
      C: RETR 9
      C: PASS <redacted>
      """, ["userNamed 'alice'", "loginSucceeded 'alice'"]),
    Form(
      "STLS", .pop3,
      """
      S: +OK
      C: stls
      S: -ERR
      C: STLS
      S: +OK begin
      """,
      """
      C: stls
      C: STLS
      """, ["startTLSRequested", "startTLSRefused", "startTLSRequested", "startTLSAccepted"]),
    Form(
      "a password where no user was named", .pop3,
      """
      S: +OK
      C: PASS secret
      S: -ERR
      C: AUTH
      S: -ERR
      C: hello
      """,
      """
      C: PASS <redacted>
      C: AUTH
      C: hello
      """, ["loginFailed -"]),
    Form(
      "line feeds alone, and CRs alone", .pop3,
      #"""
      S: +OK\n\
      C: USER alice\nPASS sec\rret\n\
      S: +OK\n-ERR\n\
      C: NOOP\rPASS secret\rNOOP
      S: -ERR
      C: USER alice\rPASS secret\r
      """#,
      #"""
      C: USER alice\nPASS <redacted>\n\
      C: NOOP\rPASS <redacted>
      C: USER alice\r<redacted>
      """#, ["userNamed 'alice'", "loginFailed 'alice'"]),
    Form(
      "a response behind the refusal", .pop3,
      """
      S: +OK
      C: AUTH PLAIN
      S: -ERR no
      C: \(plain)
      S: -ERR what?
      C: secret
      C: USER alice
      C: hello
      """,
      """
      C: AUTH PLAIN
      C: <redacted>
      C: <redacted>
      C: USER alice
      C: hello
      """, ["loginFailed -"]),
  ]

  // MARK: SMTP

  static let smtp = [
    Form(
      "AUTH PLAIN with an initial response", .smtp,
      """
      S: 220 ready
      C: EHLO client
      S: 250-mail
      S: 250-AUTH PLAIN LOGIN
      S: 250 CHUNKING
      C: AUTH PLAIN \(plain)
      S: 235 2.7.0 ok
      C: MAIL FROM:<alice@example.org>
      S: 250 ok
      """,
      """
      C: EHLO client
      C: AUTH PLAIN <redacted>
      C: MAIL FROM:<alice@example.org>
      """, ["userNamed 'alice'", "loginSucceeded 'alice'"]),
    Form(
      "AUTH PLAIN continued with an empty challenge, and with an empty initial response", .smtp,
      """
      S: 220 ready
      C: AUTH PLAIN
      S: 334 
      C: \(plain)
      S: 535 no
      C: auth plain =
      S: 334
      C: \(plain)
      S: 535 no
      C: AUTH PLAIN \(plain)
      S: 334 
      C: \(plain)
      S: 235 ok
      """,
      """
      C: AUTH PLAIN
      C: <redacted>
      C: auth plain =
      C: <redacted>
      C: AUTH PLAIN <redacted>
      C: <redacted>
      """,
      [
        "userNamed 'alice'", "loginFailed 'alice'", "loginFailed -", "userNamed 'alice'", "loginSucceeded 'alice'",
      ]),
    Form(
      "AUTH LOGIN, with and without an initial response", .smtp,
      """
      S: 220 ready
      C: AUTH LOGIN
      S: 334 VXNlcm5hbWU6
      C: \(base64("alice"))
      S: 334 UGFzc3dvcmQ6
      C: \(base64("secret"))
      S: 535 no
      C: AUTH LOGIN \(base64("alice"))
      S: 334 UGFzc3dvcmQ6
      C: \(base64("secret"))
      S: 235 ok
      """,
      """
      C: AUTH LOGIN
      C: \(base64("alice"))
      C: <redacted>
      C: AUTH LOGIN \(base64("alice"))
      C: <redacted>
      """, ["userNamed 'alice'", "loginFailed 'alice'", "userNamed 'alice'", "loginSucceeded 'alice'"]),
    Form(
      "what is typed where a response is expected", .smtp,
      """
      S: 220 ready
      C: AUTH LOGIN
      S: 334 VXNlcm5hbWU6
      C: \(base64("alice"))
      S: 334 UGFzc3dvcmQ6
      C: my secret
      S: 501 what?
      C: AUTH CRAM-MD5
      S: 334 PDE+
      C: QUIT
      S: 535 no
      """,
      """
      C: AUTH LOGIN
      C: \(base64("alice"))
      C: <redacted>
      C: AUTH CRAM-MD5
      C: <redacted>
      """, ["userNamed 'alice'", "loginFailed 'alice'", "userNamed ?", "loginFailed ?"]),
    Form(
      "refused at once, while the responses are on their way", .smtp,
      """
      S: 220 ready
      C: AUTH LOGIN
      S: 503 not now
      C: \(base64("alice"))
      S: 500 what?
      C: \(base64("secret"))
      S: 500 what?
      C: AUTH X-NEW secret more
      C: EHLO again
      S: 504 unknown
      C: QUIT
      C: hello
      """,
      """
      C: AUTH LOGIN
      C: <redacted>
      C: <redacted>
      C: AUTH X-NEW <redacted>
      C: <redacted>
      C: QUIT
      C: hello
      """, ["loginFailed -", "loginFailed -"]),
    Form(
      "MAIL without a login, once", .smtp,
      """
      S: 220 ready
      C: HELO client
      S: 250 mail
      C: mail FROM:<a@b>
      S: 250
      C: RSET
      S: 250
      C: MAIL FROM:<a@b>
      S: 250
      """,
      """
      C: HELO client
      C: mail FROM:<a@b>
      C: RSET
      C: MAIL FROM:<a@b>
      """, ["mailWithoutLogin"]),
    Form(
      "a message that looks like a login", .smtp,
      #"""
      S: 220 ready
      C: MAIL FROM:<a@b>
      C: RCPT TO:<c@d>
      C: DATA
      S: 250
      S: 250
      S: 354 go
      C: AUTH PLAIN abcd\r\n..\r\n. \r\n.x\r\nAUTH LOGIN\r\nxyz\r\n.
      S: 250 ok
      C: AUTH PLAIN \#(plain)
      S: 235 ok
      C: DATA
      S: 503 no
      C: AUTH PLAIN \#(plain)
      """#,
      #"""
      C: MAIL FROM:<a@b>
      C: RCPT TO:<c@d>
      C: DATA
      C: AUTH PLAIN abcd\r\n..\r\n. \r\n.x\r\nAUTH LOGIN\r\nxyz\r\n.
      C: AUTH PLAIN <redacted>
      C: DATA
      C: AUTH PLAIN <redacted>
      """#, ["mailWithoutLogin", "userNamed 'alice'", "loginSucceeded 'alice'", "userNamed 'alice'"]),
    Form(
      "an empty message, and one that is refused", .smtp,
      #"""
      S: 220 ready
      C: DATA
      S: 354 go
      C: .
      S: 250 ok
      C: DATA
      S: 354 go
      C: a\r\n.
      S: 550 no
      C: AUTH LOGIN \#(base64("alice"))
      S: 334 UGFzc3dvcmQ6
      C: \#(base64("secret"))
      S: 235 ok
      """#,
      #"""
      C: DATA
      C: .
      C: DATA
      C: a\r\n.
      C: AUTH LOGIN \#(base64("alice"))
      C: <redacted>
      """#, ["userNamed 'alice'", "loginSucceeded 'alice'"]),
    Form(
      "a message that did not wait for permission", .smtp,
      #"""
      S: 220 ready
      C: DATA
      C: hello\r\nAUTH PLAIN abcd
      S: 354 go
      C: AUTH PLAIN efgh\r\n.
      S: 250 ok
      C: DATA\r\nhello\r\n.\r\nAUTH PLAIN \#(plain)
      S: 354 go
      S: 250 ok
      S: 235 ok
      """#,
      #"""
      C: DATA
      C: hello\r\nAUTH PLAIN <redacted>
      C: AUTH PLAIN efgh\r\n.
      C: DATA\r\nhello\r\n.\r\nAUTH PLAIN <redacted>
      """#, ["userNamed ?", "userNamed 'alice'", "loginSucceeded 'alice'"]),
    Form(
      "what only some take for the end of a message", .smtp,
      #"""
      S: 220 ready
      C: DATA
      S: 354 go
      C: text AUTH PLAIN\n.\r\nAUTH PLAIN \#(plain)\r\n\#(plain)\r\nQUIT\r\ntext\r\n.
      S: 250 ok
      C: text
      """#,
      #"""
      C: DATA
      C: text AUTH PLAIN\n.\r\nAUTH PLAIN <redacted>\r\n<redacted>\r\nQUIT\r\ntext\r\n.
      C: text
      """#, []),
    Form(
      "BDAT", .smtp,
      #"""
      S: 220 ready
      C: EHLO client
      S: 250-mail
      S: 250-CHUNKING
      S: 250 PIPELINING
      C: BDAT 17\r\nAUTH PLAIN abcd\r\nBDAT 16 LAST\r\nAUTH PLAIN abcd\n
      C: bdat 0 last\r\nAUTH PLAIN \#(plain)
      S: 250
      S: 250
      S: 250
      S: 235
      """#,
      #"""
      C: EHLO client
      C: BDAT 17\r\nAUTH PLAIN abcd\r\nBDAT 16 LAST\r\nAUTH PLAIN abcd\n
      C: bdat 0 last\r\nAUTH PLAIN <redacted>
      """#, ["userNamed 'alice'", "loginSucceeded 'alice'"]),
    Form(
      "BDAT that the server does not know, and one of no size", .smtp,
      #"""
      S: 220 ready
      C: EHLO client
      S: 250 mail
      C: BDAT 100\r\nAUTH PLAIN \#(plain)
      S: 502
      S: 535
      C: BDAT 18446744073709551616\r\nAUTH PLAIN \#(plain)
      C: BDAT\r\nAUTH PLAIN \#(plain)
      """#,
      #"""
      C: EHLO client
      C: BDAT 100\r\nAUTH PLAIN <redacted>
      C: BDAT 18446744073709551616\r\nAUTH PLAIN <redacted>
      C: BDAT\r\nAUTH PLAIN <redacted>
      """#, ["userNamed 'alice'", "loginFailed 'alice'", "userNamed 'alice'", "userNamed 'alice'"]),
    Form(
      "LMTP: an answer for each recipient", .lmtp,
      #"""
      S: 220 ready
      C: LHLO client
      S: 250 chunking
      C: MAIL FROM:<>
      C: RCPT TO:<a@b>
      C: RCPT TO:<c@d>
      C: RCPT TO:<e@f>
      C: DATA
      S: 250\r\n250\r\n550\r\n250\r\n354
      C: AUTH PLAIN abcd\r\n.
      C: AUTH PLAIN \#(plain)
      S: 250 a
      S: 550-e
      S: 550 e
      S: 235 ok
      C: MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nRCPT TO:<a@b>\r\nBDAT 5 LAST\r\nhelloAUTH PLAIN \#(plain)
      S: 250\r\n250\r\n250\r\n250\r\n250\r\n535
      """#,
      #"""
      C: LHLO client
      C: MAIL FROM:<>
      C: RCPT TO:<a@b>
      C: RCPT TO:<c@d>
      C: RCPT TO:<e@f>
      C: DATA
      C: AUTH PLAIN abcd\r\n.
      C: AUTH PLAIN <redacted>
      C: MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nRCPT TO:<a@b>\r\nBDAT 5 LAST\r\nhelloAUTH PLAIN <redacted>
      """#, ["userNamed 'alice'", "loginSucceeded 'alice'", "userNamed 'alice'", "loginFailed 'alice'"]),
    Form(
      "STARTTLS", .smtp,
      """
      S: 220 ready
      C: NOOP
      C: STARTTLS
      S: 250 ok
      S: 454 no
      C: starttls
      S: 220-begin
      S: 220 begin
      """,
      """
      C: NOOP
      C: STARTTLS
      C: starttls
      """, ["startTLSRequested", "startTLSRefused", "startTLSRequested", "startTLSAccepted"]),
    Form(
      "the same answers to commands that were never sent", .smtp,
      """
      S: 220 ready
      S: 250 what for
      S: 334 \(base64("Username:"))
      C: \(base64("alice"))
      S: 235 ok
      """,
      """
      C: <redacted>
      """, ["loginSucceeded ?"]),
    Form(
      "empty lines, unknown commands, no argument", .smtp,
      """
      S: 220 ready
      C: 
      C: XYZZY
      S: 500
      S: 500
      C: AUTH
      S: 501
      C: secret
      C: NOOP
      """,
      """
      C: 
      C: XYZZY
      C: AUTH
      C: <redacted>
      C: NOOP
      """, ["loginFailed -"]),
  ]

  // MARK: ManageSieve

  private static let sieveGreeting = #"S: "IMPLEMENTATION" "x"\#nS: "SASL" "PLAIN EXTERNAL"\#nS: OK "ready""#

  static let sieve = [
    Form(
      "AUTHENTICATE with strings", .sieve,
      """
      \(sieveGreeting)
      C: AUTHENTICATE "PLAIN" "\(plain)"
      S: NO "wrong"
      C: authenticate "plain" {\(plain.utf8.count)+}
      C: \(plain)
      S: OK (TAG {4}\\r\\nOK x) "in"
      C: LISTSCRIPTS
      S: "one" ACTIVE
      S: OK
      """,
      """
      C: AUTHENTICATE "PLAIN" "<redacted>"
      C: authenticate "plain" {\(plain.utf8.count)+}
      C: <redacted>
      C: LISTSCRIPTS
      """, ["userNamed 'alice'", "loginFailed 'alice'", "userNamed 'alice'", "loginSucceeded 'alice'"]),
    Form(
      "responses in strings", .sieve,
      """
      \(sieveGreeting)
      C: AUTHENTICATE "LOGIN"
      S: "VXNlcm5hbWU6"
      C: "\(base64("alice"))"
      S: {12}
      S: UGFzc3dvcmQ6
      C: {\(base64("secret").utf8.count)+}
      C: \(base64("secret"))
      S: NO
      C: AUTHENTICATE "LOGIN"
      S: ""
      C: {\(base64("alice").utf8.count)+}
      C: \(base64("alice"))
      S: ""
      C: "*"
      S: NO
      C: AUTHENTICATE {5+}
      C: PLAIN ""
      S: ""
      C: {1+}
      C: *
      S: NO
      """,
      """
      C: AUTHENTICATE "LOGIN"
      C: "\(base64("alice"))"
      C: {\(base64("secret").utf8.count)+}
      C: <redacted>
      C: AUTHENTICATE "LOGIN"
      C: {\(base64("alice").utf8.count)+}
      C: \(base64("alice"))
      C: "*"
      C: AUTHENTICATE {5+}
      C: PLAIN ""
      C: {1+}
      C: *
      """,
      [
        "userNamed 'alice'", "loginFailed 'alice'", "userNamed 'alice'", "loginFailed 'alice'", "userNamed ?",
        "loginFailed ?",
      ]),
    Form(
      "what is no string", .sieve,
      """
      \(sieveGreeting)
      C: AUTHENTICATE PLAIN \(plain)
      S: NO
      C: AUTHENTICATE "PLAIN"
      S: ""
      C: \(plain)
      S: NO
      C: AUTHENTICATE "PLAIN" "\(plain)" "more"
      S: NO
      C: NOOP
      """,
      """
      C: AUTHENTICATE PLAIN <redacted>
      C: AUTHENTICATE "PLAIN"
      C: <redacted>
      C: AUTHENTICATE "PLAIN" "<redacted>" <redacted>
      C: NOOP
      """,
      [
        "userNamed 'alice'", "loginFailed 'alice'", "userNamed 'alice'", "loginFailed 'alice'", "userNamed 'alice'",
        "loginFailed 'alice'",
      ]),
    Form(
      "a script that looks like a login", .sieve,
      #"""
      \#(sieveGreeting)
      C: PUTSCRIPT "x" {22+}\r\nAUTHENTICATE "X" "ab"\n
      C: GETSCRIPT "x"
      C: AUTHENTICATE "PLAIN" "\#(plain)"
      S: OK
      S: {6}\r\nNO\r\nOK\r\nOK
      S: OK
      """#,
      #"""
      C: PUTSCRIPT "x" {22+}\r\nAUTHENTICATE "X" "ab"\n
      C: GETSCRIPT "x"
      C: AUTHENTICATE "PLAIN" "<redacted>"
      """#, ["userNamed 'alice'", "loginSucceeded 'alice'"]),
    Form(
      "a literal that waits, which is none here", .sieve,
      #"""
      \#(sieveGreeting)
      C: NOOP {30}\r\nAUTHENTICATE "PLAIN" "\#(plain)"
      S: NO
      S: NO
      C: AUTHENTICATE "PLAIN" {28}\r\n\#(plain)\r\nsecret
      C: LOGOUT
      """#,
      #"""
      C: NOOP {30}\r\nAUTHENTICATE "PLAIN" "<redacted>"
      C: AUTHENTICATE "PLAIN" {28}\r\n<redacted>\r\n<redacted>
      C: LOGOUT
      """#, ["userNamed 'alice'", "loginFailed 'alice'", "userNamed ?"]),
    Form(
      "STARTTLS", .sieve,
      """
      \(sieveGreeting)
      C: STARTTLS
      S: NO
      C: StartTLS
      S: OK "begin"
      """,
      """
      C: STARTTLS
      C: StartTLS
      """, ["startTLSRequested", "startTLSRefused", "startTLSRequested", "startTLSAccepted"]),
  ]
}
