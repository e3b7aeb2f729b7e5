/// Arguments that hold a credential, and the responses of a SASL exchange: what of them is recorded.
///
/// A byte is looked at twice: what is to be done with it follows from where the reader is (`treatment`), and only when
/// that is what the step does already, the reader goes on (`advance`). So a step ends before a byte that needs another.
extension Dialogue {
  // MARK: Beginnings

  mutating func beginCredential(_ phase: Credential.Phase, role: Credential.Role) {
    client = .credential
    credential = Credential()
    credential.phase = phase
    credential.role = role
    credential.namesUser = isCounted
  }

  /// A line, or for ManageSieve a string, that answers a challenge.
  mutating func beginResponse() {
    command = .response
    let isString = mailProtocol == .sieve
    beginCredential(isString ? .gap : .line, role: .response)
    credential.index = 1
    credential.hasStrings = isString
    if !isString { beginValue() }
  }

  /// A literal in a command that has no credential, if it is a literal.
  mutating func beginDoubtedLiteral() {
    isLiteralDoubted = false
    beginCredential(.literal, role: .excess)
    credential.literalLeft = literalLeft
    credential.index = 2
    // It was read to its end, or somewhere in the middle of a line.
    credential.isMalformed = true
  }

  /// What the argument is that begins.
  @inline(__always)
  private var nextRole: Credential.Role {
    switch (command, credential.index) {
    case (.login, 0), (.apop, 0): .user
    case (.login, 1), (.apop, 1): .password
    case (.authenticate, 0): .mechanism
    case (.authenticate, 1), (.response, 1): responseRole
    default: .excess
    }
  }

  @inline(__always)
  private var responseRole: Credential.Role {
    let mechanism = command == .response ? exchange.mechanism : Mechanism(word)
    return mechanism == .login && isFirstResponse ? .encodedUser : .response
  }

  @inline(__always)
  private var isFirstResponse: Bool { command != .response || exchange.responses == 0 }

  /// The argument's first byte is next.
  private mutating func beginValue() {
    credential.role = nextRole
    credential.startCounting()
    credential.isMarked = false
    credential.isLone = false
    credential.isInitial = command == .authenticate
    switch credential.role {
    case .mechanism: word = Word()
    case .user: if credential.namesUser { attempts.beginName() }
    case .encodedUser, .response:
      base64 = Base64Decoder()
      let mechanism = command == .response ? exchange.mechanism : Mechanism(word)
      identity.begin(isFirstResponse && credential.namesUser ? mechanism : .unknown, attempts: &attempts)
    case .password, .excess: break
    }
  }

  // MARK: Steps

  mutating func scanCredential(_ reader: inout SpanReader) -> DialogueStep {
    // What comes before it in the span is recorded.
    var step = DialogueStep(count: reader.place)
    while !reader.isAtEnd, client == .credential {
      isLiteralAwaited = false
      let byte = reader.byte
      let endsLine = byte == .lineFeed || byte == .carriageReturn && reader.next == .lineFeed
      if prepare(byte, reader) { continue }
      if withheldCount > 0, mustRedactWithheld(byte, endsLine: endsLine) {
        if step.count == 0 { redactWithheld(reader, &step) }
        return step
      }
      if credential.phase == .afterString, withheldCount > 0, !byte.isBlank, !byte.endsLine {
        return step.count > 0 ? step : release()
      }
      let treatment = credential.treatment(of: byte, endsLine: endsLine, withheld: Int(withheldCount))
      if step.count == 0 {
        step.treatment = treatment
        if treatment == .record { step.released = withheldCount }
      } else if treatment == .redact || treatment != step.treatment && (step.treatment, treatment) != (.redact, .omit) {
        return step
      }
      switch treatment {
      case .record: withheldCount = 0
      case .withhold:
        if credential.isMarked { withheldCount = 0 }
        withhold(byte, reader)
      case .redact, .omit:
        withheldCount = 0
        credential.isMarked = true
      }
      reader.place += 1
      step.count += 1
      step.event = advance(byte, endsLine: endsLine, reader)
      if step.event != .none { return step }
      if treatment != .withhold, client == .credential { takePlain(&reader, &step) }
    }
    return step
  }

  /// Goes on over bytes of which nothing but their number and their meaning matters, and that are treated like those
  /// before: of a name that is recorded, of a password that is not.
  private mutating func takePlain(_ reader: inout SpanReader, _ step: inout DialogueStep) {
    switch credential.phase {
    case .atom, .line, .quoted: break
    case .gap, .quotedEscape, .header, .literal, .afterString, .lineEnd: return
    }
    guard credential.isMarked || credential.isOpen, !credential.endsInCarriageReturn, credential.count > 0 else {
      return
    }
    while !reader.isAtEnd {
      let byte = reader.byte
      if byte.isBlank || byte.endsLine || byte == .quote || byte == .backslash { return }
      feed(byte, reader)
      reader.place += 1
      step.count += 1
    }
  }

