import COpenSSL
import Glibc

/// Keeps what only the process may know (private keys, ticket keys, session keys) out of files that it does not write
/// itself: core files, and accounts of a crash.
public enum Secrecy {
  /// Signals of which a core file is the usual consequence (signal(7)).
  private static let crashes = [SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV]

  /// Allows no core file, whatever the limits and wherever it would go, and lets nobody but root look into the process.
  ///
  /// The kernel takes this back when the user or the group changes (prctl(2), fs.suid_dumpable), so it is to be called
  /// before keys are read, and again after `Identity.drop`.
  ///
  /// Key by key (OPENSSL_secure_malloc, MADV_DONTDUMP) it would not be done: session keys, and mail in the clear, lie
  /// all over the heap; and a secure heap that is full makes handshakes fail.
  ///
  /// - Throws: 71 when the kernel refuses.
  public static func forbidDumps() throws(StartError) {
    let error = openssl_forbid_dumps()
    guard error == 0 else {
      throw StartError(
        .osError, "cannot forbid core files, which would hold keys: \(Errno(error).text); look for a seccomp filter")
    }
    // An account of a crash, as Swift's runtime may write one, shows memory too: what registers point to.
    for crash in crashes { signal(crash, SIG_DFL) }
  }

  /// A core file may be written.
  static var mayDump: Bool { openssl_may_dump() != 0 }

  /// Takes it back, for tests: a sanitizer looks for leaks from outside.
  static func allowDumps() { openssl_allow_dumps() }
}
