import Glibc

/// Turns an `Address` into those that the kernel takes. It may wait for a name server: never called by the loop.
enum AddressResolver {
  /// The addresses to connect to, in the order in which they are tried.
  ///
  /// - Throws: `ValueError` with the resolver's own words.
  static func addresses(connecting address: Address) throws(ValueError) -> [SocketAddress] {
    switch address.target {
    case .unix(let path): [SocketAddress(unixPath: path)!]
    case .host(let name, let port): try look(up: name ?? "localhost", port: port, passive: false)
    case .descriptor, .systemd: throw ValueError("fd:N and systemd are for --listen only")
    }
  }

  /// The addresses to listen on. `:port` is the IPv6 wildcard, whose socket takes IPv4 clients too.
  static func addresses(listening address: Address) throws(ValueError) -> [SocketAddress] {
    switch address.target {
    case .unix(let path): [SocketAddress(unixPath: path)!]
    case .host(nil, let port): try look(up: "::", port: port, passive: true)
    case .host(let name?, let port): try look(up: name, port: port, passive: true)
    case .descriptor, .systemd: []
    }
  }

  private static func look(up name: String, port: UInt16, passive: Bool) throws(ValueError) -> [SocketAddress] {
    var hints = addrinfo()
    hints.ai_family = AF_UNSPEC
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    hints.ai_flags = passive ? AI_PASSIVE : 0
    var list: UnsafeMutablePointer<addrinfo>?
    let result = getaddrinfo(name, String(port), &hints, &list)
    guard result == 0 else {
      let why = result == EAI_SYSTEM ? Errno.current.text : String(cString: gai_strerror(result))
      throw ValueError("cannot resolve '\(name.escapedForMessage)': \(why)")
    }
    defer { freeaddrinfo(list) }
    var found: [SocketAddress] = []
    var next = list
    while let entry = next {
      if let address = entry.pointee.ai_addr {
        found.append(SocketAddress(address, length: entry.pointee.ai_addrlen))
      }
      next = entry.pointee.ai_next
    }
    return found
  }
}
