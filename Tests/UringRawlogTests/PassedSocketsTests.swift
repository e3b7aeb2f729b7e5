import Testing

@testable import UringRawlog

@Suite struct PassedSocketsTests {
  private func passed(_ environment: [String: String]) -> PassedSockets {
    PassedSockets(processID: 7) { environment[$0] }
  }

  @Test func namesAreInTheOrderOfDescriptors() throws {
    let sockets = passed(["LISTEN_PID": "7", "LISTEN_FDS": "3", "LISTEN_FDNAMES": "imap:pop3:imap"])
    #expect(try sockets.named("imap", given: "") == [3, 5])
    #expect(try sockets.named("pop3", given: "") == [4])
    #expect(try sockets.named(nil, given: "") == [3, 4, 5])
    #expect(throws: StartError.self) { try sockets.named("sieve", given: "") }
  }

  @Test func withoutNamesTheyAreUnknown() throws {
    for names in [nil, "imap", "a:b:c"] {
      let sockets = passed(
        ["LISTEN_PID": "7", "LISTEN_FDS": "2"].merging(names.map { ["LISTEN_FDNAMES": $0] } ?? [:]) { $1 })
      #expect(sockets.names == ["unknown", "unknown"])
    }
  }

  @Test(arguments: [
    [:], ["LISTEN_FDS": "1"], ["LISTEN_PID": "8", "LISTEN_FDS": "1"], ["LISTEN_PID": "7", "LISTEN_FDS": "0"],
    ["LISTEN_PID": "7", "LISTEN_FDS": "-1"], ["LISTEN_PID": "7", "LISTEN_FDS": "2147483647"],
    ["LISTEN_PID": "7", "LISTEN_FDS": "x"],
  ])
  func nothingIsPassed(_ environment: [String: String]) {
    #expect(passed(environment).names.isEmpty)
    #expect(throws: StartError.self) { try passed(environment).named(nil, given: "") }
  }

  @Test func whatNobodyListensOnIsNamed() throws {
    let sockets = passed(["LISTEN_PID": "7", "LISTEN_FDS": "3", "LISTEN_FDNAMES": "imap:pop3:sieve"])
    #expect(
      sockets.unused([try Address(listening: "systemd:imap"), try Address(listening: ":1")]) == ["pop3", "sieve"])
    #expect(sockets.unused([try Address(listening: "systemd")]).isEmpty)
  }

  @Test(arguments: ["systemd:", "systemd:a:b", "systemd:\u{7F}", "systemd:\n"])
  func wrongNames(_ text: String) {
    #expect(throws: ValueError.self) { try Address(listening: text) }
  }

  @Test(arguments: ["systemd", "systemd:imap"])
  func noServerIsReachedSo(_ text: String) {
    #expect(throws: ValueError.self) { try Address(connecting: text) }
  }
}
