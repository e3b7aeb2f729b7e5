/// Where in a credential, or in the arguments around it, the client is.
struct Credential {
  /// What an argument is, and so whether it is recorded.
  enum Role: UInt8 {
    /// The name of a mechanism, and a user name: recorded.
    case mechanism
    case user
    /// The first response of the mechanism LOGIN, which is a user name: recorded when it is one.
    case encodedUser
    case password
    /// A SASL response.
    case response
    /// What has no business in the command, and might be a part of a password.
    case excess
  }

  enum Phase: UInt8 {
    /// Between arguments.
    case gap
    case atom
    /// To the end of the line, whatever comes.
    case line
    case quoted
    case quotedEscape
    /// What may be the header of a literal.
    case header
    case literal
    /// Behind a quoted string or a literal.
    case afterString
    /// Behind a CR, where only a line feed should come.
    case lineEnd
  }

  var phase = Phase.gap
  var role = Role.excess
  /// The argument's number.
  var index: UInt8 = 0
  /// Arguments may be quoted strings and literals.
  var hasStrings = false
  /// `<redacted>` stands for it already.
  var isMarked = false
  /// What came is `*`, or `=`, and would be recorded if nothing followed.
  var isLone = false
  /// A response is an initial one.
  var isInitial = false
  /// Bytes of the argument, up to 255.
  var count: UInt8 = 0
  /// The last byte that is withheld is a CR, which may begin the end of the line.
  var endsInCarriageReturn = false
  /// A string had no end, or there was something that does not belong there.
  var isMalformed = false
  /// It is of an attempt whose names are wanted.
  var namesUser = false
  var header = LiteralHeader()
  var literalLeft: UInt64 = 0
  /// As many of its first bytes are those of `<redacted>`.
  private(set) var markMatched: UInt8 = 0

  /// A user name that is not known to be one yet is withheld up to here. A CR may come behind it.
  static let mostWithheld = LoginMemory.withheldBytes - 1

  /// It is recorded as it comes.
  @inline(__always)
  var isOpen: Bool { role == .mechanism || role == .user && phase != .quoted && phase != .quotedEscape }
  /// It is withheld until it is whole.
  @inline(__always)
  var isWithheld: Bool { role == .encodedUser || role == .user && !isOpen }

  /// Takes note of a byte of the argument.
  @inline(__always)
  mutating func take(_ byte: UInt8) {
    isLone = count == 0 && isException(byte)
    if continuesMark(byte) { markMatched += 1 }
    count = min(count, 254) + 1
  }

  mutating func startCounting() {
    count = 0
    markMatched = 0
  }

  /// All of it, so far, is the mark that stands for a credential in a recording.
  @inline(__always)
  var isMark: Bool { markMatched == count && Int(count) == DialogueStep.mark.utf8CodeUnitCount }

  /// With this byte, what there is of it is still the beginning of the mark.
  @inline(__always)
  func continuesMark(_ byte: UInt8) -> Bool {
    markMatched == count && Int(count) < DialogueStep.mark.utf8CodeUnitCount
      && byte == DialogueStep.mark.utf8Start[Int(count)]
  }

  /// What is no response when nothing follows: `*` cancels, and `=` is an empty initial response (RFC 4954 section 4).
  @inline(__always)
  private func isException(_ byte: UInt8) -> Bool {
    guard role == .response || role == .encodedUser else { return false }
    return byte == UInt8(ascii: "*") || byte == UInt8(ascii: "=") && isInitial
  }

  /// What is done with the next byte.
  ///
  /// - Parameters:
  ///   - endsLine: it is a line feed, or a CR with one behind it.
  ///   - withheld: how many bytes are.
  @inline(__always)
  func treatment(of byte: UInt8, endsLine: Bool, withheld: Int) -> DialogueStep.Treatment {
    switch phase {
    case .gap: byte == .brace && hasStrings ? .withhold : .record
    case .lineEnd, .afterString: .record
    case .header: byte == .lineFeed ? .record : .withhold
    case .atom: byte.isBlank || byte.endsLine ? .record : content(byte, withheld)
    case .line:
      endsLine ? .record : byte == .carriageReturn && !isOpen ? .withhold : content(byte, withheld)
    case .quoted:
      endsLine || byte == .quote ? .record : byte == .carriageReturn ? .withhold : content(byte, withheld)
    case .quotedEscape:
      endsLine ? .record : byte == .carriageReturn ? .withhold : content(byte, withheld)
    case .literal: content(byte, withheld)
    }
  }

  /// The treatment of a byte of the argument itself.
  @inline(__always)
  private func content(_ byte: UInt8, _ withheld: Int) -> DialogueStep.Treatment {
    if isMarked { return .omit }
    if isOpen { return .record }
    if isWithheld { return withheld < Self.mostWithheld ? .withhold : .redact }
    guard count == 0, withheld == 0, isException(byte) else { return .redact }
    if phase == .literal { return literalLeft == 1 ? .record : .redact }
    return .withhold
  }
}
