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

  /// It is recorded as it comes.
  var isOpen: Bool { role == .mechanism || role == .user && phase != .quoted && phase != .quotedEscape }
  /// It is withheld until it is whole.
  var isWithheld: Bool { role == .encodedUser || role == .user && !isOpen }
}
