/// A checksum of a stream of bytes that depends on every byte and its place, however the stream was cut into pieces.
///
/// Four lanes of 64 bits, each multiplied by an odd constant after a word was mixed in: faster than memory, so that
/// checking every byte does not make the load the bottleneck. It finds faults, not forgers.
struct Checksum {
  private var a: UInt64 = 0x9E37_79B9_7F4A_7C15
  private var b: UInt64 = 0xC2B2_AE3D_27D4_EB4F
  private var c: UInt64 = 0x1656_67B1_9E37_79F9
  private var d: UInt64 = 0x27D4_EB2F_1656_67C5
  private var rest = InlineArray<32, UInt8>(repeating: 0)
  private var restCount = 0
  /// Bytes so far.
  private(set) var count: UInt64 = 0

  private static let factor: UInt64 = 0x1000_0000_01B3

  mutating func add(_ bytes: UnsafeRawBufferPointer) {
    guard var place = bytes.baseAddress, !bytes.isEmpty else { return }
    count &+= UInt64(bytes.count)
    var left = bytes.count
    if restCount > 0 {
      while restCount < 32, left > 0 {
        rest[restCount] = place.load(as: UInt8.self)
        restCount += 1
        place += 1
        left -= 1
      }
      guard restCount == 32 else { return }
      restCount = 0
      let whole = rest
      whole.span.withUnsafeBytes { mix($0.baseAddress!, blocks: 1) }
    }
    let blocks = left / 32
    mix(place, blocks: blocks)
    place += blocks * 32
    for index in 0..<left % 32 { rest[index] = (place + index).load(as: UInt8.self) }
    restCount = left % 32
  }

  @inline(__always)
  private mutating func mix(_ start: UnsafeRawPointer, blocks: Int) {
    var (a, b, c, d) = (a, b, c, d)
    var place = start
    for _ in 0..<blocks {
      a = (a ^ place.loadUnaligned(as: UInt64.self)) &* Self.factor
      b = (b ^ place.loadUnaligned(fromByteOffset: 8, as: UInt64.self)) &* Self.factor
      c = (c ^ place.loadUnaligned(fromByteOffset: 16, as: UInt64.self)) &* Self.factor
      d = (d ^ place.loadUnaligned(fromByteOffset: 24, as: UInt64.self)) &* Self.factor
      // What only the high bits know must reach the low ones: multiplying alone takes it further up, and two changes of
      // highest bits would make up for each other.
      a ^= a >> 29
      b ^= b >> 30
      c ^= c >> 28
      d ^= d >> 31
      place += 32
    }
    (self.a, self.b, self.c, self.d) = (a, b, c, d)
  }

  var value: UInt64 {
    // A change of one lane must not look like that of another.
    var result = a
    for lane in [b, c, d] { result = Self.scatter(result) ^ lane }
    result = Self.scatter(result)
    for index in 0..<restCount { result = (result ^ UInt64(rest[index])) &* Self.factor }
    result = (result ^ count) &* 0x9E37_79B9_7F4A_7C15
    return result ^ result >> 32
  }

  /// Another number for each, in which every bit depends on all bits (the finalizer of SplitMix64).
  private static func scatter(_ number: UInt64) -> UInt64 {
    var result = (number ^ number >> 30) &* 0xBF58_476D_1CE4_E5B9
    result = (result ^ result >> 27) &* 0x94D0_49BB_1331_11EB
    return result ^ result >> 31
  }
}

/// Checksums of many streams, in whatever order they ended.
struct StreamTotals: Equatable {
  var streams = 0
  var bytes: UInt64 = 0
  var sum: UInt64 = 0

  mutating func add(_ checksum: Checksum) {
    streams += 1
    bytes &+= checksum.count
    sum &+= checksum.value
  }

  static func + (one: StreamTotals, other: StreamTotals) -> StreamTotals {
    var both = one
    both.streams += other.streams
    both.bytes &+= other.bytes
    both.sum &+= other.sum
    return both
  }

  var text: String { "\(streams) \(bytes) \(sum)" }

  init() {}

  /// Reads `text` back; nil when it is something else.
  init?(_ fields: ArraySlice<Substring>) {
    let fields = Array(fields)
    guard fields.count == 3, let streams = Int(fields[0]), let bytes = UInt64(fields[1]), let sum = UInt64(fields[2])
    else { return nil }
    self.streams = streams
    self.bytes = bytes
    self.sum = sum
  }
}
