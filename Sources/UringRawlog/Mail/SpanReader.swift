import Glibc

/// A span that is being scanned, and how far.
struct SpanReader {
  let bytes: UnsafeRawPointer
  var place = 0
  let end: Int
  let memory: UnsafeMutablePointer<LoginMemory>

  @inline(__always) var isAtEnd: Bool { place == end }
  @inline(__always) var byte: UInt8 { bytes.load(fromByteOffset: place, as: UInt8.self) }
  /// The byte behind that, when it is in the span.
  @inline(__always) var next: UInt8? {
    place &+ 1 < end ? bytes.load(fromByteOffset: place &+ 1, as: UInt8.self) : nil
  }

  /// Where a byte comes next, from here on.
  @inline(__always)
  func find(_ byte: UInt8, before limit: Int) -> Int? {
    guard let found = memchr(bytes + place, Int32(byte), limit - place) else { return nil }
    return UnsafeRawPointer(found) - bytes
  }

  /// Goes to behind the end of the line, or to the end of the span.
  ///
  /// - Parameter tail: told of the line's end when that may be a header, and of all that is not a whole line.
  /// - Returns: whether the line ends.
  @inline(__always)
  mutating func skipLine(_ tail: inout LineTail) -> Bool {
    let start = place
    guard let lineFeed = find(.lineFeed, before: end) else {
      tail.take(bytes + start, end - start)
      place = end
      return false
    }
    var last = lineFeed
    if last > start, bytes.load(fromByteOffset: last - 1, as: UInt8.self) == .carriageReturn { last -= 1 }
    if last == start || bytes.load(fromByteOffset: last - 1, as: UInt8.self) == UInt8(ascii: "}") {
      tail.take(bytes + start, lineFeed + 1 - start)
    }
    place = lineFeed + 1
    return true
  }
}
