import Glibc

/// The first sixteen letters of a word, as capitals: enough for every command, answer and mechanism that matters.
struct Word {
  /// The letters, the first one lowest: on the little-endian machines that this runs on they lie in order.
  private var low: UInt64 = 0
  private var high: UInt64 = 0
  /// Letters of the word, up to 255: a longer one is nothing that is known.
  private(set) var count: UInt8 = 0

  @inline(__always) var isEmpty: Bool { count == 0 }

  @inline(__always)
  mutating func append(_ byte: UInt8) {
    let capital = byte &- UInt8(ascii: "a") < 26 ? UInt64(byte & 0xDF) : UInt64(byte)
    if count < 8 {
      low |= capital &<< UInt64(count &* 8)
    } else if count < 16 {
      high |= capital &<< UInt64((count &- 8) &* 8)
    }
    count = count == .max ? count : count &+ 1
  }

  /// - Parameter name: capitals, at most sixteen.
  @inline(__always)
  static func == (word: Word, name: StaticString) -> Bool {
    guard Int(word.count) == name.utf8CodeUnitCount else { return false }
    return withUnsafeBytes(of: word) { memcmp($0.baseAddress!, name.utf8Start, name.utf8CodeUnitCount) == 0 }
  }

  @inline(__always)
  static func != (word: Word, name: StaticString) -> Bool { !(word == name) }

  @inline(__always)
  static func ~= (name: StaticString, word: Word) -> Bool { word == name }

  /// Whether it begins so.
  ///
  /// - Parameter name: capitals, at most sixteen.
  func begins(with name: StaticString) -> Bool {
    withUnsafeBytes(of: self) {
      Int(count) >= name.utf8CodeUnitCount && memcmp($0.baseAddress!, name.utf8Start, name.utf8CodeUnitCount) == 0
    }
  }

  /// Whether it is one of these, which are separated by spaces.
  func isOne(of names: StaticString) -> Bool {
    var start = 0
    for place in 0...names.utf8CodeUnitCount {
      guard place == names.utf8CodeUnitCount || names.utf8Start[place] == UInt8(ascii: " ") else { continue }
      let isSame = withUnsafeBytes(of: self) {
        place - start == Int(count) && count <= 16
          && memcmp($0.baseAddress!, names.utf8Start + start, place - start) == 0
      }
      if isSame { return true }
      start = place + 1
    }
    return false
  }
}
