/// What the line that a client is sending is, as far as it matters here.
enum Command: UInt8 {
  /// Not known, or not yet.
  case none
  // What names a user or holds a credential.
  case login
  case authenticate
  case apop
  case userName
  case password
  /// Not a command, but a response of a SASL exchange.
  case response
  case startTLS
  // IMAP.
  case compress
  case unauthenticate
  case idle
  case append
  // POP3: lines follow the answer, always, or when there is no argument.
  case multiLine
  case listing
  case capabilities
  // SMTP and LMTP.
  case hello
  case mail
  case recipient
  case data
  /// BDAT.
  case chunk
  case reset
  /// A lone dot: the end of a message that did not wait to be asked for.
  case dot

  init(_ word: Word, _ mailProtocol: MailProtocol) {
    switch mailProtocol {
    case .imap: self = Self.imap(word)
    case .pop3: self = Self.pop3(word)
    case .smtp, .lmtp: self = Self.smtp(word)
    case .sieve: self = word == "AUTHENTICATE" ? .authenticate : word == "STARTTLS" ? .startTLS : .none
    }
  }

  private static func imap(_ word: Word) -> Command {
    switch word {
    case "LOGIN": .login
    case "AUTHENTICATE": .authenticate
    case "STARTTLS": .startTLS
    case "COMPRESS": .compress
    case "IDLE": .idle
    case "APPEND": .append
    case "UNAUTHENTICATE": .unauthenticate
    default: .none
    }
  }

  private static func pop3(_ word: Word) -> Command {
    switch word {
    case "USER": .userName
    case "PASS": .password
    case "APOP": .apop
    case "AUTH": .authenticate
    case "STLS": .startTLS
    case "RETR", "TOP": .multiLine
    case "LIST", "UIDL", "LANG": .listing
    case "CAPA": .capabilities
    default: .none
    }
  }

  private static func smtp(_ word: Word) -> Command {
    switch word {
    case "AUTH": .authenticate
    case "STARTTLS": .startTLS
    case "EHLO", "LHLO": .hello
    case "MAIL": .mail
    case "RCPT": .recipient
    case "DATA": .data
    case "BDAT": .chunk
    case "RSET", "HELO": .reset
    case ".": .dot
    default: .none
    }
  }

  /// Whether a line that begins so is a command, where it might also be a password.
  static func isKnown(_ word: Word, _ mailProtocol: MailProtocol) -> Bool {
    if Command(word, mailProtocol) != .none { return word != "." }
    return switch mailProtocol {
    case .imap:
      word.isOne(
        of: """
          CAPABILITY NOOP LOGOUT ID ENABLE SELECT EXAMINE CREATE DELETE RENAME SUBSCRIBE UNSUBSCRIBE LIST LSUB XLIST \
          NAMESPACE STATUS REPLACE CHECK CLOSE UNSELECT EXPUNGE SEARCH FETCH STORE COPY MOVE UID SORT THREAD \
          GETQUOTA GETQUOTAROOT SETQUOTA GETACL SETACL DELETEACL LISTRIGHTS MYRIGHTS GETMETADATA SETMETADATA NOTIFY \
          LANGUAGE COMPARATOR GENURLAUTH RESETKEY URLFETCH CONVERT ESEARCH CONTEXT CANCELUPDATE PROXYAUTH
          """)
    case .pop3: word.isOne(of: "QUIT STAT DELE NOOP RSET LAST UTF8 XTND XCLIENT")
    case .smtp, .lmtp: word.isOne(of: "QUIT NOOP VRFY EXPN HELP ETRN ATRN TURN BURL XCLIENT XFORWARD")
    case .sieve:
      word.isOne(
        of: """
          CAPABILITY NOOP LOGOUT HAVESPACE PUTSCRIPT LISTSCRIPTS SETACTIVE GETSCRIPT DELETESCRIPT RENAMESCRIPT \
          CHECKSCRIPT UNAUTHENTICATE XCLIENT
          """)
    }
  }
}
