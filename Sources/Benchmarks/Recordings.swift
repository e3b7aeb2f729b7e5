import Glibc

/// The files that a repetition left, read back and compared with what was relayed.
struct Recordings {
  let directory: String
  /// Its lines bear stamps, which are taken off.
  let hasStamps: Bool
  /// All sessions are in captures, those of the warm-up too.
  var areCaptures = false
  /// Stands for a credential of the load, which is put back.
  var mark: (text: [UInt8], credential: [UInt8])?

  struct Found {
    var `in` = StreamTotals()
    var out = StreamTotals()
    /// The size of each file, as it is on disk.
    var sizes: [Int] = []
  }

  /// - Parameter ignoring: files that were there before, from the warm-up.
  func read(ignoring: Set<String>) throws(BenchError) -> Found {
    guard !areCaptures else { return try readCaptures() }
    var found = Found()
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 4096)
    defer { buffer.deallocate() }
    for name in files() where !ignoring.contains(name) {
      var stamps = StampRemover()
      var checksum = Checksum()
      var size = 0
      let descriptor = open("\(directory)/\(name)", O_RDONLY | O_CLOEXEC)
      guard descriptor >= 0 else { throw BenchError("cannot read the recording '\(name)'", errno) }
      defer { close(descriptor) }
      while true {
        let count = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
        guard count > 0 else { break }
        size += count
        let bytes = UnsafeMutableRawBufferPointer(rebasing: buffer[..<count])
        if hasStamps {
          checksum.add(UnsafeRawBufferPointer(rebasing: buffer[..<stamps.remove(from: bytes)]))
        } else if let mark {
          add(UnsafeRawBufferPointer(bytes), with: mark, to: &checksum)
        } else {
          checksum.add(UnsafeRawBufferPointer(bytes))
        }
      }
      if name.hasSuffix(".in") { found.in.add(checksum) } else { found.out.add(checksum) }
      found.sizes.append(size)
    }
    return found
  }

  private func readCaptures() throws(BenchError) -> Found {
    var streams = CapturedStreams()
    var found = Found()
    for name in names(in: directory) where name.hasSuffix(".pcapng") {
      found.sizes.append(try streams.read("\(directory)/\(name)"))
    }
    (found.in, found.out) = (streams.in, streams.out)
    return found
  }

  /// Recordings of sessions with a credential fit the buffer: no reading cuts a mark.
  private func add(
    _ bytes: UnsafeRawBufferPointer, with mark: (text: [UInt8], credential: [UInt8]), to checksum: inout Checksum
  ) {
    var place = 0
    var searched = 0
    while let found = memchr(bytes.baseAddress! + searched, Int32(mark.text[0]), bytes.count - searched) {
      let end = UnsafeRawPointer(found) - bytes.baseAddress!
      searched = end + 1
      guard bytes[end...].starts(with: mark.text) else { continue }
      checksum.add(UnsafeRawBufferPointer(rebasing: bytes[place..<end]))
      mark.credential.withUnsafeBytes { checksum.add($0) }
      place = end + mark.text.count
      searched = place
    }
    checksum.add(UnsafeRawBufferPointer(rebasing: bytes[place...]))
  }

  func files() -> [String] { names(in: directory).filter { $0.hasSuffix(".in") || $0.hasSuffix(".out") } }

  /// Takes `SECONDS.MICROSECONDS ` off the beginning of each line, also where a reading cuts one.
  private struct StampRemover {
    private var isInStamp = true

    mutating func remove(from bytes: UnsafeMutableRawBufferPointer) -> Int {
      let base = bytes.baseAddress!
      var from = 0
      var to = 0
      while from < bytes.count {
        if isInStamp {
          guard let end = memchr(base + from, Int32(UInt8(ascii: " ")), bytes.count - from) else { return to }
          from = UnsafeMutableRawPointer(end) - base + 1
          isInStamp = false
          continue
        }
        var count = bytes.count - from
        if let end = memchr(base + from, Int32(UInt8(ascii: "\n")), count) {
          count = UnsafeMutableRawPointer(end) - base + 1 - from
          isInStamp = true
        }
        memmove(base + to, base + from, count)
        from += count
        to += count
      }
      return to
    }
  }
}
