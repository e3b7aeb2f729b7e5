import CLibUring
import Glibc

/// An operation on a file, or a name, which may wait for a device.
struct FileJob {
  enum Kind: UInt8 {
    /// `memory` are the bytes of the caller, or an array of iovec of our own.
    case write
    case writeVectors
    /// `memory` is a path of our own; of a rename both paths, one behind the other.
    case open
    case unlink
    case rename
    case truncate
    case close
  }

  var kind: Kind
  var token: Token
  /// A file, or the directory that a path begins at.
  var descriptor: Int32
  var memory: UnsafeMutableRawPointer?
  var count = 0
  /// -1 writes where the file is, or at its end.
  var offset: Int64 = 0
  var flags: Int32 = 0
  var mode: UInt32 = 0
  /// What came of it: as of the operation of a ring.
  var result: Int32 = 0

  /// It can be done when whoever asked for it is gone.
  var ownsItsMemory: Bool {
    switch kind {
    case .write, .writeVectors, .open: false
    case .unlink, .rename, .truncate, .close: true
    }
  }

  /// Does it, however long it takes.
  mutating func work() {
    let done: Int
    switch kind {
    case .write:
      done = offset < 0 ? Glibc.write(descriptor, memory, count) : pwrite(descriptor, memory, count, off_t(offset))
    case .writeVectors:
      let vectors = memory!.assumingMemoryBound(to: iovec.self)
      let number = Int32(truncatingIfNeeded: count)
      done = offset < 0 ? writev(descriptor, vectors, number) : pwritev(descriptor, vectors, number, off_t(offset))
    case .open:
      done = Int(uring_openat(descriptor, path, flags, mode))
    case .unlink:
      done = Int(unlinkat(descriptor, path, 0))
    case .rename:
      done = Int(uring_renameat(descriptor, path, path + strlen(path) + 1))
    case .truncate:
      done = Int(ftruncate(descriptor, off_t(offset)))
    case .close:
      done = Int(Glibc.close(descriptor))
    }
    result = done < 0 ? -errno : Int32(truncatingIfNeeded: done)
  }

  private var path: UnsafePointer<CChar> { UnsafePointer(memory!.assumingMemoryBound(to: CChar.self)) }

  /// Gives back what belongs to it alone.
  func free() {
    switch kind {
    case .writeVectors, .open, .unlink, .rename: memory?.deallocate()
    case .write, .truncate, .close: break
    }
  }
}
