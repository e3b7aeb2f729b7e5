import Testing

@testable import UringRawlog

@Suite struct ProxyHeaderWriterTests {
  private static let client4 = PeerAddress(ipv4: 0xC000_0201, port: 40000)
  private static let here4 = PeerAddress(ipv4: 0xC633_6402, port: 143)
  private static let client6 = PeerAddress(ipv6: 0x2001_0DB8_0000_0000, 7, port: 40000)
  private static let here6 = PeerAddress(ipv6: 0x2001_0DB8_0000_0000, 2, port: 993)
  private static let id = Array("20261122-193606.3704.1".utf8)

  private func line(_ source: PeerAddress, _ destination: PeerAddress) -> String {
    var text = Bytes()
    ProxyHeaderWriter(source: source, destination: destination).appendLine(to: &text)
    return text.text
  }

  private enum TLS {
    case none
    case terminated(String, String)
    case copied([UInt8])
  }

  private func block(
    _ source: PeerAddress, _ destination: PeerAddress, id: [UInt8] = [], tls: TLS = .none, checksum: Bool = false,
    behind before: [UInt8] = []
  ) -> [UInt8] {
    var text = Bytes()
    text.append(before)
    let writer = ProxyHeaderWriter(source: source, destination: destination)
    id.withUnsafeBytes { id in
      switch tls {
      case .none: writer.appendBlock(uniqueID: id, tls: .none, checksum: checksum, to: &text)
      case .terminated(let version, let cipher):
        Array(version.utf8).withUnsafeBytes { version in
          Array(cipher.utf8).withUnsafeBytes { cipher in
            writer.appendBlock(
              uniqueID: id, tls: .terminated(version: version, cipher: cipher), checksum: checksum, to: &text)
          }
        }
      case .copied(let value):
        value.withUnsafeBytes {
          writer.appendBlock(uniqueID: id, tls: .copied($0), checksum: checksum, to: &text)
        }
      }
    }
    return Array(text.span[before.count...])
  }

  // MARK: Version 1

  @Test func lines() {
    #expect(line(Self.client4, Self.here4) == "PROXY TCP4 192.0.2.1 198.51.100.2 40000 143\r\n")
    #expect(line(Self.client6, Self.here6) == "PROXY TCP6 2001:db8::7 2001:db8::2 40000 993\r\n")
  }

  /// The client's address must not get lost.
  @Test func linesOfTwoFamilies() {
    #expect(line(Self.client4, Self.here6) == "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 40000 993\r\n")
    #expect(line(Self.client6, Self.here4) == "PROXY TCP6 2001:db8::7 ::ffff:198.51.100.2 40000 143\r\n")
    #expect(line(Self.client4, .unix) == "PROXY TCP4 192.0.2.1 0.0.0.0 40000 0\r\n")
    #expect(line(Self.client6, .unknown) == "PROXY TCP6 2001:db8::7 :: 40000 0\r\n")
  }

  @Test func linesWithoutAnAddress() {
    for client in [PeerAddress.unix, .unknown, .unspecified] {
      #expect(line(client, Self.here4) == "PROXY UNKNOWN\r\n")
    }
  }

  @Test func theInterfaceOfALinkLocalAddressIsLeftOut() {
    let client = PeerAddress(ipv6: 0xFE80_0000_0000_0000, 1, scope: 3, port: 1)
    #expect(line(client, client) == "PROXY TCP6 fe80::1 fe80::1 1 1\r\n")
  }

  // MARK: Version 2

  private static let signature = hex("0d0a0d0a 000d0a51 5549540a")

