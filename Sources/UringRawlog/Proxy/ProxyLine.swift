/// The PROXY line of version 1 (proxy-protocol.txt 2.1), byte by byte:
/// `PROXY TCP4 SOURCE DESTINATION SOURCEPORT DESTINATIONPORT` CR LF, the same with `TCP6`, or `PROXY UNKNOWN` and
/// anything up to CR LF.
///
/// It is as strict as the standard, and says so at the first byte with which no line can begin.
struct ProxyLine {
  /// The longest line, CR LF included.
  static let bytesMaximum = 107

  private enum Field {
    case name
    case source
    case destination
    case sourcePort
    case destinationPort
    /// Behind UNKNOWN.
    case ignored
    case lineFeed
    case over
  }

  private enum Name {
    case tcp4
    case tcp6
    case unknown
  }

  static let signature: StaticString = "PROXY "
  private static let tcp: StaticString = "TCP"
  private static let unknown: StaticString = "UNKNOWN"

  private var field = Field.name
  /// The place of the next byte in the line; that after the signature is the first.
  private var place = ProxyLine.signature.utf8CodeUnitCount
  private var name = Name.unknown
  private var ipv4 = IPv4Text()
  private var ipv6 = IPv6Text()
  private var port = DecimalText(upTo: UInt32(UInt16.max))

  /// Unknown family behind UNKNOWN.
  private(set) var source = PeerAddress.unknown
  private(set) var destination = PeerAddress.unknown

  var isOver: Bool { field == .over }

  /// The next byte behind the signature.
  mutating func take(_ byte: UInt8) throws(ProxyFault) {
    // The last two bytes of the longest line are CR and LF.
    if place == Self.bytesMaximum - 2 && !Self.isEnd(byte) { throw .lineLong }
    switch field {
    case .name: try takeName(byte)
    case .source:
      guard let address = try takeAddress(byte, otherwise: .sourceAddress) else { break }
      source = address
      field = .destination
    case .destination:
      guard let address = try takeAddress(byte, otherwise: .destinationAddress) else { break }
      destination = address
      field = .sourcePort
    case .sourcePort:
      if Self.isEnd(byte) { throw .lineShort }
      guard let number = try takePort(byte, endedBy: UInt8(ascii: " "), otherwise: .sourcePort) else { break }
      source.port = number
      field = .destinationPort
    case .destinationPort:
      if byte == UInt8(ascii: "\n") { throw .lineEnd }
      guard let number = try takePort(byte, endedBy: UInt8(ascii: "\r"), otherwise: .destinationPort) else { break }
      destination.port = number
      field = .lineFeed
    case .ignored: try takeIgnored(byte)
    case .lineFeed:
      guard byte == UInt8(ascii: "\n") else { throw .lineEnd }
      field = .over
    case .over: preconditionFailure("a byte behind the end of the line")
    }
    place += 1
  }

  private static func isEnd(_ byte: UInt8) -> Bool { byte == UInt8(ascii: "\r") || byte == UInt8(ascii: "\n") }

  private mutating func takeName(_ byte: UInt8) throws(ProxyFault) {
    let place = place - Self.signature.utf8CodeUnitCount
    if place == 0 { name = byte == UInt8(ascii: "T") ? .tcp4 : .unknown }
    switch name {
    case .unknown:
      guard place == Self.unknown.utf8CodeUnitCount else {
        guard byte == Self.unknown.utf8Start[place] else { throw .protocolName }
        return
      }
      guard byte == UInt8(ascii: " ") || Self.isEnd(byte) else { throw .protocolName }
      field = .ignored
      try takeIgnored(byte)
    case .tcp4, .tcp6:
      switch place {
      case 0..<Self.tcp.utf8CodeUnitCount:
        guard byte == Self.tcp.utf8Start[place] else { throw .protocolName }
      case Self.tcp.utf8CodeUnitCount:
        guard byte == UInt8(ascii: "4") || byte == UInt8(ascii: "6") else { throw .protocolName }
        name = byte == UInt8(ascii: "4") ? .tcp4 : .tcp6
      default:
        guard byte == UInt8(ascii: " ") else { throw .protocolName }
        field = .source
      }
    }
  }

  private mutating func takeIgnored(_ byte: UInt8) throws(ProxyFault) {
    if byte == UInt8(ascii: "\n") { throw .lineEnd }
    if byte == UInt8(ascii: "\r") { field = .lineFeed }
  }

  /// The address, when a space ends it.
  private mutating func takeAddress(_ byte: UInt8, otherwise fault: ProxyFault) throws(ProxyFault) -> PeerAddress? {
    if Self.isEnd(byte) { throw .lineShort }
    guard byte == UInt8(ascii: " ") else {
      let isRight = name == .tcp4 ? ipv4.take(byte) : ipv6.take(byte)
      guard isRight else { throw fault }
      return nil
    }
    defer {
      ipv4 = IPv4Text()
      ipv6 = IPv6Text()
    }
    if name == .tcp4, let address = ipv4.value { return PeerAddress(ipv4: address, port: 0) }
    if name == .tcp6, let address = ipv6.value { return PeerAddress(ipv6: address.high, address.low, port: 0) }
    throw fault
  }

  /// The port, when `end` ends it.
  private mutating func takePort(
    _ byte: UInt8, endedBy end: UInt8, otherwise fault: ProxyFault
  ) throws(ProxyFault) -> UInt16? {
    guard byte == end else {
      guard port.take(byte) else { throw fault }
      return nil
    }
    guard port.digits > 0 else { throw fault }
    defer { port = DecimalText(upTo: UInt32(UInt16.max)) }
    return UInt16(port.value)
  }
}
