import CBench
import Glibc

/// A program that a run started, with pipes to it. It ends with the run: when this goes, or when the run itself dies.
final class ChildProcess {
  let pid: pid_t
  /// Its standard input; nil when it has none.
  private var input: Int32
  private var output: LineReader?
  private let outputDescriptor: Int32
  private var hasEnded = false
  /// What it and the children that it waited for used, once it ended (wait4(2)): nanoseconds.
  private(set) var usedNanoseconds: UInt64 = 0
  private(set) var exitStatus: Int32 = 0

  enum Output {
    case standardOutput
    case standardError
    case both
    /// Both go nowhere, or to a file.
    case file(String)
  }

  /// - Parameters:
  ///   - arguments: the program's path first.
  ///   - reads: which of its outputs comes line by line through `line`.
  init(_ arguments: [String], reads: Output, environment: [String] = []) throws(BenchError) {
    var toChild: [Int32] = [-1, -1]
    var fromChild: [Int32] = [-1, -1]
    guard bench_pipe(&toChild) == 0, bench_pipe(&fromChild) == 0 else { throw BenchError("pipe", errno) }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, toChild[0], STDIN_FILENO)
    switch reads {
    case .standardOutput:
      posix_spawn_file_actions_adddup2(&actions, fromChild[1], STDOUT_FILENO)
    case .standardError:
      posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0)
      posix_spawn_file_actions_adddup2(&actions, fromChild[1], STDERR_FILENO)
    case .both:
      posix_spawn_file_actions_adddup2(&actions, fromChild[1], STDOUT_FILENO)
      posix_spawn_file_actions_adddup2(&actions, fromChild[1], STDERR_FILENO)
    case .file(let path):
      posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, path, O_WRONLY | O_CREAT | O_APPEND, 0o600)
      posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO)
    }
    var pointers: [UnsafeMutablePointer<CChar>?] = ([ownProgram, "bench-load", "hold"] + arguments).map { strdup($0) }
    pointers.append(nil)
    var variables: [UnsafeMutablePointer<CChar>?] = []
    var place = environ
    while let variable = place.pointee {
      variables.append(strdup(variable))
      place += 1
    }
    // What is named first counts.
    variables = environment.map { strdup($0) } + variables + [nil]
    defer {
      for pointer in pointers + variables { free(pointer) }
    }
    var pid: pid_t = 0
    let result = posix_spawn(&pid, ownProgram, &actions, nil, pointers, variables)
    close(toChild[0])
    close(fromChild[1])
    guard result == 0 else {
      close(toChild[1])
      close(fromChild[0])
      throw BenchError("cannot start '\(arguments[0])'", result)
    }
    self.pid = pid
    input = toChild[1]
    outputDescriptor = fromChild[0]
    if case .file = reads { close(fromChild[0]) } else { output = LineReader(fromChild[0]) }
  }

  deinit {
    end(SIGKILL)
    if output != nil { close(outputDescriptor) }
  }

  func tell(_ line: String) throws(BenchError) {
    let bytes = Array("\(line)\n".utf8)
    guard write(input, bytes, bytes.count) == bytes.count else { throw BenchError("write", errno) }
  }

  /// The next line of its output; nil when it ended.
  func line() throws(BenchError) -> String? { try output?.next() }

  func closeInput() {
    guard input >= 0 else { return }
    close(input)
    input = -1
  }

  var isRunning: Bool {
    guard !hasEnded else { return false }
    collect(WNOHANG)
    return !hasEnded
  }

  /// Asks it to end and waits until it has.
  func end(_ signal: Int32 = SIGTERM) {
    guard !hasEnded else { return }
    kill(pid, signal)
    closeInput()
    // One that does not listen is not waited for without end.
    for _ in 0..<2000 where isRunning { usleep(5_000) }
    if !hasEnded { kill(pid, SIGKILL) }
    while !hasEnded { collect(0) }
  }

  /// Waits for its own end.
  func wait() {
    while !hasEnded { collect(0) }
  }

  private func collect(_ options: Int32) {
    var status: Int32 = 0
    var usage = rusage()
    let result = wait4(pid, &status, options, &usage)
    guard result == pid || result < 0 && errno != EINTR else { return }
    hasEnded = true
    closeInput()
    exitStatus = status
    let user = UInt64(usage.ru_utime.tv_sec) * 1_000_000_000 + UInt64(usage.ru_utime.tv_usec) * 1000
    let system = UInt64(usage.ru_stime.tv_sec) * 1_000_000_000 + UInt64(usage.ru_stime.tv_usec) * 1000
    usedNanoseconds = user + system
  }
}

