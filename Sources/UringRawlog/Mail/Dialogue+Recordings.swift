/// What only a reader of recordings asks: whose turn it is where no stamp says so, and what follows from missing bytes.
extension Dialogue {
  // MARK: Turns

  /// A client that waits for answers waits now.
  var awaitsServer: Bool {
    if !isGreeted || isLiteralAwaited { return true }
    if server != .lineStart, server != .opaque { return true }
    guard client == .lineStart, withheldCount == 0 else { return false }
    if exchange.isActive { return !exchange.isClientsTurn }
    if mailProtocol == .imap { return !tagged.isEmpty && !(tagged.isIdling && idlesAwaited == 0) }
    return !answers.isEmpty
  }

  // MARK: Missing bytes

  /// Bytes of a side are missing here.
  ///
  /// - Returns: what is to be done about the bytes that are withheld; a step of no bytes.
  mutating func lose(_ count: UInt64, from speaker: Speaker) -> DialogueStep {
    switch speaker {
    case .client: return loseClient(count)
    case .server:
      loseServer(count)
      return DialogueStep()
    }
  }

  private mutating func loseClient(_ count: UInt64) -> DialogueStep {
    switch client {
    case .opaque, .opaqueSecret: return DialogueStep()
    case .literal where count < literalLeft:
      literalLeft -= count
      return DialogueStep()
    case .credential:
      if credential.phase == .literal, count < credential.literalLeft {
        credential.literalLeft -= count
        return DialogueStep()
      }
      // The rest of the line may be of any argument.
      let step = finish()
      beginCredential(.line, role: .excess)
      credential.isMalformed = true
      return step
    case .data:
      // The message may have ended.
      isInsideData = true
      client = .lineStart
      return DialogueStep()
    case .lineStart, .tag, .command, .rest, .restCarriageReturn, .chunkSize, .literal, .recordHeader,
      .proxyHeader:
      let step = finish()
      client = .lineStart
      tail = LineTail()
      hasUnfinishedCommand = false
      isLiteralAwaited = false
      isDoubtful = true
      return step
    }
  }

  private mutating func loseServer(_ count: UInt64) {
    if server == .literal, count < serverLiteralLeft {
      serverLiteralLeft -= count
      return
    }
    guard server != .opaque else { return }
    // What is left of the line is no answer that could be told; those that are missing may have ended an authentication.
    line = AnswerLine()
    serverTail = LineTail()
    server = .text
    isUncertain = true
    isDoubtful = true
  }
}

extension MailProtocol {
  /// Whether a side that begins so is the server. No client begins with such a line.
  func isServersBeginning(_ bytes: UnsafeRawBufferPointer) -> Bool {
    let line = bytes.prefix { !$0.endsLine }.prefix(80)
    let words = String(decoding: line, as: UTF8.self).split(separator: " ", omittingEmptySubsequences: false)
    guard let first = words.first else { return false }
    switch self {
    case .imap:
      // Dovecot's own recordings begin with the tagged answer to the login.
      return first == "*" || words.count > 1 && ["OK", "NO", "BAD"].contains(words[1].uppercased())
    case .pop3: return first == "+OK" || first == "-ERR" || first == "+"
    case .smtp, .lmtp: return first.utf8.prefix(3).count { $0 &- UInt8(ascii: "0") < 10 } == 3
    case .sieve: return first.hasPrefix("\"") || ["OK", "NO", "BYE"].contains(first.uppercased())
    }
  }
}
