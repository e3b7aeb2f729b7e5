/// Reads a mail connection, both directions of it, and says what of it must not be recorded, who logs in and whether
/// that succeeds, and when TLS begins (`docs/MAIL.md`).
///
/// Plain data: it holds no memory, allocates none, and gives the same steps, but for their number, however the bytes
/// were split. It must be given each span before the span is passed on, so that whatever a peer answers comes after
/// what it answers to.
struct Dialogue {
  enum Speaker {
    case client
    case server
  }

  /// Where in its lines the client is.
  enum ClientPhase: UInt8 {
    case lineStart
    case tag
    case command
    /// Behind the command's name, where nothing is secret.
    case rest
    case restCarriageReturn
    /// The argument of BDAT.
    case chunkSize
    case credential
    /// The bytes of a literal or of a BDAT.
    case literal
    /// The message behind DATA.
    case data
    /// The first bytes of what may be TLS.
    case recordHeader
    /// What may be a PROXY header, version 2, in front of everything, which nobody here takes off.
    case proxyHeader
    /// Encrypted or compressed.
    case opaque
    /// Compressed, before anybody logged in: whatever logs in is in there.
    case opaqueSecret
  }

  enum ServerPhase: UInt8 {
    case lineStart
    /// The words that say what a line is.
    case head
    /// To the end of the line.
    case text
    /// The same, where a literal may come.
    case strings
    case literal
    /// Lines up to one with a dot.
    case message
    case opaque
  }

  let mailProtocol: MailProtocol
  /// The bytes are those of a recording: `<redacted>` may stand in place of a literal, however long that was.
  let readsRecording: Bool

  // MARK: The client's side

  var client = ClientPhase.lineStart
  var command = Command.none
  /// The line's answer will be told by its place. Not so behind a CR alone, which only some take for the end of a line.
  var isCounted = true
  var isBehindCarriageReturn = false
  /// The line's first words are withheld until it is known what they are.
  var isHeld = false
  var hasArguments = false
  /// IMAP: the tag is the name of a command that holds a password. Somebody may have forgotten the tag.
  var isTagCredential = false
  /// IMAP: the tag of a line in doubt has bytes that no tag may have.
  var isOddTag = false
  /// IMAP: the last of `tagged` is the command that is being sent.
  var hasUnfinishedCommand = false
  /// IMAP: a literal was announced, and neither it nor the server's permission has come.
  var isLiteralAwaited = false
  /// Something went wrong with an authentication, and passwords may follow: what is no command is secret.
  var isDoubtful = false
  /// IMAP: that literal is of a command that should have none before a login. A server that does not take it reads
  /// lines, of which one may log in.
  var isLiteralDoubted = false
  /// The next byte may begin TLS, which is passed through; it has begun, and the server has not answered in kind.
  var mayBeTLS = true
  var isTLSUnanswered = false
  var word = Word()
  var tagHash = TaggedCommands.emptyHash
  var tail = LineTail()
  var literalLeft: UInt64 = 0
  var withheldCount: UInt16 = 0
  var credential = Credential()

  // MARK: SMTP

  /// Whether the server's extensions were listed, and CHUNKING was among them.
  var extensionsListed = false
  var offersChunking = false
  var isMailSeen = false
  /// Behind something that only some take for the end of a message: lines may be commands or not.
  var isInsideData = false
  var data = MessageData()
  /// LMTP: recipients accepted; answers that are left to the end of the message.
  var acceptedRecipients: UInt32 = 0
  var endAnswersLeft: UInt32 = 0

  // MARK: Logins

  var exchange = SASLExchange()
  var base64 = Base64Decoder()
  var identity = IdentityReader()
  var attempts = LoginAttempts()
  /// POP3: the name of the last USER.
  var userName = LoginAttempts.Name()
  /// Who the last event was about.
  var subject = LoginAttempts.Attempt()
  var isLoggedIn = false
  /// Answers may have been taken for those of other commands.
  var isUncertain = false

  // MARK: The server's side

