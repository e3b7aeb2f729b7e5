import Glibc
import Testing

@testable import rawlog

/// What this machine's kernel lets the tests do.
private let isAllowed: Bool = {
  do throws(Errno) {
    _ = try SmallRing.make(entries: 8)
    return true
  } catch {
    return false
  }
}()

/// The real ring, on sockets, pipes and files.
@Suite(.enabled(if: isAllowed, "io_uring is not allowed here")) struct SmallRingTests {
  private func ring() throws -> SmallRing {
    let ring = try SmallRing.make(entries: 8)
    try ring.enable()
    return ring
  }

  private func pair() throws -> (Int32, Int32) {
    var pair: [Int32] = [-1, -1]
    try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &pair) == 0)
    return (pair[0], pair[1])
  }

  /// The next completion: its token and its result.
  private func next(_ ring: inout SmallRing) throws -> (UInt64, Int32, more: Bool) {
    var taken = [Completion](
      repeating: Completion(token: Token(rawValue: 0), result: 0, buffer: -1, more: false), count: 1)
    for _ in 0..<100 {
      try ring.submitAndWait(nanoseconds: 10_000_000_000)
      let count = taken.withUnsafeMutableBufferPointer { ring.takeCompletions(into: $0) }
      if count == 1 { return (taken[0].token.rawValue, taken[0].result, taken[0].more) }
    }
    Issue.record("nothing completed")
    return (0, 0, false)
  }

  @Test func disabledUntilItIsEnabled() throws {
    var ring = try SmallRing.make(entries: 8)
    #expect(ring.descriptor >= 0)
    #expect(throws: Errno(EBADFD)) { try ring.submitAndWait(nanoseconds: 0) }
    try ring.enable()
    try ring.submitAndWait(nanoseconds: 0)
  }

  @Test func readsWhatIsThereAndWaitsForTheRest() throws {
    var ring = try ring()
    let (near, far) = try pair()
    defer { close(near) }
    let space = UnsafeMutableRawBufferPointer.allocate(byteCount: 8, alignment: 1)
    defer { space.deallocate() }
    ring.read(near, space, token: Token(rawValue: 1))
    try ring.submitAndWait(nanoseconds: 0)
    #expect(write(far, "abc", 3) == 3)
    #expect(try next(&ring) == (1, 3, false))
    #expect(Array(space[..<3]) == Array("abc".utf8))
    close(far)
    ring.read(near, space, token: Token(rawValue: 2))
    #expect(try next(&ring) == (2, 0, false))
  }

  @Test func sendsWhatASocketTakesAtOnce() throws {
    let ring = try ring()
    let (near, far) = try pair()
    defer { close(near) }
    let bytes = [UInt8](repeating: 1, count: 1 << 16)
    var sent = 0
    while true {
      let count = bytes.withUnsafeBytes { ring.sendNow(near, $0) }
      guard count > 0 else {
        #expect(count == -Int(EAGAIN))
        break
      }
      sent += count
    }
    #expect(sent > 0)
    close(far)
    #expect(bytes.withUnsafeBytes { ring.sendNow(near, $0) } == -Int(EPIPE))
  }

  @Test func whatIsNoSocket() throws {
    let ring = try ring()
    let directory = try TemporaryDirectory()
    try directory.make("file", "12345")
    let file = openFile("\(directory.path)/file", flags: O_RDWR)
    defer { close(file) }
    // A file takes everything at once, from where it stands.
    #expect(Array("ab".utf8).withUnsafeBytes { ring.sendNow(file, $0) } == 2)
    #expect(Array("c".utf8).withUnsafeBytes { ring.sendNow(file, $0) } == 1)
    #expect(directory.content("file") == Array("abc45".utf8))
    #expect(Array("xy".utf8).withUnsafeBytes { ring.writeNow(file, $0, offset: 4) } == 2)
    #expect(directory.content("file") == Array("abc4xy".utf8))
    // A pipe might wait, and is left to the ring.
    var ends: [Int32] = [-1, -1]
    try #require(pipe(&ends) == 0)
    defer { close(ends[0]) }
    #expect(Array("ab".utf8).withUnsafeBytes { ring.sendNow(ends[1], $0) } == -Int(ENOTSOCK))
    // Its end is passed on by closing it.
    ring.endSending(ends[1])
    var byte: UInt8 = 0
    #expect(read(ends[0], &byte, 1) == 0)
  }

  @Test func writesAtAnOffset() throws {
    var ring = try ring()
    let directory = try TemporaryDirectory()
    try directory.make("file", "12345")
    let file = openFile("\(directory.path)/file", flags: O_WRONLY)
    defer { close(file) }
    let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 2, alignment: 1)
    defer { bytes.deallocate() }
    bytes.copyBytes(from: Array("ab".utf8))
    ring.write(file, UnsafeRawBufferPointer(bytes), offset: 1, token: Token(rawValue: 7))
    #expect(try next(&ring) == (7, 2, false))
    #expect(directory.content("file") == Array("1ab45".utf8))
  }

  @Test func aSocketThatIsWatched() throws {
    var ring = try ring()
    let (near, far) = try pair()
    defer { close(near) }
    ring.watch(near, token: Token(rawValue: 3))
    shutdown(far, Int32(SHUT_WR))
    let first = try next(&ring)
    #expect(first.0 == 3 && first.more && first.1 & Int32(POLLHUP) == 0)
    close(far)
    let second = try next(&ring)
    #expect(second.0 == 3 && second.1 & Int32(POLLHUP) != 0)
  }

  @Test func ends() throws {
    let ring = try ring()
    let (near, far) = try pair()
    defer { close(near) }
    defer { close(far) }
    ring.endSending(near)
    var byte: UInt8 = 0
    #expect(read(far, &byte, 1) == 0)
    ring.endReceiving(near)
    #expect(send(far, &byte, 1, Int32(MSG_NOSIGNAL)) == -1 && errno == EPIPE)
  }

  @Test func receivedBytesAreThrownAway() throws {
    let ring = try ring()
    let (near, far) = try pair()
    defer { close(near) }
    let bytes = [UInt8](repeating: 1, count: 50_000)
    #expect(write(far, bytes, bytes.count) == bytes.count)
    ring.discardReceived(near)
    var byte: UInt8 = 0
    #expect(recv(near, &byte, 1, Int32(MSG_DONTWAIT)) == -1 && errno == EAGAIN)
    // Unread bytes would be an error for the other side.
    close(near)
    #expect(read(far, &byte, 1) == 0)
    close(far)
  }
}