  @Test func blocks() {
    #expect(
      block(Self.client4, Self.here4) == Self.signature + hex("21 11 000c c0000201 c6336402 9c40 008f"))
    #expect(
      block(Self.client6, Self.here6)
        == Self.signature
        + hex("21 21 0024 20010db8000000000000000000000007 20010db8000000000000000000000002 9c40 03e1"))
    #expect(
      block(Self.client4, Self.here6)
        == Self.signature
        + hex("21 21 0024 00000000000000000000ffffc0000201 20010db8000000000000000000000002 9c40 03e1"))
    #expect(block(Self.client4, .unix) == Self.signature + hex("21 11 000c c0000201 00000000 9c40 0000"))
    for client in [PeerAddress.unix, .unknown, .unspecified] {
      #expect(block(client, Self.here4) == Self.signature + hex("20 00 0000"))
    }
  }

  @Test func theUniqueIDIsTheSessions() {
    #expect(
      block(Self.client4, Self.here4, id: Self.id)
        == Self.signature + hex("21 11 0025 c0000201 c6336402 9c40 008f 05 0016") + Self.id)
    #expect(block(.unix, .unix, id: Self.id) == Self.signature + hex("20 00 0019 05 0016") + Self.id)
  }

  @Test func theTLSThatTheRelayTerminated() {
    let version = hex("21 0007") + Array("TLSv1.3".utf8)
    let cipher = hex("23 0016") + Array("TLS_AES_256_GCM_SHA384".utf8)
    let fixed = Self.signature + hex("21 11")
    let addresses = hex("c0000201 c6336402 9c40 008f")
    #expect(
      block(Self.client4, Self.here4, tls: .terminated("TLSv1.3", ""))
        == fixed + hex("001e") + addresses + hex("20 000f 01 00000001") + version)
    #expect(
      block(Self.client4, Self.here4, tls: .terminated("TLSv1.3", "TLS_AES_256_GCM_SHA384"))
        == fixed + hex("0037") + addresses + hex("20 0028 01 00000001") + version + cipher)
  }

  @Test func theTLSThatATrustedProxyTerminated() {
    let value = hex("07 00000000 210007") + Array("TLSv1.2".utf8) + hex("22 0001 41 99 0000")
    #expect(
      block(Self.client4, Self.here4, tls: .copied(value))
        == Self.signature + hex("21 11 0025 c0000201 c6336402 9c40 008f 20 0016") + value)
  }

  /// That the sum is the right one, HAProxyHeaderTests says.
  @Test func theChecksumCoversTheHeaderAlone() throws {
    let expected = block(Self.client4, Self.here4, id: Self.id, checksum: true)
    #expect(block(Self.client4, Self.here4, id: Self.id, checksum: true, behind: [1, 2, 3]) == expected)
    let sum = expected.suffix(4).reduce(0 as UInt32) { $0 << 8 | UInt32($1) }
    var zeroed = CRC32C()
    for byte in expected.dropLast(4) + [0, 0, 0, 0] { zeroed.add(byte) }
    #expect(zeroed.value == sum && expected.suffix(7).prefix(3) == [3, 0, 4])
  }

  // MARK: Read back

  private func endpoint(_ random: inout SeededGenerator) -> PeerAddress {
    let port = UInt16(truncatingIfNeeded: random.next())
    switch random.below(8) {
    case 0: return .unix
    case 1: return .unknown
    case 2, 3, 4: return PeerAddress(ipv4: UInt32(truncatingIfNeeded: random.next()) | 1, port: port)
    default:
      let high = random.once(in: 4) ? 0 : random.next() & 0xFFFF_0000_FFFF_0000
      return PeerAddress(ipv6: high, random.next() >> UInt64(random.below(64)), port: port)
    }
  }

  /// What the server reads: nothing when the client has no address, and the unspecified one for a lacking destination.
  private func read(_ source: PeerAddress, _ destination: PeerAddress) -> (PeerAddress, PeerAddress) {
    switch (source.family, destination.family) {
    case (.unix, _), (.unknown, _): (.unknown, .unknown)
    case (_, .ipv4), (_, .ipv6): (source, destination)
    case (.ipv4, _): (source, .unspecified)
    case (.ipv6, _): (source, PeerAddress(ipv6: 0, 0, port: 0))
    }
  }

  @Test func whatIsWrittenIsRead() throws {
    var random = SeededGenerator(seed: 23)
    for _ in 0..<5_000 {
      let (source, destination) = (endpoint(&random), endpoint(&random))
      let expected = read(source, destination)
      let text = Array(line(source, destination).utf8)
      #expect(text.count <= ProxyLine.bytesMaximum)
      #expect(
        text.withUnsafeBytes { ProxyHeader.parse($0) }
          == .complete(
            ProxyHeader(version: .v1, source: expected.0, destination: expected.1, byteCount: text.count)))

      let id = (0..<random.below(random.once(in: 10) ? 129 : 30)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
      let copied = hex("01 00000001") + hex("21 0007") + Array("TLSv1.3".utf8) + hex("22 0000")
      let tls = [TLS.none, .terminated("TLSv1.3", "x"), .copied(copied)][random.below(3)]
      let bytes = block(source, destination, id: id, tls: tls, checksum: random.once(in: 2))
      guard case .complete(let header) = bytes.withUnsafeBytes({ ProxyHeader.parse($0) }) else {
        Issue.record("\(bytes)")
        continue
      }
      #expect(header.version == .v2 && header.source == expected.0 && header.destination == expected.1)
      #expect(header.byteCount == bytes.count && header.uniqueID.map { Array(bytes[$0]) } ?? [] == id)
      let value = header.tls.map { Array(bytes[$0]) }
      switch tls {
      case .none: #expect(value == nil)
      case .terminated: #expect(value == hex("01 00000001 210007 544c5376312e33 230001 78"))
      case .copied: #expect(value == copied)
      }
    }
  }

  /// Whatever a header may have, it fits the limit that the relay itself has for headers.
  @Test func theLongestFits() {
    let copied = Array(repeating: 1 as UInt8, count: ProxyHeader.tlsBytesMaximum)
    let id = Array(repeating: 2 as UInt8, count: ProxyHeader.uniqueIDBytesMaximum)
    #expect(
      block(Self.client6, Self.here6, id: id, tls: .copied(copied), checksum: true).count == Limits.proxyHeaderBytes)
  }
}
