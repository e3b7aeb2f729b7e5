import Glibc

/// Text on its way to a descriptor, gathered into larger writes.
struct TextOutput: ~Copyable {
  /// Why no more can be written.
  enum End: Error, Equatable {
    /// Nobody reads any more (EPIPE), as with `| head`: no error.
    case closed
    /// It was told to stop.
    case stopped
    case failed(Errno)
  }

  private let descriptor: Int32
  /// Becomes readable when writing is to stop; -1 for never.
  private let stop: Int32
  var text = Bytes(capacity: Limits.outputBytes + 4096)

  init(_ descriptor: Int32, stop: Int32 = -1) {
    self.descriptor = descriptor
    self.stop = stop
  }

  mutating func flushIfFull() throws(End) {
    if text.count >= Limits.outputBytes { try flush() }
  }

  mutating func flush() throws(End) {
    var written = 0
    defer { text.removeAll() }
    while written < text.count {
      if stop >= 0 { try wait() }
      // A pipe that is ready takes PIPE_BUF (4096) bytes without waiting (pipe(7)).
      let count = min(text.count - written, stop >= 0 ? 4096 : Int.max)
      let result = write(descriptor, text.span.baseAddress! + written, count)
      if result >= 0 {
        written += result
        continue
      }
      switch errno {
      case EINTR: continue
      case EAGAIN: try wait()
      case EPIPE: throw .closed
      default: throw .failed(.current)
      }
    }
  }

  /// Waits until the descriptor takes bytes.
  private func wait() throws(End) {
    var ready = [pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)]
    if stop >= 0 { ready.append(pollfd(fd: stop, events: Int16(POLLIN), revents: 0)) }
    while poll(&ready, nfds_t(ready.count), -1) < 0 && errno == EINTR {}
    if ready.count > 1, ready[1].revents != 0 { throw .stopped }
  }
}
