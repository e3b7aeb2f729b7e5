import Testing

@testable import UringRawlog

/// What is done about the first bytes of a connection. That it does not matter how they are cut is asserted where the
/// bytes are made: in ProxyLineTests and ProxyHeaderTests.
@Suite struct ProxyHeaderParserTests {
  private static let line = Array("PROXY TCP4 192.0.2.1 198.51.100.2 40000 143\r\n".utf8)
  private static let block = hex("0d0a0d0a 000d0a51 5549540a 21 11 000c c0000201 c6336402 9c40 008f")
  private static let local = hex("0d0a0d0a 000d0a51 5549540a 20 00 0000")
  private static let unknown = Array("PROXY UNKNOWN\r\n".utf8)
  private static let command = Array("a LOGIN b c\r\n".utf8)

  // MARK: Required

  @Test(arguments: [line, block, local, unknown])
  func aHeaderIsAcceptedWhereItIsRequired(header: [UInt8]) {
    let delivery = ProxyDelivery(header + Self.command, .required)
    #expect(delivery.end == .accepted && delivery.headerBytes == header && delivery.forwarded == Self.command)
    #expect(delivery.header?.byteCount == header.count)
    #expect(ProxyDelivery(header, .required).forwarded.isEmpty)
    for count in header.indices { #expect(ProxyDelivery(Array(header[..<count]), .required).end == .waiting) }
  }

  @Test func whatIsNoHeaderIsRefusedWhereOneIsRequired() {
    #expect(ProxyDelivery(Self.command, .required).end == .refused(.absent))
    #expect(ProxyDelivery(Array("PROXIMA\r\n".utf8), .required).end == .refused(.absent))
    #expect(ProxyDelivery(Array("PROXY TCP4 1.2.3.4 5.6.7.8 99999".utf8), .required).end == .refused(.sourcePort))
    var wrong = Self.block
    wrong[12] = 0x31
    #expect(ProxyDelivery(wrong, .required).end == .refused(.version))
  }

  @Test func theEndAndTheTime() {
    #expect(ProxyHeaderParser(.required).end() == .refuse(.ended))
    #expect(ProxyHeaderParser(.required).expire() == .refuse(.late))
    #expect(ProxyHeaderParser(.refused).end() == .pass && ProxyHeaderParser(.refused).expire() == .wait)
  }

  // MARK: Refused

  @Test(arguments: [line, block, local, unknown])
  func aHeaderIsRefusedFromElsewhere(header: [UInt8]) {
    #expect(ProxyDelivery(header + Self.command, .refused).end == .refused(.uninvited))
    // A line may turn out to be none until it is over; a block cannot, once its fixed part is there.
    let deciding = header[0] == 0x0D ? 16 : header.count
    #expect(ProxyDelivery(Array(header[..<deciding]), .refused).end == .refused(.uninvited))
    #expect(ProxyDelivery(Array(header[..<(deciding - 1)]), .refused).end == .waiting)
  }

  /// By the standard it is a header, be it one that cannot be accepted anywhere.
  @Test(arguments: [
    hex("0d0a0d0a 000d0a51 5549540a 21 12"), hex("0d0a0d0a 000d0a51 5549540a 21 11 ff"),
    hex("0d0a0d0a 000d0a51 5549540a 21 11 0010 c0000201 c6336402 9c40 008f 03000400"),
  ])
  func aHeaderThatNobodyCouldSendIsRefusedFromElsewhere(header: [UInt8]) {
    #expect(ProxyDelivery(header, .refused).end == .refused(.uninvited))
  }

  /// What ordinary clients send first, and what only looks like a header for a while.
  @Test(arguments: [
    "EHLO there\r\n", "a1 CAPABILITY\r\n", "CAPA\r\n", "LHLO x\r\n", "PROXY LOGIN user secret\r\n", "PROXY NOOP\r\n",
    "PROXY\r\n", "PROXY T\r\n", "PROXY TCP4 \r\n", "PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n", "PASS x\r\n", "P\r\n",
    "\r\n\r\nEHLO there\r\n", "\r\nNOOP\r\n", "PROXY UNKNOWN\n", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n",
    "\u{16}\u{3}\u{1}\u{2}\u{0}", "\u{0}",
  ])
  func whatIsNoHeaderPassesWhole(text: String) {
    let bytes = Array(text.utf8)
    for reads in [[bytes], bytes.map { [$0] }] {
      let delivery = ProxyDelivery(reads, .refused)
      #expect(delivery.end == .passed && delivery.forwarded == bytes)
    }
  }

  /// Only as long as a header could become of it is anything kept back.
  @Test func bytesAreReleasedByTheFirstThatDecides() {
    let text = Array("PROXY LOGIN".utf8)
    #expect(ProxyDelivery(Array(text[..<6]), .refused).end == .waiting)
    #expect(
      ProxyDelivery(Array(text[..<7]), .refused) == ProxyDelivery([text[..<2], text[2..<7]].map(Array.init), .refused))
    #expect(ProxyDelivery(Array(text[..<7]), .refused).forwarded == Array(text[..<7]))
    #expect(ProxyDelivery([], .refused).end == .waiting)
    #expect(ProxyDelivery([[], [0x45]], .refused).forwarded == [0x45])
  }

