import Glibc

/// What a capture has of each session, put together from its packets. This shares no code with what wrote them: it knows
/// the format from its description (docs/FORMAT.md).
struct CapturedStreams {
  private var sessions: [UInt64: (in: Checksum, out: Checksum)] = [:]
  private static let packetType: UInt32 = 6
  private static let mostBlockBytes = 256 << 10

  var `in`: StreamTotals { totals { $0.in } }
  var out: StreamTotals { totals { $0.out } }

  private func totals(_ stream: ((in: Checksum, out: Checksum)) -> Checksum) -> StreamTotals {
    var totals = StreamTotals()
    for session in sessions.values { totals.add(stream(session)) }
    return totals
  }

  /// Reads a capture.
  ///
  /// - Returns: its size.
  mutating func read(_ path: String) throws(BenchError) -> Int {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw BenchError("cannot read the capture '\(path)'", errno) }
    defer { close(descriptor) }
    let window = UnsafeMutableRawBufferPointer.allocate(byteCount: 4 * Self.mostBlockBytes, alignment: 16)
    defer { window.deallocate() }
    var (size, end) = (0, 0)
    while true {
      let count = Glibc.read(descriptor, window.baseAddress! + end, window.count - end)
      guard count > 0 else { break }
      size += count
      end += count
      let used = try take(UnsafeRawBufferPointer(rebasing: window[..<end]), path)
      memmove(window.baseAddress!, window.baseAddress! + used, end - used)
      end -= used
    }
    guard end == 0 else { throw BenchError("the capture '\(path)' ends within a block") }
    return size
  }

  /// Takes whole blocks; how many bytes they have.
  private mutating func take(_ bytes: UnsafeRawBufferPointer, _ path: String) throws(BenchError) -> Int {
    var place = 0
    while bytes.count - place >= 12 {
      let length = Int(bytes.loadUnaligned(fromByteOffset: place + 4, as: UInt32.self))
      guard length >= 12, length <= Self.mostBlockBytes else { throw BenchError("'\(path)' has no block at its place") }
      guard bytes.count - place >= length else { break }
      if bytes.loadUnaligned(fromByteOffset: place, as: UInt32.self) == Self.packetType {
        take(packet: UnsafeRawBufferPointer(rebasing: bytes[place..<place + length]))
      }
      place += length
    }
    return place
  }

  /// The flags and the link to the session are the last options, in this order.
  private mutating func take(packet block: UnsafeRawBufferPointer) {
    let isIn = block.loadUnaligned(fromByteOffset: block.count - 32, as: UInt32.self) == 1
    let session = block.loadUnaligned(fromByteOffset: block.count - 24, as: UInt64.self)
    let internet = 28
    let isVersion6 = block[internet] >> 4 == 6
    let segment = internet + (isVersion6 ? 40 : 20)
    let lengthPlace = internet + (isVersion6 ? 4 : 2)
    let length = Int(block[lengthPlace]) << 8 | Int(block[lengthPlace + 1])
    let end = (isVersion6 ? segment : internet) + length
    let payload = UnsafeRawBufferPointer(rebasing: block[segment + Int(block[segment + 12] >> 4) * 4..<end])
    if isIn {
      sessions[session, default: (Checksum(), Checksum())].in.add(payload)
    } else {
      sessions[session, default: (Checksum(), Checksum())].out.add(payload)
    }
  }
}
