import CLibUring
import Glibc

/// What somebody who took the relay over would try, tried from within its sandbox.
public enum SandboxProbe {
  /// - Parameters:
  ///   - elsewhere: a file that exists and is none of the relay's.
  ///   - say: gets a line each: what was tried, and `ok` or the error's name.
  public static func run(
    _ configuration: RelayConfiguration, elsewhere: String, say: (String) -> Void
  ) throws(StartError) {
    let directory = RecordingDirectory.indexDirectory(configuration)
    let identity = try Identity(user: configuration.user, group: configuration.group)
    try identity.takeGroups()
    if configuration.engine == .epoll {
      try enter(configuration, identity, .epoll)
    } else {
      let ring: KernelRing
      do throws(Errno) {
        ring = try KernelRing.make(restricted: configuration.isSandboxed)
      } catch {
        throw StartError(.unavailable, RingAvailability.explain(error))
      }
      try enter(configuration, identity, ring.engine)
      say("ring-close: \(name(ring.tryOperation(uring_op_close, -1)))")
      // IORING_OP_NOP, which the loop has no use for.
      say("ring-nop: \(name(ring.tryOperation(0, -1)))")
    }
    // The last succeeds only by becoming another program.
    for (attempted, attempt) in attempts(directory: directory, elsewhere: elsewhere) {
      say("\(attempted): \(name(attempt()))")
    }
  }

  private static func enter(
    _ configuration: RelayConfiguration, _ identity: Identity, _ engine: Engine
  ) throws(StartError) {
    try identity.drop()
    guard configuration.isSandboxed else { return }
    _ = try Sandbox(configuration, listeners: [], targets: []).enter(engine)
  }

  private static func attempts(directory: String, elsewhere: String) -> [(String, () -> Int32)] {
    func opened(_ path: String, _ flags: Int32) -> Int32 {
      let descriptor = openFile(path, flags: flags | O_CLOEXEC, mode: 0o600)
      guard descriptor >= 0 else { return -errno }
      close(descriptor)
      return 0
    }
    func made(_ family: Int32, _ type: Int32) -> Int32 {
      let descriptor = socket(family, type, 0)
      guard descriptor >= 0 else { return -errno }
      close(descriptor)
      return 0
    }
    func called(_ result: Int32) -> Int32 { result < 0 ? -errno : 0 }
    let stream = Int32(SOCK_STREAM.rawValue)
    let mine = directory + "/probe"
    return [
      ("write-recording", { opened(mine, O_WRONLY | O_CREAT) }),
      ("remove-recording", { called(unlink(mine)) }),
      ("read-names", { opened("/etc/nsswitch.conf", O_RDONLY) }),
      ("resolve", { resolves() ? 0 : -ENOENT }),
      ("thread", { runsThread() ? 0 : -EAGAIN }),
      ("socket-inet", { made(AF_INET, stream) }),
      ("socket-unix", { made(AF_UNIX, stream) }),
      ("write-elsewhere", { opened(elsewhere, O_WRONLY) }),
      ("read-elsewhere", { opened(elsewhere, O_RDONLY) }),
      ("create-elsewhere", { opened(Landlock.parent(of: elsewhere) + "/probe", O_WRONLY | O_CREAT) }),
      ("ptrace", { uring_try_ptrace() }),
      ("fork", { uring_try_fork() }),
      ("socket-netlink", { made(AF_NETLINK, Int32(SOCK_RAW.rawValue)) }),
      ("socket-packet", { made(AF_PACKET, Int32(SOCK_RAW.rawValue)) }),
      ("bind", { binds() }),
      ("signal", { called(kill(getppid(), 0)) }),
      ("chmod", { called(chmod(elsewhere, 0o666)) }),
      ("root", { called(setuid(0)) }),
      ("ring", { uring_try_new_ring() }),
      ("executable-memory", { uring_try_executable_memory() }),
      ("execute", { execl("/bin/true") }),
    ]
  }

  /// The error's name in errno(3), of those that matter here.
  private static func name(_ result: Int32) -> String {
    switch -result {
    case ...0: "ok"
    case EPERM: "EPERM"
    case EACCES: "EACCES"
    case EBADF: "EBADF"
    default: Errno(-result).text
    }
  }

  private static func resolves() -> Bool {
    guard let address = try? Address(connecting: "localhost:143") else { return false }
    return (try? AddressResolver.addresses(connecting: address)).map { !$0.isEmpty } ?? false
  }

  private static func runsThread() -> Bool {
    var thread = pthread_t()
    guard pthread_create(&thread, nil, { _ in nil }, nil) == 0 else { return false }
    return pthread_join(thread, nil) == 0
  }

  private static func execl(_ path: String) -> Int32 {
    var arguments: [UnsafeMutablePointer<CChar>?] = [strdup(path), nil]
    defer { free(arguments[0]) }
    execv(path, &arguments)
    return -errno
  }

  private static func binds() -> Int32 {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    let socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    guard socket >= 0 else { return -errno }
    defer { close(socket) }
    let result = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    return result < 0 ? -errno : 0
  }
}
