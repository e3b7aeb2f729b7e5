/// A line of the server, as far as it was read.
struct AnswerLine {
  enum Kind: UInt8 {
    /// Nothing that matters.
    case none
    /// The client is to go on: `+`, 334, a string.
    case challenge
    case final
    /// IMAP: without a tag.
    case untagged
  }

  enum Status: UInt8 {
    case none
    case ok
    case no
    case bad
    case bye
    case preauthenticated
  }

  /// How far the first words were read; what it means is up to the protocol.
  var phase: UInt8 = 0
  var kind = Kind.none
  var status = Status.none
  /// SMTP: the three digits.
  var code: UInt16 = 0
  /// Its words may name mechanisms.
  var namesMechanisms = false
  var word = Word()
  var hash = TaggedCommands.emptyHash

  /// IMAP: what the word says.
  @inline(__always)
  var statusOfWord: Status {
    switch word {
    case "OK": .ok
    case "NO": .no
    case "BAD": .bad
    case "BYE": .bye
    case "PREAUTH": .preauthenticated
    default: .none
    }
  }
}