  /// Fixed parts that no receiver may take for a header.
  @Test(arguments: [
    hex("0d0a0d0a 000d0a51 5549540a 11"), hex("0d0a0d0a 000d0a51 5549540a 22"), hex("0d0a0d0a 000d0a51 5549540a 21 41"),
    hex("0d0a0d0a 000d0a51 5549540a 21 13"), hex("0d0a0d0a 000d0a51 5549540a 21 11 000b"),
  ])
  func fixedPartsThatAreNonePass(bytes: [UInt8]) {
    #expect(ProxyDelivery(bytes, .refused).forwarded == bytes)
    #expect(ProxyDelivery(Array(bytes.dropLast()), .refused).end == .waiting)
  }

  /// After the time is over, what was kept back goes on, but a header never becomes whole.
  @Test(arguments: [line, block])
  func afterTheTimeIsOver(header: [UInt8]) {
    let memory = UnsafeMutableRawPointer.allocate(byteCount: ProxyPolicy.refused.bytesKept, alignment: 1)
    defer { memory.deallocate() }
    let deciding = header[0] == 0x0D ? 16 : header.count
    for count in 1..<(deciding - 1) {
      var parser = ProxyHeaderParser(.refused)
      #expect(header[..<count].withUnsafeBytes { parser.take($0, memory: memory) } == .wait)
      let before = parser.unreleased
      #expect(parser.expire() == .wait && before == 0..<count)
      parser.release()
      let released = parser.unreleased
      #expect(released.isEmpty)
      var harmless = parser
      #expect(header[count...].withUnsafeBytes { parser.take($0, memory: memory) } == .refuse(.uninvited))
      // Something else comes: what was kept since goes on with it. A length is right whatever it is.
      if header[0] == 0x0D && count > 12 { continue }
      #expect([header[count]].withUnsafeBytes { harmless.take($0, memory: memory) } == .wait)
      #expect([0xFF].withUnsafeBytes { harmless.take($0, memory: memory) } == .pass)
      let rest = harmless.unreleased
      #expect(rest == count..<(count + 1) && memory.load(fromByteOffset: count, as: UInt8.self) == header[count])
    }
  }

  @Test func theMemoryHoldsWhatDecides() {
    #expect(ProxyPolicy.required.bytesKept >= ProxyLine.bytesMaximum)
    #expect(ProxyPolicy.refused.bytesKept >= ProxyHeader.fixedBytes)
    // The longest of each kind, byte by byte; ProxyDelivery asserts that nothing is written behind the memory.
    let line = Array("PROXY UNKNOWN ".utf8) + Array(repeating: 0x78, count: 91) + Array("\r\n".utf8)
    #expect(line.count == ProxyLine.bytesMaximum)
    #expect(ProxyDelivery(line.map { [$0] }, .required).end == .accepted)
    #expect(ProxyDelivery(line.map { [$0] }, .refused).end == .refused(.uninvited))
    let room = Limits.proxyHeaderBytes - ProxyHeader.fixedBytes
    let block =
      Self.block[..<14] + [UInt8(room >> 8), UInt8(room & 0xFF)] + Self.block[16...]
      + [4, UInt8((room - 15) >> 8), UInt8((room - 15) & 0xFF)] + Array(repeating: 0, count: room - 15)
    let delivery = ProxyDelivery((Array(block) + Self.command).map { [$0] }, .required)
    #expect(delivery.end == .accepted && delivery.headerBytes == Array(block) && delivery.forwarded == Self.command)
  }
}
