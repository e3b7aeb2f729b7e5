import Testing

@testable import UringRawlog

/// Connections that are made up, with every secret known.
@Suite struct DialoguePropertyTests {
  @Test(arguments: MailProtocol.allCases)
  func noSecretIsRecordedAndNothingElseIsMissing(_ mailProtocol: MailProtocol) throws {
    for seed in 1...UInt64(1000) {
      let made = MailGrammar(mailProtocol, seed: seed)
      let outcome = made.conversation.scan()
      let fault = firstDifference(outcome.client, made.recorded)
      if let fault {
        Issue.record(
          "seed \(seed): \(fault)\n\(String(decoding: made.conversation.traffic(.client), as: UTF8.self))\n-- recorded\n\(outcome.clientText)"
        )
        return
      }
      try #require(outcome.server == made.conversation.traffic(.server), "seed \(seed)")
      try #require(outcome.redactions == made.secrets.count, "seed \(seed)")
      #expect(outcome.logins == made.logins, "seed \(seed)")

      for token in made.tokens {
        for hidden in [token] + Self.encodings(token) {
          try #require(!outcome.clientText.contains(hidden), "seed \(seed): \(hidden)")
        }
      }
      let again = outcome.pieces.scan(readsRecording: true)
      try #require(firstDifference(again.client, outcome.client) == nil, "seed \(seed), redacted twice")
      let put = Self.replaceMarks(outcome.client, made.secrets, isMark: made.recorded)
      try #require(firstDifference(put, made.conversation.traffic(.client)) == nil, "seed \(seed)")
    }
  }

  @Test(arguments: MailProtocol.allCases)
  func theSplitDoesNotMatter(_ mailProtocol: MailProtocol) throws {
    for seed in 1...UInt64(300) {
      let made = MailGrammar(mailProtocol, seed: seed)
      let whole = made.conversation.scan()
      try #require(made.conversation.scan { _ in 1 } == whole, "seed \(seed), byte by byte")
      for _ in 0..<3 {
        var cuts = SeededGenerator(seed: seed &* 31)
        let most = 1 + cuts.below(40)
        try #require(made.conversation.scan { _ in 1 + cuts.below(most) } == whole, "seed \(seed), at most \(most)")
      }
    }
  }

  /// How the server's side is out of step with the client's.
  enum Disorder: String, CaseIterable, Sendable {
    case serverIsSilent, serverIsEarly, serverIsLate, serverIsRefusing, serverIsSlow
  }

  /// Whatever the server says, and whenever: what is redacted of the rest may be too much, but never too little.
  @Test(arguments: MailProtocol.allCases, Disorder.allCases)
  func noSecretIsRecordedHoweverTheServerAnswers(_ mailProtocol: MailProtocol, _ disorder: Disorder) throws {
    for seed in 1...UInt64(200) {
      let made = MailGrammar(mailProtocol, seed: seed)
      let outcome = Self.disorder(made.conversation, disorder, seed: seed).scan()
      for token in made.tokens {
        for hidden in [token] + Self.encodings(token) where outcome.clientText.contains(hidden) {
          Issue.record("seed \(seed): \(hidden)\n\(outcome.clientText)")
          return
        }
      }
    }
  }

  private static func disorder(_ conversation: MailConversation, _ disorder: Disorder, seed: UInt64) -> MailConversation
  {
    let client = conversation.pieces.filter { $0.speaker == .client }
    let server = conversation.pieces.filter { $0.speaker == .server }
    var random = SeededGenerator(seed: seed)
    var result = conversation
    switch disorder {
    case .serverIsSilent: result.pieces = client
    case .serverIsEarly: result.pieces = server + client
    case .serverIsLate: result.pieces = client + server
    case .serverIsRefusing:
      result.pieces = conversation.pieces.map { piece in
        guard piece.speaker == .server else { return piece }
        return MailConversation.Piece(speaker: .server, bytes: refused(piece.bytes, conversation.mailProtocol))
      }
    case .serverIsSlow:
      result.pieces = []
      var waiting: [MailConversation.Piece] = []
      for piece in conversation.pieces {
        if piece.speaker == .server {
          waiting.append(piece)
          continue
        }
        result.pieces.append(piece)
        while random.once(in: 3), !waiting.isEmpty { result.pieces.append(waiting.removeFirst()) }
      }
      result.pieces += waiting
    }
    return result
  }

  /// Every line that goes on, agrees or accepts says no instead.
  private static func refused(_ bytes: [UInt8], _ mailProtocol: MailProtocol) -> [UInt8] {
    let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
    let changed = lines.map { line in
      switch mailProtocol {
      case .imap: line.replacing("+ ", with: "* BAD ").replacing(" OK", with: " NO")
      case .pop3: line.replacing("+ ", with: "-ERR ").replacing("+OK", with: "-ERR")
      case .smtp, .lmtp: line.replacing("334", with: "504").replacing("235", with: "535").replacing("354", with: "554")
      case .sieve: line.replacing("OK", with: "NO")
      }
    }
    return Array(changed.joined(separator: "\n").utf8)
  }

  /// The middle of its base64 at each of the three alignments.
  private static func encodings(_ text: String) -> [String] {
    (0..<3).map { shift in
      let encoded = base64([UInt8](repeating: 0, count: shift) + Array(text.utf8))
      return String(encoded.dropFirst(shift == 0 ? 0 : 4).dropLast(4))
    }
  }

  /// Puts the secrets back. A name may hold the mark too, so the places come from what was expected.
  private static func replaceMarks(_ bytes: [UInt8], _ secrets: [[UInt8]], isMark expected: [UInt8]) -> [UInt8] {
    var result: [UInt8] = []
    var rest = secrets[...]
    var place = 0
    while place < bytes.count {
      if bytes[place...].starts(with: MailConversation.mark), let secret = rest.first {
        result += secret
        rest = rest.dropFirst()
        place += MailConversation.mark.count
      } else {
        result.append(bytes[place])
        place += 1
      }
    }
    return result
  }
}

extension MailConversation.Outcome {
  /// How logins ended, and whose they were.
  fileprivate var logins: [String] {
    events.filter { $0.hasPrefix("loginSucceeded") || $0.hasPrefix("loginFailed") }.map { event in
      var words = event.split(separator: " ", omittingEmptySubsequences: false)
      words.remove(at: 1)
      return words.joined(separator: " ")
    }
  }
}
