import Glibc
import Testing

@testable import UringRawlog

@Suite struct CIDRTests {
  /// An address from its text, by the system's own parser.
  private func address(_ text: String) throws -> PeerAddress {
    var ipv4 = in_addr()
    var ipv6 = in6_addr()
    if inet_pton(AF_INET, text, &ipv4) == 1 { return PeerAddress(ipv4: UInt32(bigEndian: ipv4.s_addr), port: 25) }
    try #require(inet_pton(AF_INET6, text, &ipv6) == 1)
    return withUnsafeBytes(of: ipv6) { bytes in
      PeerAddress(
        ipv6: UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)),
        UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)), port: 25)
    }
  }

  @Test(arguments: [
    (
      "192.0.2.0/24", ["192.0.2.0", "192.0.2.255", "::ffff:192.0.2.7"],
      ["192.0.3.0", "192.0.1.255", "::c000:207", "::1"]
    ),
    ("192.0.2.7", ["192.0.2.7"], ["192.0.2.6", "192.0.2.8"]),
    ("192.0.2.7/32", ["192.0.2.7"], ["192.0.2.6", "192.0.2.8"]),
    ("128.0.0.0/1", ["128.0.0.0", "255.255.255.255"], ["127.255.255.255", "0.0.0.0"]),
    ("0.0.0.0/0", ["0.0.0.0", "255.255.255.255", "10.1.2.3"], ["::", "2001:db8::1"]),
    ("10.0.0.0/31", ["10.0.0.0", "10.0.0.1"], ["10.0.0.2", "9.255.255.255"]),
    (
      "2001:db8::/32", ["2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"],
      ["2001:db9::", "2001:db7:ffff::", "32.1.13.184"]
    ),
    ("2001:db8::1", ["2001:db8::1"], ["2001:db8::", "2001:db8::2"]),
    ("2001:db8::1/128", ["2001:db8::1"], ["2001:db8::", "2001:db8::2"]),
    ("::/0", ["::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::1"], ["192.0.2.1"]),
    ("8000::/1", ["8000::", "ffff::"], ["7fff:ffff::", "::"]),
    ("2001:db8::/63", ["2001:db8:0:1::", "2001:db8::"], ["2001:db8:0:2::"]),
    ("2001:db8::/64", ["2001:db8::ffff:ffff:ffff:ffff"], ["2001:db8:0:1::"]),
    ("2001:db8::8000:0:0:0/65", ["2001:db8::8000:0:0:0", "2001:db8::ffff:0:0:1"], ["2001:db8::7fff:0:0:0"]),
    ("2001:db8::fffe/127", ["2001:db8::fffe", "2001:db8::ffff"], ["2001:db8::fffd"]),
    // IPv4-mapped networks are the IPv4 networks that they map.
    ("::ffff:192.0.2.0/120", ["192.0.2.9", "::ffff:192.0.2.9"], ["192.0.3.1"]),
    ("::ffff:192.0.2.1", ["192.0.2.1"], ["192.0.2.2"]),
    ("::ffff:0:0/96", ["0.0.0.0", "255.1.2.3"], ["::1"]),
  ])
  func contains(network: String, inside: [String], outside: [String]) throws {
    let cidr = try CIDR(network)
    for text in inside { #expect(cidr.contains(try address(text)), "\(text)") }
    for text in outside { #expect(!cidr.contains(try address(text)), "\(text)") }
    #expect(!cidr.contains(.unix) && !cidr.contains(.unknown))
  }

  /// Every length, against a comparison of the first bits one by one.
  @Test func agreesBitByBit() throws {
    var random = SeededGenerator(seed: 1)
    func bits(_ bytes: [UInt8]) -> [Bool] { bytes.flatMap { byte in (0..<8).map { byte >> (7 - UInt8($0)) & 1 == 1 } } }
    for length in [4, 16] {
      for count in 0...length * 8 {
        for _ in 0..<4 {
          let base = (0..<length).map { _ in UInt8(truncatingIfNeeded: random.next()) }
          let masked = base.enumerated().map { place, byte in
            let kept = max(0, min(8, count - place * 8))
            return kept == 0 ? 0 : byte & (0xFF << UInt8(8 - kept))
          }
          // A neighbour that differs in one bit, and what is far away.
          var other = base
          let flipped = random.below(length * 8)
          other[flipped / 8] ^= 0x80 >> UInt8(flipped % 8)
          let cidr = try CIDR("\(Self.text(masked))/\(count)")
          for candidate in [base, other, (0..<length).map { _ in UInt8(truncatingIfNeeded: random.next()) }] {
            let expected = bits(candidate).prefix(count) == bits(masked).prefix(count)
            try #require(
              cidr.contains(try address(Self.text(candidate))) == expected, "\(masked)/\(count), \(candidate)")
          }
        }
      }
    }
  }

  private static func text(_ bytes: [UInt8]) -> String {
    if bytes.count == 4 { return bytes.map { String($0) }.joined(separator: ".") }
    return (0..<8).map { String(UInt16(bytes[$0 * 2]) << 8 | UInt16(bytes[$0 * 2 + 1]), radix: 16) }.joined(
      separator: ":")
  }

  @Test(arguments: [
    ("192.0.2.7/24", "192.0.2.0/24"), ("255.255.255.255/0", "0.0.0.0/0"), ("10.0.0.1/31", "10.0.0.0/31"),
    ("2001:db8::1/32", "2001:db8::/32"), ("2001:db8:0:1::/63", "2001:db8::/63"), ("::1/0", "::/0"),
    ("2001:db8::ffff/65", "2001:db8::/65"), ("::ffff:192.0.2.7/120", "192.0.2.0/24"),
  ])
  func hostBitsNameTheNetwork(text: String, network: String) throws {
    let error = #expect(throws: ValueError.self) { try CIDR(text) }
    let shown = error?.description ?? ""
    #expect(shown.hasPrefix("'\(text)' ") && shown.hasSuffix(" \(network)"))
    // And what it names is accepted.
    _ = try CIDR(network)
  }

  @Test(arguments: [
    "", "/", "/24", "mail.example", "192.0.2", "192.0.2.0.0", "192.0.2.256", "192.0.2.0:25", "2001:db8:::/32", "[::1]",
    "fe80::1%eth0", " 192.0.2.0/24", "0x7f.0.0.1", "192.0.2.0 /24",
  ])
  func notAnAddress(text: String) {
    let error = #expect(throws: ValueError.self) { try CIDR(text) }
    #expect(error?.description == "'\(text)' is not an IP address or network, such as 192.0.2.0/24 or 2001:db8::/32")
  }

  @Test(arguments: [
    ("192.0.2.0/", 0, 32), ("192.0.2.0/33", 0, 32), ("192.0.2.0/-1", 0, 32), ("192.0.2.0/+8", 0, 32),
    ("192.0.2.0/24/", 0, 32), ("192.0.2.0/255.255.255.0", 0, 32), ("192.0.2.0/ 24", 0, 32), ("::/129", 0, 128),
    ("::/x", 0, 128), ("::ffff:192.0.2.0/95", 96, 128), ("::ffff:192.0.2.0/24", 96, 128), ("192.0.2.0/\u{0661}", 0, 32),
    ("192.0.2.0/99999999999999999999", 0, 32),
  ])
  func notANumberOfBits(text: String, least: Int, most: Int) {
    let error = #expect(throws: ValueError.self) { try CIDR(text) }
    #expect(error?.description == "'\(text)': behind the slash stands a number of bits from \(least) to \(most)")
  }

  @Test(arguments: ["10.0.0.0\u{0}", "10.0.0.0\u{0}junk", "10.0.0.0\u{0}junk/8"])
  func aNulByteIsRefused(text: String) {
    #expect(throws: ValueError.self) { try CIDR(text) }
  }

  @Test func messagesAreEscaped() {
    let error = #expect(throws: ValueError.self) { try CIDR("10.0.0.0\u{1B}[2J/8") }
    #expect(error?.description.contains("\\x1b[2J") == true)
  }

  @Test func onlyTheseClientsAreRecorded() throws {
    var configuration = RelayConfiguration(
      listen: [], connect: try Address(connecting: ":1"), directory: try DirectoryTemplate("d"))
    let client = try address("192.0.2.9")
    #expect(configuration.isRecorded(client) && configuration.isRecorded(.unix))
    configuration.only = [try CIDR("10.0.0.0/8"), try CIDR("192.0.2.0/24")]
    #expect(configuration.isRecorded(client) && !configuration.isRecorded(.unix))
    #expect(!configuration.isRecorded(try address("192.0.3.9")))
  }
}
