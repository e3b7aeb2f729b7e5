/// What is said in a session that other programs are to know by its port.
enum SampleDialogue: CaseIterable {
  case imap
  case pop3
  case smtp

  var mailProtocol: MailProtocol {
    switch self {
    case .imap: .imap
    case .pop3: .pop3
    case .smtp: .smtp
    }
  }

  /// Lines without their ends, and who says them.
  var lines: [(direction: Direction, text: String)] {
    switch self {
    case .imap:
      [
        (.out, "* OK IMAP4rev1 ready"), (.in, "a1 CAPABILITY"), (.out, "* CAPABILITY IMAP4rev1"), (.out, "a1 OK done"),
        (.in, "a2 LOGIN alice <redacted>"), (.out, "a2 OK logged in"), (.in, "a3 SELECT INBOX"), (.out, "* 0 EXISTS"),
        (.out, "a3 OK selected"), (.in, "a4 LOGOUT"), (.out, "* BYE until next time"), (.out, "a4 OK done"),
      ]
    case .pop3:
      [
        (.out, "+OK ready"), (.in, "USER alice"), (.out, "+OK"), (.in, "PASS <redacted>"), (.out, "+OK logged in"),
        (.in, "STAT"), (.out, "+OK 0 0"), (.in, "QUIT"), (.out, "+OK until next time"),
      ]
    case .smtp:
      [
        (.out, "220 mx.example.org ESMTP"), (.in, "EHLO client.example.net"), (.out, "250 mx.example.org"),
        (.in, "MAIL FROM:<alice@example.net>"), (.out, "250 ok"), (.in, "RCPT TO:<bob@example.org>"), (.out, "250 ok"),
        (.in, "DATA"), (.out, "354 go on"), (.in, "Subject: tea"), (.in, ""), (.in, "At four."), (.in, "."),
        (.out, "250 queued"), (.in, "QUIT"), (.out, "221 until next time"),
      ]
    }
  }
}
