import CBench
import Glibc

/// epoll(7), as little of it as the load needs.
struct Poller: ~Copyable {
  private let descriptor: Int32
  private let ready: UnsafeMutableBufferPointer<epoll_event>

  init() throws(BenchError) {
    descriptor = epoll_create1(Int32(EPOLL_CLOEXEC))
    guard descriptor >= 0 else { throw BenchError("epoll_create1", errno) }
    ready = .allocate(capacity: 256)
  }

  deinit {
    close(descriptor)
    ready.deallocate()
  }

  static let read = EPOLLIN.rawValue
  /// Told once for each change (EPOLLET): whoever is told goes on until the socket has nothing more.
  static let edges = EPOLLIN.rawValue | EPOLLOUT.rawValue | EPOLLET.rawValue

  func add(_ watched: Int32, key: Int, events: UInt32) {
    var event = epoll_event()
    event.events = events
    event.data.u64 = UInt64(key)
    epoll_ctl(descriptor, EPOLL_CTL_ADD, watched, &event)
  }

  /// Waits until something is ready and calls `body` with the key of each.
  ///
  /// - Parameter milliseconds: how long at the most; -1 without end.
  func wait(_ milliseconds: Int32 = -1, _ body: (Int) throws(BenchError) -> Void) throws(BenchError) {
    let count = epoll_wait(descriptor, ready.baseAddress, Int32(ready.count), milliseconds)
    guard count >= 0 else {
      if errno == EINTR { return }
      throw BenchError("epoll_wait", errno)
    }
    for index in 0..<Int(count) { try body(Int(ready[index].data.u64)) }
  }
}

/// Reads lines from a descriptor, and says when it ended.
struct LineReader {
  let descriptor: Int32
  private var waiting: [UInt8] = []
  private var isEnded = false

  init(_ descriptor: Int32) { self.descriptor = descriptor }

  /// The next line without its line feed, waiting for it; nil at the end of the stream.
  ///
  /// - Throws: `BenchError.interrupted` when a signal came meanwhile.
  mutating func next() throws(BenchError) -> String? {
    while true {
      if let line = takeLine() { return line }
      guard !isEnded else { return nil }
      try fill()
    }
  }

  /// The lines that one reading brings, without waiting for more; nil at the end.
  mutating func readAvailable() throws(BenchError) -> [String]? {
    try fill()
    var lines: [String] = []
    while let line = takeLine() { lines.append(line) }
    return lines.isEmpty && isEnded ? nil : lines
  }

  private mutating func takeLine() -> String? {
    guard let end = waiting.firstIndex(of: UInt8(ascii: "\n")) else { return nil }
    let line = String(decoding: waiting[..<end], as: UTF8.self)
    waiting.removeSubrange(...end)
    return line
  }

  private mutating func fill() throws(BenchError) {
    var bytes = [UInt8](repeating: 0, count: 4096)
    let count = read(descriptor, &bytes, bytes.count)
    if count > 0 {
      waiting += bytes[..<count]
    } else if count == 0 {
      isEnded = true
    } else if errno != EAGAIN, errno != EINTR {
      throw BenchError("read", errno)
    } else if Interrupt.hasCome {
      throw .interrupted
    }
  }
}
