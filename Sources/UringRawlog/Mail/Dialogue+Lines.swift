/// What follows from a line of the client that is complete: which answer is expected, and what comes next.
extension Dialogue {
  // MARK: Lines without a credential

  mutating func endLine() -> DialogueStep.Event {
    client = .lineStart
    if tail.header.phase == .complete, hasLiterals, beginLiteral() { return .none }
    guard isCounted else {
      endUncounted()
      return .none
    }
    hasUnfinishedCommand = false
    switch mailProtocol {
    case .imap:
      if command == .idle { idlesAwaited &+= 1 }
      return command == .startTLS ? .startTLSRequested : .none
    case .pop3: return endLinePOP3()
    case .smtp, .lmtp: return endLineSMTP()
    case .sieve:
      if word.isEmpty { return .none }
      answers.push(command == .startTLS ? .startTLS : .single)
      return command == .startTLS ? .startTLSRequested : .none
    }
  }

  /// A literal of a command without a credential; false when there will be none.
  private mutating func beginLiteral() -> Bool {
    let header = tail.header
    tail = LineTail()
    if header.isAbsurd || mailProtocol == .sieve && !header.isNonSynchronizing {
      // The server will not take it, and may take what follows for commands.
      isDoubtful = true
      return false
    }
    literalLeft = header.count
    client = .literal
    if !header.isNonSynchronizing { awaitLiteral() }
    isLiteralDoubted = mailProtocol == .imap && !isLoggedIn && command != .append
    return true
  }

  /// The server must allow the literal.
  mutating func awaitLiteral() {
    isLiteralAwaited = true
    literalsAwaited &+= 1
  }

  /// Lines behind a CR alone have one answer together, as the server sees only one.
  private mutating func endUncounted() {
    if isInsideData {
      guard command == .dot else { return }
      isInsideData = false
      answers.push(.dataEnd)
      return
    }
    hasUnfinishedCommand = false
    if mailProtocol != .imap { answers.push(.single) }
  }

  private mutating func endLinePOP3() -> DialogueStep.Event {
    noteEmptyLine()
    switch command {
    case .multiLine: answers.push(.multiLine)
    case .listing: answers.push(hasArguments ? .single : .multiLine)
    case .capabilities: answers.push(.capabilities)
    case .startTLS:
      answers.push(.startTLS)
      return .startTLSRequested
    case .none, .login, .authenticate, .apop, .userName, .password, .response, .compress, .unauthenticate, .idle,
      .append, .hello, .mail, .recipient, .data, .chunk, .reset, .dot:
      answers.push(.single)
    }
    return .none
  }

  private mutating func endLineSMTP() -> DialogueStep.Event {
    noteEmptyLine()
    switch command {
    case .hello: answers.push(.hello)
    case .reset: answers.push(.reset)
    case .recipient: answers.push(mailProtocol == .lmtp ? .recipient : .single)
    case .data: answers.push(.data)
    case .chunk: beginChunk()
    case .dot: answers.push(answers.number { $0 == .data } > 0 ? .dataEnd : .single)
    case .startTLS:
      answers.push(.startTLS)
      return .startTLSRequested
    case .mail:
      answers.push(mailProtocol == .lmtp ? .reset : .single)
      guard mailProtocol == .smtp, !isLoggedIn, !isMailSeen, !isLoginPending else { break }
      isMailSeen = true
      return .mailWithoutLogin
    case .none, .login, .authenticate, .apop, .userName, .password, .response, .compress, .unauthenticate, .idle,
      .append, .multiLine, .listing, .capabilities:
      answers.push(.single)
    }
    return .none
  }

  @inline(__always)
  private var isLoginPending: Bool { answers.number { $0.isLogin } > 0 }

  /// Some servers answer an empty line, and some do not.
  private mutating func noteEmptyLine() {
    if word.isEmpty { isUncertain = true }
  }

  /// BDAT (RFC 3030): its bytes follow at once. A server that does not offer it reads them as commands.
  private mutating func beginChunk() {
    guard hasArguments, literalLeft <= UInt64(Int64.max), offersChunking || !extensionsListed else {
      answers.push(.single)
      isDoubtful = isDoubtful || !isLoggedIn
      return
    }
    answers.push(word == "LAST" && mailProtocol == .lmtp ? .lastChunk : .single)
    if literalLeft > 0 { client = .literal }
  }

  // MARK: Lines with a credential

  mutating func endCredential() -> DialogueStep.Event {
    client = .lineStart
    // What looks like a literal in the wrong place, or a string without an end, may be followed by more of it.
    if credential.isMalformed || tail.header.phase == .complete && hasLiterals { isDoubtful = true }
    guard isCounted else {
      if command == .authenticate { isDoubtful = true }
      if command != .response { endUncounted() }
      return .none
    }
    switch command {
    case .login, .apop: return endLogin()
    case .authenticate: return endAuthenticate()
    case .userName:
      if credential.isMalformed { userName = LoginAttempts.Name(state: .unusable) }
      answers.push(.single)
      return .none
    case .password:
      attempts.begin(keepsNames: true)
      attempts.newest?.authentication = userName
      answers.push(.login)
      return namedEvent
    case .response:
      // That was no response: the client may think that it is somewhere else.
      if base64.isBroken, !credential.isLone, !(readsRecording && credential.isMark) { isDoubtful = true }
      let isFirst = exchange.responses == 0
      exchange.responded(isCancel: credential.isLone)
      if exchange.isImpatient { isUncertain = true }
      return isFirst ? namedEvent : .none
    case .none:
      isUncertain = true
      if exchange.isActive {
        exchange.responded(isCancel: credential.isLone)
      } else if mailProtocol != .imap {
        answers.push(.single)
      }
      hasUnfinishedCommand = false
      return .none
    case .startTLS, .compress, .unauthenticate, .idle, .append, .multiLine, .listing, .capabilities, .hello, .mail,
      .recipient,
      .data, .chunk, .reset, .dot:
      hasUnfinishedCommand = false
      return .none
    }
  }

  private mutating func endLogin() -> DialogueStep.Event {
    if credential.index < 2 { isDoubtful = true }
    if mailProtocol != .imap {
      answers.push(.login)
    } else if !hasUnfinishedCommand {
      // It was answered before it was complete.
      return .none
    }
    hasUnfinishedCommand = false
    return namedEvent
  }

  private mutating func endAuthenticate() -> DialogueStep.Event {
    if credential.index == 0, mailProtocol == .pop3 {
      // It asks for the list of mechanisms.
      attempts.cancel()
      answers.push(.multiLine)
      return .none
    }
    if credential.index == 0 { isDoubtful = true }
    if mailProtocol != .imap {
      answers.push(.exchange)
    } else if !hasUnfinishedCommand {
      isDoubtful = true
      return .none
    }
    hasUnfinishedCommand = false
    exchange.begin(Mechanism(word), hasInitialResponse: hasArguments)
    return hasArguments ? namedEvent : .none
  }

  /// Says so when the newest attempt has a name.
  private var namedEvent: DialogueStep.Event {
    mutating get {
      guard let newest = attempts.newest,
        newest.authentication.state != .absent || newest.authorization.state != .absent
      else { return .none }
      subject = newest
      return .userNamed
    }
  }
}
