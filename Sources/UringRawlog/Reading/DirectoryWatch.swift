import Glibc

/// Tells of what happens to files and in directories (inotify(7)).
struct DirectoryWatch: ~Copyable {
  enum Change {
    /// A file that was named itself was written to, or one in a directory, with its name.
    case written(watch: Int32, name: String?)
    /// A file has come into a directory: made there, or moved to it.
    case added(watch: Int32, name: String)
    case directoryAdded(watch: Int32, name: String)
    /// More happened than the kernel remembers: look at everything.
    case overflow
  }

  let descriptor: Int32

  init() throws(StartError) {
    descriptor = inotify_init1(Int32(IN_NONBLOCK) | Int32(IN_CLOEXEC))
    guard descriptor >= 0 else {
      throw StartError(
        .osError,
        "cannot watch for changes: \(Errno.current.text); raise fs.inotify.max_user_instances, or leave --follow out")
    }
  }

  deinit { close(descriptor) }

  /// - Returns: the number of the watch.
  /// - Throws: 71 when the kernel has no more watches, 66 when there is nothing to be watched.
  func add(_ path: String, isDirectory: Bool) throws(StartError) -> Int32 {
    var mask = UInt32(IN_MODIFY)
    if isDirectory { mask |= UInt32(IN_CREATE) | UInt32(IN_MOVED_TO) | UInt32(IN_ONLYDIR) }
    let watch = inotify_add_watch(descriptor, path, mask)
    guard watch < 0 else { return watch }
    let error = Errno.current
    guard error.code == ENOSPC || error.code == ENOMEM else {
      throw StartError(.noInput, "cannot watch '\(path)': \(error.text); leave --follow out")
    }
    throw StartError(
      .osError, "cannot watch '\(path)': \(error.text); raise fs.inotify.max_user_watches, or leave --follow out")
  }

  /// What happened since this was last asked.
  func changes() -> [Change] {
    var changes: [Change] = []
    withUnsafeTemporaryAllocation(byteCount: 64 << 10, alignment: 8) { buffer in
      while true {
        let count = read(descriptor, buffer.baseAddress, buffer.count)
        guard count > 0 else { return }
        var place = 0
        while place + Self.headBytes <= count {
          let event = buffer.loadUnaligned(fromByteOffset: place, as: inotify_event.self)
          let name = UnsafeRawBufferPointer(rebasing: buffer[(place + Self.headBytes)...].prefix(Int(event.len)))
          if let change = Self.change(event, name: name) { changes.append(change) }
          place += Self.headBytes + Int(event.len)
        }
      }
    }
    return changes
  }

  private static let headBytes = MemoryLayout<inotify_event>.size

  private static func change(_ event: inotify_event, name: UnsafeRawBufferPointer) -> Change? {
    let mask = event.mask
    if mask & UInt32(IN_Q_OVERFLOW) != 0 { return .overflow }
    // The name is filled up with NUL.
    let bytes = name.prefix { $0 != 0 }
    guard let text = String(validating: bytes, as: UTF8.self) else { return nil }
    if mask & UInt32(IN_CREATE | IN_MOVED_TO) != 0 {
      return mask & UInt32(IN_ISDIR) != 0
        ? .directoryAdded(watch: event.wd, name: text) : .added(watch: event.wd, name: text)
    }
    guard mask & UInt32(IN_MODIFY) != 0 else { return nil }
    return .written(watch: event.wd, name: text.isEmpty ? nil : text)
  }
}
