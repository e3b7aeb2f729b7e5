import Glibc

/// An address as the kernel takes it (sockaddr(3type)).
struct SocketAddress: @unchecked Sendable {
  var storage = sockaddr_storage()
  var length: socklen_t = 0

  var family: Int32 { Int32(storage.ss_family) }

  init() {}

  init(_ address: UnsafePointer<sockaddr>, length: socklen_t) {
    self.length = min(length, socklen_t(MemoryLayout<sockaddr_storage>.size))
    withUnsafeMutableBytes(of: &storage) { bytes in
      bytes.copyMemory(from: UnsafeRawBufferPointer(start: address, count: Int(self.length)))
    }
  }

  /// The address of a unix socket; nil when the path is longer than sun_path takes.
  init?(unixPath path: String) {
    let bytes = Array(path.utf8)
    let pathOffset = MemoryLayout<sockaddr_un>.offset(of: \.sun_path)!
    guard !bytes.isEmpty, bytes.count < MemoryLayout<sockaddr_un>.size - pathOffset, !bytes.contains(0) else {
      return nil
    }
    storage.ss_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &storage) { memory in
      UnsafeMutableRawBufferPointer(rebasing: memory[pathOffset...]).copyBytes(from: bytes)
    }
    length = socklen_t(pathOffset + bytes.count + 1)
  }

  /// The address of a unix socket in the abstract space (unix(7)), which has no file; at most 107 bytes.
  init(abstractName name: some StringProtocol) {
    let bytes = [0] + Array(name.utf8.prefix(107))
    let pathOffset = MemoryLayout<sockaddr_un>.offset(of: \.sun_path)!
    storage.ss_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &storage) { memory in
      UnsafeMutableRawBufferPointer(rebasing: memory[pathOffset...]).copyBytes(from: bytes)
    }
    length = socklen_t(pathOffset + bytes.count)
  }

  func withPointer<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
    withUnsafeBytes(of: storage) { body($0.baseAddress!.assumingMemoryBound(to: sockaddr.self), length) }
  }

  static func peer(of socket: Int32) -> SocketAddress? { ask(socket, getpeername) ?? peerOfEnded(socket) }

  /// The peer of a connection that it has reset: getpeername(2) knows it no more, SO_PEERNAME still does. That wants the
  /// exact length of the address.
  private static func peerOfEnded(_ socket: Int32) -> SocketAddress? {
    guard var address = local(of: socket), address.family != AF_UNIX else { return nil }
    let peerName: Int32 = 28  // SO_PEERNAME of asm-generic/socket.h
    let result = withUnsafeMutableBytes(of: &address.storage) {
      getsockopt(socket, SOL_SOCKET, peerName, $0.baseAddress!, &address.length)
    }
    return result == 0 ? address : nil
  }

  static func local(of socket: Int32) -> SocketAddress? { ask(socket, getsockname) }

  private static func ask(
    _ socket: Int32, _ call: (Int32, UnsafeMutablePointer<sockaddr>?, UnsafeMutablePointer<socklen_t>?) -> Int32
  ) -> SocketAddress? {
    var address = SocketAddress()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let result = withUnsafeMutableBytes(of: &address.storage) {
      call(socket, $0.baseAddress!.assumingMemoryBound(to: sockaddr.self), &length)
    }
    guard result == 0 else { return nil }
    address.length = length
    return address
  }

  /// The part of it that sessions keep.
  var peer: PeerAddress {
    withUnsafeBytes(of: storage) { bytes in
      switch family {
      case AF_INET:
        let address = bytes.load(as: sockaddr_in.self)
        return PeerAddress(ipv4: UInt32(bigEndian: address.sin_addr.s_addr), port: UInt16(bigEndian: address.sin_port))
      case AF_INET6:
        let address = bytes.load(as: sockaddr_in6.self)
        let (high, low) = withUnsafeBytes(of: address.sin6_addr) {
          (
            UInt64(bigEndian: $0.loadUnaligned(as: UInt64.self)),
            UInt64(bigEndian: $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
          )
        }
        return PeerAddress(
          ipv6: high, low, scope: address.sin6_scope_id, port: UInt16(bigEndian: address.sin6_port))
      case AF_UNIX:
        return .unix
      default:
        return .unknown
      }
    }
  }

  /// Whether a connection to `target` comes to a socket that listens here.
  func reaches(_ target: SocketAddress) -> Bool {
    if family == AF_UNIX || target.family == AF_UNIX {
      return family == target.family && !unixPath.isEmpty && unixPath == target.unixPath
    }
    let here = peer
    let there = target.peer
    guard here.port == there.port else { return false }
    let isEverywhere = here.high == 0 && here.low == 0
    return here == there || isEverywhere && there.isLoopback && (here.family == .ipv6 || there.family == .ipv4)
  }

  /// The path of a unix socket that was bound to one; empty otherwise.
  var unixPath: String {
    guard family == AF_UNIX else { return "" }
    let offset = MemoryLayout<sockaddr_un>.offset(of: \.sun_path)!
    return withUnsafeBytes(of: storage) { bytes in
      String(decoding: bytes[offset..<max(offset, Int(length))].prefix(while: { $0 != 0 }), as: UTF8.self)
    }
  }
}
