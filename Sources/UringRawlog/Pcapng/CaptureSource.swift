import Glibc

/// Bytes of a capture, or of a file beside it, by their place: those of a file, or those that a compressed file holds.
protocol CaptureSource: AnyObject {
  /// The path, for messages.
  var path: String { get }
  /// How many bytes there are at the moment.
  ///
  /// - Throws: 66 when it cannot be read, 65 when what is in it is wrong.
  func count() throws(StartError) -> UInt64
  /// Fills memory from a place on.
  ///
  /// - Returns: how many bytes there were; fewer than there is memory for only at the end.
  /// - Throws: 66 when it cannot be read, 65 when what is in it is wrong.
  func read(_ memory: UnsafeMutableRawBufferPointer, at place: UInt64) throws(StartError) -> Int
}

/// A capture as it was written.
final class CaptureFile: CaptureSource {
  let path: String
  private let descriptor: Int32

  /// - Parameter file: its descriptor is closed together with this.
  init(_ file: RecordingFiles.Opened) {
    path = file.path
    descriptor = file.descriptor
  }

  deinit { close(descriptor) }

  func count() throws(StartError) -> UInt64 {
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw cannotRead(.current) }
    return UInt64(max(0, status.st_size))
  }

  func read(_ memory: UnsafeMutableRawBufferPointer, at place: UInt64) throws(StartError) -> Int {
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

  private func cannotRead(_ error: Errno) -> StartError {
    StartError(.noInput, "cannot read '\(path)': \(error.text); copy what can be saved of it")
  }
}
