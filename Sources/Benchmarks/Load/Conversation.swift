import CBench
import Glibc

/// One side of one connection that follows a script.
struct Conversation {
  enum Role {
    case client
    case server
  }

  enum Outcome {
    /// It waits for the socket, to read or to write.
    case waitsToRead
    case waitsToWrite
    case finished
    case failed(String)
  }

  let socket: Int32
  /// Its TLS; nil in the clear.
  let tls: OpaquePointer?
  /// The number that its parts bear.
  let number: Int
  private var part = 0
  /// Bytes of the part that went by.
  private var position = 0
  /// When it began, and when its last own part was sent (CLOCK_MONOTONIC nanoseconds).
  let began: UInt64
  private(set) var asked: UInt64 = 0
  private(set) var sent = Checksum()
  private(set) var received = Checksum()

  init(socket: Int32, tls: OpaquePointer? = nil, number: Int, began: UInt64) {
    self.socket = socket
    self.tls = tls
    self.number = number
    self.began = began
  }

  /// Goes on as far as the socket lets it.
  ///
  /// - Parameter answered: called each time that the other side's part is complete.
  mutating func advance(
    _ role: Role, _ script: borrowing Script, scratch: UnsafeMutableRawBufferPointer, answered: (Self) -> Void
  ) -> Outcome {
    // An answer can only come after its question left, and then epoll tells: asking the socket at once would be in vain.
    var mayRead = true
    while part < script.partCount {
      let current = script.part(part)
      let isMine = (part & 1 == 0) == (role == .server)
      if isMine {
        if let outcome = send(current, scratch) { return outcome }
        if current.count > 0 {
          asked = monotonicNanoseconds()
          mayRead = false
        }
        next()
        continue
      }
      while position < current.count {
        guard mayRead else { return .waitsToRead }
        if let outcome = receive(current, role, scratch) { return outcome }
      }
      if current.count > 0 { answered(self) }
      next()
      if part == script.partCount, script.clientLeaves { shutdown(socket, Int32(SHUT_WR)) }
    }
    return role == .server ? .finished : awaitEnd(scratch)
  }

  private mutating func next() {
    part += 1
    position = 0
  }

  private mutating func send(_ part: Script.Part, _ scratch: UnsafeMutableRawBufferPointer) -> Outcome? {
    while position < part.count {
      let offset = position % part.bytes.count
      let left = part.count - position
      if part.isOpenEnded, left == 1 {
        scratch[0] = Script.endMark
        if let outcome = send(UnsafeRawBufferPointer(rebasing: scratch[..<1])) { return outcome }
        continue
      }
      var piece = UnsafeRawBufferPointer(
        rebasing: part.bytes[offset..<min(part.bytes.count, offset + left - (part.isOpenEnded ? 1 : 0))])
      if let place = part.numberOffset {
        scratch.copyMemory(from: part.bytes)
        putNumber(scratch.baseAddress! + place)
        piece = UnsafeRawBufferPointer(rebasing: scratch[offset..<part.count])
      }
      if let outcome = send(piece) { return outcome }
    }
    return nil
  }

  private mutating func send(_ piece: UnsafeRawBufferPointer) -> Outcome? {
    let count =
      if let tls {
        bench_tls_send(tls, piece.baseAddress, UInt(piece.count))
      } else {
        Glibc.send(socket, piece.baseAddress, piece.count, Int32(MSG_NOSIGNAL))
      }
    guard count >= 0 else {
      if errno == EAGAIN { return .waitsToWrite }
      return errno == EINTR ? nil : .failed("send: \(String(cString: strerror(errno)))")
    }
    sent.add(UnsafeRawBufferPointer(rebasing: piece[..<count]))
    position += count
    return nil
  }

  private func putNumber(_ place: UnsafeMutableRawPointer) {
    var rest = number
    for digit in stride(from: 7, through: 0, by: -1) {
      place.storeBytes(of: UInt8(ascii: "0") + UInt8(rest % 10), toByteOffset: digit, as: UInt8.self)
      rest /= 10
    }
  }

  private mutating func receive(_ part: Script.Part, _ role: Role, _ scratch: UnsafeMutableRawBufferPointer) -> Outcome?
  {
    let wanted = part.isOpenEnded ? scratch.count : min(scratch.count, part.count - position)
    let count = take(scratch, wanted)
    if count > 0 {
      received.add(UnsafeRawBufferPointer(rebasing: scratch[..<count]))
      let isEnd = part.isOpenEnded && scratch[count - 1] == Script.endMark
      // The count of an open-ended part is, on this side, more than will ever come.
      position = isEnd ? part.count : position + count
      return nil
    }
    if count == 0 {
      // A client may leave between two rounds.
      if role == .server && position == 0 { return .finished }
      return .failed("the stream ended early, in part \(self.part) after \(position) of \(part.count) bytes")
    }
    if errno == EAGAIN || errno == EINTR { return .waitsToRead }
    return .failed("receive: \(String(cString: strerror(errno)))")
  }

  private func take(_ scratch: UnsafeMutableRawBufferPointer, _ wanted: Int) -> Int {
    guard let tls else { return recv(socket, scratch.baseAddress, wanted, 0) }
    return bench_tls_receive(tls, scratch.baseAddress, UInt(wanted))
  }

  /// Ends the connection; not to be used afterwards.
  func end() {
    if let tls { bench_tls_end(tls) }
    close(socket)
  }

  /// After the last part the client waits for the server's end, and for nothing else.
  private mutating func awaitEnd(_ scratch: UnsafeMutableRawBufferPointer) -> Outcome {
    let count = take(scratch, scratch.count)
    if count == 0 { return .finished }
    if count > 0 { return .failed("\(count) bytes came behind the last part") }
    if errno == EAGAIN || errno == EINTR { return .waitsToRead }
    return .failed("receive: \(String(cString: strerror(errno)))")
  }
}

func monotonicNanoseconds() -> UInt64 {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
}
