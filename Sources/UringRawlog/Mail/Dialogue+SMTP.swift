/// The replies of an SMTP or LMTP server (RFC 5321 section 4.2, RFC 4954, RFC 2033).
extension Dialogue {
  /// Three digits, and what separates them from the text.
  private static let codeDigits: UInt8 = 3
  /// The first word of a line that lists an extension.
  private static let keyword: UInt8 = 4

  mutating func takeHeadSMTP(_ byte: UInt8) {
    if line.phase < Self.codeDigits {
      guard byte &- UInt8(ascii: "0") < 10 else {
        server = .text
        return
      }
      line.code = line.code * 10 + UInt16(byte - UInt8(ascii: "0"))
      line.phase += 1
      return
    }
    if line.phase == Self.codeDigits {
      let isContinued = byte == UInt8(ascii: "-")
      if byte.isBlank || byte.endsLine { line.kind = .final }
      guard line.code == 250, answers.front == .hello, isContinued || byte.isBlank else {
        server = .text
        return
      }
      line.phase = Self.keyword
      return
    }
    if !byte.isBlank, !byte.endsLine, byte != UInt8(ascii: "=") {
      line.word.append(byte)
      return
    }
    if line.word == "CHUNKING" { offersChunking = true }
    line.namesMechanisms = line.word == "AUTH" && !isLoggedIn
    server = .text
  }

  mutating func answeredSMTP() -> DialogueStep.Event {
    guard line.kind == .final else { return .none }
    switch line.code {
    case 334:
      // It may be for one that was thought to be over.
      if answers.front != .exchange {
        isUncertain = true
        _ = answers.skip { $0 == .exchange }
      }
      challenged()
    case 235:
      guard let answer = takeAnswer(for: { $0.isLogin }) else {
        let event = loginEnded(true, endsExchange: true)
        subject = .unusable
        return event
      }
      return loginAnswered(true, answer)
    case 354:
      acceptData()
    case 220 where answers.number { $0 == .startTLS } > 0:
      _ = takeAnswer { $0 == .startTLS }
      return startTLSEnded(true)
    default: return answeredInOrder()
    }
    return .none
  }

  private mutating func answeredInOrder() -> DialogueStep.Event {
    let isPositive = line.code / 100 == 2
    if answers.isEmpty, client == .data || isInsideData {
      answeredInsideData()
      return .none
    }
    if mailProtocol == .lmtp, let front = answers.front, front == .dataEnd || front == .lastChunk {
      answeredRecipient()
      return .none
    }
    guard let answer = takeAnswer() else { return .none }
    switch answer {
    case .login, .exchange: return loginAnswered(isPositive, answer)
    case .startTLS: return startTLSEnded(isPositive)
    case .hello:
      if isPositive { extensionsListed = true }
      acceptedRecipients = 0
    case .recipient: if isPositive { acceptedRecipients &+= 1 }
    case .reset: acceptedRecipients = 0
    case .single, .multiLine, .capabilities, .compress, .unauthenticate, .idle, .data, .dataEnd, .lastChunk: break
    }
    return .none
  }

  /// The server does not wait for the end of the message, or saw one where none was seen here.
  private mutating func answeredInsideData() {
    // At first nobody knows: lines are looked at, as commands and as text. When an answer comes once more, it has
    // ended.
    isInsideData = client == .data
    guard client == .data else { return }
    isCounted = false
    command = .none
    client = data.isAtLineStart ? .lineStart : .rest
  }

  /// LMTP answers a message once for each recipient that it accepted (RFC 2033 section 4.2).
  private mutating func answeredRecipient() {
    if endAnswersLeft == 0 { endAnswersLeft = max(1, acceptedRecipients) }
    endAnswersLeft -= 1
    guard endAnswersLeft == 0 else { return }
    answers.popFront()
    acceptedRecipients = 0
  }

  /// The message begins, or began already: what an impatient client sent behind DATA was no command.
  private mutating func acceptData() {
    guard takeAnswer(for: { $0 == .data }) != nil else { return }
    let logins = answers.number { $0.isLogin }
    if answers.skip(to: { $0 == .dataEnd }) {
      // Its end came too. What looked like logins in it were none; those behind it are.
      for _ in 0..<logins - answers.number(of: { $0.isLogin }) { _ = attempts.end(at: 0) }
      return
    }
    answers.removeAll()
    attempts.removeAll()
    exchange.end()
    isDoubtful = false
    if client == .lineStart {
      client = .data
      data = MessageData()
    } else {
      // In the middle of a line of it: from the next one on lines are looked at, until one is a dot.
      isInsideData = true
      isCounted = false
    }
  }
}
