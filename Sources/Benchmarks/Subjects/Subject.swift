/// A relay that is measured: ours in one of its modes, or somebody else's.
struct Subject {
  /// As it appears in tables and results.
  let name: String
  let role: Role
  /// What it is told, for whoever wants to check: a command line or a configuration file.
  var configuration = ""
  var version = ""
  /// Which part of the load a slow one gets: its result is per unit all the same.
  var share = 1.0
  /// It forks for each connection: what a child used counts only once it ended.
  var forks = false
  /// The name of the subject whose cost is taken off.
  var control: String?
  /// It is the server of the load itself, with something around it.
  var isServer = false
  let start: (_ server: UInt16, _ directory: String) throws(BenchError) -> RunningSubject

  enum Role: Equatable {
    case plain
    case recorded
    /// A variant of ours: its results stand beside `recorded`.
    case variant
    case peer
    /// What a peer would need without what is measured: taken off, and shown nowhere.
    case control
  }
}

/// A subject that listens.
final class RunningSubject {
  let process: ChildProcess
  let port: UInt16
  /// Where it records, if it does, and whether its lines bear stamps.
  let recordings: Recordings?
  /// Ours tell in the index when a session is over, with all of its recording.
  let index: String?
  /// Nanoseconds that a subject of another shape used since it was started; nil to look at the process tree.
  var meter: (() throws(BenchError) -> UInt64)?

  init(process: ChildProcess, port: UInt16, recordings: Recordings? = nil, index: String? = nil) {
    self.process = process
    self.port = port
    self.recordings = recordings
    self.index = index
  }

  /// User and system time so far, of its processes that are alive: nanoseconds.
  func used() throws(BenchError) -> UInt64 {
    if let meter { return try meter() }
    return ProcessUse.tree(process.pid).reduce(0) { $0 + (ProcessUse.cpuNanoseconds($1) ?? 0) }
  }

  /// Private memory of its processes: bytes.
  var privateBytes: Int { ProcessUse.tree(process.pid).reduce(0) { $0 + (ProcessUse.privateBytes($1) ?? 0) } }
}
