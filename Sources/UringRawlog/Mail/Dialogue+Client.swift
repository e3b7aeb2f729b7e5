/// The client's lines: which are commands, which of them have a credential, and what is a message and none of that.
extension Dialogue {
  /// A line that may be a command is withheld up to here; the longest tag and command fit.
  private static let mostHeld = 96

  mutating func scanClient(_ reader: inout SpanReader) -> DialogueStep {
    var event = DialogueStep.Event.none
    while !reader.isAtEnd, event == .none {
      // Whoever sends did not wait, or was allowed to.
      isLiteralAwaited = false
      switch client {
      case .recordHeader: takeRecordHeader(&reader)
      case .proxyHeader: takeProxyHeader(&reader)
      case .lineStart: beginLine(reader.byte)
      case .tag, .command:
        if isHeld { return reader.place > 0 ? DialogueStep(count: reader.place) : scanHeld(&reader) }
        takeWords(&reader)
      case .rest: event = takeRest(&reader)
      case .restCarriageReturn: event = takeBehindCarriageReturn(&reader)
      case .chunkSize: takeChunkSize(&reader)
      case .credential: return scanCredential(&reader)
      case .literal: skipLiteral(&reader)
      case .data: takeData(&reader)
      case .opaque:
        if withheldCount > 0 { return finish() }
        reader.place = reader.end
      case .opaqueSecret:
        return reader.place > 0 ? DialogueStep(count: reader.place) : omitAll(reader.end)
      }
    }
    return DialogueStep(count: reader.place, event: event)
  }

  /// Everything is one credential.
  private mutating func omitAll(_ count: Int) -> DialogueStep {
    defer { credential.isMarked = true }
    withheldCount = 0
    return DialogueStep(count: count, treatment: credential.isMarked ? .omit : .redact)
  }

  // MARK: The beginning of a line

  private mutating func beginLine(_ byte: UInt8) {
    if mayBeTLS {
      mayBeTLS = false
      if byte == Self.handshake {
        client = .recordHeader
        literalLeft = 3
        return
      }
      if byte == Self.proxySignature.utf8Start[0], !isGreeted {
        client = .proxyHeader
        literalLeft = 0
        return
      }
    }
    isCounted = !isInsideData && !isBehindCarriageReturn
    isBehindCarriageReturn = false
    command = .none
    word = Word()
    tail = LineTail()
    hasArguments = false
    // Behind DATA it thinks that it is in a message.
    if exchange.owesResponse, !isDataAwaited { return beginResponse() }
    isHeld = exchange.isActive || isDoubtful
    isTagCredential = false
    isOddTag = false
    tagHash = TaggedCommands.emptyHash
    client = firstWord
  }

  /// A client that did not wait may be in the middle of a message.
  private var isDataAwaited: Bool { answers.number { $0 == .data } > 0 }

  /// The type of a TLS record (RFC 8446 section 5.1).
  private static let handshake: UInt8 = 0x16

  /// A handshake record has the version 3.x: the client begins TLS, which nobody here terminates.
  private mutating func takeRecordHeader(_ reader: inout SpanReader) {
    let byte = reader.byte
    let isExpected = literalLeft == 3 ? byte == Self.handshake : literalLeft == 2 ? byte == 3 : byte < 5
    guard isExpected else {
      // It was the tag or the name of an odd command.
      beginLine(byte)
      if client == .tag || client == .command { word.append(Self.handshake) }
      return
    }
    reader.place += 1
    literalLeft -= 1
    guard literalLeft == 0 else { return }
    client = .opaque
    isTLSUnanswered = true
  }

  /// The PROXY protocol, section 2.2: a signature, two bytes, and how many follow in two more. They are no lines, though
  /// they may have line feeds and blanks in them.
  private static let proxySignature: StaticString = "\r\n\r\n\0\r\nQUIT\n"

  private mutating func takeProxyHeader(_ reader: inout SpanReader) {
    let byte = reader.byte
    let signature = Self.proxySignature
    guard literalLeft >= signature.utf8CodeUnitCount || byte == signature.utf8Start[Int(literalLeft)] else {
      // Empty lines, or worse: some servers answer these, and some do not.
      client = .lineStart
      isDoubtful = true
      isUncertain = true
      isBehindCarriageReturn = byte != .lineFeed && signature.utf8Start[Int(literalLeft) - 1] == .carriageReturn
      return
    }
    reader.place += 1
    literalLeft += 1
    switch literalLeft {
    case 15: tagHash = UInt32(byte) << 8
    case 16: tagHash |= UInt32(byte)
    default: break
    }
    guard literalLeft >= 16, literalLeft == 16 + UInt64(tagHash) else { return }
    client = .lineStart
    // TLS may begin behind it.
    mayBeTLS = true
  }

