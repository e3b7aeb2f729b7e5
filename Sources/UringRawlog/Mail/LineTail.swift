import Glibc

/// Whether a line ends in the header of a literal. A quoted string cannot go over the end of a line, so what looks like
/// a header inside of one is none.
struct LineTail {
  private var isQuoted = false
  private var isEscaped = false
  private(set) var header = LiteralHeader()

  /// What came before matters to what comes.
  @inline(__always) var isPending: Bool { isQuoted || header.phase != .none }

  @inline(__always)
  mutating func take(_ byte: UInt8) {
    if isQuoted {
      takeQuoted(byte)
    } else if byte == .quote {
      isQuoted = true
      header = LiteralHeader()
    } else {
      header.take(byte)
    }
  }

  private mutating func takeQuoted(_ byte: UInt8) {
    if isEscaped {
      isEscaped = false
    } else if byte == .backslash {
      isEscaped = true
    } else if byte == .quote {
      isQuoted = false
    }
  }

  /// A piece of the line. Without quotes only its end matters.
  mutating func take(_ start: UnsafeRawPointer, _ count: Int) {
    var place = 0
    if !isQuoted, count > LiteralHeader.longest, memchr(start, Int32(UInt8.quote), count) == nil {
      header = LiteralHeader()
      place = count - LiteralHeader.longest
    }
    while place < count {
      take(start.load(fromByteOffset: place, as: UInt8.self))
      place += 1
    }
  }
}
