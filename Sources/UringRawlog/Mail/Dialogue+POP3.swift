/// The answers of a POP3 server (RFC 1939 section 3, RFC 5034).
extension Dialogue {
  mutating func takeHeadPOP3(_ byte: UInt8) {
    if line.phase == 0 {
      line.phase = 1
      line.code = UInt16(byte)
      if byte == UInt8(ascii: "+") { return }
      if byte == UInt8(ascii: "-") {
        line.kind = .final
        line.status = .no
      }
    } else if byte.isBlank || byte.endsLine {
      line.kind = .challenge
    } else if byte & 0xDF == UInt8(ascii: "O") {
      line.kind = .final
      line.status = .ok
    }
    server = .text
  }

  mutating func answeredPOP3() -> DialogueStep.Event {
    switch line.kind {
    case .none, .untagged: return .none
    case .challenge:
      challenged()
      return .none
    case .final: break
    }
    let isPositive = line.status == .ok
    guard let answer = takeAnswer() else { return .none }
    switch answer {
    case .login, .exchange: return loginAnswered(isPositive, answer)
    case .startTLS: return startTLSEnded(isPositive)
    case .multiLine, .capabilities:
      guard isPositive else { break }
      server = .message
      message = MessageData()
      line.namesMechanisms = answer == .capabilities && !isLoggedIn
    case .single, .compress, .unauthenticate, .idle, .hello, .data, .dataEnd, .recipient, .lastChunk, .reset: break
    }
    return .none
  }
}
