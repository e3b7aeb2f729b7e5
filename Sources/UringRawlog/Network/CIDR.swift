import Glibc

/// A network of IP addresses, such as `192.0.2.0/24`, `2001:db8::/32`, or one address.
public struct CIDR: Sendable, Equatable {
  let family: PeerAddress.Family
  let high: UInt64
  let low: UInt64
  /// Bits of the network: of 32 or of 128.
  let bits: Int

  /// - Throws: `ValueError`; for an address with host bits set it names the network that was meant.
  public init(_ text: String) throws(ValueError) {
    let shown = "'\(text.escapedForMessage)'"
    let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
    let addressText = String(parts[0])
    guard !text.utf8.contains(0) else { throw ValueError("\(shown) holds a NUL byte") }
    var ipv4 = in_addr()
    var ipv6 = in6_addr()
    var address: PeerAddress
    var isMapped = false
    if inet_pton(AF_INET, addressText, &ipv4) == 1 {
      address = PeerAddress(ipv4: UInt32(bigEndian: ipv4.s_addr), port: 0)
    } else if inet_pton(AF_INET6, addressText, &ipv6) == 1 {
      let (high, low) = withUnsafeBytes(of: ipv6) {
        (UInt64(bigEndian: $0.load(as: UInt64.self)), UInt64(bigEndian: $0.load(fromByteOffset: 8, as: UInt64.self)))
      }
      address = PeerAddress(ipv6: high, low, port: 0)
      isMapped = address.family == .ipv4
    } else {
      throw ValueError("\(shown) is not an IP address or network, such as 192.0.2.0/24 or 2001:db8::/32")
    }
    let width = address.family == .ipv4 ? 32 : 128
    var bits = width
    if parts.count == 2 {
      // An IPv4-mapped network is the IPv4 network that it maps.
      let offset = isMapped ? 96 : 0
      guard let given = Int(parts[1]), parts[1].allSatisfy(\.isWholeNumber), given >= offset, given <= width + offset
      else {
        throw ValueError("\(shown): behind the slash stands a number of bits from \(offset) to \(width + offset)")
      }
      bits = given - offset
    }
    let network = Self.mask(address, bits: bits)
    guard network.high == address.high && network.low == address.low else {
      var meant = Bytes()
      var masked = address
      masked.high = network.high
      masked.low = network.low
      masked.appendHost(to: &meant)
      let name = String(decoding: meant.span, as: UTF8.self)
      throw ValueError("\(shown) is an address within a network: for the network write \(name)/\(bits)")
    }
    family = address.family
    high = address.high
    low = address.low
    self.bits = bits
  }

  /// The address lies in this network. Peers on unix sockets lie in none.
  func contains(_ address: PeerAddress) -> Bool {
    guard address.family == family else { return false }
    let network = Self.mask(address, bits: bits)
    return network.high == high && network.low == low
  }

  private static func mask(_ address: PeerAddress, bits: Int) -> (high: UInt64, low: UInt64) {
    if address.family == .ipv4 {
      return (0, address.low & (bits == 0 ? 0 : UInt64(UInt32.max << UInt32(32 - bits))))
    }
    let high = bits == 0 ? 0 : UInt64.max << UInt64(max(0, 64 - bits))
    let low = bits <= 64 ? 0 : UInt64.max << UInt64(128 - bits)
    return (address.high & high, address.low & low)
  }
}
