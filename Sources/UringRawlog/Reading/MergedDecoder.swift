import Glibc

/// Reads layout merged: one file a session, its lines `SECONDS.MICROSECONDS I: line` and `O: line`.
///
/// A line without a line feed is written in pieces, with `>` in the place of the colon. From 2.4 on Dovecot ends a piece
/// with a line feed that was not sent, as the relay does. Before, nothing is behind it, and the next stamp stands in the
/// same line; since Dovecot's pieces have 8192 bytes or more, a stamp is looked for from there on.
///
/// The relay writes lines without an end tentatively, as short pieces at the end of the file, and overwrites them when
/// more comes. So while a file grows, such pieces are taken only when something follows that is no such piece.
struct MergedDecoder: RecordingDecoder {
  private enum Place {
    /// A stamp and a direction are next.
    case head
    /// Within a line that ends with a line feed which was sent.
    case line
    /// Within a piece.
    case piece
  }

  /// The least that Dovecot writes as a piece; what the relay writes tentatively is shorter.
  private static let pieceBytes = MergedLine.heldBytes
  /// The most that tentative pieces take: one for each direction.
  private static let tentativeBytes = 2 * (headBytes + pieceBytes + 1)
  /// What stands behind a stamp: `I: `, `O: `, `I> ` or `O> `.
  private static let labelBytes = 3
  private static let headBytes = LineStamp.maximumBytes + labelBytes

  private var place = Place.head
  private var current = Direction.in
  private var time: Int64?
  /// The last bytes of a direction did not end their line.
  private var continues: InlineArray<2, Bool> = [false, false]
  /// How many bytes of the piece were given.
  private var pieceCount = 0
  /// The stamps of pieces stand in the same line; nil before the first piece tells.
  private var hasGluedStamps: Bool?
  private var line: UInt64 = 1
  private var hasRemarkedLine = false
  private var hasRemarkedGlued = false
  private var endsRemarked = 0

  /// Whether a file begins as layout merged does; nil when more bytes are needed to say.
  static func begins(_ bytes: UnsafeRawBufferPointer, _ tail: FileTail) -> Bool? {
    switch head(bytes) {
    case .found: true
    case .incomplete: tail == .whole ? false : nil
    case .none: false
    }
  }

  var hasStamps: Bool? { true }
  var isAmbiguous: Bool { false }
  var mayBeOverwritten: Bool { true }
  var direction: Direction? { nil }

  mutating func next(_ window: UnsafeRawBufferPointer, _ tail: FileTail) -> DecoderStep {
    guard !window.isEmpty else { return tail == .whole ? end() : .needsMore }
    switch place {
    case .head: return head(window, tail)
    case .line: return restOfLine(window, tail)
    case .piece: return restOfPiece(window, tail)
    }
  }

  // MARK: Heads

  private enum Head {
    case found(microseconds: Int64, length: Int, direction: Direction, kind: MergedLine.Kind)
    case incomplete
    case none
  }

  private static func head(_ bytes: UnsafeRawBufferPointer, at place: Int = 0) -> Head {
    let microseconds: Int64
    let label: Int
    switch LineStamp.match(bytes, at: place) {
    case .stamp(let time, let length): (microseconds, label) = (time, place + length)
    case .incomplete: return .incomplete
    case .none: return .none
    }
    guard label < bytes.count else { return .incomplete }
    let direction: Direction
    switch bytes[label] {
    case UInt8(ascii: "I"): direction = .in
    case UInt8(ascii: "O"): direction = .out
    default: return .none
    }
    guard label + 1 < bytes.count else { return .incomplete }
    guard let kind = MergedLine.Kind(rawValue: bytes[label + 1]) else { return .none }
    guard label + 2 < bytes.count else { return .incomplete }
    guard bytes[label + 2] == UInt8(ascii: " ") else { return .none }
    return .found(
      microseconds: microseconds, length: label + labelBytes - place, direction: direction, kind: kind)
  }

  private mutating func head(_ window: UnsafeRawBufferPointer, _ tail: FileTail) -> DecoderStep {
    switch Self.head(window) {
    case .found(let microseconds, let length, let direction, let kind):
      switch kind {
      case .whole: place = .line
      case .piece:
        guard tail == .whole || Self.isCertain(window, behind: length) else { return .needsMore }
        place = .piece
      case .gap: return gap(window, direction, behind: length, tail)
      }
      time = microseconds
      current = direction
      pieceCount = 0
      return .markup(length)
    case .incomplete:
      guard tail == .whole else { return .needsMore }
      time = nil
      place = .line
      // That says it all.
      endsRemarked = 3
      return .remark(.mergedEndsInStamp)
    case .none: return strangeLine(window, tail)
    }
  }

  /// A line that is none of this layout.
  private mutating func strangeLine(_ window: UnsafeRawBufferPointer, _ tail: FileTail) -> DecoderStep {
    time = nil
    place = .line
    guard !hasRemarkedLine else { return restOfLine(window, tail) }
    hasRemarkedLine = true
    return .remark(.notMerged(line: line))
  }

