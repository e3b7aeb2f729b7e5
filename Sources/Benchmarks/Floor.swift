import Glibc

/// What the files of a recording cost at the least: bare open(2), write(2) in pieces of 256 K, and close(2), by one
/// thread that does nothing else.
enum Floor {
  static let pieceBytes = 256 << 10

  /// How many directories are tried for one in which files are created as fast as usual.
  static let attempts = 24
  private static let probes = 16
  /// Creating an empty file takes 8 to 15 microseconds where nothing is the matter, and ten to a hundred times as much
  /// where something is.
  static let quickNanoseconds: UInt64 = 15_000
  static let slowNanoseconds: UInt64 = 60_000

  /// What creating a file costs in a directory, in nanoseconds. ext4 takes no inode that was freed in the last minutes,
  /// and looks at each of them anew for every file: where many were removed, creating one costs up to a hundred times as
  /// much. That says nothing about a relay, and another directory is likely to lie elsewhere.
  static func creation(in directory: String) throws(BenchError) -> UInt64 {
    var fastest = UInt64.max
    // The fastest of some: a single one may be disturbed by others.
    for number in 0..<probes {
      let path = "\(directory)/probe-\(number)"
      let begin = ownCPUNanoseconds()
      let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
      guard file >= 0 else { throw BenchError("cannot create a file in '\(directory)'", errno) }
      close(file)
      fastest = min(fastest, ownCPUNanoseconds() - begin)
    }
    return fastest
  }

  /// - Parameter sizes: the size of each file.
  /// - Returns: user and system time in nanoseconds.
  static func measure(_ sizes: [Int], in directory: String) throws(BenchError) -> UInt64 {
    let piece = UnsafeMutableRawBufferPointer.allocate(byteCount: pieceBytes, alignment: 4096)
    defer { piece.deallocate() }
    for index in piece.indices { piece[index] = UInt8(truncatingIfNeeded: index &* 31) }
    let parent = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard parent >= 0 else { throw BenchError("cannot open '\(directory)'", errno) }
    defer { close(parent) }
    // Names are made beforehand: making them is no part of the floor.
    let names = sizes.indices.map { "20261122-000000.12345.\($0).floor" }
    let begin = ownCPUNanoseconds()
    for (index, size) in sizes.enumerated() {
      let file = openat(parent, names[index], O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
      guard file >= 0 else { throw BenchError("cannot create a file in '\(directory)'", errno) }
      var left = size
      while left > 0 {
        let count = write(file, piece.baseAddress, min(left, pieceBytes))
        guard count > 0 else {
          let code = errno
          close(file)
          throw BenchError("cannot write in '\(directory)'", code)
        }
        left -= count
      }
      close(file)
    }
    return ownCPUNanoseconds() - begin
  }
}
