/// Writes the PROXY header that tells the server who the client is.
///
/// It appends to a buffer that the caller keeps; a buffer of `Limits.proxyHeaderBytes` never grows.
struct ProxyHeaderWriter {
  /// The SSL TLV: what the server may believe of the client's TLS.
  enum TLS {
    /// Nobody terminated TLS, or nobody who is trusted says so.
    case none
    /// The relay terminated it: the names of version and cipher as OpenSSL has them, an empty cipher for none. No
    /// certificate is asked of clients, so none was verified.
    case terminated(version: UnsafeRawBufferPointer, cipher: UnsafeRawBufferPointer)
    /// The value of the TLV in the header that the client's proxy sent (`ProxyHeader.tls`), as it is.
    case copied(UnsafeRawBufferPointer)
  }

  /// The client, and the address that it connected to.
  var source: PeerAddress
  var destination: PeerAddress

  /// What of two addresses a header can say.
  private enum Pair {
    case ipv4(source: PeerAddress, destination: PeerAddress)
    /// Of two families: the IPv4 address is written as the IPv6 address that maps it, as HAProxy does. UNKNOWN would
    /// take the client's address from the server, and with it every limit and rule that goes by address.
    case ipv6(source: PeerAddress, destination: PeerAddress)
    /// A client on a unix socket, or one that the kernel could not name.
    ///
    /// In version 2 that is LOCAL, as HAProxy sends it too, and everybody accepts: PROXY with an unspecified family, or
    /// with AF_UNIX, is refused by Dovecot 2.3, HAProxy 2.6 and Postfix. In version 1 there is only UNKNOWN, which
    /// Postfix refuses.
    case none
  }

  private var pair: Pair {
    var destination = destination
    if destination.family != .ipv4 && destination.family != .ipv6 {
      // Of the two, the client is what matters. A server that minds port 0, as Dovecot does in version 1, refuses the
      // connection, which is better than to take the relay for the client.
      destination = source.family == .ipv4 ? .unspecified : PeerAddress(ipv6: 0, 0, port: 0)
    }
    switch source.family {
    case .ipv4 where source == .unspecified: return .none
    case .ipv4 where destination.family == .ipv4: return .ipv4(source: source, destination: destination)
    case .ipv4, .ipv6: return .ipv6(source: source, destination: destination)
    case .unix, .unknown: return .none
    }
  }

  // MARK: Version 1

  func appendLine(to text: inout Bytes) {
    switch pair {
    case .ipv4(let source, let destination):
      text.append("PROXY TCP4 ")
      source.appendHost(to: &text)
      text.append(UInt8(ascii: " "))
      destination.appendHost(to: &text)
      appendPorts(source, destination, to: &text)
    case .ipv6(let source, let destination):
      text.append("PROXY TCP6 ")
      appendIPv6(source, to: &text)
      text.append(UInt8(ascii: " "))
      appendIPv6(destination, to: &text)
      appendPorts(source, destination, to: &text)
    case .none:
      text.append("PROXY UNKNOWN\r\n")
    }
  }

  private func appendIPv6(_ address: PeerAddress, to text: inout Bytes) {
    if address.family == .ipv4 { text.append("::ffff:") }
    var address = address
    // A header has no place for the interface, which means nothing on another machine.
    address.scope = 0
    address.appendHost(to: &text)
  }

  private func appendPorts(_ source: PeerAddress, _ destination: PeerAddress, to text: inout Bytes) {
    text.append(UInt8(ascii: " "))
    text.append(decimal: UInt64(source.port))
    text.append(UInt8(ascii: " "))
    text.append(decimal: UInt64(destination.port))
    text.append("\r\n")
  }

  // MARK: Version 2

