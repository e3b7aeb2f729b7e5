import Glibc

/// Bytes of a capture, by their place: those of a file, or those that a compressed file holds.
protocol CaptureSource: AnyObject {
  /// The path, for messages.
  var path: String { get }
  /// How many bytes there are at the moment.
  ///
  /// - Throws: `unreadable`, or `damaged`.
  func count() throws(CaptureError) -> UInt64
  /// Fills memory from a place on.
  ///
  /// - Returns: how many bytes there were; fewer than there is memory for only at the end.
  /// - Throws: `unreadable`, or `damaged`.
  func read(_ memory: UnsafeMutableRawBufferPointer, at place: UInt64) throws(CaptureError) -> Int
}

/// A capture as it was written.
final class CaptureFile: CaptureSource {
  let path: String
  private let descriptor: Int32

  /// - Throws: `unreadable` when it is not there, or is not a regular file. A FIFO is not waited for.
  convenience init(_ path: String) throws(CaptureError) {
    let descriptor = openFile(path, flags: O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
    guard descriptor >= 0 else {
      throw CaptureError(
        .unreadable,
        "cannot open '\(path.escapedForMessage)': \(Errno.current.text); name a capture that this user may read")
    }
    self.init(path, descriptor: descriptor)
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      throw CaptureError(.unreadable, "'\(path.escapedForMessage)' is no regular file; name a capture")
    }
  }

  /// - Parameter descriptor: it is closed together with this.
  init(_ path: String, descriptor: Int32) {
    self.path = path
    self.descriptor = descriptor
  }

  deinit { close(descriptor) }

  func count() throws(CaptureError) -> UInt64 {
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw cannotRead(.current) }
    return UInt64(max(0, status.st_size))
  }

  func read(_ memory: UnsafeMutableRawBufferPointer, at place: UInt64) throws(CaptureError) -> Int {
    guard let offset = off_t(exactly: place) else { return 0 }
    var count = 0
    while count < memory.count {
      let result = pread(descriptor, memory.baseAddress! + count, memory.count - count, offset + off_t(count))
      if result == 0 { break }
      if result < 0 {
        guard errno == EINTR else { throw cannotRead(.current) }
      } else {
        count += result
      }
    }
    return count
  }

  private func cannotRead(_ error: Errno) -> CaptureError {
    CaptureError(
      .unreadable, "cannot read '\(path.escapedForMessage)': \(error.text); copy what can be saved of it")
  }
}
