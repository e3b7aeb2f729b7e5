import CLibUring
import Glibc

/// Whether this machine lets the program use its ring, and if not, what exactly must be changed.
enum RingAvailability {
  /// The oldest kernel that has everything the loop is built on (DEFER_TASKRUN, multishot receive, buffer rings).
  static let oldestKernel = KernelVersion(major: 6, minor: 1)

  /// Somebody does not want it used here, or it was left out: not a shortage that passes.
  static func isRefusal(_ error: Errno) -> Bool { [ENOSYS, EPERM, EACCES].contains(error.code) }

  /// The words for the user when io_uring_setup(2) or the registration of the buffers failed.
  static func explain(_ error: Errno, kernel: KernelVersion = .running, system: System = .current) -> String {
    if kernel < oldestKernel {
      return "kernel \(kernel) is too old for the io_uring that is needed; run kernel \(oldestKernel) or newer"
    }
    switch error.code {
    case EPERM, EACCES:
      switch system.disabled {
      case 2:
        return "io_uring is switched off (kernel.io_uring_disabled=2); allow it with "
          + "'sysctl -w kernel.io_uring_disabled=0'"
      case 1:
        return "io_uring is switched off for users without privilege (kernel.io_uring_disabled=1); allow it with "
          + "'sysctl -w kernel.io_uring_disabled=0', or put this user's group into kernel.io_uring_group"
      default:
        return system.hasSeccompFilter
          ? "a seccomp filter refuses io_uring (\(error.text)); containers do so by default: allow the system calls "
            + "io_uring_setup, io_uring_enter and io_uring_register in the seccomp profile (docker and podman: "
            + "--security-opt seccomp=PROFILE.json; systemd: SystemCallFilter=)"
          : "io_uring is refused (\(error.text)); allow it in the security module's policy (SELinux, AppArmor)"
      }
    case ENOSYS:
      return system.hasSeccompFilter
        ? "a seccomp filter hides io_uring, which kernel \(kernel) has (\(error.text)); containers do so by default: allow the system calls "
          + "io_uring_setup, io_uring_enter and io_uring_register in the seccomp profile (docker and podman: "
          + "--security-opt seccomp=PROFILE.json; systemd: SystemCallFilter=)"
        : "this kernel has no io_uring (\(error.text)); run one that is built with CONFIG_IO_URING"
    case ENOMEM:
      return "io_uring may not lock enough memory (\(error.text)); raise the limit to 64 MiB (LimitMEMLOCK=64M, "
        + "'ulimit -l 65536')"
    case EMFILE, ENFILE:
      return "no descriptor is left for io_uring (\(error.text)); raise the limit of open files (LimitNOFILE=, "
        + "'ulimit -n')"
    default:
      return "io_uring cannot be set up (\(error.text)); run kernel \(oldestKernel) or newer with io_uring allowed"
    }
  }

  /// What decides about io_uring beside the kernel's version.
  struct System {
    /// The value of kernel.io_uring_disabled (kernel 6.6); 0 where it does not exist.
    var disabled = 0
    /// This process runs under a seccomp filter.
    var hasSeccompFilter = false

    static var current: System {
      var system = System()
      if let text = readSmallFile("/proc/sys/kernel/io_uring_disabled") {
        system.disabled = Int(text.prefix { $0.isNumber }) ?? 0
      }
      if let status = readSmallFile("/proc/self/status") {
        let line = status.split(separator: "\n").first { $0.hasPrefix("Seccomp:") }
        system.hasSeccompFilter = line?.hasSuffix("2") ?? false
      }
      return system
    }
  }

  /// The names of needed operations that the kernel does not have.
  static func missingOperations() -> [String] {
    let needed: [(String, UInt8)] = [
      ("accept", uring_op_accept), ("connect", uring_op_connect), ("recv", uring_op_recv), ("send", uring_op_send),
      ("sendmsg", uring_op_sendmsg), ("read", uring_op_read), ("write", uring_op_write),
      ("writev", uring_op_writev), ("openat", uring_op_openat), ("unlinkat", uring_op_unlinkat),
      ("close", uring_op_close), ("async_cancel", uring_op_async_cancel), ("poll_add", uring_op_poll_add),
    ]
    guard let probe = io_uring_get_probe() else { return needed.map(\.0) }
    defer { io_uring_free_probe(probe) }
    return needed.filter { io_uring_opcode_supported(probe, Int32($0.1)) == 0 }.map(\.0)
  }
}

/// The text of a small file of the kernel's; nil when it cannot be read.
func readSmallFile(_ path: String) -> String? {
  let descriptor = uring_open(path, O_RDONLY | O_CLOEXEC, 0)
  guard descriptor >= 0 else { return nil }
  defer { close(descriptor) }
  var bytes = [UInt8](repeating: 0, count: 8192)
  let count = read(descriptor, &bytes, bytes.count)
  return count >= 0 ? String(decoding: bytes[..<count], as: UTF8.self) : nil
}
