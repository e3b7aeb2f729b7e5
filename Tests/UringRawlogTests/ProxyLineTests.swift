import Glibc
import Testing

@testable import UringRawlog

/// PROXY headers of version 1 (proxy-protocol.txt 2.1).
@Suite struct ProxyLineTests {
  private func outcome(_ text: String) -> ProxyHeader.Outcome {
    Array(text.utf8).withUnsafeBytes { ProxyHeader.parse($0) }
  }

  private func header(_ source: PeerAddress, _ destination: PeerAddress, _ byteCount: Int) -> ProxyHeader.Outcome {
    .complete(ProxyHeader(version: .v1, source: source, destination: destination, byteCount: byteCount))
  }

  /// The address that a text means, by the system's own functions.
  private func address(_ text: String, port: UInt16) -> PeerAddress? {
    var ipv4 = in_addr()
    var ipv6 = in6_addr()
    if inet_pton(AF_INET, text, &ipv4) == 1 { return PeerAddress(ipv4: UInt32(bigEndian: ipv4.s_addr), port: port) }
    guard inet_pton(AF_INET6, text, &ipv6) == 1 else { return nil }
    return withUnsafeBytes(of: ipv6) { bytes in
      PeerAddress(
        ipv6: UInt64(bigEndian: bytes.load(as: UInt64.self)),
        UInt64(bigEndian: bytes.load(fromByteOffset: 8, as: UInt64.self)), port: port)
    }
  }

  @Test(
    arguments: [
      ("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", "192.168.0.1", 56324, "192.168.0.11", 443),
      (
        "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255", 65535, "255.255.255.255", 65535
      ),
      ("PROXY TCP4 0.0.0.0 1.2.3.4 0 0\r\n", "0.0.0.0", 0, "1.2.3.4", 0),
      ("PROXY TCP6 2001:db8::7 ::1 40000 993\r\n", "2001:db8::7", 40000, "::1", 993),
      (
        "PROXY TCP6 2001:DB8::aBcD 2001:0db8:0000:0000:0000:0000:0000:0001 1 2\r\n", "2001:db8::abcd", 1, "2001:db8::1",
        2
      ),
      (
        "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535
      ),
      // What maps an IPv4 address is that address, and the two need not be of one family then.
      ("PROXY TCP6 ::ffff:192.0.2.1 ::ffff:c000:202 4711 25\r\n", "192.0.2.1", 4711, "192.0.2.2", 25),
      ("PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 4711 25\r\n", "192.0.2.1", 4711, "2001:db8::2", 25),
    ] as [(String, String, UInt16, String, UInt16)])
  func lines(line: String, source: String, sourcePort: UInt16, destination: String, destinationPort: UInt16) throws {
    let expected = header(
      try #require(address(source, port: sourcePort)), try #require(address(destination, port: destinationPort)),
      line.utf8.count)
    #expect(outcome(line) == expected && outcome(line + "\r\nEHLO there\r\n") == expected)
    for count in 0..<line.utf8.count {
      #expect(outcome(String(decoding: line.utf8.prefix(count), as: UTF8.self)) == .needsMore(isHeader: false))
    }
  }

  /// Whom the connection is for is not said: what is said besides does not matter.
  @Test(arguments: [
    "PROXY UNKNOWN\r\n", "PROXY UNKNOWN \r\n", "PROXY UNKNOWN 1.2.3.4 5.6.7.8 1 2\r\n",
    "PROXY UNKNOWN   \u{1}\u{0}\u{FC} anything \t\r\n",
    "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
  ])
  func unknown(line: String) {
    let bytes = Array(line.utf8)
    let expected = header(.unknown, .unknown, bytes.count)
    #expect(bytes.withUnsafeBytes { ProxyHeader.parse($0) } == expected)
    #expect((bytes + [0]).withUnsafeBytes { ProxyHeader.parse($0) } == expected)
    for count in bytes.indices {
      #expect(bytes[..<count].withUnsafeBytes { ProxyHeader.parse($0) } == .needsMore(isHeader: false))
    }
  }

