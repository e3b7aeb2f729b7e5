import Testing

@testable import UringRawlog

@Suite struct DescriptorLimitTests {
  private func configuration(_ change: (inout RelayConfiguration) throws -> Void = { _ in }) throws
    -> RelayConfiguration
  {
    var configuration = RelayConfiguration(
      listen: [try Address(listening: ":143")], connect: try Address(connecting: "127.0.0.1:1143"),
      directory: try DirectoryTemplate("recordings"))
    try change(&configuration)
    return configuration
  }

  /// Descriptors are set aside for pipes only where some bytes are not recorded.
  @Test func whatIsRecordedNeedsNoPipes() throws {
    let limit = DescriptorLimit(limit: 100_000)
    #expect(try limit.pipes(configuration()) == 0)
    #expect(try limit.pipes(configuration { $0.relay = .splice }) == 0)
    let leaving: [(inout RelayConfiguration) throws -> Void] = [
      { $0.only = [try CIDR("192.0.2.1")] }, { $0.filter = .in }, { $0.maxRecordingBytes = 1 << 40 },
      { $0.directory = try DirectoryTemplate("recordings/%{ip}") },
    ]
    for change in leaving {
      #expect(try limit.pipes(configuration(change)) == Limits.pipes)
      #expect(
        try limit.pipes(
          configuration {
            try change(&$0)
            $0.relay = .copy
          }) == 0)
    }
  }

  /// Sessions get nearly all of few descriptors, and together with the pipes no more than there are.
  @Test(arguments: [0, 10, 64, 300, 1024, 4096, 524_288])
  func sessionsAndPipesFit(limit: Int) throws {
    let descriptors = DescriptorLimit(limit: limit)
    let pipes = try descriptors.pipes(configuration { $0.filter = .in })
    let sessions = descriptors.sessions(files: 1, pipes: pipes)
    #expect(sessions >= 0 && pipes <= Limits.pipes)
    #expect(3 * sessions + 2 * pipes <= max(0, limit - Limits.descriptorReserve))
    #expect(sessions * 8 >= descriptors.sessions(files: 1, pipes: 0) * 7 - 8)
  }
}
