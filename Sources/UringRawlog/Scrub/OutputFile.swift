import Glibc

/// A file that is written anew, and never over another one.
final class OutputFile {
  /// For messages.
  let path: String
  /// Bytes written so far, those that are still in memory included.
  private(set) var count: UInt64 = 0
  private var descriptor: Int32
  private var buffer = Bytes(capacity: Limits.outputBytes + 4096)

  /// - Parameter descriptor: is closed by `finish`, or when this goes away.
  init(_ descriptor: Int32, path: String) {
    self.descriptor = descriptor
    self.path = path
  }

  deinit { if descriptor >= 0 { close(descriptor) } }

  /// - Throws: 74 when the disk does not take it.
  func append(_ bytes: UnsafeRawBufferPointer) throws(StartError) {
    if buffer.count + bytes.count > Limits.outputBytes { try flush() }
    buffer.append(bytes)
    count += UInt64(bytes.count)
  }

  func append(_ text: StaticString) throws(StartError) {
    try append(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
  }

  /// Writes a byte over one that was written before.
  func replace(_ byte: UInt8, at place: UInt64) throws(StartError) {
    try flush()
    var byte = byte
    guard pwrite(descriptor, &byte, 1, off_t(place)) == 1 else { throw failed }
  }

  /// - Throws: 74 when not all of it is written.
  func finish() throws(StartError) {
    try flush()
    let result = close(descriptor)
    descriptor = -1
    guard result == 0 else { throw failed }
  }

  private func flush() throws(StartError) {
    var written = 0
    defer { buffer.removeAll() }
    while written < buffer.count {
      let result = write(descriptor, buffer.span.baseAddress! + written, buffer.count - written)
      guard result >= 0 || errno == EINTR else { throw failed }
      written += max(0, result)
    }
  }

  private var failed: StartError {
    StartError(.ioError, "cannot write '\(path)': \(Errno.current.text); make room for what is written anew")
  }
}
