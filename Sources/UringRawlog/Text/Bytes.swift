import Glibc

/// A growing run of bytes for text that the loop makes (names, index lines, messages) without a `String`.
///
/// It keeps its memory when it is emptied, so that a warm loop allocates nothing.
struct Bytes: ~Copyable {
  private(set) var start: UnsafeMutableRawPointer
  private(set) var count = 0
  private var capacity: Int

  init(capacity: Int = 256) {
    start = .allocate(byteCount: capacity, alignment: 16)
    self.capacity = capacity
  }

  deinit { start.deallocate() }

  var span: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: start, count: count) }

  /// The bytes as a C string; they must end in a NUL.
  var cString: UnsafePointer<CChar> {
    assert(count > 0 && span[count - 1] == 0)
    return UnsafePointer(start.assumingMemoryBound(to: CChar.self))
  }

  @inline(__always)
  mutating func removeAll() { count = 0 }

  /// Drops what lies behind the first `kept` bytes.
  mutating func truncate(_ kept: Int) { count = min(count, kept) }

  /// Drops the first bytes.
  mutating func removeFirst(_ dropped: Int) {
    memmove(start, start + dropped, count - dropped)
    count -= dropped
  }

  /// Room for `more` bytes behind the end.
  @inline(__always)
  mutating func reserve(_ more: Int) {
    if count + more > capacity { grow(more) }
  }

  @inline(never)
  private mutating func grow(_ more: Int) {
    let larger = max(count + more, capacity * 2)
    let memory = UnsafeMutableRawPointer.allocate(byteCount: larger, alignment: 16)
    memory.copyMemory(from: start, byteCount: count)
    start.deallocate()
    start = memory
    capacity = larger
  }

  @inline(__always)
  mutating func append(_ byte: UInt8) {
    reserve(1)
    start.storeBytes(of: byte, toByteOffset: count, as: UInt8.self)
    count += 1
  }

  /// A number in network order.
  mutating func append(bigEndian number: some FixedWidthInteger) {
    withUnsafeBytes(of: number.bigEndian) { append($0) }
  }

  @inline(__always)
  mutating func append(_ bytes: UnsafeRawBufferPointer) {
    guard let source = bytes.baseAddress else { return }
    reserve(bytes.count)
    (start + count).copyMemory(from: source, byteCount: bytes.count)
    count += bytes.count
  }

  @inline(__always)
  mutating func append(_ literal: StaticString) {
    append(UnsafeRawBufferPointer(start: literal.utf8Start, count: literal.utf8CodeUnitCount))
  }

  /// What stands before the NUL.
  mutating func append(cString: UnsafePointer<CChar>) {
    append(UnsafeRawBufferPointer(start: cString, count: strlen(cString)))
  }

  mutating func append(_ bytes: [UInt8]) {
    bytes.withUnsafeBytes { append($0) }
  }

  /// Byte by byte, for what is not in a hurry. Its label keeps literals away from it: they are `StaticString`.
  mutating func append(text: String) {
    for byte in text.utf8 { append(byte) }
  }

  mutating func append(_ other: borrowing Bytes) {
    append(other.span)
  }

  /// Bytes in base64 (RFC 4648 §4).
  mutating func append(base64 bytes: UnsafeRawBufferPointer) {
    let letters: StaticString = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    var place = 0
    while place < bytes.count {
      let count = min(3, bytes.count - place)
      let group = (0..<3).reduce(UInt32(0)) { $0 << 8 | ($1 < count ? UInt32(bytes[place + $1]) : 0) }
      for letter in 0..<4 {
        append(letter <= count ? letters.utf8Start[Int(group >> (18 - 6 * UInt32(letter)) & 63)] : UInt8(ascii: "="))
      }
      place += 3
    }
  }

  /// A number in decimal, with zeros in front to at least `width` digits.
  mutating func append(decimal value: UInt64, width: Int = 1) {
    var digits = 1
    var bound: UInt64 = 10
    while value >= bound, digits < 19 {
      bound &*= 10
      digits &+= 1
    }
    if value >= 10_000_000_000_000_000_000 { digits = 20 }
    let total = max(digits, width)
    reserve(total)
    writeDecimal(value, at: start + count, digits: total)
    count += total
  }
}

/// Writes exactly `digits` decimal digits of a number.
@inline(__always)
func writeDecimal(_ value: UInt64, at start: UnsafeMutableRawPointer, digits: Int) {
  var rest = value
  var place = digits
  while place > 0 {
    place &-= 1
    start.storeBytes(of: UInt8(ascii: "0") &+ UInt8(truncatingIfNeeded: rest % 10), toByteOffset: place, as: UInt8.self)
    rest /= 10
  }
}
