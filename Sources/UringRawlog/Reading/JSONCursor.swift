/// What is wrong with a text that should be JSON.
struct JSONError: Error, Equatable {
  /// Where, in bytes from the beginning.
  let place: Int
}

/// Reads JSON (RFC 8259) forwards, strictly, without building a tree.
///
/// Foundation has a decoder, but what links this library for the sake of its recorder would then start with Foundation in
/// it, and an index has a line for each of very many sessions, of which most fields are passed over.
struct JSONCursor {
  private let bytes: UnsafeRawBufferPointer
  private(set) var place = 0
  private var depth = 0

  init(_ bytes: UnsafeRawBufferPointer) {
    self.bytes = bytes
  }

  // MARK: Values

  /// The fields of an object, in their order. `visit` takes the value: each must be read or skipped.
  mutating func object(_ visit: (inout JSONCursor, String) throws(JSONError) -> Void) throws(JSONError) {
    try expect("{")
    try enter()
    defer { depth -= 1 }
    guard next != UInt8(ascii: "}") else { return advance() }
    while true {
      let name = try string()
      try expect(":")
      try visit(&self, name)
      if next == UInt8(ascii: "}") { return advance() }
      try expect(",")
    }
  }

  /// The values of an array.
  mutating func array(_ visit: (inout JSONCursor) throws(JSONError) -> Void) throws(JSONError) {
    try expect("[")
    try enter()
    defer { depth -= 1 }
    guard next != UInt8(ascii: "]") else { return advance() }
    while true {
      try visit(&self)
      if next == UInt8(ascii: "]") { return advance() }
      try expect(",")
    }
  }

  /// A string, or nil for `null`.
  mutating func optionalString() throws(JSONError) -> String? {
    guard next == UInt8(ascii: "n") else { return try string() }
    try word("null")
    return nil
  }

  mutating func string() throws(JSONError) -> String {
    try expect("\"")
    var text: [UInt8] = []
    while true {
      guard place < bytes.count, bytes[place] >= 0x20 else { throw wrong }
      let byte = bytes[place]
      place += 1
      switch byte {
      case UInt8(ascii: "\""):
        guard let string = String(validating: text, as: UTF8.self) else { throw wrong }
        return string
      case UInt8(ascii: "\\"): text += String(try escape()).utf8
      default: text.append(byte)
      }
    }
  }

  /// A whole number that is not negative.
  mutating func count() throws(JSONError) -> UInt64 {
    let start = numberStart()
    try number()
    guard let value = UInt64(text(from: start)) else { throw JSONError(place: start) }
    return value
  }

  /// A number as it is written.
  mutating func numberText() throws(JSONError) -> String {
    let start = numberStart()
    try number()
    return text(from: start)
  }

  /// Passes over any value, which must be right all the same.
  mutating func skip() throws(JSONError) {
    switch next {
    case UInt8(ascii: "{"): try object { (cursor, _) throws(JSONError) in try cursor.skip() }
    case UInt8(ascii: "["): try array { (cursor) throws(JSONError) in try cursor.skip() }
    case UInt8(ascii: "\""): _ = try string()
    case UInt8(ascii: "t"): try word("true")
    case UInt8(ascii: "f"): try word("false")
    case UInt8(ascii: "n"): try word("null")
    default: try number()
    }
  }

  /// Nothing may come any more.
  mutating func end() throws(JSONError) {
    guard next == nil else { throw wrong }
  }

  // MARK: Parts of values

  private var wrong: JSONError { JSONError(place: place) }

  /// The first byte of what comes next, behind white space.
  private var next: UInt8? {
    mutating get {
      while place < bytes.count, [0x20, 0x09, 0x0A, 0x0D].contains(bytes[place]) { place += 1 }
      return place < bytes.count ? bytes[place] : nil
    }
  }

  private mutating func advance() { place += 1 }

  private mutating func enter() throws(JSONError) {
    depth += 1
    guard depth <= Limits.jsonDepth else { throw wrong }
  }

  private mutating func expect(_ character: Unicode.Scalar) throws(JSONError) {
    guard next == UInt8(ascii: character) else { throw wrong }
    advance()
  }

  private mutating func word(_ word: StaticString) throws(JSONError) {
    for step in 0..<word.utf8CodeUnitCount {
      guard place < bytes.count, bytes[place] == word.utf8Start[step] else { throw wrong }
      place += 1
    }
  }

  private mutating func escape() throws(JSONError) -> Unicode.Scalar {
    guard place < bytes.count else { throw wrong }
    let byte = bytes[place]
    place += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(byte)
    case UInt8(ascii: "b"): return "\u{8}"
    case UInt8(ascii: "f"): return "\u{C}"
    case UInt8(ascii: "n"): return "\n"
    case UInt8(ascii: "r"): return "\r"
    case UInt8(ascii: "t"): return "\t"
    case UInt8(ascii: "u"): break
    default: throw wrong
    }
    let unit = try codeUnit()
    if let scalar = Unicode.Scalar(unit) { return scalar }
    // A pair of surrogates, the high one first.
    guard (0xD800..<0xDC00).contains(unit) else { throw wrong }
    try word("\\u")
    let low = try codeUnit()
    guard (0xDC00..<0xE000).contains(low) else { throw wrong }
    let value = 0x10000 + (UInt32(unit) - 0xD800) << 10 + (UInt32(low) - 0xDC00)
    guard let scalar = Unicode.Scalar(value) else { throw wrong }
    return scalar
  }

  private mutating func codeUnit() throws(JSONError) -> UInt16 {
    var value: UInt16 = 0
    for _ in 0..<4 {
      guard place < bytes.count, let digit = Character(Unicode.Scalar(bytes[place])).hexDigitValue else { throw wrong }
      value = value << 4 | UInt16(digit)
      place += 1
    }
    return value
  }

  private mutating func numberStart() -> Int {
    _ = next
    return place
  }

  private func text(from start: Int) -> String { String(decoding: bytes[start..<place], as: UTF8.self) }

  private mutating func number() throws(JSONError) {
    if next == UInt8(ascii: "-") { advance() }
    // No leading zeros.
    if peek == UInt8(ascii: "0") { advance() } else { try digits() }
    if peek == UInt8(ascii: ".") {
      advance()
      try digits()
    }
    if peek == UInt8(ascii: "e") || peek == UInt8(ascii: "E") {
      advance()
      if peek == UInt8(ascii: "+") || peek == UInt8(ascii: "-") { advance() }
      try digits()
    }
  }

  private var peek: UInt8? { place < bytes.count ? bytes[place] : nil }

  private mutating func digits() throws(JSONError) {
    let start = place
    while let byte = peek, (0x30...0x39).contains(byte) { place += 1 }
    guard place > start else { throw wrong }
  }
}
