import Glibc

/// A part of a file in memory, which moves forwards.
struct FileWindow: ~Copyable {
  private var memory: UnsafeMutableRawBufferPointer?
  private var start = 0
  private var end = 0
  private let file: RecordingFiles.Opened
  /// -1 while it rests.
  private var descriptor: Int32
  /// Where in the file the next bytes are read from.
  private var offset: UInt64 = 0
  /// Bytes behind this place are left for others; nil for the whole file, however long it becomes.
  private let limit: UInt64?
  /// Nothing was left the last time.
  private(set) var isAtEnd = false
  private var mustLook = false
  /// The file was shorter than what was read of it.
  var wasCut = false

  /// - Parameter file: its descriptor is closed together with the window.
  init(_ file: RecordingFiles.Opened, limit: UInt64?) {
    self.file = file
    descriptor = file.descriptor
    self.limit = limit
  }

  deinit {
    memory?.deallocate()
    if descriptor >= 0 { close(descriptor) }
  }

  var isEmpty: Bool { start == end }

  /// What was read and not dropped. Valid until the next call that changes the window.
  var bytes: UnsafeRawBufferPointer {
    guard let memory else { return UnsafeRawBufferPointer(start: nil, count: 0) }
    return UnsafeRawBufferPointer(rebasing: memory[start..<end])
  }

  mutating func drop(_ count: Int) { start += count }

  /// Reads what comes next; `isAtEnd` when there is nothing.
  mutating func fill() throws(Errno) {
    if mustLook {
      mustLook = false
      guard look() else {
        isAtEnd = true
        return
      }
    }
    if memory == nil { memory = .allocate(byteCount: Limits.windowBytes, alignment: 16) }
    guard let memory, let base = memory.baseAddress else { return }
    if start > 0 {
      base.copyMemory(from: base + start, byteCount: end - start)
      end -= start
      start = 0
    }
    assert(end < memory.count, "a decoder takes less than a whole window")
    var wanted = memory.count - end
    if let limit { wanted = min(wanted, Int(clamping: limit - min(limit, offset))) }
    var count = 0
    repeat { count = pread(descriptor, base + end, wanted, off_t(offset)) } while count < 0 && errno == EINTR
    guard count >= 0 else { throw .current }
    isAtEnd = count == 0
    end += count
    offset += UInt64(count)
  }

  /// Forgets what was read and not dropped: it is to be read again.
  mutating func rewind() {
    offset -= UInt64(end - start)
    start = 0
    end = 0
    isAtEnd = false
  }

  /// The file may have grown.
  mutating func lookAgain() {
    isAtEnd = false
    mustLook = true
  }

  /// Gives memory and descriptor back when nothing is held, so that very many files can be followed.
  mutating func rest() {
    guard isEmpty else { return }
    memory?.deallocate()
    memory = nil
    start = 0
    end = 0
    if descriptor >= 0 { close(descriptor) }
    descriptor = -1
    mustLook = true
  }

  /// Opens the file again if need be, and sees whether it is still the same and as long as before.
  ///
  /// - Returns: whether there is anything to be read from.
  private mutating func look() -> Bool {
    if descriptor < 0 {
      // It may have been removed; then what was read of it was all.
      guard let again = try? RecordingFiles.open(file.path, followsLinks: file.followsLinks) else { return false }
      guard again.status.st_ino == file.status.st_ino, again.status.st_dev == file.status.st_dev else {
        close(again.descriptor)
        return false
      }
      descriptor = again.descriptor
    }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { return false }
    let bytes = UInt64(max(0, status.st_size))
    if bytes < offset {
      offset = bytes
      wasCut = true
    }
    return true
  }
}