  /// Whether a piece, the first line of `window`, stays where it is: it is too long to be a tentative one, or something
  /// follows that no tentative one has behind it.
  private static func isCertain(_ window: UnsafeRawBufferPointer, behind head: Int) -> Bool {
    guard window.count <= tentativeBytes else { return true }
    var place = head
    while let found = memchr(window.baseAddress! + place, Int32(UInt8(ascii: "\n")), window.count - place) {
      let end = UnsafeRawPointer(found) - window.baseAddress!
      if end - place >= pieceBytes { return true }
      guard case .found(_, let length, _, let kind) = Self.head(window, at: end + 1) else { return false }
      switch kind {
      case .whole, .gap: return true
      case .piece: place = end + 1 + length
      }
    }
    return window.count - place >= pieceBytes
  }

  /// `BYTES bytes missing at OFFSET`
  private mutating func gap(
    _ window: UnsafeRawBufferPointer, _ direction: Direction, behind head: Int, _ tail: FileTail
  ) -> DecoderStep {
    let limit = min(window.count, head + MergedLine.mostGapBytes)
    guard let found = memchr(window.baseAddress! + head, Int32(UInt8(ascii: "\n")), limit - head) else {
      return tail == .whole || window.count > limit ? strangeLine(window, tail) : .needsMore
    }
    let end = UnsafeRawPointer(found) - window.baseAddress!
    let words = String(decoding: window[head..<end], as: UTF8.self).split(separator: " bytes missing at ")
    guard words.count == 2, let bytes = UInt64(words[0]), let offset = UInt64(words[1]) else {
      return strangeLine(window, tail)
    }
    line += 1
    return .gap(RecordingGap(direction: direction, offset: offset, bytes: bytes), end + 1)
  }

  // MARK: Data

  private mutating func restOfLine(_ window: UnsafeRawBufferPointer, _ tail: FileTail) -> DecoderStep {
    let limit = min(window.count, Limits.pieceBytes)
    if let found = memchr(window.baseAddress!, Int32(UInt8(ascii: "\n")), limit) {
      place = .head
      line += 1
      return given(UnsafeRawPointer(found) - window.baseAddress! + 1, endsLine: true)
    }
    if tail.keepsUnended && window.count < Limits.pieceBytes { return .needsMore }
    return given(limit, endsLine: false)
  }

  private mutating func restOfPiece(_ window: UnsafeRawBufferPointer, _ tail: FileTail) -> DecoderStep {
    let found = memchr(window.baseAddress!, Int32(UInt8(ascii: "\n")), window.count)
    let lineFeed = found.map { UnsafeRawPointer($0) - window.baseAddress! }
    let end = lineFeed ?? window.count
    if hasGluedStamps != false, let stamp = gluedStamp(UnsafeRawBufferPointer(rebasing: window[..<end])) {
      guard stamp == 0 else { return given(min(stamp, Limits.pieceBytes), endsLine: false) }
      hasGluedStamps = true
      place = .head
      guard !hasRemarkedGlued else { return head(window, tail) }
      hasRemarkedGlued = true
      return .remark(.gluedStamp(line: line))
    }
    if lineFeed == 0 {
      // Such a piece has no stamp behind it: no piece of this file has.
      if pieceCount >= Self.pieceBytes, hasGluedStamps == nil { hasGluedStamps = false }
      place = .head
      line += 1
      return .markup(1)
    }
    // Behind what is given, a stamp may begin.
    if lineFeed == nil && tail != .whole {
      guard end >= Limits.pieceBytes + Self.headBytes else { return .needsMore }
      return given(min(end - Self.headBytes, Limits.pieceBytes), endsLine: false)
    }
    return given(min(end, Limits.pieceBytes), endsLine: false)
  }

  /// Where the next stamp stands within the line, where it can stand.
  private func gluedStamp(_ text: UnsafeRawBufferPointer) -> Int? {
    var place = max(0, Self.pieceBytes - pieceCount)
    while place < text.count {
      // Each label has a space, and few places of a line without line feeds do.
      guard let space = memchr(text.baseAddress! + place, Int32(UInt8(ascii: " ")), text.count - place) else {
        return nil
      }
      let behind = UnsafeRawPointer(space) - text.baseAddress! + 1
      // The seconds have as many digits as those of the line's own stamp, so that digits sent before are not taken.
      let stamp = behind - stampBytes
      if stamp >= max(0, Self.pieceBytes - pieceCount), case .found = Self.head(text, at: stamp) { return stamp }
      place = behind
    }
    return nil
  }

  /// The length of a stamp with as many digits as the line's own.
  private var stampBytes: Int {
    var digits = 1
    var rest = (time ?? 0) / 1_000_000
    while rest >= 10 {
      rest /= 10
      digits += 1
    }
    return digits + 8
  }

  private mutating func given(_ count: Int, endsLine: Bool) -> DecoderStep {
    let piece = DecodedPiece(
      direction: current, time: time, continuesLine: continues[current.rawValue], beginsRead: false, count: count)
    continues[current.rawValue] = !endsLine
    pieceCount += count
    return .piece(piece)
  }

  // MARK: The end

  private mutating func end() -> DecoderStep {
    while endsRemarked < 3 {
      endsRemarked += 1
      switch endsRemarked {
      case 1 where place == .line: return .remark(.mergedEndsInLine)
      case 2 where continues[0] && !(place == .line && current == .in): return .remark(.lineNotEnded(.in))
      case 3 where continues[1] && !(place == .line && current == .out): return .remark(.lineNotEnded(.out))
      default: continue
      }
    }
    return .needsMore
  }
}
