/// The answers of a ManageSieve server (RFC 5804 section 1.3): strings, then OK, NO or BYE.
extension Dialogue {
  mutating func takeHeadSieve(_ byte: UInt8) {
    let isLetter = (byte & 0xDF) &- UInt8(ascii: "A") < 26
    if isLetter {
      line.word.append(byte)
      return
    }
    switch line.word {
    case "OK": line.status = .ok
    case "NO": line.status = .no
    case "BYE": line.status = .bye
    default: break
    }
    line.kind = line.status != .none ? .final : line.word.isEmpty && !byte.endsLine ? .challenge : .none
    line.namesMechanisms = !isLoggedIn && line.kind == .challenge
    server = .strings
  }

  mutating func answeredSieve() -> DialogueStep.Event {
    switch line.kind {
    case .none, .untagged: return .none
    case .challenge:
      // Most strings are lists of something.
      if answers.front == .exchange { challenged() }
      return .none
    case .final: break
    }
    let isAccepted = line.status == .ok
    guard let answer = takeAnswer() else { return .none }
    switch answer {
    case .login, .exchange: return loginAnswered(isAccepted, answer)
    case .startTLS: return startTLSEnded(isAccepted)
    case .single, .multiLine, .capabilities, .compress, .unauthenticate, .idle, .hello, .data, .dataEnd, .recipient,
      .lastChunk, .reset:
      break
    }
    return .none
  }
}
