/// The answers of an IMAP server (RFC 9051 section 7).
extension Dialogue {
  private enum Head {
    static let begin: UInt8 = 0
    static let star: UInt8 = 1
    static let starWord: UInt8 = 2
    static let plus: UInt8 = 3
    static let tag: UInt8 = 4
    static let tagWord: UInt8 = 5
  }

  mutating func takeHeadIMAP(_ byte: UInt8) {
    switch line.phase {
    case Head.begin:
      line.phase = byte == UInt8(ascii: "*") ? Head.star : byte == UInt8(ascii: "+") ? Head.plus : Head.tag
      line.hash = TaggedCommands.hash(line.hash, byte)
    case Head.star where byte.isBlank:
      line.phase = Head.starWord
      line.kind = .untagged
    case Head.plus where byte.isBlank || byte.endsLine:
      line.kind = .challenge
      server = .text
    case Head.starWord where line.word.isEmpty && byte &- UInt8(ascii: "0") < 10:
      // The most frequent by far: EXISTS, FETCH.
      server = .strings
    case Head.starWord where byte.isBlank || byte.endsLine: endUntaggedWord()
    case Head.tagWord where byte.isBlank || byte.endsLine:
      line.kind = .final
      line.status = status
      line.namesMechanisms = !isLoggedIn && line.status == .ok
      server = .text
    case Head.starWord, Head.tagWord: line.word.append(byte)
    default:
      if byte.isBlank {
        line.phase = Head.tagWord
      } else {
        line.phase = Head.tag
        line.hash = TaggedCommands.hash(line.hash, byte)
      }
    }
  }

  private var status: AnswerLine.Status {
    switch line.word {
    case "OK": .ok
    case "NO": .no
    case "BAD": .bad
    case "BYE": .bye
    case "PREAUTH": .preauthenticated
    default: .none
    }
  }

  /// In the text of a status there are no literals, whatever it looks like.
  private mutating func endUntaggedWord() {
    line.status = status
    let listsCapabilities = line.word == "CAPABILITY"
    server = line.status == .none && !listsCapabilities ? .strings : .text
    line.namesMechanisms = !isLoggedIn && (listsCapabilities || line.status == .ok || line.status == .preauthenticated)
  }

  mutating func answeredIMAP() -> DialogueStep.Event {
    switch line.kind {
    case .none: return .none
    case .challenge:
      if idlesAwaited > 0 {
        idlesAwaited -= 1
      } else if isLiteralAwaited {
        isLiteralAwaited = false
      } else {
        challenged()
      }
      return .none
    case .untagged:
      if line.status == .preauthenticated, !isGreeted {
        isLoggedIn = true
        subject = LoginAttempts.Attempt()
        return .loginSucceeded
      }
      // The server may have refused a command whose tag it did not understand.
      if line.status == .bad, isLiteralAwaited, client == .credential { refuseLiteral() }
      return .none
    case .final: return line.status == .none ? .none : answeredTag()
    }
  }

  private mutating func answeredTag() -> DialogueStep.Event {
    let wasUncertain = tagged.isUncertain
    guard let answered = tagged.remove(line.hash) else { return .none }
    if answered.isLast, hasUnfinishedCommand {
      hasUnfinishedCommand = false
      if isLiteralAwaited { refuseLiteral() }
    }
    let isAccepted = line.status == .ok
    switch answered.answer {
    case .login, .exchange:
      let event = loginEnded(isAccepted, isExchange: answered.answer == .exchange, at: answered.loginsBefore)
      if wasUncertain { subject = .unusable }
      return event
    case .startTLS: return startTLSEnded(isAccepted)
    case .compress:
      guard isAccepted else { return .none }
      client = isLoggedIn ? .opaque : .opaqueSecret
      credential.isMarked = false
      server = .opaque
      return .compressed
    case .unauthenticate: if isAccepted { isLoggedIn = false }
    case .idle: if idlesAwaited > 0 { idlesAwaited -= 1 }
    case .single, .multiLine, .capabilities, .hello, .data, .dataEnd, .recipient, .lastChunk, .reset: break
    }
    return .none
  }

  /// The client does not send the literal that it announced, if it waited for permission. If it did not, its bytes arrive
  /// now, and look like lines.
  private mutating func refuseLiteral() {
    isLiteralAwaited = false
    if client == .credential { isDoubtful = true }
    client = .lineStart
  }
}
