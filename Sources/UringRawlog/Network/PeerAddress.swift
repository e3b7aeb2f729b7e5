import Glibc

/// Where a peer is, in the few bytes that a session keeps: an IP address and a port, or "a unix socket".
///
/// IPv4-mapped IPv6 addresses are kept as the IPv4 addresses that they are.
struct PeerAddress: Equatable, Sendable {
  enum Family: UInt8, Sendable {
    case unknown
    case ipv4
    case ipv6
    case unix
  }

  /// The address in network order, as two big-endian halves; IPv4 sits in the low 32 bits of `low`.
  var high: UInt64 = 0
  var low: UInt64 = 0
  /// The interface of a link-local IPv6 address, else 0.
  var scope: UInt32 = 0
  var port: UInt16 = 0
  var family: Family = .unknown

  static let unknown = PeerAddress()
  /// `0.0.0.0:0`.
  static let unspecified = PeerAddress(ipv4: 0, port: 0)
  static let unix = PeerAddress(family: .unix)

  init(family: Family = .unknown) {
    self.family = family
  }

  init(ipv4 address: UInt32, port: UInt16) {
    family = .ipv4
    low = UInt64(address)
    self.port = port
  }

  init(ipv6 high: UInt64, _ low: UInt64, scope: UInt32 = 0, port: UInt16) {
    if high == 0 && low >> 32 == 0xFFFF {
      self.init(ipv4: UInt32(truncatingIfNeeded: low), port: port)
      return
    }
    self.init(family: .ipv6)
    self.high = high
    self.low = low
    self.scope = scope
    self.port = port
  }

  var isLoopback: Bool {
    switch family {
    case .ipv4: low >> 24 == 127
    case .ipv6: high == 0 && low == 1
    case .unix, .unknown: false
    }
  }

  /// The address without a port: `192.0.2.1`, `2001:db8::1`, `unix`.
  func appendHost(to text: inout Bytes) {
    switch family {
    case .unknown:
      text.append("unknown")
    case .unix:
      text.append("unix")
    case .ipv4:
      let address = UInt32(truncatingIfNeeded: low)
      var shift: UInt32 = 24
      while true {
        text.append(decimal: UInt64(address >> shift & 0xFF))
        guard shift > 0 else { break }
        text.append(UInt8(ascii: "."))
        shift -= 8
      }
    case .ipv6:
      var address = in6_addr()
      withUnsafeMutableBytes(of: &address) { bytes in
        bytes.storeBytes(of: high.bigEndian, as: UInt64.self)
        bytes.storeBytes(of: low.bigEndian, toByteOffset: 8, as: UInt64.self)
      }
      withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(INET6_ADDRSTRLEN)) { buffer in
        inet_ntop(AF_INET6, &address, buffer.baseAddress, socklen_t(buffer.count))
        text.append(UnsafeRawBufferPointer(start: buffer.baseAddress, count: strlen(buffer.baseAddress!)))
      }
      if scope != 0 {
        text.append(UInt8(ascii: "%"))
        text.append(decimal: UInt64(scope))
      }
    }
  }

  /// `ip:port` or `[v6]:port`; a unix peer has only the path of its socket, which its owner knows.
  func append(to text: inout Bytes) {
    if family == .ipv6 {
      text.append(UInt8(ascii: "["))
      appendHost(to: &text)
      text.append(UInt8(ascii: "]"))
    } else {
      appendHost(to: &text)
    }
    guard family == .ipv4 || family == .ipv6 else { return }
    text.append(UInt8(ascii: ":"))
    text.append(decimal: UInt64(port))
  }
}
