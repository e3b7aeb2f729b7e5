import Testing

@testable import UringRawlog

/// PROXY headers of version 2 (proxy-protocol.txt 2.2).
@Suite struct ProxyHeaderTests {
  private static let signature = hex("0d0a0d0a 000d0a51 5549540a")
  private static let ipv4 = hex("c0000201 c6336402 9c40 008f")
  private static let ipv6 = hex("20010db8000000000000000000000007 20010db8000000000000000000000002 9c40 03e1")
  private static let unix = Array("/run/client".utf8) + zeros(97) + Array("/run/server".utf8) + zeros(97)
  private static let client4 = PeerAddress(ipv4: 0xC000_0201, port: 40000)
  private static let here4 = PeerAddress(ipv4: 0xC633_6402, port: 143)
  private static let client6 = PeerAddress(ipv6: 0x2001_0DB8_0000_0000, 7, port: 40000)
  private static let here6 = PeerAddress(ipv6: 0x2001_0DB8_0000_0000, 2, port: 993)

  private static func zeros(_ count: Int) -> [UInt8] { Array(repeating: 0, count: count) }

  private static func block(_ versionCommand: UInt8, _ family: UInt8, _ content: [UInt8]) -> [UInt8] {
    signature + [versionCommand, family, UInt8(content.count >> 8), UInt8(content.count & 0xFF)] + content
  }

  private static func tlv(_ type: UInt8, _ value: [UInt8]) -> [UInt8] {
    [type, UInt8(value.count >> 8), UInt8(value.count & 0xFF)] + value
  }

  /// The same header with a right checksum in the TLV at its end.
  private static func summed(_ versionCommand: UInt8, _ family: UInt8, _ content: [UInt8]) -> [UInt8] {
    let bytes = block(versionCommand, family, content + tlv(3, zeros(4)))
    var sum = CRC32C()
    for byte in bytes { sum.add(byte) }
    return bytes.dropLast(4) + (0..<4).map { UInt8(truncatingIfNeeded: sum.value >> UInt32(24 - 8 * $0)) }
  }

  private func outcome(_ bytes: some Sequence<UInt8>) -> ProxyHeader.Outcome {
    Array(bytes).withUnsafeBytes { ProxyHeader.parse($0) }
  }

  private func header(_ bytes: [UInt8]) throws -> ProxyHeader {
    guard case .complete(let header) = outcome(bytes) else {
      Issue.record("\(outcome(bytes))")
      throw ProxyFault.absent
    }
    #expect(header.version == .v2 && header.byteCount == bytes.count)
    #expect(outcome(bytes + [0, 1, 2]) == .complete(header))
    for count in bytes.indices {
      #expect(outcome(bytes[..<count]) == .needsMore(isHeader: count >= 16))
    }
    return header
  }

  @Test func addresses() throws {
    let four = try header(Self.block(0x21, 0x11, Self.ipv4))
    #expect(four.source == Self.client4 && four.destination == Self.here4 && four.namesClient)
    let six = try header(Self.block(0x21, 0x21, Self.ipv6))
    #expect(six.source == Self.client6 && six.destination == Self.here6)
    let mapped = hex("00000000000000000000ffffc0000201 00000000000000000000ffffc6336402 9c40 008f")
    let both = try header(Self.block(0x21, 0x21, mapped))
    #expect(both.source == Self.client4 && both.destination == Self.here4)
  }

  @Test func unixSockets() throws {
    let bytes = Self.block(0x21, 0x31, Self.unix)
    let named = try header(bytes)
    #expect(named.source == .unix && named.destination == .unix && named.namesClient)
    #expect(named.sourcePath.map { Array(bytes[$0]) } == Array("/run/client".utf8))
    // A path may fill its place, and then it has no NUL.
    let full = Array(repeating: UInt8(ascii: "x"), count: 108)
    let filled = Self.block(0x21, 0x31, full + Self.zeros(108))
    #expect(try header(filled).sourcePath.map { Array(filled[$0]) } == full)
    #expect(try header(Self.block(0x21, 0x31, Self.zeros(216))).sourcePath == nil)
    #expect(try header(Self.block(0x21, 0x31, [0] + Array("abstract".utf8) + Self.zeros(207))).sourcePath == nil)
  }

