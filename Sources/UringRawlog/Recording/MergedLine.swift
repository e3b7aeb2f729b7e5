import Glibc

/// One line of layout merged: `SECONDS.UUUUUU I: text` for what the client sent, `O:` for what the server sent.
///
/// It is written when its line feed comes, and stamped with that moment. A line that is longer than is kept in memory
/// comes in pieces, `I> text`, each with a line feed of its own that was not relayed. As Dovecot 2.4 writes the stream
/// of `rawlog_dir = tcp:` (iostream-rawlog.c). A loss is a line too, `I! BYTES bytes missing at OFFSET`.
enum MergedLine {
  enum Kind: UInt8 {
    /// A line with its own line feed.
    case whole = 0x3A
    /// A piece of a line, or a last line without an end.
    case piece = 0x3E
    /// Bytes are missing here.
    case gap = 0x21
  }

  /// What of a line is kept in memory at the most; from then on it is written in pieces.
  static let heldBytes = 8192
  /// The most that stands in front of a line's text.
  static let mostHeaderBytes = Encoder.Stamp.maximumBytes + 3
  /// The most that a gap's line takes.
  static let mostGapBytes = mostHeaderBytes + 64

  /// Writes what stands in front of a line's text: how many bytes.
  ///
  /// - Parameter place: where there is room for `mostHeaderBytes`.
  static func writeHeader(
    _ stamp: borrowing Encoder.Stamp, _ direction: Direction, _ kind: Kind, at place: UnsafeMutableRawPointer
  ) -> Int {
    let count = stamp.count
    stamp.text.span.withUnsafeBytes { place.copyMemory(from: $0.baseAddress!, byteCount: count) }
    place.storeBytes(of: UInt8(ascii: direction == .in ? "I" : "O"), toByteOffset: count, as: UInt8.self)
    place.storeBytes(of: kind.rawValue, toByteOffset: count + 1, as: UInt8.self)
    place.storeBytes(of: UInt8(ascii: " "), toByteOffset: count + 2, as: UInt8.self)
    return count + 3
  }

  /// The line that tells of a gap.
  static func appendGap(
    _ gap: RecordingGap, _ direction: Direction, _ stamp: borrowing Encoder.Stamp, to text: inout Bytes
  ) {
    let count = stamp.count
    stamp.text.span.withUnsafeBytes { text.append(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
    text.append(UInt8(ascii: direction == .in ? "I" : "O"))
    text.append(Kind.gap.rawValue)
    text.append(UInt8(ascii: " "))
    text.append(decimal: gap.bytes)
    text.append(" bytes missing at ")
    text.append(decimal: gap.offset)
    text.append(UInt8(ascii: "\n"))
  }

  /// Where the line begins that a place lies in; the place itself when it is the beginning of one.
  static func start(ofLineAt place: Int, in lines: UnsafeRawPointer) -> Int {
    var start = place
    while start > 0, lines.load(fromByteOffset: start - 1, as: UInt8.self) != UInt8(ascii: "\n") { start -= 1 }
    return start
  }

  /// What a run of whole lines, cut off anywhere, holds of each direction.
  struct Share: Equatable {
    /// Bytes of the file, and the relayed bytes in them.
    var used = 0
    var relayed = 0
  }

  /// - Parameter encoded: it begins with a line's stamp.
  static func shares(inFirst count: Int, of encoded: UnsafeRawBufferPointer) -> (in: Share, out: Share) {
    var shares = (in: Share(), out: Share())
    var start = 0
    while start < count {
      var end = start
      while end < count, encoded[end] != UInt8(ascii: "\n") { end += 1 }
      let isEnded = end < count
      if isEnded { end += 1 }
      var place = start
      while place < end, encoded[place] != UInt8(ascii: " ") { place += 1 }
      // The stamp's space, the direction, the kind, a space.
      let text = place + 4
      let isOut = place + 1 < count && encoded[place + 1] == UInt8(ascii: "O")
      var relayed = 0
      if text <= end, place + 2 < count {
        switch Kind(rawValue: encoded[place + 2]) {
        case .whole: relayed = end - text
        case .piece: relayed = end - text - (isEnded ? 1 : 0)
        case .gap, nil: break
        }
      }
      if isOut {
        shares.out.used += end - start
        shares.out.relayed += relayed
      } else {
        shares.in.used += end - start
        shares.in.relayed += relayed
      }
      start = end
    }
    return shares
  }
}