  /// - Parameters:
  ///   - uniqueID: at most `ProxyHeader.uniqueIDBytesMaximum` bytes, not sent when empty.
  ///   - checksum: whether a CRC-32C of the header is in it.
  func appendBlock(uniqueID: UnsafeRawBufferPointer, tls: TLS, checksum: Bool, to text: inout Bytes) {
    precondition(uniqueID.count <= ProxyHeader.uniqueIDBytesMaximum)
    let start = text.count
    let tlsBytes = Self.count(of: tls)
    var length = uniqueID.isEmpty ? 0 : ProxyTLVs.headBytes + uniqueID.count
    if tlsBytes > 0 { length += ProxyTLVs.headBytes + tlsBytes }
    if checksum { length += ProxyTLVs.headBytes + 4 }
    for place in 0..<ProxyHeader.signature.count { text.append(ProxyHeader.signature[place]) }
    switch pair {
    case .ipv4(let source, let destination):
      appendFixed(.proxy, .ipv4, .stream, length: length, to: &text)
      text.append(bigEndian: UInt32(truncatingIfNeeded: source.low))
      text.append(bigEndian: UInt32(truncatingIfNeeded: destination.low))
      text.append(bigEndian: source.port)
      text.append(bigEndian: destination.port)
    case .ipv6(let source, let destination):
      appendFixed(.proxy, .ipv6, .stream, length: length, to: &text)
      appendHalves(source, to: &text)
      appendHalves(destination, to: &text)
      text.append(bigEndian: source.port)
      text.append(bigEndian: destination.port)
    case .none:
      appendFixed(.local, .unspecified, .unspecified, length: length, to: &text)
    }
    if !uniqueID.isEmpty {
      appendHead(ProxyTLVs.Kind.uniqueID.rawValue, uniqueID.count, to: &text)
      text.append(uniqueID)
    }
    append(tls, count: tlsBytes, to: &text)
    if checksum { appendChecksum(from: start, to: &text) }
  }

  private func appendFixed(
    _ command: ProxyHeader.Command, _ family: ProxyHeader.Family, _ transport: ProxyHeader.Transport, length: Int,
    to text: inout Bytes
  ) {
    text.append(ProxyHeader.binaryVersion << 4 | command.rawValue)
    text.append(family.rawValue << 4 | transport.rawValue)
    text.append(bigEndian: UInt16(family.addressBytes + length))
  }

  private func appendHalves(_ address: PeerAddress, to text: inout Bytes) {
    text.append(bigEndian: address.high)
    text.append(bigEndian: address.family == .ipv4 ? 0xFFFF_0000_0000 | address.low : address.low)
  }

  private func appendHead(_ type: UInt8, _ count: Int, to text: inout Bytes) {
    text.append(type)
    text.append(bigEndian: UInt16(count))
  }

  /// Flags of the client in the SSL TLV.
  private static let clientUsesTLS: UInt8 = 0x01

  private static func count(of tls: TLS) -> Int {
    switch tls {
    case .none: 0
    case .terminated(let version, let cipher):
      ProxyHeader.tlsHeadBytes + ProxyTLVs.headBytes + version.count
        + (cipher.isEmpty ? 0 : ProxyTLVs.headBytes + cipher.count)
    case .copied(let value): value.count
    }
  }

  private func append(_ tls: TLS, count: Int, to text: inout Bytes) {
    switch tls {
    case .none: break
    case .terminated(let version, let cipher):
      appendHead(ProxyTLVs.Kind.tls.rawValue, count, to: &text)
      text.append(Self.clientUsesTLS)
      // 0 would say that a certificate of the client was verified.
      text.append(bigEndian: UInt32(1))
      appendHead(ProxyTLVs.TLSKind.version.rawValue, version.count, to: &text)
      text.append(version)
      guard !cipher.isEmpty else { break }
      appendHead(ProxyTLVs.TLSKind.cipher.rawValue, cipher.count, to: &text)
      text.append(cipher)
    case .copied(let value):
      appendHead(ProxyTLVs.Kind.tls.rawValue, count, to: &text)
      text.append(value)
    }
  }

  /// The last TLV, so that everything that it covers is there: the header with zeros in place of the checksum.
  private func appendChecksum(from start: Int, to text: inout Bytes) {
    appendHead(ProxyTLVs.Kind.checksum.rawValue, 4, to: &text)
    var sum = CRC32C()
    sum.add(UnsafeRawBufferPointer(rebasing: text.span[start...]))
    for _ in 0..<4 { sum.add(0) }
    text.append(bigEndian: sum.value)
  }
}