  /// The connection's own addresses count, whatever else is said.
  @Test(
    arguments: [
      (0x20, 0x00, []), (0x20, 0x00, [1, 2, 3, 4, 5]), (0x20, 0x11, []), (0x20, 0x11, ipv4), (0x20, 0x31, unix),
      (0x20, 0xFF, ipv4), (0x20, 0x12, ipv4), (0x20, 0x11, ipv4 + [0x20, 0xFF, 0xFF]), (0x21, 0x00, []),
      (0x21, 0x00, ipv4), (0x21, 0x01, []), (0x21, 0x10, ipv4), (0x21, 0x10, []), (0x21, 0x20, ipv6),
      (0x21, 0x30, unix), (0x20, 0x00, tlv(0x20, [1])),
    ] as [(UInt8, UInt8, [UInt8])])
  func noAddressesThatCount(versionCommand: UInt8, family: UInt8, content: [UInt8]) throws {
    let header = try header(Self.block(versionCommand, family, content))
    #expect(!header.namesClient && header.source == .unknown && header.destination == .unknown)
    #expect(header.sourcePath == nil && header.tls == nil && header.uniqueID == nil)
  }

  // MARK: TLVs

  @Test func typesThatAreSkipped() throws {
    let content = [0x01, 0x02, 0x04, 0x30, 0x00, 0x21, 0xE0, 0xEA, 0xF7, 0xFF].flatMap { Self.tlv($0, [1, 2, 3]) }
    let bytes = Self.block(0x21, 0x11, Self.ipv4 + Self.tlv(0x04, []) + content + content)
    let header = try header(bytes)
    #expect(header.source == Self.client4 && header.tls == nil && header.uniqueID == nil)
  }

  @Test(arguments: [(0x21, 0x11, ipv4), (0x20, 0x00, []), (0x21, 0x00, []), (0x21, 0x21, ipv6), (0x21, 0x31, unix)])
  func typesThatAreKept(versionCommand: UInt8, family: UInt8, addresses: [UInt8]) throws {
    let tls = hex("01 00000001 21 0007 544c5376312e33 22 0000 99 0001 00")
    let id = Array("20261122-193606.3704.1".utf8)
    let tlvs = Self.tlv(0x04, Self.zeros(5)) + Self.tlv(0x05, id) + Self.tlv(0x20, tls) + Self.tlv(0x02, [0x78])
    let bytes = Self.summed(versionCommand, family, addresses + tlvs)
    let header = try header(bytes)
    #expect(header.uniqueID.map { Array(bytes[$0]) } == id)
    #expect(header.tls.map { Array(bytes[$0]) } == tls)
  }

  @Test func emptyAndLongestValues() throws {
    let longest = Self.block(0x21, 0x11, Self.ipv4 + Self.tlv(0x05, Self.zeros(128)))
    #expect(try header(longest).uniqueID?.count == 128)
    #expect(try header(Self.block(0x21, 0x11, Self.ipv4 + Self.tlv(0x05, []))).uniqueID?.count == 0)
    #expect(try header(Self.block(0x21, 0x11, Self.ipv4 + Self.tlv(0x20, Self.zeros(5)))).tls?.count == 5)
    let room = Limits.proxyHeaderBytes - ProxyHeader.fixedBytes
    #expect(try header(Self.block(0x21, 0x11, Self.ipv4 + Self.tlv(4, Self.zeros(room - 15)))).byteCount == 4096)
  }

  /// The longest SSL TLV that can be sent on, and one byte more.
  @Test func theLongestTLS() throws {
    let part = Self.tlv(0x28, Self.zeros(ProxyHeader.tlsBytesMaximum - 8))
    #expect(try header(Self.block(0x21, 0x11, Self.ipv4 + Self.tlv(0x20, Self.zeros(5) + part))).tls != nil)
    let longer = Self.tlv(0x28, Self.zeros(ProxyHeader.tlsBytesMaximum - 7))
    #expect(outcome(Self.block(0x21, 0x11, Self.ipv4 + Self.tlv(0x20, Self.zeros(5) + longer))) == .malformed(.tlsLong))
  }

