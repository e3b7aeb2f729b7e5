import Glibc
import Testing

@testable import UringRawlog

@Suite struct RingAvailabilityTests {
  private typealias System = RingAvailability.System

  private func explain(_ code: Int32, disabled: Int = 0, seccomp: Bool = false, minor: Int = 12) -> String {
    RingAvailability.explain(
      Errno(code), kernel: KernelVersion(major: 6, minor: minor),
      system: System(disabled: disabled, hasSeccompFilter: seccomp))
  }

  @Test(arguments: [EPERM, EACCES, ENOSYS, ENOMEM, EINVAL])
  func anOldKernelIsTheFirstReason(code: Int32) {
    let text = explain(code, disabled: 2, seccomp: true, minor: 0)
    #expect(text.contains("kernel 6.0 is too old") && text.contains("kernel 6.1 or newer"))
    #expect(!explain(code, minor: 1).contains("too old"))
  }

  @Test(arguments: [EPERM, EACCES], [false, true])
  func switchedOff(code: Int32, seccomp: Bool) {
    let forAll = explain(code, disabled: 2, seccomp: seccomp)
    #expect(forAll.contains("kernel.io_uring_disabled=2") && forAll.contains("'sysctl -w kernel.io_uring_disabled=0'"))
    // The group opens it only for the value 1.
    #expect(!forAll.contains("io_uring_group"))
    let forUsers = explain(code, disabled: 1, seccomp: seccomp)
    #expect(forUsers.contains("kernel.io_uring_disabled=1"))
    #expect(forUsers.contains("'sysctl -w kernel.io_uring_disabled=0'") && forUsers.contains("kernel.io_uring_group"))
  }

  @Test(arguments: [EPERM, EACCES, ENOSYS])
  func aFilter(code: Int32) {
    let text = explain(code, seccomp: true)
    for word in [
      "seccomp", "io_uring_setup", "io_uring_enter", "io_uring_register", "--security-opt seccomp=",
      "SystemCallFilter=",
      Errno(code).text,
    ] {
      #expect(text.contains(word), "\(word)")
    }
  }

  @Test func withoutAFilterNothingIsSaidOfOne() {
    for code in [EPERM, EACCES] {
      let text = explain(code)
      #expect(!text.contains("seccomp") && text.contains("SELinux") && text.contains("AppArmor"))
    }
    let text = explain(ENOSYS)
    #expect(!text.contains("seccomp") && text.contains("CONFIG_IO_URING"))
  }

  @Test func limits() {
    let memory = explain(ENOMEM)
    #expect(memory.contains("LimitMEMLOCK=64M") && memory.contains("ulimit -l 65536"))
    for code in [EMFILE, ENFILE] {
      let text = explain(code)
      #expect(text.contains("LimitNOFILE=") && text.contains("ulimit -n"))
    }
  }

  @Test(arguments: [EINVAL, EIO, 12345])
  func anythingElse(code: Int32) {
    let text = explain(code)
    #expect(text.contains(Errno(code).text) && text.contains("6.1 or newer"))
  }

  /// Messages are one line each.
  @Test func everyExplanationIsOneLine() {
    for code in [EPERM, EACCES, ENOSYS, ENOMEM, EMFILE, ENFILE, EINVAL] {
      for disabled in 0...2 {
        for seccomp in [false, true] {
          for minor in [0, 18] {
            let text = explain(code, disabled: disabled, seccomp: seccomp, minor: minor)
            #expect(!text.isEmpty && text.escapedForMessage == text)
          }
        }
      }
    }
  }

  /// Whatever this machine is, the values are among those that there are.
  @Test func theCurrentSystem() {
    #expect((0...2).contains(System.current.disabled))
    #expect(readSmallFile("/proc/sys/kernel/ostype") == "Linux\n")
    #expect(readSmallFile("/nonexistent/file") == nil)
  }
}
