import Glibc
import Testing

@testable import UringRawlog

@Suite struct SecrecyTests {
  @Test func noCoreFileIsWritten() throws {
    // A sanitizer has its own handlers, and looks for leaks from outside, when all tests are over.
    let crashes = [SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV]
    var before = crashes.map { _ in sigaction() }
    for (place, crash) in crashes.enumerated() { sigaction(crash, nil, &before[place]) }
    defer {
      for (place, crash) in crashes.enumerated() { sigaction(crash, &before[place], nil) }
      Secrecy.allowDumps()
    }
    #expect(Secrecy.mayDump)
    try Secrecy.forbidDumps()
    #expect(!Secrecy.mayDump)
    for crash in crashes {
      var now = sigaction()
      sigaction(crash, nil, &now)
      #expect(now.__sigaction_handler.sa_handler == nil, "signal \(crash)")
    }
  }
}
