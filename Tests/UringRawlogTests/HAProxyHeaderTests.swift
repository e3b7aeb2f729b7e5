import Testing

@testable import UringRawlog

/// What HAProxy 2.6.12 sends, as `scripts/capture-proxy-headers` caught it.
@Suite struct HAProxyHeaderTests {
  struct Capture: Sendable, CustomTestStringConvertible {
    var name: String
    var header: [UInt8]
    /// As the client saw them.
    var source = PeerAddress.unknown
    var destination = PeerAddress.unknown
    var uniqueID: String?
    var tls: [UInt8]?

    var testDescription: String { name }
  }

  private static func local(_ port: UInt16) -> PeerAddress { PeerAddress(ipv4: 0x7F00_0001, port: port) }
  private static func local6(_ port: UInt16) -> PeerAddress { PeerAddress(ipv6: 0, 1, port: port) }

  static let captures = [
    Capture(
      name: "v1, TCP4", header: Array("PROXY TCP4 127.0.0.1 127.0.0.1 34928 47259\r\n".utf8), source: local(34928),
      destination: local(47259)),
    Capture(
      name: "v1, TCP6", header: Array("PROXY TCP6 ::1 ::1 55118 41293\r\n".utf8), source: local6(55118),
      destination: local6(41293)),
    Capture(
      name: "v1, IPv4 by a socket for both",
      header: Array("PROXY TCP6 ::ffff:127.0.0.1 ::ffff:127.0.0.1 37042 56767\r\n".utf8), source: local(37042),
      destination: local(56767)),
    Capture(
      name: "v1, unix", header: Array("PROXY UNKNOWN\r\n".utf8)),
    Capture(
      name: "v2, TCP4",
      header: hex(
        """
        0d0a0d0a000d0a515549540a2111000c7f0000017f000001db12d2b7
        """), source: local(56082), destination: local(53943)),
    Capture(
      name: "v2, TCP6",
      header: hex(
        """
        0d0a0d0a000d0a515549540a212100240000000000000000000000000000000100000000000000000000000000000001
        895ed5f7
        """), source: local6(35166), destination: local6(54775)),
    Capture(
      name: "v2, IPv4 by a socket for both",
      header: hex(
        """
        0d0a0d0a000d0a515549540a2121002400000000000000000000ffff7f00000100000000000000000000ffff7f000001
        e40c8a73
        """), source: local(58380), destination: local(35443)),
    Capture(
      name: "v2, unix",
      header: hex(
        """
        0d0a0d0a000d0a515549540a20000000
        """)),
    Capture(
      name: "v2, checksum and unique ID",
      header: hex(
        """
        0d0a0d0a000d0a515549540a211100287f0000017f000001be9abdf1030004589175d605001231373935333738373830
        2e31383230342e30
        """), source: local(48794), destination: local(48625), uniqueID: "1795378780.18204.0"),
    Capture(
      name: "v2, unix, checksum and unique ID",
      header: hex(
        """
        0d0a0d0a000d0a515549540a2000001c03000483bc0e06050012313739353337383738302e31383230372e30
        """), uniqueID: "1795378780.18207.0"),
    Capture(
      name: "v2, TLS",
      header: hex(
        """
        0d0a0d0a000d0a515549540a2111007b7f0000017f000001a4b492bb030004539f8edd02000e7365727665722e657861
        6d706c65050012313739353337383738302e31383231302e3020003f0100000000210007544c5376312e332500075253
        413230343824000a5253412d534841323536230016544c535f4145535f3235365f47434d5f534841333834
        """), source: local(42164), destination: local(37563), uniqueID: "1795378780.18210.0",
      tls: hex(
        """
        0100000000210007544c5376312e332500075253413230343824000a5253412d534841323536230016544c535f414553
        5f3235365f47434d5f534841333834
        """)),
    Capture(
      name: "v2, TLS with a certificate of the client",
      header: hex(
        """
        0d0a0d0a000d0a515549540a2111008c7f0000017f0000018afad317030004d6abb73002000e7365727665722e657861
        6d706c65050012313739353337383738302e31383231332e302000500700000000210007544c5376312e3322000e636c
        69656e742e6578616d706c652500075253413230343824000a5253412d534841323536230016544c535f4145535f3235
        365f47434d5f534841333834
        """), source: local(35578), destination: local(54039), uniqueID: "1795378780.18213.0",
      tls: hex(
        """
        0700000000210007544c5376312e3322000e636c69656e742e6578616d706c652500075253413230343824000a525341
        2d534841323536230016544c535f4145535f3235365f47434d5f534841333834
        """)),
    Capture(
      name: "v2, health check",
      header: hex(
        """
        0d0a0d0a000d0a515549540a20000000
        """)),
    Capture(
      name: "v1, health check", header: Array("PROXY TCP4 127.0.0.1 127.0.0.1 40662 43187\r\n".utf8),
      source: local(40662), destination: local(43187)),
  ]

  @Test(arguments: captures)
  func whatHAProxySendsIsRead(capture: Capture) throws {
    let delivery = ProxyDelivery(capture.header + [0x78], .required)
    #expect(delivery.end == .accepted && delivery.forwarded == [0x78])
    let header = try #require(delivery.header)
    #expect(header.source == capture.source && header.destination == capture.destination)
    #expect(header.byteCount == capture.header.count)
    #expect(header.uniqueID.map { String(decoding: capture.header[$0], as: UTF8.self) } == capture.uniqueID)
    #expect(header.tls.map { Array(capture.header[$0]) } == capture.tls)
    #expect(ProxyDelivery(capture.header, .refused).end == .refused(.uninvited))
  }

  @Test(arguments: captures)
  func splitsChangeNothing(capture: Capture) {
    var random = SeededGenerator(seed: 31)
    #expect(ProxyDelivery.isSameHoweverCut(capture.header + [0x78], &random))
  }

  /// Of the same content we write the same bytes. HAProxy puts the checksum first, so that of a header with more TLVs
  /// differs.
  @Test(arguments: captures.filter { $0.uniqueID == nil })
  func whatIsWrittenIsTheSame(capture: Capture) {
    let isMapped = capture.name.contains("IPv4 by a socket for both")
    let writer = ProxyHeaderWriter(source: capture.source, destination: capture.destination)
    var text = Bytes()
    if capture.header[0] == 0x0D {
      writer.appendBlock(uniqueID: UnsafeRawBufferPointer(start: nil, count: 0), tls: .none, checksum: false, to: &text)
    } else {
      writer.appendLine(to: &text)
    }
    let written = Array(text.span)
    // What maps an IPv4 address is that address to us.
    #expect((written == capture.header) != isMapped)
  }
}
