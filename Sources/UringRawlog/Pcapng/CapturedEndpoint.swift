/// One end of a captured conversation, as its packets have it.
struct CapturedEndpoint: Equatable {
  /// The address as a big-endian number in two halves; IPv4 sits in the low 32 bits of `low`.
  var high: UInt64
  var low: UInt64
  var port: UInt16

  /// Both ends of one conversation: a packet has two addresses of one family.
  struct Pair: Equatable {
    /// Who opened the connection, and whom to.
    var opener: CapturedEndpoint
    var answerer: CapturedEndpoint
    var isIPv6: Bool

    /// Addresses that the packets of a session can have (`docs/FORMAT.md`).
    ///
    /// What has no IP address gets one of 240.0.0.0/4, which nobody has. Clients there differ from one another by the
    /// number of their session, so that each has a conversation of its own. When one end has an IPv6 address, the other
    /// is written as an IPv4-mapped one (RFC 4291 §2.5.5.2).
    ///
    /// - Parameters:
    ///   - number: the session's number in the process.
    ///   - port: the port of a server that has none; a well-known one lets other programs know the protocol.
    init(opener: PeerAddress, answerer: PeerAddress, number: UInt64, port: UInt16) {
      let clientPort = UInt16(0x8000 | number & 0x7FFF)
      let place = UInt64(number >> 15 & 0x03FF_FFFF)
      let first = CapturedEndpoint(
        opener, unix: 0xF000_0000 | place, unknown: 0xF400_0000 | place, port: clientPort)
      let second = CapturedEndpoint(answerer, unix: 0xF800_0001, unknown: 0xF800_0002, port: port)
      isIPv6 = opener.family == .ipv6 || answerer.family == .ipv6
      self.opener = isIPv6 && opener.family != .ipv6 ? first.mapped : first
      self.answerer = isIPv6 && answerer.family != .ipv6 ? second.mapped : second
    }
  }

  init(high: UInt64, low: UInt64, port: UInt16) {
    self.high = high
    self.low = low
    self.port = port
  }

  private init(_ peer: PeerAddress, unix: UInt64, unknown: UInt64, port: UInt16) {
    switch peer.family {
    case .ipv4 where peer.low == 0 && peer.port == 0: self.init(high: 0, low: unknown, port: port)
    case .ipv4: self.init(high: 0, low: peer.low, port: peer.port)
    case .ipv6: self.init(high: peer.high, low: peer.low, port: peer.port)
    case .unix: self.init(high: 0, low: unix, port: port)
    case .unknown: self.init(high: 0, low: unknown, port: port)
    }
  }

  private var mapped: CapturedEndpoint { CapturedEndpoint(high: 0, low: 0xFFFF_0000_0000 | low, port: port) }

  /// The port of a server without one: the protocol's own, so that other programs know what is spoken.
  static func port(of mailProtocol: MailProtocol?) -> UInt16 {
    switch mailProtocol {
    case .imap: 143
    case .pop3: 110
    case .smtp: 25
    case .lmtp: 24
    case .sieve: 4190
    // Nothing is spoken on port 1 any more.
    case nil: 1
    }
  }
}
