import Glibc

/// The connection over which a recording is replayed. It reads whatever comes while it sends, so that neither side waits
/// for the other for ever.
final class ReplayConnection {
  private let socket: Int32
  private let answerMilliseconds: Int32
  private var hasEnded = false
  private var memory = [UInt8](repeating: 0, count: 64 << 10)

  /// - Throws: 69 when the server cannot be reached.
  init(_ address: Address, answerMilliseconds: Int32) throws(StartError) {
    self.answerMilliseconds = answerMilliseconds
    let targets: [SocketAddress]
    do throws(ValueError) {
      targets = try AddressResolver.addresses(connecting: address)
    } catch {
      throw StartError(.unavailable, "--connect: \(error); check the name and the resolver")
    }
    var last = Errno(ENOENT)
    for target in targets {
      let socket = Glibc.socket(target.family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
      guard socket >= 0 else {
        last = .current
        continue
      }
      var storage = target.storage
      let result = withUnsafePointer(to: &storage) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { Glibc.connect(socket, $0, target.length) }
      }
      if result == 0 {
        prepareLeg(socket, family: target.family)
        self.socket = socket
        return
      }
      last = .current
      close(socket)
    }
    throw StartError(
      .unavailable, "cannot connect to '\(address.text)': \(last.text); is the server running and listening there?")
  }

  deinit { close(socket) }

  /// Sends bytes, and takes what comes meanwhile.
  ///
  /// - Throws: 69 when the server has ended the connection.
  func send(_ bytes: [UInt8], into answers: inout ReplayedAnswers) throws(StartError) {
    var sent = 0
    while sent < bytes.count {
      let events = Int16(POLLOUT) | (hasEnded ? 0 : Int16(POLLIN))
      let found = wait(events)
      if found & Int16(POLLIN) != 0 { take(into: &answers) }
      guard found & Int16(POLLOUT | POLLERR | POLLHUP) != 0 else {
        if found == 0 { throw StartError(.unavailable, "the server takes no more: nothing moved for too long") }
        continue
      }
      let count = bytes.withUnsafeBytes {
        Glibc.send(
          socket, $0.baseAddress! + sent, bytes.count - sent, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
      }
      if count >= 0 {
        sent += count
      } else if errno != EAGAIN && errno != EINTR {
        throw StartError(.unavailable, "the server has ended the connection: \(Errno.current.text)")
      }
    }
  }

  /// Waits until as many lines came as the recording has.
  func receive(into answers: inout ReplayedAnswers) throws(StartError) {
    while answers.isWaiting, !hasEnded {
      guard wait(Int16(POLLIN)) != 0 else { break }
      take(into: &answers)
    }
    if answers.isWaiting { answers.giveUp() }
  }

  /// The client ends its side; takes what still comes.
  func end(into answers: inout ReplayedAnswers) throws(StartError) {
    shutdown(socket, Int32(SHUT_WR))
    while !hasEnded, wait(Int16(POLLIN)) != 0 { take(into: &answers) }
  }

  private func take(into answers: inout ReplayedAnswers) {
    let count = recv(socket, &memory, memory.count, Int32(MSG_DONTWAIT))
    if count > 0 {
      memory.withUnsafeBytes { answers.take(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
    } else if count == 0 || errno != EAGAIN && errno != EINTR {
      hasEnded = true
    }
  }

  private func wait(_ events: Int16) -> Int16 {
    var poll = pollfd(fd: socket, events: events, revents: 0)
    while true {
      let result = Glibc.poll(&poll, 1, answerMilliseconds)
      if result < 0, errno == EINTR { continue }
      return result > 0 ? poll.revents : 0
    }
  }
}
