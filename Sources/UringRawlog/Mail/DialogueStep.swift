/// What a dialogue says about the first bytes of the span that it was given: what of them is recorded, and what
/// happened with the last of them.
///
/// To be obeyed in the order of its fields: first the released bytes are recorded, then the treatment applies to the
/// next `count` bytes, then the event is acted on. Only then are the bytes behind them given to the dialogue, or not.
struct DialogueStep: Equatable {
  /// What stands in a recording for a credential.
  static let mark: StaticString = "<redacted>"

  /// How bytes are recorded. The relayed bytes are never touched.
  enum Treatment: UInt8 {
    /// As they are.
    case record
    /// `<redacted>` is recorded in place of these bytes, of those withheld before them, and of those that are omitted
    /// behind them. There may be no bytes in the step itself: then it stands for what was withheld.
    case redact
    /// Not at all: they belong to what was redacted last.
    case omit
    /// Not yet: a later step releases or redacts them. The dialogue keeps a copy.
    case withhold
  }

  /// What happened with the last byte of the step, which is always the end of a line.
  enum Event: UInt8 {
    case none
    /// The client has said who it is; the answer is yet to come.
    case userNamed
    case loginSucceeded
    case loginFailed
    /// The client has asked for TLS. Nothing behind this may be relayed in the clear by who terminates TLS.
    case startTLSRequested
    /// The server agrees to begin TLS behind this line, or does not.
    case startTLSAccepted
    case startTLSRefused
    /// SMTP: a client that did not log in begins a message (the whole of its MAIL FROM is in the step).
    case mailWithoutLogin
    /// COMPRESS was agreed on: from here on both directions are unreadable.
    case compressed
  }

  /// Bytes of the span.
  var count = 0
  /// Bytes that were withheld and are recorded after all: the first ones of `LoginMemory.withheld`.
  var released: UInt16 = 0
  var treatment = Treatment.record
  var event = Event.none
}
