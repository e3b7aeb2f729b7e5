import Glibc

/// What `uring-rawlog export` was asked for.
public struct ExportConfiguration: Sendable {
  /// What sessions are written as.
  public enum Format: String, Sendable, CaseIterable {
    /// One capture with all of them, and its side file.
    case pcapng
    /// Two files each, in a directory.
    case pair
    /// One file each, in a directory.
    case merged
    /// A line of JSON for each piece.
    case jsonl
  }

  /// A recording, its stem, a capture or a directory.
  public var path: String
  public var format: Format
  /// A file, or with `pair` and `merged` a directory; `-` for standard output, with `jsonl`.
  public var output: String
  public var indexDirectory: String?
  /// Only sessions with this id, or whose ids begin with it; of these clients, of this user; that began between.
  public var session: String?
  public var clients: [CIDR] = []
  public var user: String?
  public var sinceMicroseconds: Int64?
  public var untilMicroseconds: Int64?
  /// With `pair`: times in front of lines, as `-t` of the relay.
  public var timestamps = false
  /// With `pcapng`: ports of TLS become those of the same protocol without, since what is captured is not encrypted.
  public var plainPorts = false

  public init(path: String, format: Format, output: String) {
    self.path = path
    self.format = format
    self.output = output
  }
}

/// `uring-rawlog export`: recordings of any layout in any other.
public enum Export {
  /// - Parameter errors: gets a line for each recording that is damaged or cannot be read; the others are exported.
  /// - Returns: how many sessions were exported, and `ok`, or the worst that was met with.
  /// - Throws: `StartError` when there is nothing to export (65, 66), or the output cannot be written (73, 74).
  public static func run(_ configuration: ExportConfiguration, errors: Int32) throws(StartError) -> (
    sessions: Int, status: ExitStatus
  ) {
    signal(SIGPIPE, SIG_IGN)
    let target = try ReadingTarget(configuration.path)
    let sessions = try ExportedSessions(configuration, target)
    let writer = try writer(configuration)
    var report = Report(descriptor: errors)
    var status = ExitStatus.ok
    func complain(_ error: StartError) {
      report.say(error.message)
      if status != .dataError { status = error.status }
    }
    var count = 0
    var sideBySide = SideBySide(writer)
    try sessions.forEach(complain) { (session) throws(StartError) in
      try sideBySide.add(session, complain)
      count += 1
    }
    try sideBySide.finish(complain)
    try writer.finish()
    if count == 0 {
      throw StartError(
        status == .ok ? .noInput : status,
        "nothing of '\(configuration.path)' is exported: no session is as was asked for")
    }
    return (count, status)
  }

  private static func writer(_ configuration: ExportConfiguration) throws(StartError) -> any SessionWriter {
    switch configuration.format {
    case .pcapng: try CaptureSessionWriter(configuration.output, plainPorts: configuration.plainPorts)
    case .pair: try PairSessionWriter(configuration.output, timestamps: configuration.timestamps)
    case .merged: try MergedSessionWriter(configuration.output)
    case .jsonl: try JSONSessionWriter(configuration.output)
    }
  }
}