  /// A wrong checksum, and any other change of a header that has one.
  @Test func checksums() throws {
    let bytes = Self.summed(0x21, 0x11, Self.ipv4 + Self.tlv(0x04, [1, 2]))
    #expect(try header(bytes).source == Self.client4)
    for place in bytes.indices where place >= 16 {
      var changed = bytes
      changed[place] ^= 0x10
      let outcome = outcome(changed)
      let isInHead = (28..<31).contains(place) || (33..<36).contains(place)
      // In the head of a TLV it may be another TLV that is found, or none to be checked.
      #expect(isInHead || outcome == .malformed(.checksum), "\(place) \(outcome)")
    }
    // It is wrong where nothing else counts, too.
    var local = Self.summed(0x20, 0x00, [])
    #expect(!(try header(local).namesClient))
    local[local.count - 1] ^= 1
    #expect(outcome(local) == .malformed(.checksum))
  }

  @Test(
    arguments: [
      (ipv4 + tlv(3, zeros(3)), .checksumLength), (ipv4 + tlv(3, zeros(5)), .checksumLength),
      (ipv4 + tlv(3, zeros(4)), .checksum), (ipv4 + tlv(3, zeros(4)) + tlv(3, zeros(4)), .repeated),
      (ipv4 + tlv(5, []) + tlv(5, []), .repeated), (ipv4 + tlv(0x20, zeros(5)) + tlv(0x20, zeros(5)), .repeated),
      (ipv4 + tlv(5, zeros(129)), .uniqueID), (ipv4 + [4], .typeLengthValue), (ipv4 + [4, 0], .typeLengthValue),
      (ipv4 + [4, 0, 1], .typeLengthValue), (ipv4 + [4, 1, 0, 0], .typeLengthValue),
      (ipv4 + tlv(4, [1, 2]) + [0xEA, 0xFF, 0xFF, 1], .typeLengthValue), (ipv4 + tlv(0x20, []), .tlsShort),
      (ipv4 + tlv(0x20, zeros(4)), .tlsShort), (ipv4 + tlv(0x20, zeros(5) + [0x21]), .tlsTypeLengthValue),
      (ipv4 + tlv(0x20, zeros(5) + [0x21, 0, 2, 0x78]) + tlv(4, zeros(9)), .tlsTypeLengthValue),
      (ipv4 + tlv(0x20, zeros(5) + tlv(0x21, [1]) + [0x22, 0xFF, 0xFF]), .tlsTypeLengthValue),
    ] as [([UInt8], ProxyFault)])
  func malformedTLVs(content: [UInt8], fault: ProxyFault) {
    let bytes = Self.block(0x21, 0x11, content)
    #expect(outcome(bytes) == .malformed(fault) && outcome(bytes + Self.zeros(100)) == .malformed(fault))
    #expect(outcome(bytes.dropLast()) == .needsMore(isHeader: true))
    #expect(fault.isOfHeader)
  }

  // MARK: The fixed part

  @Test func otherBytesAtEveryPlaceOfTheSignature() {
    for place in Self.signature.indices {
      for byte in UInt8.min...UInt8.max where byte != Self.signature[place] && (place > 0 || byte != 0x50) {
        #expect(outcome(Self.signature[..<place] + [byte]) == .notHeader, "\(place) \(byte)")
        #expect(outcome(Self.signature[..<place] + [byte] + Self.zeros(40)) == .notHeader)
      }
    }
  }

  @Test func everyVersionAndCommand() {
    for byte in UInt8.min...UInt8.max {
      let expected: ProxyHeader.Outcome =
        byte >> 4 != 2
        ? .malformed(.version) : byte & 0xF > 1 ? .malformed(.command) : .needsMore(isHeader: false)
      #expect(outcome(Self.signature + [byte]) == expected)
    }
  }

  @Test func everyFamilyAndTransport() {
    for byte in UInt8.min...UInt8.max {
      let expected: ProxyHeader.Outcome =
        if byte >> 4 > 3 { .malformed(.family) } else if byte & 0xF > 2 {
          .malformed(.transport)
        } else if byte & 0xF
          == 2
        { .malformed(.datagram) } else { .needsMore(isHeader: false) }
      #expect(outcome(Self.signature + [0x21, byte]) == expected)
      #expect(outcome(Self.signature + [0x20, byte]) == .needsMore(isHeader: false))
    }
  }