  /// Changes that need no byte; true when there was one.
  @inline(__always)
  private mutating func prepare(_ byte: UInt8, _ reader: SpanReader) -> Bool {
    if credential.endsInCarriageReturn, byte != .lineFeed {
      // The CR was not the end of a line, but a part of this.
      credential.endsInCarriageReturn = false
      if credential.isMarked { withheldCount = 0 }
      feed(.carriageReturn, reader)
      return true
    }
    switch credential.phase {
    case .gap:
      guard !byte.isBlank, !byte.endsLine else { return false }
      let role = nextRole
      guard !credential.hasStrings || role == .excess || byte != .quote && byte != .brace else { return false }
      beginValue()
      // A password without quotes goes on to the end of the line, since it may have spaces.
      credential.phase = role == .mechanism || role == .user || role == .encodedUser ? .atom : .line
      return true
    case .header:
      var header = credential.header
      header.take(byte)
      let isTooLong = Int(withheldCount) >= LiteralHeader.longest
      guard header.phase == .none || isTooLong || byte == .brace && withheldCount > 0 else { return false }
      return endHeader(reader)
    case .literal:
      let isMarkGoingOn = readsRecording && credential.count > 0 && credential.continuesMark(byte)
      guard credential.literalLeft == 0, !isMarkGoingOn else { return false }
      credential.phase = .afterString
      return true
    case .afterString, .lineEnd:
      guard !byte.isBlank || credential.phase == .lineEnd, !byte.endsLine else { return false }
      guard withheldCount == 0 else { return false }
      closeValue(isWhole: true)
      beginExcess()
      return true
    case .atom, .line, .quoted, .quotedEscape: return false
    }
  }

  /// What looked like the header of a literal is none: the withheld bytes are the argument's first.
  private mutating func endHeader(_ reader: SpanReader) -> Bool {
    let isAtom = credential.role == .mechanism || credential.role == .user || credential.role == .encodedUser
    credential.phase = isAtom ? .atom : .line
    credential.count = UInt8(clamping: withheldCount)
    for place in 0..<Int(withheldCount) { feed(reader.memory.pointee.withheld[place], reader) }
    return true
  }

  private mutating func beginExcess() {
    credential.phase = .line
    credential.role = .excess
    credential.isMarked = false
    credential.isMalformed = true
    credential.startCounting()
  }

  // MARK: Withheld bytes

  /// Whether this byte decides that what is withheld is secret.
  @inline(__always)
  private func mustRedactWithheld(_ byte: UInt8, endsLine: Bool) -> Bool {
    if credential.isMarked { return false }
    // Without the CR that may belong to the end of the line.
    let content = Int(withheldCount) - (credential.endsInCarriageReturn ? 1 : 0)
    switch credential.phase {
    case .gap, .header, .lineEnd, .literal: return false
    case .atom: return (byte.isBlank || byte.endsLine) && !isHarmless
    case .afterString: return !isHarmless
    case .line: if endsLine { return content > 0 && !isHarmless }
    case .quoted:
      if byte == .quote { return content > 0 && !isHarmless }
      // A string without an end may hold anything.
      if endsLine { return content > 0 && !credential.isLone }
    case .quotedEscape: if endsLine { return content > 0 }
    }
    // A CR has turned out to be a part of it.
    return content > Credential.mostWithheld || content > 0 && !credential.isWithheld && !credential.isLone
  }

  /// Whether the argument, which is whole, may be recorded.
  @inline(__always)
  private var isHarmless: Bool {
    switch credential.role {
    case .mechanism, .user: true
    case .encodedUser: credential.isLone || base64.isWhole && !identity.hasControls
    case .response: credential.isLone
    case .password, .excess: false
    }
  }

  private mutating func redactWithheld(_ reader: SpanReader, _ step: inout DialogueStep) {
    step.treatment = .redact
    credential.isMarked = true
    identity.spoil()
    withheldCount = 0
    // A CR before the line feed is not of it.
    if credential.endsInCarriageReturn { withhold(.carriageReturn, reader) }
  }

  // MARK: Going on

