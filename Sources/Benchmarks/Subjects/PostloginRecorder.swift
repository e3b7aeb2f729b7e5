import Glibc

/// A recorder that becomes a program for each connection, after it has put a process of its own between: ours, and the
/// one that Dovecot has.
struct PostloginRecorder {
  let name: String
  let version: String
  /// The recorder's binary; nil for the program alone.
  let program: String?

  static let original = "/usr/lib/dovecot/rawlog"
  static let originalName = "Dovecot's rawlog"

  /// Ours lies beside this program.
  static var ours: String { parentDirectory(ownProgram) + "/rawlog" }
  /// The program that is recorded does too.
  private static var server: String { parentDirectory(ownProgram) + "/bench-server" }

  var configuration: String {
    // Where ours was built says nothing to whoever reads the result.
    "HOME=DIR \(program == Self.ours ? name : program ?? "") -t bench-server ANSWERS, started for each connection with the socket as descriptors 0 and "
      + "1; what bench-server needs when it is started without it is taken off"
  }

  /// - Throws: `BenchError` where a part of the measurement is not installed.
  static func checkInstalled() throws(BenchError) {
    for path in [ours, server] where access(path, X_OK) != 0 {
      throw BenchError("'\(path)' is not there; build all of the project, or leave the workload out")
    }
  }

  /// Starts the acceptor, which starts this for each connection.
  func start(in directory: String, answers: [String]) throws(BenchError) -> RunningSubject {
    let (log, environment) = try Self.prepare(directory)
    let command = (program.map { [$0, "-t"] } ?? []) + [Self.server] + answers
    return try Self.acceptor(
      command, environment, recordings: program == nil ? nil : Recordings(directory: log, hasStamps: true))
  }

  /// Makes the directory that switches recording on, and says what a recorder is to find in its environment.
  static func prepare(_ directory: String) throws(BenchError) -> (log: String, environment: [String]) {
    let log = "\(directory)/dovecot.rawlog"
    guard mkdir(log, 0o700) == 0 else { throw BenchError("cannot make '\(log)'", errno) }
    var environment = ["HOME=\(directory)", "USER=bench"]
    if geteuid() == 0 {
      // Neither records as root.
      environment += ["RESTRICT_SETUID=65534", "RESTRICT_SETGID=65534"]
      chown(log, 65534, 65534)
      chmod(directory, 0o711)
      chmod(parentDirectory(directory), 0o711)
    }
    return (log, environment)
  }

  static func acceptor(_ command: [String], _ environment: [String], recordings: Recordings? = nil) throws(BenchError)
    -> RunningSubject
  {
    let process = try ChildProcess(
      [ownProgram, "bench-load", "accept"] + command, reads: .standardOutput, environment: environment)
    guard let line = try process.line(), line.hasPrefix("port "), let port = UInt16(line.dropFirst(5)) else {
      throw BenchError("the acceptor does not start")
    }
    let running = RunningSubject(process: process, port: port, recordings: recordings)
    running.meter = { () throws(BenchError) in
      try process.tell("used")
      guard let line = try process.line(), line.hasPrefix("used "), let used = UInt64(line.dropFirst(5)) else {
        throw BenchError("the acceptor does not say what was used")
      }
      return used
    }
    return running
  }
}
