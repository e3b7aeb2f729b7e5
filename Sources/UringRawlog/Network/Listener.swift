import Glibc

/// A socket that clients connect to.
struct Listener: Sendable {
  let descriptor: Int32
  /// The address as the user gave it.
  let given: String
  /// The address that it is bound to, as the index has it.
  let bound: String
  /// The path of a unix socket, which is removed at the end; empty for others.
  let path: String
  /// Which file the path was when it was made: another one by that name is not ours to remove.
  let pathIdentity: FileIdentity?
  /// The local port; 0 for unix sockets.
  let port: UInt16

  struct FileIdentity: Equatable, Sendable {
    let device: UInt64
    let inode: UInt64

    init?(path: String) {
      var status = stat()
      guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK else { return nil }
      device = UInt64(status.st_dev)
      inode = UInt64(status.st_ino)
    }
  }

  /// Opens every socket that an address names.
  ///
  /// - Throws: `StartError` saying which address, why, and what to do; sockets opened before are closed again.
  static func open(_ address: Address, passed: PassedSockets = .none) throws(StartError) -> [Listener] {
    if case .descriptor(let number) = address.target { return [try adopt(number, given: address.text)] }
    if case .systemd(let name) = address.target {
      let sockets = try passed.named(name, given: address.text)
      return try sockets.map { (socket: Int32) throws(StartError) in try adopt(socket, given: address.text) }
    }
    let found: [SocketAddress]
    do throws(ValueError) {
      found = try AddressResolver.addresses(listening: address)
    } catch {
      throw StartError(.unavailable, "cannot listen on '\(address.text)': \(error); check the name and the resolver")
    }
    var listeners: [Listener] = []
    var unavailable: StartError?
    var port: UInt16?
    for candidate in found {
      do throws(StartError) {
        let listener = try bindPatiently(candidate, port: port, given: address)
        // Names with several addresses get the same port on each, also where the kernel chose it.
        port = listener.port
        if !listeners.contains(where: { $0.bound == listener.bound }) { listeners.append(listener) }
      } catch  where error.status == .osError && found.count > 1 {
        // A family that this machine does not have: the other addresses of the name will do.
        unavailable = error
      } catch {
        for listener in listeners { listener.close() }
        throw error
      }
    }
    if listeners.isEmpty {
      throw unavailable ?? StartError(.unavailable, "cannot listen on '\(address.text)': no address found")
    }
    return listeners
  }

  /// Binds, and waits a moment for an address in use: a process that was killed gives its sockets back a little after its
  /// end when its ring still held them.
  private static func bindPatiently(_ candidate: SocketAddress, port: UInt16?, given: Address) throws(StartError)
    -> Listener
  {
    for _ in 0..<10 {
      do throws(StartError) {
        return try bind(candidate, port: port, given: given)
      } catch  where error.status == .unavailable {
        usleep(100_000)
      } catch {
        throw error
      }
    }
    return try bind(candidate, port: port, given: given)
  }

  private static func bind(_ address: SocketAddress, port: UInt16?, given: Address) throws(StartError) -> Listener {
    var address = address
    if let port, port != 0 { address.setPort(port) }
    let descriptor = socket(address.family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    if descriptor < 0 && address.isWildcardIPv6 && Errno.current.code == EAFNOSUPPORT {
      return try bind(.ipv4Wildcard(port: address.peer.port), port: port, given: given)
    }
    func fail(_ status: ExitStatus, _ why: String) -> StartError {
      if descriptor >= 0 { _ = Glibc.close(descriptor) }
      return StartError(status, "cannot listen on '\(given.text)': \(why)")
    }
    guard descriptor >= 0 else {
      let error = Errno.current
      throw error.isOutOfDescriptors
        ? fail(.unavailable, "\(error.text); raise the limit of open files (LimitNOFILE=, 'ulimit -n')")
        : fail(.osError, "\(error.text); does this machine have that kind of address?")
    }
    var on: Int32 = 1
    var off: Int32 = 0
    let size = socklen_t(MemoryLayout<Int32>.size)
    let unixPath = address.unixPath
    if unixPath.isEmpty {
      setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, size)
      // `:port` takes both families; a given IPv6 address takes only its own.
      let isBoth = address.isWildcardIPv6 && given.isEveryAddress
      if address.family == AF_INET6 {
        if isBoth {
          setsockopt(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &off, size)
        } else {
          setsockopt(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &on, size)
        }
      }
    } else {
      do throws(StartError) {
        try removeStale(unixPath, address, given: given)
      } catch {
        _ = Glibc.close(descriptor)
        throw error
      }
    }
    prepareLeg(descriptor, family: address.family)
    guard address.withPointer({ Glibc.bind(descriptor, $0, $1) }) == 0 else {
      let error = Errno.current
      switch error.code {
      case EADDRINUSE:
        throw fail(.unavailable, "the address is in use; stop what listens there, or choose another port")
      case EADDRNOTAVAIL:
        if unixPath.isEmpty && given.hasSeveralAddresses { throw fail(.osError, error.text) }
        throw fail(.unavailable, "no interface of this machine has that address; choose one of 'ip address'")
      case EACCES, EPERM:
        throw fail(
          .noPermission,
          unixPath.isEmpty
            ? "\(error.text); ports below 1024 need root (then --user drops it) or CAP_NET_BIND_SERVICE"
            : "\(error.text); make its directory writable for this user")
      case ENOENT, ENOTDIR:
        throw fail(.cannotCreate, "\(error.text); create the directory of the socket first")
      default:
        throw fail(.osError, error.text)
      }
    }
    guard listen(descriptor, Int32(Limits.backlog)) == 0 else {
      let error = Errno.current
      if !unixPath.isEmpty { unlink(unixPath) }
      throw fail(.unavailable, "\(error.text); stop what listens there, or choose another port")
    }
    return describe(descriptor, given: given.text, path: unixPath)
  }