  @inline(__always)
  private var firstWord: ClientPhase { mailProtocol == .imap ? .tag : .command }

  /// The words of a line that is recorded as it comes.
  private mutating func takeWords(_ reader: inout SpanReader) {
    while !reader.isAtEnd {
      takeWord(&reader)
      if reader.isAtEnd { return }
      let byte = reader.byte
      if byte.endsLine {
        if client == .command, !word.isEmpty { beginCommand() } else { client = .rest }
        return
      }
      tail.take(byte)
      reader.place += 1
      if !word.isEmpty {
        if client == .command { return beginCommand() }
        endTag()
      }
    }
  }

  /// Goes to behind the word, or the part of it, that comes next.
  private mutating func takeWord(_ reader: inout SpanReader) {
    let start = reader.place
    var word = word
    var hash = tagHash
    var mayBeString = tail.isPending
    while !reader.isAtEnd {
      let byte = reader.byte
      if byte <= UInt8(ascii: " "), byte.isBlank || byte.endsLine { break }
      hash = TaggedCommands.hash(hash, byte)
      word.append(byte)
      if byte == .quote || byte == .brace { mayBeString = true }
      reader.place += 1
    }
    if mayBeString { tail.take(reader.bytes + start, reader.place - start) }
    if client == .tag { tagHash = hash }
    self.word = word
  }

  private mutating func endTag() {
    isTagCredential = word == "LOGIN" || word == "AUTHENTICATE"
    word = Word()
    client = .command
  }

  /// The command's name is known; its arguments follow, or the end of the line.
  private mutating func beginCommand() {
    client = .rest
    if isTagCredential, !Command.isKnown(word, .imap) {
      // The tag is missing: this was the user name, and a password follows.
      beginCredential(.line, role: .excess)
      isDoubtful = true
      return
    }
    command = Command(word, mailProtocol)
    if mailProtocol == .imap, isCounted {
      tagged.push(tagHash, imapAnswer)
      hasUnfinishedCommand = true
    }
    switch command {
    case .login, .apop: beginArguments(withRole: .user)
    case .authenticate: beginArguments(withRole: .mechanism)
    case .userName:
      beginCredential(.line, role: .user)
      if isCounted { attempts.beginName() }
    case .password: beginCredential(.line, role: .password)
    case .chunk:
      client = .chunkSize
      literalLeft = 0
      word = Word()
    case .none, .response, .startTLS, .compress, .unauthenticate, .idle, .append, .multiLine, .listing, .capabilities,
      .hello,
      .mail, .recipient, .data, .reset, .dot:
      break
    }
  }

  @inline(__always)
  private var imapAnswer: ExpectedAnswer {
    switch command {
    case .login: .login
    case .authenticate: .exchange
    case .startTLS: .startTLS
    case .compress: .compress
    case .unauthenticate: .unauthenticate
    case .idle: .idle
    case .none, .apop, .userName, .password, .response, .append, .multiLine, .listing, .capabilities, .hello, .mail,
      .recipient,
      .data, .chunk, .reset, .dot:
      .single
    }
  }

  private mutating func beginArguments(withRole role: Credential.Role) {
    if isCounted { attempts.begin() }
    userName = LoginAttempts.Name()
    beginCredential(.gap, role: role)
    credential.hasStrings = hasLiterals
  }

  @inline(__always)
  var hasLiterals: Bool { mailProtocol == .imap || mailProtocol == .sieve }

  // MARK: Lines in doubt

  /// The words of a line of which it is not known yet whether it is a command: they are withheld until it is.
  private mutating func scanHeld(_ reader: inout SpanReader) -> DialogueStep {
    var step = DialogueStep(treatment: .withhold)
    while !reader.isAtEnd {
      let byte = reader.byte
      let endsWord = !word.isEmpty && byte.isBlank
      let isDecided = byte.endsLine || endsWord && client == .command
      if isDecided || Int(withheldCount) >= Self.mostHeld {
        // What is withheld by this step must be so before it can be released.
        return step.count > 0 ? step : decideHeld(isWhole: isDecided, endsLine: byte.endsLine)
      }
      if endsWord {
        endTag()
      } else if !byte.isBlank {
        if client == .tag {
          tagHash = TaggedCommands.hash(tagHash, byte)
          if !Self.mayBeInTag(byte) { isOddTag = true }
        }
        word.append(byte)
      }
      tail.take(byte)
      withhold(byte, reader)
      reader.place += 1
      step.count += 1
    }
    return step
  }

