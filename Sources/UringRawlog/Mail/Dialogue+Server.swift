/// The server's lines: which of them are answers, and what they are for.
extension Dialogue {
  mutating func scanServer(_ reader: inout SpanReader) -> DialogueStep {
    var event = DialogueStep.Event.none
    while !reader.isAtEnd, event == .none {
      switch server {
      case .lineStart:
        if isTLSUnanswered, answersTLS(reader.byte) { break }
        if mailProtocol == .imap, isGreeted {
          skipNumberedLines(&reader)
          if reader.isAtEnd { break }
        }
        line = AnswerLine()
        serverTail = LineTail()
        server = .head
      case .head: takeHead(&reader)
      case .text:
        let lineFeed = reader.find(.lineFeed, before: reader.end)
        let end = lineFeed.map { $0 + 1 } ?? reader.end
        noteMechanisms(reader, to: end)
        reader.place = end
        if lineFeed != nil { event = endAnswerLine() }
      case .strings:
        let start = reader.place
        let isComplete = reader.skipLine(&serverTail)
        if line.namesMechanisms { noteMechanisms(reader, from: start, to: reader.place) }
        if isComplete, !beginServerLiteral() { event = endAnswerLine() }
      case .literal:
        let skipped = Int(min(serverLiteralLeft, UInt64(reader.end - reader.place)))
        reader.place += skipped
        serverLiteralLeft -= UInt64(skipped)
        if serverLiteralLeft == 0 { server = .strings }
      case .message: takeMessage(&reader)
      case .opaque: reader.place = reader.end
      }
    }
    return DialogueStep(count: reader.place, event: event)
  }

  /// The first byte behind what looked like the beginning of TLS: in a record, when it was.
  private mutating func answersTLS(_ byte: UInt8) -> Bool {
    isTLSUnanswered = false
    if 0x14...0x17 ~= byte {
      server = .opaque
      return true
    }
    client = .lineStart
    isDoubtful = true
    return false
  }

  /// Byte by byte until it is known what the line is.
  private mutating func takeHead(_ reader: inout SpanReader) {
    if mailProtocol == .imap { return takeHeadIMAP(&reader) }
    while !reader.isAtEnd {
      let byte = reader.byte
      switch mailProtocol {
      case .pop3: takeHeadPOP3(byte)
      case .smtp, .lmtp: takeHeadSMTP(byte)
      case .sieve, .imap: takeHeadSieve(byte)
      }
      // What ends a word belongs to what follows.
      if server != .head { return }
      reader.place += 1
    }
  }

  /// A literal begins behind the line that has just ended.
  private mutating func beginServerLiteral() -> Bool {
    let header = serverTail.header
    guard header.phase == .complete, !header.isAbsurd else { return false }
    serverTail = LineTail()
    serverLiteralLeft = header.count
    server = header.count > 0 ? .literal : .strings
    return true
  }

  private mutating func takeMessage(_ reader: inout SpanReader) {
    let start = reader.place
    switch message.skip(&reader) {
    case .nothing: break
    case .end, .looseEnd: server = .lineStart
    }
    if line.namesMechanisms { noteMechanisms(reader, from: start, to: reader.place) }
  }

  private mutating func noteMechanisms(_ reader: SpanReader, to end: Int) {
    if line.namesMechanisms { noteMechanisms(reader, from: reader.place, to: end) }
  }

  private mutating func noteMechanisms(_ reader: SpanReader, from start: Int, to end: Int) {
    for place in start..<end { offered.take(reader.bytes.load(fromByteOffset: place, as: UInt8.self)) }
  }

  private mutating func endAnswerLine() -> DialogueStep.Event {
    server = .lineStart
    // Under TLS from the first byte there is no greeting in the clear.
    mayBeTLS = false
    defer { isGreeted = true }
    switch mailProtocol {
    case .imap: return answeredIMAP()
    case .pop3: return answeredPOP3()
    case .smtp, .lmtp: return answeredSMTP()
    case .sieve: return answeredSieve()
    }
  }

  // MARK: Logins

  /// A login is answered.
  ///
  /// - Parameters:
  ///   - endsExchange: it was the exchange that is under way.
  ///   - place: how many logins that were tried before it are not answered.
  mutating func loginEnded(_ succeeded: Bool, endsExchange: Bool, at place: Int = 0) -> DialogueStep.Event {
    subject = attempts.end(at: place)
    if endsExchange { endExchange() }
    if succeeded { isLoggedIn = true }
    return succeeded ? .loginSucceeded : .loginFailed
  }

  mutating func endExchange() {
    guard exchange.isActive else { return }
    // The client may have sent responses without waiting, which arrive only now.
    if exchange.mayLeaveResponses { isDoubtful = true }
    exchange.end()
  }

  /// The server wants the client to go on with an authentication.
  mutating func challenged() {
    if exchange.isActive {
      exchange.challenged()
    } else if !isLoggedIn {
      // It thinks that there is one.
      isDoubtful = true
    }
  }

  mutating func startTLSEnded(_ accepted: Bool) -> DialogueStep.Event {
    if accepted { mayBeTLS = true }
    return accepted ? .startTLSAccepted : .startTLSRefused
  }

  // MARK: Answers in the order of the commands

  /// The next answer is for this.
  mutating func takeAnswer() -> ExpectedAnswer? {
    guard let answer = answers.front else {
      isUncertain = true
      return nil
    }
    answers.popFront()
    return answer
  }

  /// An answer that can be for nothing else than the first of these.
  ///
  /// - Returns: that command; nil when none is under way.
  mutating func takeAnswer(for wanted: (ExpectedAnswer) -> Bool) -> ExpectedAnswer? {
    guard let front = answers.front else { return nil }
    if wanted(front) { return takeAnswer() }
    isUncertain = true
    return answers.skip(to: wanted) ? takeAnswer() : nil
  }

  /// A login is answered in order. Where answers may have been mixed up, nobody is named whom another attempt may have
  /// named.
  mutating func loginAnswered(_ succeeded: Bool, _ answer: ExpectedAnswer) -> DialogueStep.Event {
    let isAmbiguous = isUncertain && answers.number { $0.isLogin } > 0
    let endsExchange = answer == .exchange && answers.number { $0 == .exchange } == 0
    let event = loginEnded(succeeded, endsExchange: endsExchange)
    if isAmbiguous { subject = .unusable }
    return event
  }
}
