import CBench
import Glibc

/// Starts a program for each connection, with the socket as its standard input and output, as Dovecot's master does for
/// a login; and tells what these programs, and all that they left behind, used.
public enum LoadAcceptor {
  public static func run(_ command: [String]) throws(BenchError) {
    signal(SIGPIPE, SIG_IGN)
    raiseDescriptorLimit()
    // A program's children that outlive it are handed to us, so that we learn what they used.
    _ = bench_adopt_orphans()
    let listener = try Loopback.listen()
    LoadServer.say("port \(try Loopback.port(of: listener))")
    var commands = LineReader(STDIN_FILENO)
    while true {
      var watched = [
        pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0),
        pollfd(fd: listener, events: Int16(POLLIN), revents: 0),
      ]
      _ = poll(&watched, 2, 20)
      if watched[0].revents != 0 {
        guard let lines = try commands.readAvailable() else { return }
        if lines.contains("used") {
          // Every connection is over: so will the programs be.
          while wait4(-1, nil, 0, nil) > 0 || errno == EINTR {}
          LoadServer.say("used \(childrenNanoseconds())")
        }
      }
      while wait4(-1, nil, WNOHANG, nil) > 0 {}
      while true {
        let socket = bench_accept(listener, 0)
        guard socket >= 0 else { break }
        defer { close(socket) }
        Loopback.prepare(socket)
        try start(command, socket)
      }
    }
  }

  private static func start(_ command: [String], _ socket: Int32) throws(BenchError) {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, socket, STDIN_FILENO)
    posix_spawn_file_actions_adddup2(&actions, socket, STDOUT_FILENO)
    var pointers: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) }
    pointers.append(nil)
    defer { for pointer in pointers { free(pointer) } }
    var pid: pid_t = 0
    let result = posix_spawn(&pid, command[0], &actions, nil, pointers, environ)
    guard result == 0 else { throw BenchError("cannot start '\(command[0])'", result) }
  }

  private static func childrenNanoseconds() -> UInt64 {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_CHILDREN.rawValue), &usage)
    let user = UInt64(usage.ru_utime.tv_sec) * 1_000_000_000 + UInt64(usage.ru_utime.tv_usec) * 1000
    let system = UInt64(usage.ru_stime.tv_sec) * 1_000_000_000 + UInt64(usage.ru_stime.tv_usec) * 1000
    return user + system
  }
}