/// The path of this very program, to start it again in another role.
let ownProgram: String = {
  var bytes = [CChar](repeating: 0, count: Int(PATH_MAX))
  let count = readlink("/proc/self/exe", &bytes, bytes.count - 1)
  return count > 0 ? String(decoding: bytes[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self) : "uring-rawlog"
}()

/// What processes use, as the kernel accounts it.
enum ProcessUse {
  /// User and system time of all threads of a process that is alive, the kernel's workers for its ring included
  /// (clock_getcpuclockid(3)): nanoseconds; nil when it is gone.
  static func cpuNanoseconds(_ pid: pid_t) -> UInt64? {
    var clock = clockid_t()
    guard clock_getcpuclockid(pid, &clock) == 0 else { return nil }
    var time = timespec()
    guard clock_gettime(clock, &time) == 0 else { return nil }
    return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
  }

  /// A process and its children, and theirs.
  static func tree(_ root: pid_t) -> [pid_t] {
    var result = [root]
    var place = 0
    while place < result.count {
      let pid = result[place]
      place += 1
      for thread in threads(pid) {
        let children = readText("/proc/\(pid)/task/\(thread)/children") ?? ""
        result += children.split(separator: " ").compactMap { pid_t($0) }
      }
    }
    return result
  }

  private static func threads(_ pid: pid_t) -> [String] {
    names(in: "/proc/\(pid)/task")
  }

  /// Private memory that was written to (smaps_rollup of proc(5)): bytes.
  static func privateBytes(_ pid: pid_t) -> Int? { rollUp(pid, ["Private_Dirty:", "Swap:"]) }

  /// All memory that is a process's alone, written to or not, and the same with its share of what others have too.
  static func memory(_ pid: pid_t) -> (ownBytes: Int, proportionalBytes: Int)? {
    guard let own = rollUp(pid, ["Private_Clean:", "Private_Dirty:", "Swap:"]),
      let all = rollUp(pid, ["Pss:", "Swap:"])
    else { return nil }
    return (own, all)
  }

  private static func rollUp(_ pid: pid_t, _ fields: [String]) -> Int? {
    guard let text = readText("/proc/\(pid)/smaps_rollup") else { return nil }
    var kilobytes = 0
    for line in text.split(separator: "\n") where fields.contains(where: { line.hasPrefix($0) }) {
      kilobytes += Int(line.split(separator: " ")[1]) ?? 0
    }
    return kilobytes << 10
  }

  /// The binary that a process runs; nil when it is gone.
  static func program(_ pid: pid_t) -> String? {
    var bytes = [CChar](repeating: 0, count: Int(PATH_MAX))
    let count = readlink("/proc/\(pid)/exe", &bytes, bytes.count - 1)
    return count > 0 ? String(decoding: bytes[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self) : nil
  }
}

/// The names in a directory, without `.` and `..`; empty when it cannot be read.
func names(in directory: String) -> [String] {
  guard let stream = opendir(directory) else { return [] }
  defer { closedir(stream) }
  var names: [String] = []
  while let entry = readdir(stream) {
    let name = withUnsafePointer(to: &entry.pointee.d_name) {
      $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
    }
    if name != ".", name != ".." { names.append(name) }
  }
  return names
}

/// The text of a small file; nil when it cannot be read.
func readText(_ path: String) -> String? {
  let descriptor = open(path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else { return nil }
  defer { close(descriptor) }
  var text: [UInt8] = []
  var piece = [UInt8](repeating: 0, count: 16384)
  while true {
    let count = read(descriptor, &piece, piece.count)
    guard count > 0 else { break }
    text += piece[..<count]
  }
  return String(decoding: text, as: UTF8.self)
}

/// What a process does that `ChildProcess` started before it becomes the program that was asked for.
public enum LoadProcess {
  /// Becomes another program that ends when the run ends; returns only when it cannot.
  public static func become(_ arguments: [String]) -> BenchError {
    _ = bench_end_with_parent()
    var pointers: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
    pointers.append(nil)
    execvp(pointers[0]!, pointers)
    return BenchError("cannot start '\(arguments[0])'", errno)
  }
}
