import Glibc
import UringRawlog

/// What a run says while it runs, on standard output.
enum Progress {
  private static let isTerminal = isatty(STDOUT_FILENO) == 1
  nonisolated(unsafe) private static var hasTransient = false

  /// A line that stays. Other programs' messages may be in it.
  static func say(_ line: String) {
    clear()
    put(line.escapedForMessage + "\n")
  }

  /// A line that the next one replaces; only on a terminal.
  static func show(_ line: String) {
    guard isTerminal else { return }
    clear()
    put(line)
    hasTransient = true
  }

  static func end() { clear() }

  private static func clear() {
    if hasTransient { put("\r\u{1B}[K") }
    hasTransient = false
  }

  private static func put(_ text: String) {
    let bytes = Array(text.utf8)
    var written = 0
    while written < bytes.count {
      let count = bytes[written...].withUnsafeBytes { write(STDOUT_FILENO, $0.baseAddress, $0.count) }
      guard count > 0 else { return }
      written += count
    }
  }
}
