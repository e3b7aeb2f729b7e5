import Glibc

/// How grave a message is, as the journal and syslog know it (sd-daemon(3)).
public enum LinePriority: UInt8, Sendable {
  /// Something ended, or does not work.
  case error = 3
  /// Something is not as it should be.
  case warning = 4
  case info = 6

  /// What stands in front of a line where standard error is the journal; nothing elsewhere.
  public var prefix: String { Self.isJournal ? "<\(rawValue)>" : "" }

  /// Standard error goes to the journal: systemd names the socket's device and inode in JOURNAL_STREAM
  /// (systemd.exec(5)). Whoever redirected it since has another file there.
  private static let isJournal: Bool = {
    guard let value = getenv("JOURNAL_STREAM") else { return false }
    var status = stat()
    guard fstat(STDERR_FILENO, &status) == 0 else { return false }
    return String(cString: value) == "\(status.st_dev):\(status.st_ino)"
  }()
}
