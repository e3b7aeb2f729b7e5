@testable import UringRawlog

/// The mail connections of a scenario whose protocol is known: what is said, what of it is secret, and what becomes of it.
struct ScenarioDialogues {
  let mailProtocol: MailProtocol
  /// What each client and its server say, by the client's number.
  private var conversations: [Int: MailConversation] = [:]
  private var scripts: [Int: RedactedScript] = [:]
  /// What nobody may find in anything that was written.
  private var tokens: [String] = []

  /// - Returns: nil for most seeds: there nobody knows what is spoken.
  init?(
    seed: UInt64, clients: [SimulatedWorld.Peer], _ configuration: inout RelayConfiguration, _ world: SimulatedWorld
  ) {
    // Drawn apart, so that seeds of old still mean what they meant.
    var random = SeededGenerator(seed: seed &+ 0x6469_616C)
    guard random.once(in: 3) else { return nil }
    mailProtocol = MailProtocol.allCases.randomElement(using: &random)!
    configuration.mailProtocol = mailProtocol
    configuration.keepsSecrets = random.once(in: 8)
    // The texts hold what looks like markers.
    configuration.boundaries = false
    if mailProtocol != .lmtp {
      configuration.preLogin = random.once(in: 3)
      if random.once(in: 4), configuration.layout != .pcapng {
        configuration.directory = try! DirectoryTemplate("mail/%{user}")
        world.directories = ["mail/alice", "mail/bob@example.org", "mail/\u{E4}\u{F6}", "mail/user+tag"]
      }
    }
    for client in clients {
      let conversation = random.once(in: 4) ? noise(&random) : madeUp(&random)
      conversations[client.number] = conversation
      scripts[client.number] = RedactedScript(conversation)
      let peer = conversation.peers().client
      client.script = peer.script
      client.pauses = peer.pauses
      client.waitsForEnd = peer.waitsForEnd
    }
  }

  private mutating func madeUp(_ random: inout SeededGenerator) -> MailConversation {
    let made = MailGrammar(mailProtocol, seed: random.next())
    tokens += made.tokens
    return made.conversation
  }

  /// Lines of both sides in any order, some of which are of the protocol.
  private func noise(_ random: inout SeededGenerator) -> MailConversation {
    var conversation = MailConversation(mailProtocol)
    for _ in 0..<random.below(40) {
      let words = [
        "a LOGIN b \"c\\", "a OK", "AUTH PLAIN", "334 ", "+ ", "+OK", "235", "\"x\" {3+}", "AUTHENTICATE \"LOGIN\"",
        "*",
        "PASS x", "USER y", "{12}", "MAIL FROM:<>", "DATA", ".", "OK", "NO", "\u{E4}\0", "a AUTHENTICATE CRAM-MD5",
        "220 ", "250 ok", "BDAT 5", "COMPRESS DEFLATE", "* PREAUTH",
      ]
      var line = words.randomElement(using: &random)!
      for _ in 0..<random.below(3) { line += " " + words.randomElement(using: &random)! }
      line += ["\r\n", "\r\n", "\n", "\r", ""].randomElement(using: &random)!
      conversation.add(random.once(in: 2) ? .client : .server, Array(line.utf8))
    }
    return conversation
  }

  /// A server that was connected for a client says what it has to.
  func teach(_ server: SimulatedWorld.Peer, for client: SimulatedWorld.Peer) {
    guard let conversation = conversations[client.number] else { return }
    let peer = conversation.peers().server
    server.script = peer.script
    server.pauses = peer.pauses
    server.waitsForEnd = peer.waitsForEnd
  }

  // MARK: Oracles

  /// Anything that was written must not hold a secret.
  func leaks(in world: SimulatedWorld) -> [String] {
    let written = world.files.values.map { String(decoding: $0.bytes, as: UTF8.self) } + [world.indexText]
    return tokens.flatMap { token -> [String] in
      // The middle of its base64 at each of the three alignments.
      let encoded = (0..<3).map { shift in
        base64([UInt8](repeating: 0, count: shift) + Array(token.utf8)).dropFirst(shift == 0 ? 0 : 4).dropLast(4)
      }
      return ([Substring(token)] + encoded).filter { secret in written.contains { $0.contains(secret) } }.map(
        String.init)
    }
  }

  /// What is wrong with the recording of a client's bytes; nil when it is right.
  ///
  /// - Parameter end: how many of them it covers, those in gaps included.
  func fault(_ client: Int, in recorded: [UInt8], upTo end: Int, without gaps: [Range<Int>]) -> String? {
    scripts[client]!.fault(in: recorded, upTo: end, without: gaps, mayHoldBack: true)
  }

  /// A recording that failed ends anywhere, also within a mark.
  func isBeginning(_ client: Int, _ recorded: [UInt8], upTo end: Int, without gaps: [Range<Int>]) -> Bool {
    let script = scripts[client]!
    var whole = script.recording(upTo: end, without: gaps)
    if whole == nil, let last = gaps.last {
      // It failed while it was losing a credential, whose rest would have been lost too: nothing is behind that.
      whole = script.recording(upTo: last.lowerBound, without: gaps.dropLast())
    }
    guard let whole else { return false }
    if whole.starts(with: recorded) { return true }
    // What was held back at its end became a mark.
    let same = zip(whole, recorded).prefix { $0 == $1 }.count
    return MailConversation.mark.starts(with: recorded[same...])
  }

  /// What the index should say of the logins of a session that was heard to its end: how the last that mattered ended,
  /// and how many failed.
  func logins(_ client: Int) -> (String, Int) {
    let events = conversations[client]!.scan().events
    let failed = events.count { $0.hasPrefix("loginFailed") }
    let hasSucceeded = events.contains { $0.hasPrefix("loginSucceeded") }
    return (hasSucceeded ? "ok" : failed > 0 ? "fail" : "none", failed)
  }
}
