import CLibUring
import Glibc

/// A ring over a real kernel, whatever it waits with. What is called beside the ring is the same for each.
protocol SystemRing: Ring, ~Copyable {
  var features: RingFeatures { get }
  var engine: Engine { get }

  /// - Parameters:
  ///   - entries: operations that may be prepared in a turn without being handed over early.
  ///   - bufferCount: receive buffers, a power of two.
  ///   - without: features to be left aside.
  ///   - restricted: it can do only what the loop asks for, where there is a way to restrict it.
  /// - Throws: the error of the system call that was refused.
  static func build(
    entries: Int, bufferCount: Int, bufferBytes: Int, without: RingFeatures, restricted: Bool
  ) throws(Errno) -> Self
}

extension SystemRing where Self: ~Copyable {
  static func make(
    entries: Int = Limits.submissionEntries, bufferCount: Int = Limits.receiveBuffers,
    bufferBytes: Int = Limits.receiveBufferBytes, without: RingFeatures = [], restricted: Bool = true
  ) throws(Errno) -> Self {
    try build(
      entries: entries, bufferCount: bufferCount, bufferBytes: bufferBytes, without: without, restricted: restricted)
  }

  var hasBundles: Bool { features.contains(.bundles) }

  // MARK: Files in memory

  func answersAtOnce(_ directory: Int32) -> Bool {
    features.contains(.filesInLoop) && uring_is_in_memory(directory) != 0
  }

  mutating func openNow(_ directory: Int32, _ path: UnsafePointer<CChar>, flags: Int32, mode: UInt32) -> Int32? {
    let descriptor = uring_openat(directory, path, flags, mode)
    return descriptor < 0 ? -errno : descriptor
  }

  mutating func writeNow(_ file: Int32, _ vectors: UnsafeMutableBufferPointer<iovec>, offset: Int64) -> Int32? {
    let count = pwritev(file, vectors.baseAddress, Int32(vectors.count), off_t(offset))
    return count < 0 ? -errno : Int32(truncatingIfNeeded: count)
  }

  // MARK: Calls beside the ring

  func now() -> Instant { .current }

  func makeNonblocking(_ socket: Int32) -> Bool { uring_make_nonblocking(socket) >= 0 }

  mutating func makePipe(bytes: Int) throws(Errno) -> Pipe {
    var ends: (Int32, Int32) = (-1, -1)
    let size = withUnsafeMutableBytes(of: &ends) {
      uring_make_pipe($0.baseAddress!.assumingMemoryBound(to: Int32.self), Int32(bytes))
    }
    guard size >= 0 else { throw Errno(-size) }
    return Pipe(reading: ends.0, writing: ends.1, bytes: Int(size))
  }

  func close(_ pipe: Pipe) {
    // Closing a pipe never waits, so there is nothing that the ring could do better.
    _ = Glibc.close(pipe.reading)
    _ = Glibc.close(pipe.writing)
  }

  func splice(from: Int32, to: Int32, bytes: Int) -> Int { uring_splice(from, to, UInt(bytes)) }

  func sendNow(_ socket: Int32, _ bytes: UnsafeRawBufferPointer) {
    _ = Glibc.send(socket, bytes.baseAddress, bytes.count, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
  }

  func shutdownSending(_ socket: Int32) {
    // ENOTCONN: the peer reset the connection meanwhile; the receive says so.
    _ = shutdown(socket, Int32(SHUT_WR))
  }

  func isDelivered(_ socket: Int32) -> Bool {
    // SIOCOUTQ: bytes in the send queue that are not acknowledged (tcp(7)); on unix sockets, not received.
    var unconfirmed: Int32 = 0
    return uring_unconfirmed_bytes(socket, &unconfirmed) != 0 || unconfirmed == 0
  }

  func isHungUp(_ socket: Int32) -> Bool {
    var asked = pollfd(fd: socket, events: 0, revents: 0)
    return Glibc.poll(&asked, 1, 0) == 1 && Int32(asked.revents) & (POLLHUP | POLLERR) != 0
  }

  func peerAddress(of socket: Int32) -> PeerAddress? { SocketAddress.peer(of: socket)?.peer }

  func peerPath(of socket: Int32) -> String? {
    guard let path = SocketAddress.peer(of: socket)?.unixPath, !path.isEmpty else { return nil }
    return path
  }

  func localPort(of socket: Int32) -> UInt16? { localAddress(of: socket)?.port }

  func localAddress(of socket: Int32) -> PeerAddress? { SocketAddress.local(of: socket)?.peer }

  func lock(_ file: Int32) {
    // Whoever holds it already is about to find out that the file is somebody else's.
    _ = flock(file, LOCK_EX | LOCK_NB)
  }

  mutating func openDirectory(_ path: String) -> Int32? {
    let descriptor = openDirectoryPath(path)
    return descriptor >= 0 ? descriptor : nil
  }
}

