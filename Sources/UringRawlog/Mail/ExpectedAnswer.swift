/// What the server's answer to a command will mean.
enum ExpectedAnswer: UInt8 {
  /// One answer, and nothing that matters.
  case single
  /// POP3: when positive, lines follow up to one with a dot. Those of CAPA are looked into.
  case multiLine
  case capabilities
  /// A login in one command; one that is a SASL exchange.
  case login
  case exchange
  case startTLS
  case compress
  case unauthenticate
  case idle
  /// SMTP: EHLO, whose answer lists extensions.
  case hello
  /// SMTP: DATA, then the end of its message.
  case data
  case dataEnd
  /// LMTP: RCPT, of which it counts how many are accepted; the last BDAT, which is answered as often; what begins anew.
  case recipient
  case lastChunk
  case reset

  var isLogin: Bool { self == .login || self == .exchange }
}
