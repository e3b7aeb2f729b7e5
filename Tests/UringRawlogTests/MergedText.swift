@testable import UringRawlog

/// Reads a recording of layout merged for the tests, in another way than the program.
enum MergedText {
  struct Line {
    var direction: Direction
    var kind: UInt8
    /// The relayed bytes in it; of a gap there are none.
    var text: ArraySlice<UInt8>
    var gap: (offset: Int, bytes: Int)?
  }

  /// `1700000000.000000`, a space, the letter, the kind, and a space.
  static let headerBytes = 21

  /// Whether bytes are the beginning of a line, as far as they go.
  static func isHeader(_ bytes: ArraySlice<UInt8>) -> Bool {
    let pattern = Array("0000000000.000000 I: ".utf8)
    return zip(bytes, pattern).allSatisfy { byte, expected in
      switch expected {
      case UInt8(ascii: "0"): (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
      case UInt8(ascii: "I"): byte == UInt8(ascii: "I") || byte == UInt8(ascii: "O")
      case UInt8(ascii: ":"): [UInt8(ascii: ":"), UInt8(ascii: ">"), UInt8(ascii: "!")].contains(byte)
      default: byte == expected
      }
    }
  }

  /// The lines of a file that may end anywhere; a header that is cut off is no line.
  static func lines(_ file: [UInt8]) -> [Line] {
    var lines: [Line] = []
    var rest = file[...]
    while !rest.isEmpty {
      let end = rest.firstIndex(of: UInt8(ascii: "\n"))
      let line = rest[..<(end.map { $0 + 1 } ?? rest.endIndex)]
      rest = rest[line.endIndex...]
      guard line.count >= headerBytes else { continue }
      let direction: Direction = line[line.startIndex + 18] == UInt8(ascii: "I") ? .in : .out
      let kind = line[line.startIndex + 19]
      var text = line.dropFirst(headerBytes)
      var gap: (Int, Int)?
      if kind == UInt8(ascii: "!") {
        guard end != nil else { continue }
        // BYTES bytes missing at OFFSET
        let words = String(decoding: text, as: UTF8.self).split(whereSeparator: \.isWhitespace)
        gap = (Int(words.last ?? "") ?? -1, Int(words.first ?? "") ?? -1)
        text = []
      } else if kind == UInt8(ascii: ">"), end != nil {
        text = text.dropLast()
      }
      lines.append(Line(direction: direction, kind: kind, text: text, gap: gap))
    }
    return lines
  }
}
