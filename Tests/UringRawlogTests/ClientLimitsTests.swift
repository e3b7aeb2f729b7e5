import Testing

@testable import UringRawlog

@Suite struct ClientLimitsTests {
  private let second: UInt64 = 1_000_000_000

  private func client(_ number: UInt32, port: UInt16 = 1) -> PeerAddress { PeerAddress(ipv4: number, port: port) }

  @Test func sessionsAreCountedByAddressWhateverThePort() {
    var limits = ClientLimits(mostSessions: 2, rate: nil)
    #expect(limits.begin(client(1, port: 1), at: 0) == nil)
    #expect(limits.begin(client(1, port: 2), at: 0) == nil)
    #expect(limits.begin(client(1, port: 3), at: 0) == .sessions)
    #expect(limits.begin(client(2), at: 0) == nil)
    limits.end(client(1, port: 2))
    #expect(limits.begin(client(1, port: 4), at: 0) == nil)
  }

  @Test func nothingIsKeptOfClientsWithoutSessions() {
    var limits = ClientLimits(mostSessions: 2, rate: nil)
    for number in 0..<1000 as Range<UInt32> { #expect(limits.begin(client(number), at: 0) == nil) }
    for number in 0..<1000 as Range<UInt32> { limits.end(client(number)) }
    #expect(limits.clientsWithSessions == 0)
  }

  @Test func aNetworkOf64BitsIsOneClientOfIPv6() {
    var limits = ClientLimits(mostSessions: 1, rate: nil)
    let network: UInt64 = 0x2001_0DB8_0000_0001
    #expect(limits.begin(PeerAddress(ipv6: network, 1, port: 1), at: 0) == nil)
    #expect(limits.begin(PeerAddress(ipv6: network, 0xFFFF_0000_0000_0002, port: 1), at: 0) == .sessions)
    #expect(limits.begin(PeerAddress(ipv6: network + 1, 1, port: 1), at: 0) == nil)
  }

  @Test func loopbackOfIPv6IsNotAnIPv4Address() {
    var limits = ClientLimits(mostSessions: 1, rate: nil)
    #expect(limits.begin(client(0), at: 0) == nil)
    #expect(limits.begin(PeerAddress(ipv6: 0, 1, port: 1), at: 0) == nil)
  }

  @Test func unixSocketsAreNotLimited() {
    var limits = ClientLimits(mostSessions: 1, rate: .init(count: 1, perNanoseconds: second))
    for _ in 0..<10 { #expect(limits.begin(.unix, at: 0) == nil) }
  }

  @Test func soManyAtOnceAndThenAtTheRate() {
    var limits = ClientLimits(mostSessions: 0, rate: .init(count: 10, perNanoseconds: second))
    for _ in 0..<10 { #expect(limits.begin(client(1), at: second) == nil) }
    #expect(limits.begin(client(1), at: second) == .rate)
    #expect(limits.begin(client(2), at: second) == nil)
    // A refusal costs nothing: after a tenth of a second there is one more, and only one.
    #expect(limits.begin(client(1), at: second + second / 10) == nil)
    #expect(limits.begin(client(1), at: second + second / 10) == .rate)
    for _ in 0..<10 { #expect(limits.begin(client(1), at: 3 * second) == nil) }
    #expect(limits.begin(client(1), at: 3 * second) == .rate)
  }

  @Test func theTableIsBounded() {
    var limits = ClientLimits(mostSessions: 0, rate: .init(count: 1, perNanoseconds: second), mostClients: 100)
    for number in 0..<1000 as Range<UInt32> { #expect(limits.begin(client(number), at: 10 * second) == nil) }
    #expect(limits.ratedClients == 100)
    // Those that are in it are still held to their rate.
    #expect(limits.begin(client(1), at: 10 * second) == .rate)
    // Later there is room for others.
    #expect(limits.begin(client(5000), at: 12 * second) == nil)
    #expect(limits.begin(client(5000), at: 12 * second) == .rate)
    #expect(limits.ratedClients == 1)
  }

  @Test func aSessionThatIsRefusedForItsRateIsNotCounted() {
    var limits = ClientLimits(mostSessions: 5, rate: .init(count: 1, perNanoseconds: second))
    #expect(limits.begin(client(1), at: 0) == nil)
    #expect(limits.begin(client(1), at: 0) == .rate)
    limits.end(client(1))
    #expect(limits.clientsWithSessions == 0)
  }

  @Test(arguments: [("10/s", 10, 1_000_000_000), ("1/m", 1, 60_000_000_000)] as [(String, Int, UInt64)])
  func rates(_ text: String, _ count: Int, _ nanoseconds: UInt64) throws {
    let rate = try Values.rate(text)
    #expect(rate.count == count && rate.nanoseconds == nanoseconds)
  }

  @Test(arguments: ["", "10", "/s", "0/s", "-1/s", "10/h", "10/s/s", "1000001/s", "1.5/s", "10 /s"])
  func wrongRates(_ text: String) {
    #expect(throws: ValueError.self) { try Values.rate(text) }
  }
}
