import Glibc

/// Lines on standard error in the words and levels of Dovecot's rawlog; under Dovecot each becomes a line of its log.
enum Message {
  enum Level: String {
    case info = "Info"
    case warning = "Warning"
    case error = "Error"
    case fatal = "Fatal"
  }

  /// - Parameter isEarly: the command line is still being read; then the program's name stands in front.
  static func say(_ level: Level, _ text: String, isEarly: Bool = false) {
    // A log that nobody reads must not stop the session.
    var ready = pollfd(fd: STDERR_FILENO, events: Int16(POLLOUT), revents: 0)
    guard poll(&ready, 1, 0) == 1, Int32(ready.revents) & POLLOUT != 0 else { return }
    // A pipe that is ready takes PIPE_BUF (4096) bytes without waiting (pipe(7)).
    let line = "\(isEarly ? "rawlog: " : "")\(level.rawValue): \(text.escapedForMessage)"
    var bytes = Array(line.utf8.prefix(4095))
    bytes.append(UInt8(ascii: "\n"))
    _ = write(STDERR_FILENO, bytes, bytes.count)
  }

  /// Why there is no recording although there is a directory for it.
  static func sayNotRecorded(_ reason: String) { say(.error, "rawlog: this session is not recorded: \(reason)") }
}