  /// Each line up to the byte that decides.
  @Test(
    arguments: [
      ("PROXY t", .protocolName), ("PROXY  ", .protocolName), ("PROXY \r", .protocolName),
      ("PROXY TCP5", .protocolName),
      ("PROXY TCP4\r", .protocolName), ("PROXY UD", .protocolName), ("PROXY UNKNOWNS", .protocolName),
      ("PROXY TCP4  ", .sourceAddress), ("PROXY TCP4 \r", .lineShort), ("PROXY TCP4 \n", .lineShort),
      ("PROXY TCP4 01", .sourceAddress), ("PROXY TCP4 1.2.3.256", .sourceAddress),
      ("PROXY TCP4 1.2.3 ", .sourceAddress),
      ("PROXY TCP4 1.2.3.4.", .sourceAddress), ("PROXY TCP4 :", .sourceAddress), ("PROXY TCP6 1.", .sourceAddress),
      ("PROXY TCP6 12345", .sourceAddress), ("PROXY TCP6 fe80::1%", .sourceAddress), ("PROXY TCP6 : ", .sourceAddress),
      ("PROXY TCP6 1::2::", .sourceAddress), ("PROXY TCP6 1:2:3:4:5:6:7:8:", .sourceAddress),
      ("PROXY TCP4 1.2.3.4\r", .lineShort), ("PROXY TCP4 1.2.3.4  ", .destinationAddress),
      ("PROXY TCP4 1.2.3.4 5.6.7.8\r", .lineShort), ("PROXY TCP4 1.2.3.4 5.6.7.08", .destinationAddress),
      ("PROXY TCP4 1.2.3.4 5.6.7.8 1\r", .lineShort), ("PROXY TCP4 1.2.3.4 5.6.7.8 65536", .sourcePort),
      ("PROXY TCP4 1.2.3.4 5.6.7.8 00", .sourcePort), ("PROXY TCP4 1.2.3.4 5.6.7.8 02", .sourcePort),
      ("PROXY TCP4 1.2.3.4 5.6.7.8  ", .sourcePort), ("PROXY TCP4 1.2.3.4 5.6.7.8 -", .sourcePort),
      ("PROXY TCP4 1.2.3.4 5.6.7.8 1 99999", .destinationPort), ("PROXY TCP4 1.2.3.4 5.6.7.8 1 \r", .destinationPort),
      ("PROXY TCP4 1.2.3.4 5.6.7.8 1  ", .destinationPort), ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2 ", .destinationPort),
      ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2x", .destinationPort), ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n", .lineEnd),
      ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r ", .lineEnd), ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\r", .lineEnd),
      ("PROXY UNKNOWN\n", .lineEnd), ("PROXY UNKNOWN\rx", .lineEnd), ("PROXY UNKNOWN x\n", .lineEnd),
      ("PROXY UNKNOWN x\r\r", .lineEnd),
    ] as [(String, ProxyFault)])
  func malformed(line: String, fault: ProxyFault) {
    let bytes = Array(line.utf8)
    let decided: Set = [bytes, bytes + Array("1\r\n".utf8), bytes + Array(repeating: 0x30, count: 200)]
    for bytes in decided { #expect(bytes.withUnsafeBytes { ProxyHeader.parse($0) } == .malformed(fault)) }
    #expect(bytes.dropLast().withUnsafeBytes { ProxyHeader.parse($0) } == .needsMore(isHeader: false))
  }

  @Test func longerThanTheLongest() {
    let tooLong = Array("PROXY UNKNOWN ".utf8) + Array(repeating: 0x78, count: 92)
    #expect(tooLong.count == 106)
    #expect(tooLong.dropLast().withUnsafeBytes { ProxyHeader.parse($0) } == .needsMore(isHeader: false))
    // The line may have 105 bytes before CR LF.
    for rest in ["", "\r\n", "xxx\r\n"] {
      #expect((tooLong + rest.utf8).withUnsafeBytes { ProxyHeader.parse($0) } == .malformed(.lineLong))
    }
    // Two IPv6 addresses that end as IPv4 addresses can be longer than the line may be.
    let address = "0000:0000:0000:0000:0000:ffff:255.255.255.255"
    #expect(outcome("PROXY TCP6 \(address) \(address) 65535 65535\r\n") == .malformed(.lineLong))
  }

  /// The first byte that is not that of "PROXY " decides.
  @Test func otherBytesAtEveryPlaceOfTheSignature() {
    let signature = Array("PROXY ".utf8)
    for place in signature.indices {
      for byte in UInt8.min...UInt8.max where byte != signature[place] && (place > 0 || byte != 0x0D) {
        let bytes = signature[..<place] + [byte]
        let outcome = bytes.withUnsafeBytes { ProxyHeader.parse($0) }
        #expect(outcome == .notHeader, "\(place), \(byte)")
      }
    }
    #expect(outcome("proxy TCP4 1.2.3.4 5.6.7.8 1 2\r\n") == .notHeader)
    #expect(outcome("PROXY\tTCP4 1.2.3.4 5.6.7.8 1 2\r\n") == .notHeader)
    #expect(outcome(" PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n") == .notHeader)
  }

  // MARK: Lines that are nearly right

  /// What the standard says, written down in another way.
  private func reference(_ bytes: [UInt8]) -> ProxyHeader.Outcome? {
    guard let lineFeed = bytes.prefix(107).firstIndex(of: 0x0A), lineFeed > 0, bytes[lineFeed - 1] == 0x0D else {
      return nil
    }
    let line = bytes[..<(lineFeed - 1)]
    guard !line.contains(0x0D), !line.contains(0) else { return nil }
    let fields = line.split(separator: 0x20, omittingEmptySubsequences: false)
      .map { String(decoding: $0, as: UTF8.self) }
    guard fields.count >= 2, fields[0] == "PROXY" else { return nil }
    if fields[1] == "UNKNOWN" { return header(.unknown, .unknown, lineFeed + 1) }
    guard fields.count == 6, ["TCP4", "TCP6"].contains(fields[1]) else { return nil }
    let isIPv6 = fields[1] == "TCP6"
    let ports = fields[4...].compactMap { text in UInt16(text).flatMap { String($0) == text ? $0 : nil } }
    guard ports.count == 2, fields[2...3].allSatisfy({ $0.contains(":") == isIPv6 }),
      let source = address(fields[2], port: ports[0]), let destination = address(fields[3], port: ports[1])
    else { return nil }
    return header(source, destination, lineFeed + 1)
  }

  private func nearlyRight(_ random: inout SeededGenerator) -> [UInt8] {
    func number() -> String { String(random.below(256)) }
    func address(_ isIPv6: Bool) -> String {
      guard isIPv6 else { return [number(), number(), number(), number()].joined(separator: ".") }
      return ["2001:db8::\(number())", "::ffff:1.2.3.\(number())", "::", "1:2:3:4:5:6:7:\(number())"][random.below(4)]
    }
    let isIPv6 = random.once(in: 2)
    let ports = "\(random.below(65537)) \(random.below(65537))"
    var bytes = Array("PROXY TCP\(isIPv6 ? 6 : 4) \(address(isIPv6)) \(address(isIPv6)) \(ports)\r\n".utf8)
    if random.once(in: 8) { bytes = Array("PROXY UNKNOWN\(random.once(in: 2) ? " x y" : "")\r\n".utf8) }
    for _ in 0..<random.below(3) {
      let place = random.below(bytes.count)
      let byte = Array("0123456789af:. \r\nTCP46X".utf8).randomElement(using: &random)!
      switch random.below(3) {
      case 0: bytes.remove(at: place)
      case 1: bytes[place] = byte
      default: bytes.insert(byte, at: place)
      }
    }
    return bytes
  }

  @Test func nearlyRightLinesAgainstAnotherReading() {
    var random = SeededGenerator(seed: 11)
    var counts = (complete: 0, others: 0)
    for _ in 0..<20_000 {
      let bytes = nearlyRight(&random)
      let outcome = bytes.withUnsafeBytes { ProxyHeader.parse($0) }
      let expected = reference(bytes)
      if case .complete = outcome { counts.complete += 1 } else { counts.others += 1 }
      let isRight = if case .complete = outcome { outcome == expected } else { expected == nil }
      #expect(isRight, "\(bytes) \(outcome)")
    }
    #expect(counts.complete > 3_000 && counts.others > 3_000)
  }

  /// What is held back could still become a line: from every such beginning there is a way to a whole one.
  @Test func whatNeedsMoreCanBeCompleted() {
    let ways = Array("0:. \r\nPROXYTC4UNKW".utf8)
    func canBeCompleted(_ bytes: [UInt8]) -> Bool {
      switch bytes.withUnsafeBytes({ ProxyHeader.parse($0) }) {
      case .complete: true
      case .malformed, .notHeader: false
      case .needsMore: ways.contains { canBeCompleted(bytes + [$0]) }
      }
    }
    var random = SeededGenerator(seed: 13)
    for _ in 0..<80 {
      let bytes = nearlyRight(&random)
      guard bytes[0] == UInt8(ascii: "P") else { continue }
      // Where the line gets near its longest, an address that is possible may be too long for the rest.
      for count in 0...min(bytes.count, 50) {
        guard bytes[..<count].withUnsafeBytes({ ProxyHeader.parse($0) }) == .needsMore(isHeader: false) else { break }
        #expect(canBeCompleted(Array(bytes[..<count])), "\(bytes[..<count])")
      }
    }
  }

  @Test func splitsChangeNothing() {
    var random = SeededGenerator(seed: 17)
    for _ in 0..<300 {
      let bytes = nearlyRight(&random) + Array("EHLO".utf8)
      #expect(ProxyDelivery.isSameHoweverCut(bytes, &random), "\(bytes)")
    }
  }
}