  /// RFC 9051 section 9. Clients use others, but in doubt they are not believed.
  private static func mayBeInTag(_ byte: UInt8) -> Bool {
    switch byte {
    case 0...0x20, 0x7F...0xFF, .quote, .backslash, .brace, UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: "%"),
      UInt8(ascii: "*"), UInt8(ascii: "+"):
      false
    default: true
    }
  }

  mutating func withhold(_ byte: UInt8, _ reader: SpanReader) {
    reader.memory.pointee.withheld[Int(withheldCount)] = byte
    withheldCount += 1
  }

  /// What is withheld is the name of a command, with its tag, an empty line, or something secret.
  private mutating func decideHeld(isWhole: Bool, endsLine: Bool) -> DialogueStep {
    isHeld = false
    if isWhole, client == .command, !isOddTag, Command.isKnown(word, mailProtocol) {
      isDoubtful = false
      return release()
    }
    if endsLine, word == ".", withheldCount == 1, isDataAwaited {
      // The end of a message that nobody has asked for yet.
      return release()
    }
    if endsLine, client == firstWord, word.isEmpty {
      client = .rest
      return release()
    }
    let isStar = word == "*" && withheldCount == 1
    beginCredential(.line, role: isStar ? .response : .excess)
    base64 = Base64Decoder()
    identity.begin(.unknown, attempts: &attempts)
    credential.count = UInt8(clamping: withheldCount)
    credential.isLone = isStar
    return DialogueStep()
  }

  /// What is withheld is recorded after all.
  mutating func release() -> DialogueStep {
    defer { withheldCount = 0 }
    return DialogueStep(released: withheldCount)
  }

  // MARK: The rest of a line

  private mutating func takeRest(_ reader: inout SpanReader) -> DialogueStep.Event {
    let start = reader.place
    let lineFeed = reader.find(.lineFeed, before: reader.end)
    let limit = lineFeed ?? reader.end
    if let carriageReturn = reader.find(.carriageReturn, before: limit), carriageReturn + 1 != lineFeed {
      noteArguments(reader, to: carriageReturn)
      if hasLiterals { tail.take(reader.bytes + start, carriageReturn + 1 - start) }
      reader.place = carriageReturn + 1
      client = .restCarriageReturn
      return .none
    }
    if command == .listing { noteArguments(reader, to: limit) }
    let isComplete = hasLiterals ? reader.skipLine(&tail) : skipLine(&reader, to: lineFeed)
    return isComplete ? endLine() : .none
  }

  private func skipLine(_ reader: inout SpanReader, to lineFeed: Int?) -> Bool {
    reader.place = lineFeed.map { $0 + 1 } ?? reader.end
    return lineFeed != nil
  }

  /// POP3's LIST and UIDL are answered by one line when they ask for one message.
  private mutating func noteArguments(_ reader: SpanReader, to limit: Int) {
    guard command == .listing, !hasArguments else { return }
    for place in reader.place..<limit {
      let byte = reader.bytes.load(fromByteOffset: place, as: UInt8.self)
      if !byte.isBlank, !byte.endsLine { hasArguments = true }
    }
  }

  private mutating func takeBehindCarriageReturn(_ reader: inout SpanReader) -> DialogueStep.Event {
    let byte = reader.byte
    guard byte.endsLine else {
      // A CR alone: some take it for the end of a line, and then a password may follow.
      client = .lineStart
      isBehindCarriageReturn = true
      return .none
    }
    tail.take(byte)
    reader.place += 1
    return byte == .lineFeed ? endLine() : .none
  }

  private mutating func takeChunkSize(_ reader: inout SpanReader) {
    while !reader.isAtEnd {
      let byte = reader.byte
      if byte.endsLine {
        client = .rest
        return
      }
      reader.place += 1
      if byte &- UInt8(ascii: "0") < 10, word.isEmpty {
        hasArguments = true
        let (tens, isTooMuch) = literalLeft.multipliedReportingOverflow(by: 10)
        let (sum, isMore) = tens.addingReportingOverflow(UInt64(byte - UInt8(ascii: "0")))
        literalLeft = isTooMuch || isMore ? .max : sum
      } else if !byte.isBlank {
        word.append(byte)
      }
    }
  }

  // MARK: What is no line

  private mutating func skipLiteral(_ reader: inout SpanReader) {
    if isLiteralDoubted {
      beginDoubtedLiteral()
      return
    }
    let skipped = Int(min(literalLeft, UInt64(reader.end - reader.place)))
    reader.place += skipped
    literalLeft -= UInt64(skipped)
    if literalLeft == 0 { client = hasLiterals ? .rest : .lineStart }
  }

  private mutating func takeData(_ reader: inout SpanReader) {
    switch data.skip(&reader) {
    case .nothing: return
    case .end: answers.push(.dataEnd)
    case .looseEnd: isInsideData = true
    }
    client = .lineStart
  }
}