  var server = ServerPhase.lineStart
  var line = AnswerLine()
  var serverTail = LineTail()
  var serverLiteralLeft: UInt64 = 0
  var message = MessageData()
  var isGreeted = false
  /// IMAP: IDLE commands that were not answered by `+` yet.
  var idlesAwaited: UInt16 = 0
  /// The same for literals, also those that were sent without waiting.
  var literalsAwaited: UInt16 = 0
  var tagged = TaggedCommands()
  var answers = AnswerQueue()
  /// What the server offers that cannot work where TLS is terminated; known until somebody logs in.
  var offered = OfferedMechanisms()

  /// - Parameters:
  ///   - isBehindStartTLS: the connection goes on under TLS; only a ManageSieve server greets again (RFC 5804 section
  ///     2.2).
  ///   - readsRecording: what is scanned may have been redacted already.
  init(_ mailProtocol: MailProtocol, isBehindStartTLS: Bool = false, readsRecording: Bool = false) {
    self.mailProtocol = mailProtocol
    self.readsRecording = readsRecording
    isGreeted = isBehindStartTLS
    mayBeTLS = !isBehindStartTLS
    if mailProtocol != .imap, !isBehindStartTLS || mailProtocol == .sieve { answers.push(.single) }
  }

  // MARK: Scanning

  /// Looks at a span, up to the next thing that is to be said about it.
  ///
  /// - Parameters:
  ///   - bytes: the bytes that follow those of the last step of this direction; at least one.
  ///   - memory: the same in every call, for one dialogue.
  /// - Returns: what to do with the first bytes of the span. A step may have no bytes.
  mutating func scan(
    _ bytes: UnsafeRawBufferPointer, from speaker: Speaker, memory: UnsafeMutablePointer<LoginMemory>
  ) -> DialogueStep {
    guard let start = bytes.baseAddress, !bytes.isEmpty else { return DialogueStep() }
    var reader = SpanReader(bytes: start, end: bytes.count, memory: memory)
    switch speaker {
    case .client: return scanClient(&reader)
    case .server: return scanServer(&reader)
    }
  }

  /// The client will send nothing more, or nothing more is recorded: what is still withheld will never be known to be
  /// harmless, and is redacted.
  mutating func finish() -> DialogueStep {
    guard withheldCount > 0 else { return DialogueStep() }
    withheldCount = 0
    let isMarked = client == .credential && credential.isMarked
    return DialogueStep(treatment: isMarked ? .omit : .redact)
  }

  /// Nothing will ever be said about what comes from now on.
  @inline(__always)
  var isQuiet: Bool { client == .opaque && server == .opaque && withheldCount == 0 }

  // MARK: Memory

  /// Something in the memory will be needed by later scans. When nothing is, and the last event was acted on, another
  /// memory will do.
  @inline(__always)
  var usesMemory: Bool {
    withheldCount > 0 || client == .credential || attempts.count > 0 || userName.state == .known && !isLoggedIn
  }

  /// The memory is given away: nobody can be named any more but by what is scanned from now on.
  mutating func forgetNames() {
    subject = LoginAttempts.Attempt()
    if userName.state == .known { userName = LoginAttempts.Name(state: .unusable) }
  }

  // MARK: Who it is

  /// The authentication identity of the login that the last event was about.
  func authenticationIdentity(_ memory: UnsafeMutablePointer<LoginMemory>) -> LoginIdentity {
    identity(subject.authentication, memory)
  }

  /// The authorization identity that was given with it: whose mailbox it is, if not the former's.
  func authorizationIdentity(_ memory: UnsafeMutablePointer<LoginMemory>) -> LoginIdentity {
    identity(subject.authorization, memory)
  }

  /// Whose mailbox it is.
  func mailboxIdentity(_ memory: UnsafeMutablePointer<LoginMemory>) -> LoginIdentity {
    identity(subject.authorization.state == .absent ? subject.authentication : subject.authorization, memory)
  }

  private func identity(
    _ name: LoginAttempts.Name, _ memory: UnsafeMutablePointer<LoginMemory>
  ) -> LoginIdentity {
    switch name.state {
    case .absent: return .absent
    case .unusable: return .unusable
    case .known:
      let names = UnsafeRawPointer(memory) + MemoryLayout<LoginMemory>.offset(of: \.names)!
      return .known(UnsafeRawBufferPointer(start: names + Int(name.offset), count: Int(name.count)))
    }
  }
}
