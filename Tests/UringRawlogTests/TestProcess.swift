import Glibc

@testable import UringRawlog

/// A program that a test runs, with what it says on both of its outputs.
final class TestProcess {
  struct Failure: Error, CustomStringConvertible {
    let description: String
  }

  private let pid: pid_t
  private let output: Int32
  private var input: Int32
  private var isWaitedFor = false

  /// - Parameter arguments: the program's name first, looked for in PATH.
  init(_ arguments: [String], directory: String? = nil) throws {
    var toChild: [Int32] = [-1, -1]
    var fromChild: [Int32] = [-1, -1]
    guard pipe(&toChild) == 0, pipe(&fromChild) == 0 else { throw Errno.current }
    // Other tests start programs at the same time: these must not inherit our ends, or the pipes never end.
    for end in toChild + fromChild { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, toChild[0], STDIN_FILENO)
    posix_spawn_file_actions_adddup2(&actions, fromChild[1], STDOUT_FILENO)
    posix_spawn_file_actions_adddup2(&actions, fromChild[1], STDERR_FILENO)
    let words = directory.map { ["env", "-C", $0] + arguments } ?? arguments
    var pointers: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
    defer { for pointer in pointers { free(pointer) } }
    var pid: pid_t = 0
    let result = posix_spawnp(&pid, words[0], &actions, nil, &pointers, environ)
    close(toChild[0])
    close(fromChild[1])
    guard result == 0 else {
      close(toChild[1])
      close(fromChild[0])
      throw Errno(result)
    }
    self.pid = pid
    input = toChild[1]
    output = fromChild[0]
  }

  deinit {
    endInput()
    close(output)
    if !isWaitedFor {
      kill(pid, SIGKILL)
      waitpid(pid, nil, 0)
    }
  }

  func say(_ text: String) {
    _ = text.withCString { write(input, $0, strlen($0)) }
  }

  func endInput() {
    if input >= 0 { close(input) }
    input = -1
  }

  /// One line of what it says; nil at its end.
  func line() -> String? {
    var bytes: [UInt8] = []
    var byte: UInt8 = 0
    while read(output, &byte, 1) == 1 {
      if byte == UInt8(ascii: "\n") { return String(decoding: bytes, as: UTF8.self) }
      bytes.append(byte)
    }
    return bytes.isEmpty ? nil : String(decoding: bytes, as: UTF8.self)
  }

  /// What it says to its end, and its exit code.
  func finish() -> (status: Int32, output: String) {
    endInput()
    var text: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = read(output, &part, part.count)
      guard count > 0 else { break }
      text += part[..<count]
    }
    var status: Int32 = 0
    waitpid(pid, &status, 0)
    isWaitedFor = true
    return (status & 0x7F == 0 ? status >> 8 & 0xFF : -1, String(decoding: text, as: UTF8.self))
  }

  /// Runs a program to its end.
  @discardableResult
  static func run(_ arguments: [String], directory: String? = nil) throws -> String {
    let result = try TestProcess(arguments, directory: directory).finish()
    guard result.status == 0 else {
      throw Failure(description: "\(arguments.joined(separator: " ")): \(result.status) \(result.output)")
    }
    return result.output
  }
}
