import CLibUring
import Glibc

/// What the program gives up when it has started: privileges, capabilities, files, system calls. Whoever took the loop
/// over, with a fault in what parses bytes of a peer, would have no more than this.
///
/// All of it is of the calling thread and those that it starts from then on.
struct Sandbox {
  /// What is in force, and what this system does not have, in words.
  struct InForce: Equatable {
    var parts: [String] = []
    var missing: [String] = []
  }

  var landlock: Landlock

  /// Gives up what is not needed any more.
  ///
  /// - Throws: 71 when the kernel refuses what every kernel that the program runs on has.
  func enter(_ engine: Engine) throws(StartError) -> InForce {
    var inForce = InForce()
    try Self.dropPrivileges()
    inForce.parts = ["no new privileges", "no capabilities"]
    if Landlock.version > 0 {
      do throws(Errno) {
        try landlock.enforce()
      } catch {
        throw Self.refused("files", error)
      }
      inForce.parts.append("Landlock \(Landlock.version)")
    } else {
      inForce.missing.append("Landlock (CONFIG_SECURITY_LANDLOCK and lsm=landlock)")
    }
    switch engine {
    case .uring(isRestricted: true): inForce.parts.append("restricted ring")
    case .uring(isRestricted: false): inForce.missing.append("restrictions of the ring")
    case .epoll: break
    }
    // The last, since what comes before needs calls that are not allowed then.
    let result = uring_install_filter(engine == .epoll ? 1 : 0)
    switch -result {
    case 0: inForce.parts.append("filter of system calls")
    case ENOSYS, EINVAL: inForce.missing.append("filters of system calls (CONFIG_SECCOMP_FILTER)")
    default: throw Self.refused("system calls", Errno(-result))
    }
    return inForce
  }

  /// The part of it that may come first, for what must still be able to start programs.
  static func dropPrivileges() throws(StartError) {
    try insist("new privileges", uring_forbid_privileges())
    try insist("capabilities", uring_drop_capabilities())
  }

  /// `enter` in a thread of its own, which takes it along when it ends.
  func tried(_ engine: Engine) throws(StartError) -> InForce {
    let attempt = Attempt(self, engine)
    var thread = pthread_t()
    let failure = pthread_create(
      &thread, nil,
      { argument in
        Unmanaged<Attempt>.fromOpaque(argument!).takeUnretainedValue().make()
        return nil
      }, Unmanaged.passUnretained(attempt).toOpaque())
    guard failure == 0 else { throw Self.refused("anything", Errno(failure)) }
    pthread_join(thread, nil)
    return try withExtendedLifetime(attempt) { attempt.result }.get()
  }

  /// What a thread tries. It is looked at when that has ended.
  private final class Attempt {
    private let sandbox: Sandbox
    private let engine: Engine
    private(set) var result = Result<InForce, StartError>.success(InForce())

    init(_ sandbox: Sandbox, _ engine: Engine) {
      self.sandbox = sandbox
      self.engine = engine
    }

    func make() {
      do throws(StartError) {
        result = .success(try sandbox.enter(engine))
      } catch {
        result = .failure(error)
      }
    }
  }

  private static func insist(_ what: String, _ result: Int32) throws(StartError) {
    guard result == 0 else { throw refused(what, Errno(-result)) }
  }

  private static func refused(_ what: String, _ error: Errno) -> StartError {
    StartError(
      .osError,
      "cannot give up \(what): \(error.text); look for a seccomp filter that forbids it, or start with --sandbox off")
  }
}
