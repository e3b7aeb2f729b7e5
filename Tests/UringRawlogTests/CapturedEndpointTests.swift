import Testing

@testable import UringRawlog

@Suite struct CapturedEndpointTests {
  private let ipv4 = PeerAddress(ipv4: 0xC000_0207, port: 40000)
  private let ipv6 = PeerAddress(ipv6: 0x2001_0DB8_0000_0000, 1, scope: 3, port: 40001)

  private func pair(_ opener: PeerAddress, _ answerer: PeerAddress, number: UInt64 = 1) -> CapturedEndpoint.Pair {
    CapturedEndpoint.Pair(opener: opener, answerer: answerer, number: number, port: 143)
  }

  @Test func familiesThatAreTheSame() {
    let both4 = pair(ipv4, PeerAddress(ipv4: 0x7F00_0001, port: 143))
    #expect(!both4.isIPv6)
    #expect(both4.opener == CapturedEndpoint(high: 0, low: 0xC000_0207, port: 40000))
    #expect(both4.answerer == CapturedEndpoint(high: 0, low: 0x7F00_0001, port: 143))
    let both6 = pair(ipv6, ipv6)
    #expect(both6.isIPv6)
    #expect(both6.opener == CapturedEndpoint(high: 0x2001_0DB8_0000_0000, low: 1, port: 40001))
  }

  @Test func mixedFamiliesAreMapped() {
    for pair in [pair(ipv4, ipv6), pair(ipv6, ipv4)] {
      #expect(pair.isIPv6)
      let mapped = pair.opener.port == 40000 ? pair.opener : pair.answerer
      #expect(mapped == CapturedEndpoint(high: 0, low: 0xFFFF_C000_0207, port: 40000))
    }
    #expect(pair(.unix, ipv6).opener == CapturedEndpoint(high: 0, low: 0xFFFF_F000_0000, port: 32769))
    #expect(pair(ipv6, .unix).answerer == CapturedEndpoint(high: 0, low: 0xFFFF_F800_0001, port: 143))
  }

  @Test func peersWithoutAddress() {
    #expect(pair(.unix, .unix).opener == CapturedEndpoint(high: 0, low: 0xF000_0000, port: 32769))
    #expect(pair(.unix, .unix).answerer == CapturedEndpoint(high: 0, low: 0xF800_0001, port: 143))
    #expect(pair(.unknown, .unknown).opener == CapturedEndpoint(high: 0, low: 0xF400_0000, port: 32769))
    #expect(pair(.unspecified, .unknown).answerer == CapturedEndpoint(high: 0, low: 0xF800_0002, port: 143))
    #expect(pair(.unspecified, ipv4).opener.low == 0xF400_0000)
  }

  @Test func clientsWithoutAddressDiffer() {
    var seen: Set<UInt64> = []
    for number in [1, 2, 0x7FFF, 0x8000, 0x8001, 0xFFFF, 0x10000, 0x8000 << 10] as [UInt64] {
      let opener = pair(.unix, .unix, number: number).opener
      #expect(opener.low >> 26 == 0xF000_0000 >> 26 && opener.port >= 0x8000)
      #expect(seen.insert(opener.low << 16 | UInt64(opener.port)).inserted)
    }
    // Far numbers stay within the block.
    #expect(pair(.unix, .unix, number: .max).opener.low == 0xF3FF_FFFF)
    #expect(pair(.unknown, .unix, number: .max).opener.low == 0xF7FF_FFFF)
  }

  @Test func portsOfProtocols() {
    let ports = MailProtocol.allCases.map { CapturedEndpoint.port(of: $0) }
    #expect(Set(ports).count == ports.count && !ports.contains(CapturedEndpoint.port(of: nil)))
    #expect(CapturedEndpoint.port(of: .imap) == 143 && CapturedEndpoint.port(of: .sieve) == 4190)
  }
}
