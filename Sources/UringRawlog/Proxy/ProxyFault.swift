/// Why a connection is refused for its PROXY header.
enum ProxyFault: UInt8, Error, CaseIterable {
  /// Where one is required: the first bytes begin none, the connection ended before one was whole, none came in time.
  case absent
  case ended
  case late
  /// Where none is accepted: there is one.
  case uninvited

  // The line of version 1.
  case protocolName
  case sourceAddress
  case destinationAddress
  case sourcePort
  case destinationPort
  case lineShort
  case lineEnd
  case lineLong

  // The block of version 2.
  case version
  case command
  case family
  case transport
  case datagram
  case lengthShort
  case lengthLong
  case typeLengthValue
  case repeated
  case uniqueID
  case tlsShort
  case tlsTypeLengthValue
  case tlsLong
  case checksumLength
  case checksum

  /// For a message about the connection; nothing of what the peer sent is in it.
  var reason: StaticString {
    switch self {
    case .absent: "what was sent first is no PROXY header, and this source must send one"
    case .ended: "the connection ended before the PROXY header was whole"
    case .late: "no whole PROXY header came in time"
    case .uninvited: "it sent a PROXY header, which is not accepted from this source"
    case .protocolName: "the protocol in the PROXY line is not TCP4, TCP6 or UNKNOWN"
    case .sourceAddress: "the source address in the PROXY line is no address of its protocol"
    case .destinationAddress: "the destination address in the PROXY line is no address of its protocol"
    case .sourcePort: "the source port in the PROXY line is no number from 0 to 65535"
    case .destinationPort: "the destination port in the PROXY line is no number from 0 to 65535"
    case .lineShort: "the PROXY line ends before its last field"
    case .lineEnd: "the PROXY line does not end in CR LF"
    case .lineLong: "the PROXY line is longer than 107 bytes"
    case .version: "the version of the binary PROXY header is not 2"
    case .command: "the command of the PROXY header is neither LOCAL nor PROXY"
    case .family: "the address family of the PROXY header is unknown"
    case .transport: "the transport of the PROXY header is unknown"
    case .datagram: "the PROXY header is for datagrams, and this is a stream"
    case .lengthShort: "the PROXY header is too short for its addresses"
    case .lengthLong: "the PROXY header is longer than 4096 bytes"
    case .typeLengthValue: "a TLV of the PROXY header reaches beyond its end"
    case .repeated: "the PROXY header has a TLV twice that there may be once"
    case .uniqueID: "the unique ID in the PROXY header is longer than 128 bytes"
    case .tlsShort: "the SSL TLV of the PROXY header is shorter than 5 bytes"
    case .tlsTypeLengthValue: "a part of the PROXY header's SSL TLV reaches beyond its end"
    case .tlsLong: "the SSL TLV of the PROXY header is too long to be passed on"
    case .checksumLength: "the checksum of the PROXY header is not 4 bytes long"
    case .checksum: "the checksum of the PROXY header is wrong"
    }
  }

  /// Whether the bytes are a header all the same, by the standard: one that is refused here, or one whose fixed part is
  /// right. Otherwise no receiver that keeps to the standard takes them for one.
  var isOfHeader: Bool {
    switch self {
    case .absent, .ended, .late, .protocolName, .sourceAddress, .destinationAddress, .sourcePort, .destinationPort,
      .lineShort, .lineEnd, .lineLong, .version, .command, .family, .transport, .lengthShort:
      false
    case .uninvited, .datagram, .lengthLong, .typeLengthValue, .repeated, .uniqueID, .tlsShort, .tlsTypeLengthValue,
      .tlsLong, .checksumLength, .checksum:
      true
    }
  }
}
