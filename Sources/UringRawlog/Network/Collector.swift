import Glibc

/// The collector of `--dir tcp:HOST:PORT`, before the relay runs.
enum Collector {
  /// Its addresses; none without a collector. What recordings hold may leave the machine only when that was said.
  ///
  /// - Throws: 69 when its name does not resolve, 64 when it is another machine.
  static func addresses(_ configuration: RelayConfiguration) throws(StartError) -> [SocketAddress] {
    guard let collector = configuration.collector else { return [] }
    let addresses: [SocketAddress]
    do throws(ValueError) {
      addresses = try AddressResolver.addresses(connecting: collector)
    } catch {
      throw StartError(.unavailable, "--dir: \(error); check the name and the resolver")
    }
    guard configuration.allowsRemoteCollector || addresses.allSatisfy({ $0.peer.isLoopback }) else {
      throw StartError(
        .usage,
        "--dir: '\(configuration.directory.text)' is another machine, to which whole mail would go in the clear; use a "
          + "tunnel to a local port, or say --collector-insecure")
    }
    return addresses
  }

  /// Connects to each address until one answers, and closes.
  ///
  /// - Throws: why the last did not. It may take `Limits.collectorConnectNanoseconds` for each: never called by the loop.
  static func reach(_ addresses: [SocketAddress]) throws(Errno) {
    var last = Errno(EADDRNOTAVAIL)
    for address in addresses {
      do throws(Errno) {
        return try reach(address)
      } catch {
        last = error
      }
    }
    throw last
  }

  private static func reach(_ address: SocketAddress) throws(Errno) {
    let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
    let descriptor = socket(address.family, type, 0)
    guard descriptor >= 0 else { throw Errno.current }
    defer { close(descriptor) }
    if address.withPointer({ connect(descriptor, $0, $1) }) == 0 { return }
    guard errno == EINPROGRESS else { throw Errno.current }
    var ready = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
    guard poll(&ready, 1, Int32(Limits.collectorConnectNanoseconds / 1_000_000)) == 1 else { throw Errno(ETIMEDOUT) }
    var code: Int32 = 0
    var size = socklen_t(MemoryLayout<Int32>.size)
    getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &size)
    guard code == 0 else { throw Errno(code) }
  }
}
