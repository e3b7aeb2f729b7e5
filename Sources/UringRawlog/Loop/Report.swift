import Glibc

/// Messages to the administrator: one line each on standard error, `uring-rawlog: ` in front.
///
/// Lines about sessions are limited in number, and one that standard error would not take at once (a pipe that nobody
/// reads) is left out: mail does not wait for a message. What was left out is counted and said in one line.
struct Report: ~Copyable {
  private let descriptor: Int32
  private var second: UInt64 = 0
  private var linesThisSecond = 0
  private(set) var suppressed: UInt64 = 0
  private var suppressedSaid: UInt64 = 0

  /// - Parameter descriptor: where lines go; -1 counts them only.
  init(descriptor: Int32) {
    self.descriptor = descriptor
  }

  /// A line that is always written.
  mutating func say(_ text: String, _ priority: LinePriority = .warning) {
    if !write(text, priority) { suppressed += 1 }
  }

  /// A line about one session, of which there may be very many.
  mutating func say(at now: UInt64, _ text: @autoclosure () -> String) {
    let nowSecond = now / 1_000_000_000
    if nowSecond != second {
      second = nowSecond
      linesThisSecond = 0
      sumUp()
    }
    guard linesThisSecond < Limits.messagesPerSecond else {
      suppressed += 1
      return
    }
    linesThisSecond += 1
    say(text())
  }

  /// Says how many lines were left out since this was last said.
  mutating func sumUp() {
    guard suppressed > suppressedSaid else { return }
    let count = suppressed - suppressedSaid
    let isWritten = write(
      "\(count) more \(count == 1 ? "message" : "messages") like these left out; the session index has every session")
    // A sum that could not be written is part of the next.
    if isWritten { suppressedSaid = suppressed }
  }

  /// Writes a line if standard error takes it at once.
  private func write(_ text: String, _ priority: LinePriority = .warning) -> Bool {
    guard descriptor >= 0 else { return true }
    var ready = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
    guard poll(&ready, 1, 0) == 1, Int32(ready.revents) & POLLOUT != 0 else { return false }
    // A pipe that is ready takes PIPE_BUF (4096) bytes without waiting (pipe(7)).
    var line = Array("\(priority.prefix)uring-rawlog: \(text.escapedForMessage)".utf8.prefix(4000))
    line.append(UInt8(ascii: "\n"))
    return Glibc.write(descriptor, line, line.count) > 0
  }
}