  private static func describe(_ descriptor: Int32, given: String, path: String) -> Listener {
    let local = SocketAddress.local(of: descriptor) ?? SocketAddress()
    var text = Bytes()
    if local.family == AF_UNIX {
      text.append("unix:")
      text.append(text: local.unixPath)
    } else {
      local.peer.append(to: &text)
    }
    return Listener(
      descriptor: descriptor, given: given, bound: String(decoding: text.span, as: UTF8.self), path: path,
      pathIdentity: path.isEmpty ? nil : FileIdentity(path: path), port: local.peer.port)
  }

  /// A listening socket that was passed on by the parent process.
  private static func adopt(_ descriptor: Int32, given: String) throws(StartError) -> Listener {
    var isListening: Int32 = 0
    var size = socklen_t(MemoryLayout<Int32>.size)
    guard getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &isListening, &size) == 0 else {
      throw StartError(
        .usage, "cannot listen on '\(given)': \(Errno.current.text); pass an open listening socket by that number")
    }
    var type: Int32 = 0
    size = socklen_t(MemoryLayout<Int32>.size)
    getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &size)
    guard isListening != 0, type == Int32(SOCK_STREAM.rawValue) else {
      throw StartError(
        .usage,
        "cannot listen on '\(given)': it is not a listening stream socket; call listen(2) before passing it on (a socket unit: ListenStream=, Accept=no)"
      )
    }
    _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
    // The ring waits by itself; a non-blocking socket would make it give up instead.
    _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) & ~O_NONBLOCK)
    prepareLeg(descriptor, family: SocketAddress.local(of: descriptor)?.family ?? AF_UNSPEC)
    return describe(descriptor, given: given, path: "")
  }

  /// Removes a socket that nobody answers on; anything else that has the name stays.
  private static func removeStale(_ path: String, _ address: SocketAddress, given: Address) throws(StartError) {
    var status = stat()
    guard lstat(path, &status) == 0 else { return }
    func refuse(_ status: ExitStatus, _ why: String) -> StartError {
      StartError(status, "cannot listen on '\(given.text)': \(why)")
    }
    guard status.st_mode & S_IFMT == S_IFSOCK else {
      throw refuse(.cannotCreate, "a file of that name exists and is not a socket; remove it or choose another path")
    }
    let probe = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
    guard probe >= 0 else { throw refuse(.osError, Errno.current.text) }
    defer { _ = Glibc.close(probe) }
    let answer = address.withPointer { connect(probe, $0, $1) }
    // Only a refusal shows that nobody listens; EAGAIN is somebody whose backlog is full.
    guard answer != 0, errno == ECONNREFUSED else {
      throw refuse(.unavailable, "the socket is in use; stop what listens there, or choose another path")
    }
    guard unlink(path) == 0 else {
      throw refuse(.noPermission, "the stale socket cannot be removed: \(Errno.current.text); remove it")
    }
  }

  /// Closes the socket; a unix socket's file goes too, if it is still the one that was made.
  func close() {
    _ = Glibc.close(descriptor)
    removePath()
  }

  func removePath() {
    if let pathIdentity, FileIdentity(path: path) == pathIdentity { unlink(path) }
  }
}

extension Address {
  /// `:port`.
  fileprivate var isEveryAddress: Bool {
    if case .host(nil, _) = target { return true }
    return false
  }

  /// A name, which may stand for several addresses.
  fileprivate var hasSeveralAddresses: Bool {
    if case .host(let name?, _) = target { return !name.contains(":") && name.contains(where: \.isLetter) }
    return false
  }
}

extension SocketAddress {
  fileprivate static func ipv4Wildcard(port: UInt16) -> SocketAddress {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    return withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        SocketAddress($0, length: socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
  }

  fileprivate var isWildcardIPv6: Bool {
    guard family == AF_INET6 else { return false }
    return withUnsafeBytes(of: storage) { bytes in
      withUnsafeBytes(of: bytes.load(as: sockaddr_in6.self).sin6_addr) { $0.allSatisfy { $0 == 0 } }
    }
  }

  fileprivate mutating func setPort(_ port: UInt16) {
    // The port has the same place in both families (sockaddr(3type)).
    withUnsafeMutableBytes(of: &storage) { $0.storeBytes(of: port.bigEndian, toByteOffset: 2, as: UInt16.self) }
  }
}
