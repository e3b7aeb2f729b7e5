import Glibc
import Testing

@testable import UringRawlog

/// `IPv4Text` and `IPv6Text` against inet_pton(3), whose answer is the standard.
@Suite struct IPTextTests {
  private func ipv4(_ text: String) -> UInt32? {
    var parser = IPv4Text()
    for byte in text.utf8 where !parser.take(byte) { return nil }
    return parser.value
  }

  private func ipv6(_ text: String) -> [UInt64]? {
    var parser = IPv6Text()
    for byte in text.utf8 where !parser.take(byte) { return nil }
    return parser.value.map { [$0.high, $0.low] }
  }

  private func system4(_ text: String) -> UInt32? {
    var address = in_addr()
    return inet_pton(AF_INET, text, &address) == 1 ? UInt32(bigEndian: address.s_addr) : nil
  }

  private func system6(_ text: String) -> [UInt64]? {
    var address = in6_addr()
    guard inet_pton(AF_INET6, text, &address) == 1 else { return nil }
    return withUnsafeBytes(of: address) { bytes in
      [0, 8].map { UInt64(bigEndian: bytes.load(fromByteOffset: $0, as: UInt64.self)) }
    }
  }

  @Test(
    arguments: [
      ("0.0.0.0", 0), ("255.255.255.255", 0xFFFF_FFFF), ("192.0.2.1", 0xC000_0201), ("1.20.30.4", 0x0114_1E04),
    ] as [(String, UInt32)])
  func ipv4Addresses(text: String, expected: UInt32) {
    #expect(ipv4(text) == expected && system4(text) == expected)
  }

  @Test(arguments: [
    "", ".", "1", "1.", "1.2.3", "1.2.3.", "1.2.3.4.", "1.2.3.4.5", ".1.2.3", "1..2.3", "256.0.0.1", "1.2.3.256",
    "01.2.3.4", "1.2.3.04", "00.0.0.0", "1.2.3.4 ", " 1.2.3.4", "+1.2.3.4", "1.2.3.-4", "0x1.2.3.4", "1.2.3.4a",
    "127.1", "2130706433", "1:2", "\u{661}.2.3.4",
  ])
  func noIPv4Addresses(text: String) {
    #expect(ipv4(text) == nil && system4(text) == nil)
  }

  @Test(
    arguments: [
      ("::", [0, 0]), ("::1", [0, 1]), ("1::", [1 << 48, 0]), ("2001:db8::7", [0x2001_0DB8_0000_0000, 7]),
      ("1:2:3:4:5:6:7:8", [0x0001_0002_0003_0004, 0x0005_0006_0007_0008]),
      ("FFFF:ffff:FfFf:ffff:ffff:ffff:ffff:ffff", [.max, .max]), ("::ffff:192.0.2.1", [0, 0xFFFF_C000_0201]),
      ("1:2:3:4:5:6:7::", [0x0001_0002_0003_0004, 0x0005_0006_0007_0000]),
      ("::2:3:4:5:6:7:8", [0x0000_0002_0003_0004, 0x0005_0006_0007_0008]),
      ("1:2:3:4:5:6:1.2.3.4", [0x0001_0002_0003_0004, 0x0005_0006_0102_0304]),
      ("1:2:3:4:5::1.2.3.4", [0x0001_0002_0003_0004, 0x0005_0000_0102_0304]), ("::0.0.0.0", [0, 0]),
      ("0001:0000::00ff", [1 << 48, 0xFF]),
    ] as [(String, [UInt64])])
  func ipv6Addresses(text: String, expected: [UInt64]) {
    #expect(ipv6(text) == expected && system6(text) == expected)
  }

  @Test(arguments: [
    "", ":", ":::", "1", "1:", ":1", "::1:", "1:::2", "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:", "1:2:3:4:5:6:7:8:",
    "1:2:3:4:5:6:7:8:9", "1::2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8", "12345::", "::00001", "g::",
    "::1.2.3", "::1.2.3.4.5", "::1.2.3.256", "::01.2.3.4", "::1.2.3.4:5", "1.2.3.4", "1:2:3:4:5:6:7:1.2.3.4",
    "1:2:3:4:5:6::1.2.3.4", "::a.2.3.4", "::12a.2.3.4", "fe80::1%2", "[::1]", "::1 ", " ::1", ":1::",
  ])
  func noIPv6Addresses(text: String) {
    #expect(ipv6(text) == nil && system6(text) == nil)
  }

  /// Texts that are nearly addresses, so that about one in three is one.
  @Test func whateverTheSystemSays() {
    var counts = (addresses: 0, others: 0)
    var random = SeededGenerator(seed: 7)
    for _ in 0..<40_000 {
      let isIPv6 = random.once(in: 2)
      let text = isIPv6 ? nearlyIPv6(&random) : nearlyIPv4(&random)
      let isRight = isIPv6 ? ipv6(text) == system6(text) : ipv4(text) == system4(text)
      #expect(isRight, "\(text)")
      let isAddress = isIPv6 ? ipv6(text) != nil : ipv4(text) != nil
      if isAddress { counts.addresses += 1 } else { counts.others += 1 }
    }
    #expect(counts.addresses > 5_000 && counts.others > 5_000)
  }

  private func nearlyIPv4(_ random: inout SeededGenerator) -> String {
    let numbers = (0..<(random.once(in: 8) ? 3 + random.below(3) : 4)).map { _ in
      String(random.once(in: 12) ? 250 + random.below(10) : random.below(256))
    }
    return changed(numbers.joined(separator: "."), by: "0129.", &random)
  }

  private func nearlyIPv6(_ random: inout SeededGenerator) -> String {
    var groups = (0..<(random.once(in: 2) ? 8 : random.below(9))).map { _ in String(random.below(0x1_0000), radix: 16) }
    if random.once(in: 3) { groups = groups.dropLast(2) + ["192.0.2.\(random.below(300))"] }
    if groups.count < 8 || random.once(in: 8) {
      let place = random.below(groups.count + 1)
      groups.insert("", at: place)
      if place == 0 || place == groups.count - 1 { groups.insert("", at: place) }
      if groups.count == 2 { groups.append("") }
    }
    return changed(groups.joined(separator: ":"), by: "01aF:.", &random)
  }

  private func changed(_ text: String, by alphabet: String, _ random: inout SeededGenerator) -> String {
    var bytes = Array(text)
    guard random.once(in: 3), !bytes.isEmpty else { return text }
    let place = random.below(bytes.count)
    switch random.below(3) {
    case 0: bytes.remove(at: place)
    case 1: bytes[place] = alphabet.randomElement(using: &random)!
    default: bytes.insert(alphabet.randomElement(using: &random)!, at: place)
    }
    return String(bytes)
  }
}
