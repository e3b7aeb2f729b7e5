import Glibc

/// The process that compresses captures, one after the other (`uring-rawlog compress`, hidden).
///
/// It is started before the sandbox closes, since from within no program can be. Names of captures go to it on a socket,
/// and it answers each with a byte when it is done. It ends when the socket is closed, at the latest with the relay.
struct Compressor {
  private let socket: Int32

  /// - Parameter program: this one.
  /// - Throws: why it cannot be started: no descriptor, no process.
  init(program: String) throws(Errno) {
    var ends: [Int32] = [-1, -1]
    let kind = Int32(SOCK_SEQPACKET.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    guard socketpair(AF_UNIX, kind, 0, &ends) == 0 else { throw .current }
    socket = ends[0]
    defer { close(ends[1]) }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDIN_FILENO)
    let arguments: [UnsafeMutablePointer<CChar>?] = [strdup(program), strdup("compress"), nil]
    defer { for argument in arguments { free(argument) } }
    var process = pid_t()
    let failure = posix_spawn(&process, program, &actions, nil, arguments, environ)
    guard failure == 0 else {
      close(socket)
      throw Errno(failure)
    }
  }

  /// Has a capture compressed, and waits for that; false when there is nobody any more who does.
  func compress(_ path: String) -> Bool {
    var path = path
    let sent = path.withUTF8 { send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
    guard sent == path.utf8.count else { return false }
    var answer: UInt8 = 0
    var count = 0
    repeat { count = recv(socket, &answer, 1, 0) } while count < 0 && errno == EINTR
    return count == 1
  }
}
