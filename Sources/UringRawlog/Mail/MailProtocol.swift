/// What is spoken on a connection, for everything that must understand it (`--protocol`). `raw` is not among them: then
/// there is no dialogue.
public enum MailProtocol: String, CaseIterable, Sendable {
  /// RFC 9051, 3501.
  case imap
  /// RFC 1939, 5034.
  case pop3
  /// RFC 5321, 4954: submission too.
  case smtp
  /// RFC 2033.
  case lmtp
  /// ManageSieve, RFC 5804.
  case sieve
}
