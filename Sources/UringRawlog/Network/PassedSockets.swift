import Glibc

/// The sockets that systemd passed on when it started the program (sd_listen_fds(3)).
struct PassedSockets {
  /// Descriptors begin here (SD_LISTEN_FDS_START).
  static let firstDescriptor: Int32 = 3

  /// The name of each, as FileDescriptorName= says; the first belongs to `firstDescriptor`.
  let names: [String]

  static let none = PassedSockets(processID: 0) { _ in nil }

  /// What an environment says; nothing where its sockets are meant for another process.
  ///
  /// - Parameter value: looks a variable of the environment up.
  init(processID: pid_t, _ value: (String) -> String?) {
    guard value("LISTEN_PID").flatMap({ pid_t($0) }) == processID,
      let count = value("LISTEN_FDS").flatMap({ Int32($0) }), count > 0, count <= Int32.max - Self.firstDescriptor
    else {
      names = []
      return
    }
    var given = value("LISTEN_FDNAMES")?.split(separator: ":", omittingEmptySubsequences: false).map(String.init) ?? []
    if given.count != Int(count) { given = Array(repeating: "unknown", count: Int(count)) }
    names = given
  }

  /// Takes those of this process over: no process that it starts gets them too.
  static func take() -> PassedSockets {
    let passed = PassedSockets(processID: getpid()) { name in getenv(name).map { String(cString: $0) } }
    for place in passed.names.indices { _ = fcntl(firstDescriptor + Int32(place), F_SETFD, FD_CLOEXEC) }
    for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] { unsetenv(name) }
    return passed
  }

  /// Whether a socket unit could give this name: systemd.socket(5), FileDescriptorName=.
  static func isName(_ name: String) -> Bool {
    (1...255).contains(name.utf8.count)
      && name.utf8.allSatisfy { (0x20..<0x7F).contains($0) && $0 != UInt8(ascii: ":") }
  }

  /// The sockets of a name, or all.
  ///
  /// - Throws: 69 when there are none.
  func named(_ name: String?, given: String) throws(StartError) -> [Int32] {
    let places = names.indices.filter { name == nil || names[$0] == name }
    guard places.isEmpty else { return places.map { Self.firstDescriptor + Int32($0) } }
    guard let name, !names.isEmpty else {
      throw StartError(
        .unavailable,
        "cannot listen on '\(given)': systemd passed no socket; start the program from a unit with a socket unit (Sockets=)"
      )
    }
    let there = Set(names).sorted().map { "'\($0)'" }.joined(separator: ", ")
    throw StartError(
      .unavailable,
      "cannot listen on '\(given)': no socket is named '\(name)', there are \(there); see FileDescriptorName= of the socket "
        + "unit")
  }

  /// The names of sockets that nothing listens on: clients of theirs would wait without end.
  func unused(_ addresses: [Address]) -> [String] {
    let wanted = addresses.compactMap { address -> String?? in
      if case .systemd(let name) = address.target { .some(name) } else { nil }
    }
    guard !wanted.contains(where: { $0 == nil }) else { return [] }
    return Set(names).subtracting(wanted.compactMap(\.self)).sorted()
  }
}
