import Glibc

/// Why a run could not be done: one line for the user, and the exit code of sysexits.h.
public struct BenchError: Error, Sendable, CustomStringConvertible {
  public let description: String
  public let status: Int32

  /// EX_UNAVAILABLE, unless another status is given.
  init(_ description: String, status: Int32 = 69) {
    self.description = description
    self.status = status
  }

  /// A call that failed (EX_OSERR).
  init(_ call: String, _ code: Int32) {
    self.init("\(call): \(String(cString: strerror(code)))", status: 71)
  }

  /// The user ended the run.
  static let interrupted = BenchError("interrupted", status: 130)

  /// A figure got worse than its baseline allows.
  static func regressed(_ text: String) -> BenchError { BenchError(text, status: 1) }
}

/// SIGINT and SIGTERM end a run between two steps, so that processes are ended and directories removed.
enum Interrupt {
  nonisolated(unsafe) private static var flag: sig_atomic_t = 0

  static var hasCome: Bool { flag != 0 }

  static func watch() {
    var action = sigaction()
    action.__sigaction_handler.sa_handler = { _ in Interrupt.flag = 1 }
    // Without SA_RESTART: what waits is to notice.
    for signal in [SIGINT, SIGTERM, SIGHUP] { sigaction(signal, &action, nil) }
  }

  static func check() throws(BenchError) {
    if hasCome { throw .interrupted }
  }
}
