/// The first sixteen letters of a word, as capitals: enough for every command, answer and mechanism that matters.
struct Word {
  private(set) var low: UInt64 = 0
  private(set) var high: UInt64 = 0
  /// Letters of the word, up to 255: a longer one is nothing that is known.
  private(set) var count: UInt8 = 0

  var isEmpty: Bool { count == 0 }

  init() {}

  /// - Parameter name: capitals, at most sixteen.
  @inline(__always)
  init(_ name: StaticString) {
    for place in 0..<name.utf8CodeUnitCount { append(name.utf8Start[place]) }
  }

  @inline(__always)
  mutating func append(_ byte: UInt8) {
    let capital = byte &- UInt8(ascii: "a") < 26 ? UInt64(byte & 0xDF) : UInt64(byte)
    if count < 8 {
      low |= capital &<< UInt64(count &* 8)
    } else if count < 16 {
      high |= capital &<< UInt64((count &- 8) &* 8)
    }
    if count < .max { count &+= 1 }
  }

  @inline(__always)
  static func == (word: Word, name: StaticString) -> Bool {
    let other = Word(name)
    return word.low == other.low && word.high == other.high && word.count == other.count
  }

  @inline(__always)
  static func ~= (name: StaticString, word: Word) -> Bool { word == name }

  /// Whether it begins so.
  ///
  /// - Parameter name: at most eight capitals.
  func begins(with name: StaticString) -> Bool {
    let other = Word(name)
    let mask: UInt64 = other.count >= 8 ? .max : (1 &<< UInt64(other.count &* 8)) &- 1
    return low & mask == other.low
  }

  /// Whether it is one of these, which are separated by spaces.
  func isOne(of names: StaticString) -> Bool {
    var other = Word()
    for place in 0..<names.utf8CodeUnitCount {
      let byte = names.utf8Start[place]
      if byte != UInt8(ascii: " ") {
        other.append(byte)
        continue
      }
      if isSame(other) { return true }
      other = Word()
    }
    return isSame(other)
  }

  private func isSame(_ other: Word) -> Bool { low == other.low && high == other.high && count == other.count }
}