  @Test(arguments: [(0x11, 12), (0x21, 36), (0x31, 216)] as [(UInt8, Int)])
  func everyLength(family: UInt8, least: Int) {
    let most = Limits.proxyHeaderBytes - ProxyHeader.fixedBytes
    for length in 0...0xFFFF {
      let fixed = Self.signature + [0x21, family, UInt8(length >> 8), UInt8(length & 0xFF)]
      let expected: ProxyHeader.Outcome =
        length < least
        ? .malformed(.lengthShort) : length > most ? .malformed(.lengthLong) : .needsMore(isHeader: true)
      let outcome = outcome(fixed)
      #expect(outcome == expected, "\(length)")
    }
    // The first byte of the length may say already that it is too long.
    #expect(outcome(Self.signature + [0x21, family, 0x10]) == .malformed(.lengthLong))
    #expect(outcome(Self.signature + [0x21, family, 0x0F]) == .needsMore(isHeader: false))
  }

  @Test func reasonsAreSaidWithTheirLimits() {
    let reasons = ProxyFault.allCases.map { "\($0.reason)" }
    #expect(Set(reasons).count == reasons.count)
    #expect("\(ProxyFault.lineLong.reason)".contains("\(ProxyLine.bytesMaximum) bytes"))
    #expect("\(ProxyFault.lengthLong.reason)".contains("\(Limits.proxyHeaderBytes) bytes"))
    #expect("\(ProxyFault.uniqueID.reason)".contains("\(ProxyHeader.uniqueIDBytesMaximum) bytes"))
    #expect("\(ProxyFault.tlsShort.reason)".contains("\(ProxyHeader.tlsHeadBytes) bytes"))
  }

  // MARK: Whatever comes

  /// A block that is right in most places, so that what lies deep in it is reached.
  private func nearlyRight(_ random: inout SeededGenerator) -> [UInt8] {
    let (family, addresses) =
      [
        (0x11, Self.ipv4), (0x21, Self.ipv6), (0x31, Self.unix), (0x00, []), (0x10, Self.ipv4),
      ][random.below(random.once(in: 4) ? 5 : 2)] as (UInt8, [UInt8])
    var content = addresses
    for _ in 0..<random.below(4) {
      let tls = Self.zeros(5) + Self.tlv(0x21, Self.zeros(random.below(9))) + Self.tlv(0x22, [])
      content +=
        [
          Self.tlv(4, Self.zeros(random.below(20))), Self.tlv(5, Self.zeros(random.below(20))), Self.tlv(0x20, tls),
          Self.tlv(UInt8(random.below(256)), Self.zeros(random.below(6))),
        ][random.below(4)]
    }
    let versionCommand: UInt8 = random.once(in: 6) ? 0x20 : 0x21
    var bytes =
      random.once(in: 2)
      ? Self.summed(versionCommand, family, content) : Self.block(versionCommand, family, content)
    if random.once(in: 2) {
      let place = random.below(bytes.count)
      bytes[place] = random.once(in: 2) ? UInt8(random.below(256)) : bytes[place] &+ 1
    }
    return bytes
  }

  @Test func splitsChangeNothing() {
    var random = SeededGenerator(seed: 19)
    var complete = 0
    for _ in 0..<400 {
      let bytes = nearlyRight(&random)
      if case .complete = outcome(bytes) { complete += 1 }
      #expect(ProxyDelivery.isSameHoweverCut(bytes + Array("EHLO".utf8), &random), "\(bytes)")
    }
    #expect(complete > 100 && complete < 390)
  }

  @Test func randomBytes() {
    var random = SeededGenerator(seed: 29)
    let starts = [[], Self.signature, Self.signature + [0x21, 0x11], Self.signature + [0x20], Array("PROXY ".utf8)]
    for _ in 0..<600 {
      let bytes = (0..<random.below(80)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
      #expect(ProxyDelivery.isSameHoweverCut(starts[random.below(starts.count)] + bytes, &random), "\(bytes)")
    }
  }
}
