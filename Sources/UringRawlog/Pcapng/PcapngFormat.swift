/// What of pcapng captures are made of (draft-ietf-opsawg-pcapng), and what this program adds.
///
/// Numbers are in the byte order of the machine that writes, which the first block tells.
enum PcapngFormat {
  /// Block types.
  static let section: UInt32 = 0x0A0D_0D0A
  static let interface: UInt32 = 1
  static let packet: UInt32 = 6
  static let statistics: UInt32 = 5

  static let byteOrderMagic: UInt32 = 0x1A2B_3C4D
  /// Raw IPv4 or IPv6; the first four bits of a packet say which (LINKTYPE_RAW).
  static let linkTypeRaw: UInt16 = 101

  /// What stands in front of each block's body and behind it: type and length, and the length again.
  static let leastBlockBytes = 12
  /// A packet block up to its packet.
  static let packetHeadBytes = 28
  /// Every length is a multiple of four.
  @inline(__always)
  static func padding(_ bytes: Int) -> Int { -bytes & 3 }

  enum Option {
    static let end: UInt16 = 0
    static let comment: UInt16 = 1
    /// Of a section.
    static let hardware: UInt16 = 2
    static let operatingSystem: UInt16 = 3
    static let application: UInt16 = 4
    /// Of an interface.
    static let name: UInt16 = 2
    static let description: UInt16 = 3
    static let timeResolution: UInt16 = 9
    /// Of a packet: bits 0 and 1 are 1 for inbound, 2 for outbound.
    static let flags: UInt16 = 2
    /// Of a packet, 16 bytes: the number of its session, and where in the section the session's block before begins, 0
    /// for none. Codes from 0x8000 on are for local use, and other programs pass over them.
    static let sessionLink: UInt16 = 0x9572
    /// Of statistics.
    static let startTime: UInt16 = 2
    static let endTime: UInt16 = 3
    static let received: UInt16 = 4
    static let dropped: UInt16 = 5
  }

  static let sessionLinkBytes = 16
  /// The options that every packet has: flags, the link and the end of options.
  static let packetOptionsBytes = 8 + 4 + sessionLinkBytes + 4
  /// How far before the end of a packet block the value of its link begins.
  static let sessionLinkFromEnd = sessionLinkBytes + 4 + 4

  /// Microseconds, as a negative power of ten.
  static let microseconds: UInt8 = 6

  /// The comment on a packet behind a gap: `N bytes missing at OFFSET`.
  static let gapWords: StaticString = " bytes missing at "
  /// The comment on the first packet of a session in a capture: `session ID`, and ` continues` where it did not begin in
  /// this capture.
  static let sessionWord: StaticString = "session "
  static let continuesWord: StaticString = " continues"
}

/// Bits of a TCP header (RFC 9293 §3.1).
enum TCPFlag {
  static let fin: UInt8 = 0x01
  static let syn: UInt8 = 0x02
  static let rst: UInt8 = 0x04
  static let push: UInt8 = 0x08
  static let ack: UInt8 = 0x10
}