  private mutating func advance(_ byte: UInt8, endsLine: Bool, _ reader: SpanReader) -> DialogueStep.Event {
    switch credential.phase {
    case .gap: return advanceInGap(byte)
    case .lineEnd:
      tail.take(byte)
      if byte == .lineFeed { return endCredential() }
    case .atom:
      guard byte.isBlank || byte.endsLine else {
        feed(byte, reader)
        break
      }
      closeValue(isWhole: true)
      credential.phase = byte == .carriageReturn ? .lineEnd : .gap
      if byte == .lineFeed { return endCredential() }
    case .line:
      if endsLine || byte == .carriageReturn { return advanceAtEnd(byte, endsLine: endsLine, reader) }
      feed(byte, reader)
    case .quoted, .quotedEscape: return advanceInQuotes(byte, endsLine: endsLine, reader)
    case .header: return advanceInHeader(byte, reader)
    case .literal:
      feed(byte, reader)
      advanceInLiteral()
    case .afterString:
      closeValue(isWhole: true)
      credential.phase = byte == .carriageReturn ? .lineEnd : .gap
      if byte == .lineFeed { return endCredential() }
    }
    return .none
  }

  private mutating func advanceInGap(_ byte: UInt8) -> DialogueStep.Event {
    switch byte {
    case .lineFeed: return endCredential()
    case .carriageReturn: credential.phase = .lineEnd
    case .quote, .brace:
      beginValue()
      credential.phase = byte == .quote ? .quoted : .header
      credential.header = LiteralHeader()
      credential.header.take(byte)
    default: break
    }
    return .none
  }

  /// A CR or line feed in an argument that goes on to the end of the line.
  private mutating func advanceAtEnd(_ byte: UInt8, endsLine: Bool, _ reader: SpanReader) -> DialogueStep.Event {
    if credential.role == .excess || credential.role == .password { tail.take(byte) }
    if byte == .lineFeed {
      closeValue(isWhole: true)
      return endCredential()
    }
    if endsLine || credential.isOpen {
      closeValue(isWhole: true)
      credential.phase = .lineEnd
    } else {
      credential.endsInCarriageReturn = true
    }
    return .none
  }

  private mutating func advanceInQuotes(_ byte: UInt8, endsLine: Bool, _ reader: SpanReader) -> DialogueStep.Event {
    if endsLine {
      credential.isMalformed = true
      closeValue(isWhole: false)
      credential.phase = .lineEnd
      return byte == .lineFeed ? endCredential() : .none
    }
    if byte == .carriageReturn {
      credential.endsInCarriageReturn = true
      credential.phase = .quoted
      return .none
    }
    if credential.phase == .quoted, byte == .quote {
      closeValue(isWhole: true)
      credential.phase = .afterString
    } else if credential.phase == .quoted, byte == .backslash {
      credential.take(byte)
      credential.phase = .quotedEscape
    } else {
      credential.phase = .quoted
      feed(byte, reader)
    }
    return .none
  }

  private mutating func advanceInHeader(_ byte: UInt8, _ reader: SpanReader) -> DialogueStep.Event {
    credential.header.take(byte)
    guard byte == .lineFeed else { return .none }
    let header = credential.header
    if header.isAbsurd || !header.isNonSynchronizing && mailProtocol == .sieve {
      // Nobody takes that for a literal, or only few do. What follows may be the next line.
      credential.isMalformed = true
      closeValue(isWhole: false)
      return endCredential()
    }
    credential.phase = .literal
    credential.literalLeft = header.count
    if !header.isNonSynchronizing { awaitLiteral() }
    return .none
  }

  /// The literal of a recording may have been redacted: then the mark is all of it.
  private mutating func advanceInLiteral() {
    if credential.literalLeft > 0 { credential.literalLeft -= 1 }
    if readsRecording, credential.isMark { credential.literalLeft = 0 }
  }

  /// A byte of the argument, for who reads it.
  private mutating func feed(_ byte: UInt8, _ reader: SpanReader) {
    credential.take(byte)
    switch credential.role {
    case .mechanism: word.append(byte)
    case .user: if credential.namesUser { attempts.append(byte, reader.memory) }
    case .encodedUser, .response:
      if let decoded = base64.take(byte) { identity.take(decoded, attempts: &attempts, reader.memory) }
    case .password, .excess: tail.take(byte)
    }
  }

  // MARK: Ends

  /// The argument ends.
  ///
  /// - Parameter isWhole: as it should.
  private mutating func closeValue(isWhole: Bool) {
    switch credential.role {
    case .user:
      guard credential.namesUser else { break }
      let name = attempts.endName()
      enterUser(isWhole ? name : LoginAttempts.Name(state: .unusable))
    case .encodedUser, .response:
      if !isWhole || base64.isBroken { identity.spoil() }
      if !credential.isLone { identity.end(attempts: &attempts) }
    case .mechanism, .password, .excess: break
    }
    if credential.role != .excess {
      credential.index += 1
      if credential.role == .response || credential.role == .encodedUser { hasArguments = true }
    }
    credential.role = .excess
  }

  private mutating func enterUser(_ name: LoginAttempts.Name) {
    if command == .userName {
      userName = name
    } else {
      attempts.newest?.authentication = name
    }
  }
}
