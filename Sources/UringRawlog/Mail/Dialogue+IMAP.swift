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

  /// Goes on until it is known what the line is; the byte that ends its last word is left.
  mutating func takeHeadIMAP(_ reader: inout SpanReader) {
    if line.phase == Head.begin, isNumbered(reader) {
      reader.place += 2
      return endHead(.strings)
    }
    while !reader.isAtEnd, server == .head {
      let byte = reader.byte
      let endsWord = byte.isBlank || byte.endsLine
      switch line.phase {
      case Head.begin:
        line.phase = byte == UInt8(ascii: "*") ? Head.star : byte == UInt8(ascii: "+") ? Head.plus : Head.tag
        if byte == .lineFeed { return endHead(.text) }
        line.hash = TaggedCommands.hash(line.hash, byte)
      case Head.star where byte.isBlank:
        line.phase = Head.starWord
        line.kind = .untagged
      case Head.plus where endsWord:
        line.kind = .challenge
        return endHead(.text)
      case Head.starWord where line.word.isEmpty && byte &- UInt8(ascii: "0") < 10: return endHead(.strings)
      case Head.starWord where endsWord: return endUntaggedWord()
      case Head.tagWord where endsWord:
        line.kind = .final
        line.status = line.statusOfWord
        return endHead(.text)
      case Head.starWord, Head.tagWord: line.word.append(byte)
      default:
        if byte == .lineFeed { return endHead(.text) }
        line.phase = byte.isBlank ? Head.tagWord : Head.tag
        if !byte.isBlank { line.hash = TaggedCommands.hash(line.hash, byte) }
      }
      reader.place += 1
    }
  }

  @inline(__always)
  private mutating func endHead(_ next: ServerPhase) { server = next }

  /// `* ` and a number, which are the most frequent lines by far: EXISTS, FETCH.
  @inline(__always)
  private func isNumbered(_ reader: SpanReader) -> Bool {
    guard reader.end - reader.place > 2 else { return false }
    return reader.byte == UInt8(ascii: "*") && reader.next == UInt8(ascii: " ")
      && reader.bytes.load(fromByteOffset: reader.place + 2, as: UInt8.self) &- UInt8(ascii: "0") < 10
  }

  /// Whole lines that say nothing here and have no literal: of a folder's messages there are very many.
  @inline(__always)
  func skipNumberedLines(_ reader: inout SpanReader) {
    while isNumbered(reader), let lineFeed = reader.find(.lineFeed, before: reader.end) {
      var last = lineFeed - 1
      if reader.bytes.load(fromByteOffset: last, as: UInt8.self) == .carriageReturn { last -= 1 }
      if reader.bytes.load(fromByteOffset: last, as: UInt8.self) == UInt8(ascii: "}") { return }
      reader.place = lineFeed + 1
    }
  }

  /// In the text of a status there are no literals, whatever it looks like.
  private mutating func endUntaggedWord() {
    line.status = line.statusOfWord
    let listsCapabilities = line.word == "CAPABILITY"
    server = line.status == .none && !listsCapabilities ? .strings : .text
    line.namesMechanisms = !isLoggedIn && (listsCapabilities || line.status == .ok || line.status == .preauthenticated)
  }

  mutating func answeredIMAP() -> DialogueStep.Event {
    switch line.kind {
    case .none: return .none
    case .challenge:
      continued()
      return .none
    case .untagged:
      if line.status == .preauthenticated, !isGreeted {
        isLoggedIn = true
        subject = LoginAttempts.Attempt()
        return .loginSucceeded
      }
      // The server may have refused a command whose tag it did not understand.
      if line.status == .bad {
        if isLiteralAwaited, client == .credential { refuseLiteral() }
        if exchange.isActive {
          exchange.end()
          isDoubtful = true
        }
      }
      return .none
    case .final: return line.status == .none ? .none : answeredTag()
    }
  }

  /// A plus is for what was sent first of those things that wait for one, and a literal is the last of them.
  private mutating func continued() {
    if exchange.isActive {
      exchange.challenged()
    } else if idlesAwaited > 0 {
      idlesAwaited -= 1
    } else if literalsAwaited > 0 {
      literalsAwaited -= 1
      guard literalsAwaited == 0 else { return }
      isLiteralAwaited = false
      // Who does not wait may have sent commands that were taken for something else; then the plus may be for them.
      if !isUncertain { isLiteralDoubted = false }
    } else {
      challenged()
    }
  }

  private mutating func answeredTag() -> DialogueStep.Event {
    let wasUncertain = tagged.isUncertain
    guard let answered = tagged.remove(line.hash) else {
      // Dovecot's recordings begin with the answer to the login.
      if readsRecording, !isGreeted, line.status == .ok { isLoggedIn = true }
      return .none
    }
    if tagged.isEmpty { literalsAwaited = 0 }
    if answered.isLast, hasUnfinishedCommand {
      hasUnfinishedCommand = false
      if isLiteralAwaited { refuseLiteral() }
    }
    let isAccepted = line.status == .ok
    switch answered.answer {
    case .login, .exchange:
      let event = loginEnded(isAccepted, endsExchange: answered.isLastExchange, at: answered.loginsBefore)
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
    case .idle:
      // It ends well only behind its plus.
      if !isAccepted, idlesAwaited > 0 { idlesAwaited -= 1 }
    case .single, .multiLine, .capabilities, .hello, .data, .dataEnd, .recipient, .lastChunk, .reset: break
    }
    return .none
  }

  /// The client does not send the literal that it announced, if it waited for permission. If it did not, its bytes
  /// arrive now, and look like lines.
  private mutating func refuseLiteral() {
    isLiteralAwaited = false
    if client == .credential { isDoubtful = true }
    client = .lineStart
  }
}
