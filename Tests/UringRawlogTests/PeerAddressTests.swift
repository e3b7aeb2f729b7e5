import Glibc
import Testing

@testable import UringRawlog

@Suite struct PeerAddressTests {
  private func text(_ address: PeerAddress) -> String {
    var text = Bytes()
    address.append(to: &text)
    return text.text
  }

  private func host(_ address: PeerAddress) -> String {
    var text = Bytes()
    address.appendHost(to: &text)
    return text.text
  }

  @Test(
    arguments: [
      (0, 0, "0.0.0.0"), (0xFFFF_FFFF, 65535, "255.255.255.255"), (0x7F00_0001, 143, "127.0.0.1"),
      (0xC0A8_0A64, 1, "192.168.10.100"), (0x0102_0304, 25, "1.2.3.4"),
    ] as [(UInt32, UInt16, String)])
  func ipv4(address: UInt32, port: UInt16, expected: String) {
    let peer = PeerAddress(ipv4: address, port: port)
    #expect(host(peer) == expected && text(peer) == "\(expected):\(port)")
  }

  @Test(
    arguments: [
      (0, 0, "::"), (0, 1, "::1"), (0x2001_0DB8_0000_0000, 1, "2001:db8::1"),
      (UInt64.max, UInt64.max, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
      (0x2001_0DB8_0001_0002, 0x0003_0004_0005_0006, "2001:db8:1:2:3:4:5:6"), (0xFE80_0000_0000_0000, 0xA, "fe80::a"),
      // Only ::ffff:0:0/96 is IPv4-mapped.
      (0, 0xFFFE_0102_0304, "::fffe:102:304"), (1, 0xFFFF_0102_0304, "::1:0:ffff:102:304"),
    ] as [(UInt64, UInt64, String)])
  func ipv6(high: UInt64, low: UInt64, expected: String) {
    let peer = PeerAddress(ipv6: high, low, port: 993)
    #expect(peer.family == .ipv6 && host(peer) == expected && text(peer) == "[\(expected)]:993")
  }

  @Test func mappedAddressesAreIPv4() {
    let peer = PeerAddress(ipv6: 0, 0xFFFF_C000_0207, scope: 5, port: 143)
    #expect(peer == PeerAddress(ipv4: 0xC000_0207, port: 143) && text(peer) == "192.0.2.7:143")
  }

  @Test func theScopeOfALinkLocalAddress() {
    let peer = PeerAddress(ipv6: 0xFE80_0000_0000_0000, 1, scope: 4_294_967_295, port: 143)
    #expect(host(peer) == "fe80::1%4294967295" && text(peer) == "[fe80::1%4294967295]:143")
  }

  @Test func peersWithoutAnAddress() {
    #expect(host(.unix) == "unix" && text(.unix) == "unix")
    #expect(host(.unknown) == "unknown" && text(.unknown) == "unknown")
  }

  // MARK: From the kernel's form

  @Test func fromIPv4() {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = UInt16(143).bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    let socketAddress = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        SocketAddress($0, length: socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    #expect(socketAddress.family == AF_INET && text(socketAddress.peer) == "127.0.0.1:143")
    #expect(socketAddress.unixPath == "")
  }

  @Test(arguments: [("2001:db8::7", "[2001:db8::7%9]:25"), ("::ffff:192.0.2.7", "192.0.2.7:25")])
  func fromIPv6(host: String, expected: String) {
    var address = sockaddr_in6()
    address.sin6_family = sa_family_t(AF_INET6)
    address.sin6_port = UInt16(25).bigEndian
    address.sin6_scope_id = 9
    #expect(inet_pton(AF_INET6, host, &address.sin6_addr) == 1)
    let socketAddress = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        SocketAddress($0, length: socklen_t(MemoryLayout<sockaddr_in6>.size))
      }
    }
    #expect(text(socketAddress.peer) == expected)
  }

  @Test func fromUnixSockets() throws {
    let address = try #require(SocketAddress(unixPath: "/run/t\u{FC}rk.sock"))
    #expect(address.family == AF_UNIX && address.peer == .unix && address.unixPath == "/run/t\u{FC}rk.sock")
    #expect(SocketAddress(unixPath: "/" + String(repeating: "x", count: 106))?.unixPath.utf8.count == 107)
    #expect(SocketAddress(unixPath: "/" + String(repeating: "x", count: 107)) == nil)
    #expect(SocketAddress(unixPath: "") == nil && SocketAddress(unixPath: "/a\u{0}b") == nil)
    #expect(SocketAddress().peer == .unknown)
  }

  /// A socket that is bound to nothing has no path; an abstract name is none either.
  @Test func fromRealSockets() throws {
    var pair: [Int32] = [-1, -1]
    try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &pair) == 0)
    defer { for end in pair { close(end) } }
    #expect(SocketAddress.peer(of: pair[0])?.peer == .unix)
    #expect(SocketAddress.peer(of: pair[0])?.unixPath == "")
    #expect(SocketAddress.local(of: pair[0])?.peer == .unix)
    #expect(SocketAddress.peer(of: -1) == nil)
  }

  /// A connection that its peer has reset already still knows who that was.
  @Test func afterAReset() throws {
    let listener = try #require(try Listener.open(try Address(listening: "127.0.0.1:0")).first)
    defer { listener.close() }
    let target = try #require(SocketAddress.local(of: listener.descriptor))
    let client = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    try #require(target.withPointer { connect(client, $0, $1) } == 0)
    let port = try #require(SocketAddress.local(of: client)?.peer.port)
    let accepted = accept(listener.descriptor, nil, nil)
    try #require(accepted >= 0)
    defer { close(accepted) }
    var linger = linger(l_onoff: 1, l_linger: 0)
    setsockopt(client, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<linger>.size))
    close(client)
    // The reset is there as soon as a receive says so.
    var byte: UInt8 = 0
    #expect(recv(accepted, &byte, 1, 0) == -1 && errno == ECONNRESET)
    #expect(SocketAddress.peer(of: accepted)?.peer == PeerAddress(ipv4: 0x7F00_0001, port: port))
  }

  // MARK: Whether a relay would connect to itself

  private func socketAddress(_ text: String) throws -> SocketAddress {
    try #require(try AddressResolver.addresses(connecting: try Address(connecting: text)).first)
  }

  @Test(arguments: [
    ("127.0.0.1:143", "127.0.0.1:143", true), ("127.0.0.1:143", "127.0.0.1:144", false),
    ("127.0.0.1:143", "127.0.0.2:143", false), ("0.0.0.0:143", "127.0.0.1:143", true),
    ("0.0.0.0:143", "127.9.9.9:143", true), ("0.0.0.0:143", "192.0.2.1:143", false),
    ("0.0.0.0:143", "[::1]:143", false), ("[::]:143", "[::1]:143", true), ("[::]:143", "127.0.0.1:143", true),
    ("[::]:143", "127.0.0.1:144", false), ("[::]:143", "[2001:db8::1]:143", false), ("[::1]:143", "[::1]:143", true),
    ("[::1]:143", "127.0.0.1:143", false), ("unix:/a", "unix:/a", true), ("unix:/a", "unix:/b", false),
    ("unix:/a", "127.0.0.1:143", false), ("127.0.0.1:143", "unix:/a", false),
  ])
  func reaching(listening: String, connecting: String, expected: Bool) throws {
    let here = try socketAddress(listening)
    #expect(here.reaches(try socketAddress(connecting)) == expected)
  }
}
