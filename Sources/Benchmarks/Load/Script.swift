/// What client and server say to each other, part by part: part 0 is the server's (often its greeting), part 1 the
/// client's, and so on in turns.
struct Script {
  /// One part: `count` bytes, taken from `bytes` again and again; the memory is the script's.
  struct Part {
    var bytes: UnsafeRawBufferPointer
    var count: Int
    /// Where eight digits stand that are replaced by the connection's number, so that no two sessions are alike.
    var numberOffset: Int?
    /// Its last byte is `endMark`, which is nowhere else in it: its receiver need not know how long it is.
    var isOpenEnded = false

    init(_ text: String) {
      let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: text.utf8.count, alignment: 64)
      copy.copyBytes(from: text.utf8)
      bytes = UnsafeRawBufferPointer(copy)
      count = copy.count
      let place = Array(text.utf8)
      numberOffset = place.indices.first { place[$0...].starts(with: "########".utf8) }
    }
  }

  /// The parts of one round, and how many rounds there are after part 0.
  static let endMark: UInt8 = 4

  private let greeting: Part
  private let round: [Part]
  let partCount: Int
  /// The server does not know which round is the last: the client ends its stream behind it.
  var clientLeaves = false

  /// The memory of the parts, which lives as long as the script; a part itself is copied at every step.
  private final class Memory {
    private let pieces: [UnsafeRawBufferPointer]
    init(_ pieces: [UnsafeRawBufferPointer]) { self.pieces = pieces }
    deinit { for piece in pieces { piece.deallocate() } }
  }
  private let memory: Memory

  private init(greeting: Part, round: [Part], rounds: Int) {
    memory = Memory(([greeting] + round).map(\.bytes))
    self.greeting = greeting
    self.round = round
    partCount = 1 + round.count * rounds
  }

  @inline(__always)
  func part(_ index: Int) -> Part { index == 0 ? greeting : round[(index - 1) % round.count] }

  /// - Parameters:
  ///   - unitsPerConnection: bytes for bulk, messages for pingpong; the others have one session a connection.
  ///   - messageBytes: the size of a message, for pingpong and sizes.
  static func make(_ workload: Workload, unitsPerConnection: Int, messageBytes: Int = 64) -> Script {
    switch workload {
    case .bulk, .bulk16, .tlsBulk:
      var stream = Part(Self.lines(262_080 / 72))
      stream.count = unitsPerConnection
      // Not every peer passes on that one side ended its stream, so that does not mark the end.
      stream.isOpenEnded = true
      return Script(greeting: Part(""), round: [stream, Part("done\r\n")], rounds: 1)
    case .pingpong, .sizes:
      let request = Part("R########" + String(repeating: "q", count: messageBytes - 11) + "\r\n")
      let answer = Part("A########" + String(repeating: "a", count: messageBytes - 11) + "\r\n")
      var script = Script(greeting: Part(""), round: [request, answer], rounds: max(unitsPerConnection / 2, 1))
      script.clientLeaves = true
      return script
    case .churn, .postlogin, .tlsChurn:
      return Script(
        greeting: Part("220 mail.example.org ESMTP ready ########\r\n"),
        round: [
          Part("EHLO client-########.example.net\r\n"), Part("250 mail.example.org greets you\r\n"),
          Part("MAIL FROM:<sender-########@example.net>\r\n"), Part("250 2.1.0 Ok\r\n"),
          Part("RCPT TO:<nobody@example.org>\r\n"), Part("550 5.1.1 No such user\r\n"),
          Part("RSET\r\n"), Part("250 2.0.0 Ok\r\n"), Part("QUIT\r\n"), Part("221 2.0.0 Bye\r\n"),
        ], rounds: 1)
    case .mail:
      return Script(
        greeting: Part("* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL+ IDLE] ready ########\r\n"), round: mail, rounds: 1)
    case .idle:
      // The client never says its part: it holds the connection, then leaves.
      return Script(greeting: Part("* OK ready\r\n"), round: [Part("bye\r\n"), Part("ok\r\n")], rounds: 1)
    }
  }

  /// What the server says, part by part, with zeros where a connection's number would stand.
  static func answers(_ workload: Workload) -> [String] {
    let script = make(workload, unitsPerConnection: 1)
    return stride(from: 0, to: script.partCount, by: 2).map {
      String(decoding: script.part($0).bytes, as: UTF8.self).replacing("########", with: "00000000")
    }
  }

  /// Lines of 72 bytes, each another.
  private static func lines(_ count: Int) -> String {
    var text = ""
    text.reserveCapacity(count * 72)
    for number in 0..<count {
      let digits = String(number)
      text += String(repeating: "0", count: 8 - digits.count) + digits
      text += " the quick brown fox jumps over the lazy dog, 0123456789 ABCDE\r\n"
    }
    return text
  }

  static let password = "secret"

  /// A session of a mail client: log in, look at the folder, fetch two messages, store one, mark it, leave.
  private static var mail: [Part] {
    let message = lines(16_384 / 72)
    let small = lines(4_096 / 72)
    let list = (1...20).map { "* \($0) FETCH (UID \(1000 + $0) FLAGS (\\Seen) RFC822.SIZE \($0 * 997))\r\n" }.joined()
    return [
      Part("a1 LOGIN user-######## \(password)\r\n"),
      Part("a1 OK [CAPABILITY IMAP4rev1 IDLE UIDPLUS CONDSTORE] Logged in\r\n"),
      Part("a2 SELECT INBOX\r\n"),
      Part(
        "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)\r\n* 20 EXISTS\r\n* 0 RECENT\r\n"
          + "* OK [UIDVALIDITY 1795340682] UIDs valid\r\n* OK [UIDNEXT 1021] Predicted next UID\r\n"
          + "a2 OK [READ-WRITE] Select completed\r\n"),
      Part("a3 UID FETCH 1001:* (FLAGS RFC822.SIZE)\r\n"), Part(list + "a3 OK Fetch completed\r\n"),
      Part("a4 UID FETCH 1007 BODY.PEEK[]\r\n"),
      Part("* 7 FETCH (UID 1007 BODY[] {\(message.utf8.count)}\r\n" + message + ")\r\na4 OK Fetch completed\r\n"),
      Part("a5 UID FETCH 1008 BODY.PEEK[]\r\n"),
      Part("* 8 FETCH (UID 1008 BODY[] {\(small.utf8.count)}\r\n" + small + ")\r\na5 OK Fetch completed\r\n"),
      Part("a6 APPEND Sent (\\Seen) {\(small.utf8.count)+}\r\n" + small + "\r\n"),
      Part("a6 OK [APPENDUID 1795340690 44] Append completed\r\n"),
      Part("a7 UID STORE 1007 +FLAGS (\\Seen)\r\n"),
      Part("* 7 FETCH (UID 1007 FLAGS (\\Seen))\r\na7 OK Store completed\r\n"), Part("a8 LOGOUT\r\n"),
      Part("* BYE Logging out\r\na8 OK Logout completed\r\n"),
    ]
  }
}
