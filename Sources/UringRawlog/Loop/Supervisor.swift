import Glibc

/// Whoever started the program and wants to hear how it is (sd_notify(3)): datagrams to the socket that NOTIFY_SOCKET
/// names, none of which waits. Without that variable nothing is said.
struct Supervisor {
  private var socket: Int32 = -1
  private var address = SocketAddress()
  /// Half of what WATCHDOG_USEC allows, in nanoseconds; 0 where nobody watches.
  private(set) var beatNanoseconds: UInt64 = 0
  /// When a sign of life is due (monotonic nanoseconds); `.max` where nobody waits for one.
  private(set) var nextBeat = UInt64.max

  init() {}

  /// - Parameter value: looks a variable of the environment up.
  init(processID: pid_t, _ value: (String) -> String?) {
    guard let path = value("NOTIFY_SOCKET"), let address = SocketAddress(notifying: path) else { return }
    self.address = address
    socket = Glibc.socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard let micros = value("WATCHDOG_USEC").flatMap({ UInt64($0) }), micros > 0, micros < UInt64(Int64.max) / 1000
    else { return }
    // Without WATCHDOG_PID it is for whoever reads it (sd_watchdog_enabled(3)).
    if let watched = value("WATCHDOG_PID"), pid_t(watched) != processID { return }
    beatNanoseconds = micros * 500
  }

  /// The one of this process; what it starts is not asked to speak for it.
  static func find() -> Supervisor {
    let supervisor = Supervisor(processID: getpid()) { name in getenv(name).map { String(cString: $0) } }
    for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] { unsetenv(name) }
    return supervisor
  }

  /// The program serves, also after `reloading`; now begins the time for signs of life.
  mutating func ready(at now: UInt64) {
    say("READY=1")
    if beatNanoseconds > 0, nextBeat == .max { nextBeat = now + beatNanoseconds }
  }

  /// It reads again what it was told to; `now` is CLOCK_MONOTONIC, as Type=notify-reload wants it.
  func reloading(at now: UInt64) { say("RELOADING=1\nMONOTONIC_USEC=\(now / 1000)") }

  func stopping() { say("STOPPING=1") }

  /// A sign of life, when it is due.
  @inline(__always)
  mutating func beat(at now: UInt64) {
    guard now >= nextBeat else { return }
    say("WATCHDOG=1")
    nextBeat = now + beatNanoseconds
  }

  private func say(_ text: String) {
    guard socket >= 0 else { return }
    // To the address each time: a supervisor that was started anew has another socket there. One that does not read
    // misses what was said.
    _ = Array(text.utf8).withUnsafeBytes { bytes in
      address.withPointer {
        sendto(socket, bytes.baseAddress, bytes.count, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL), $0, $1)
      }
    }
  }
}

extension SocketAddress {
  /// The address of a NOTIFY_SOCKET: a path, or a name in the abstract space, written with `@`.
  fileprivate init?(notifying path: String) {
    if path.hasPrefix("/") {
      self.init(unixPath: path)
    } else if path.hasPrefix("@"), path.utf8.count <= 107 {
      self.init(abstractName: path.dropFirst())
    } else {
      return nil
    }
  }
}
