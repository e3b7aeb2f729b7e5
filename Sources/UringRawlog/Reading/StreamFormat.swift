/// How the bytes of one direction were written into their file: `-t`, `-b`, both or neither.
struct StreamFormat: Equatable {
  var stamps = false
  var boundaries = false

  /// Decides for a whole file by its first line.
  ///
  /// - Returns: nil when more bytes are needed to say.
  static func detect(_ bytes: UnsafeRawBufferPointer, _ tail: FileTail) -> StreamFormat? {
    var format = StreamFormat()
    switch Boundary.open.match(bytes, at: 0) {
    case .full: format.boundaries = true
    case .incomplete:
      guard tail == .whole else { return nil }
      return format
    case .none: break
    }
    switch LineStamp.match(bytes, at: format.boundaries ? Boundary.bytes : 0) {
    case .stamp: format.stamps = true
    case .incomplete: if tail != .whole { return nil }
    case .none: break
    }
    return format
  }
}

/// The mark in front of what a read returned (`<<<` LF), and the one behind it (`>>>` LF).
enum Boundary: UInt8 {
  case open = 0x3C
  case close = 0x3E

  static let bytes = 4

  enum Match {
    case full
    /// What is there may be the beginning of one.
    case incomplete
    case none
  }

  func match(_ bytes: UnsafeRawBufferPointer, at place: Int) -> Match {
    for step in 0..<Self.bytes {
      guard place + step < bytes.count else { return .incomplete }
      guard bytes[place + step] == (step < Self.bytes - 1 ? rawValue : UInt8(ascii: "\n")) else { return .none }
    }
    return .full
  }
}
