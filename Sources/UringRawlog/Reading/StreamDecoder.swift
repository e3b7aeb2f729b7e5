import Glibc

/// Reads the file of one direction: layout pair, with or without stamps and boundaries (`docs/FORMAT.md`).
///
/// What a file has is decided by its first line. `>>>` LF is the end of a read when `<<<` LF or the end of the file is
/// behind it; with stamps that is certain, since data there would have a stamp, and without them data that holds just
/// that is taken for a boundary.
struct StreamDecoder: RecordingDecoder {
  let stream: Direction
  /// The index says that the file holds what was sent and nothing else.
  private let isKnownPlain: Bool
  private(set) var format: StreamFormat?
  /// The next byte of the data begins a line.
  private var isAtLineStart = true
  /// The stamp of the line that begins was read, or is known to be missing.
  private var hasStamp = false
  private var time: Int64?
  private var isInsideRead = false
  /// No byte came since the last `<<<`. Every read has one.
  private var isReadEmpty = true
  private var beginsRead = false
  /// The line of the file, from 1.
  private var line: UInt64 = 1
  private var remarked: Remarked = []

  private struct Remarked: OptionSet {
    let rawValue: UInt8
    static let stampMissing = Remarked(rawValue: 1)
    static let looksLikeStamp = Remarked(rawValue: 2)
    static let boundaryMissing = Remarked(rawValue: 4)
    static let end = Remarked(rawValue: 8)
    static let readNotEnded = Remarked(rawValue: 16)
  }

  init(_ direction: Direction, isKnownPlain: Bool = false) {
    stream = direction
    self.isKnownPlain = isKnownPlain
    if isKnownPlain { format = StreamFormat() }
  }

  var direction: Direction? { stream }
  var mayBeOverwritten: Bool { false }
  var hasStamps: Bool? { format?.stamps }
  var isAmbiguous: Bool { format == StreamFormat(stamps: false, boundaries: true) }

  mutating func next(_ window: UnsafeRawBufferPointer, _ tail: FileTail) -> DecoderStep {
    guard !window.isEmpty else { return tail == .whole ? end() : .needsMore }
    if format == nil { format = StreamFormat.detect(window, tail) }
    guard let format else { return .needsMore }
    if format.boundaries, let step = boundary(window, tail) { return step }
    if isAtLineStart, let step = stamp(window, tail) { return step }
    return data(window, tail)
  }

  // MARK: Boundaries

  private mutating func boundary(_ window: UnsafeRawBufferPointer, _ tail: FileTail) -> DecoderStep? {
    if isInsideRead {
      switch closesRead(window, at: 0, tail) {
      case .full:
        isInsideRead = false
        line += 1
        return .markup(Boundary.bytes)
      case .incomplete: return .needsMore
      case .none: return nil
      }
    }
    switch Boundary.open.match(window, at: 0) {
    case .full:
      isInsideRead = true
      isReadEmpty = true
      beginsRead = true
      line += 1
      return .markup(Boundary.bytes)
    case .incomplete:
      guard tail == .whole else { return .needsMore }
      isInsideRead = true
      return .remark(.endsInBoundary(stream))
    case .none:
      isInsideRead = true
      return remark(.boundaryMissing, .boundaryMissing(stream, line: line))
    }
  }

  /// Whether the read ends at `place` with `>>>` LF; incomplete when more must be seen to say.
  private func closesRead(_ window: UnsafeRawBufferPointer, at place: Int, _ tail: FileTail) -> Boundary.Match {
    if place == 0 && (isReadEmpty || hasStamp) { return .none }
    switch Boundary.close.match(window, at: place) {
    case .none: return .none
    case .incomplete: return tail == .whole ? .none : .incomplete
    case .full: break
    }
    // Data that begins a line would have a stamp.
    if place == 0, isAtLineStart, format?.stamps == true { return .full }
    let behind = place + Boundary.bytes
    switch Boundary.open.match(window, at: behind) {
    case .full: return .full
    case .none: return .none
    case .incomplete:
      switch tail {
      case .growing, .settled: return .incomplete
      case .resting: return behind == window.count ? .full : .incomplete
      case .whole: return .full
      }
    }
  }

  // MARK: Stamps

  private mutating func stamp(_ window: UnsafeRawBufferPointer, _ tail: FileTail) -> DecoderStep? {
    guard format?.stamps == true else {
      guard line > 1, !isKnownPlain, !remarked.contains(.looksLikeStamp), case .stamp = LineStamp.match(window) else {
        return nil
      }
      return remark(.looksLikeStamp, .looksLikeStamp(stream, line: line))
    }
    guard !hasStamp else { return nil }
    switch LineStamp.match(window) {
    case .stamp(let microseconds, let length):
      time = microseconds
      hasStamp = true
      return .markup(length)
    case .incomplete:
      guard tail == .whole else { return .needsMore }
      time = nil
      hasStamp = true
      return .remark(.endsInStamp(stream))
    case .none:
      time = nil
      hasStamp = true
      return remark(.stampMissing, .stampMissing(stream, line: line))
    }
  }

  // MARK: Data

  private mutating func data(_ window: UnsafeRawBufferPointer, _ tail: FileTail) -> DecoderStep {
    let limit = min(window.count, Limits.pieceBytes)
    if let found = memchr(window.baseAddress!, Int32(UInt8(ascii: "\n")), limit) {
      let place = UnsafeRawPointer(found) - window.baseAddress!
      guard format?.boundaries == true, place >= Boundary.bytes else { return piece(place + 1, endsLine: true) }
      let mark = place + 1 - Boundary.bytes
      switch closesRead(window, at: mark, tail) {
      case .full: return piece(mark, endsLine: false)
      case .none: return piece(place + 1, endsLine: true)
      case .incomplete: return .needsMore
      }
    }
    if tail.keepsUnended && window.count < Limits.pieceBytes { return .needsMore }
    var count = limit
    if format?.boundaries == true && tail != .whole {
      // The end of the read may have begun.
      while count > 0, limit - count < Boundary.bytes - 1, window[count - 1] == Boundary.close.rawValue { count -= 1 }
    }
    return count > 0 ? piece(count, endsLine: false) : .needsMore
  }

  private mutating func piece(_ count: Int, endsLine: Bool) -> DecoderStep {
    let piece = DecodedPiece(
      direction: stream, time: time, continuesLine: !isAtLineStart, beginsRead: beginsRead, count: count)
    isAtLineStart = endsLine
    hasStamp = false
    isReadEmpty = false
    beginsRead = false
    if endsLine { line += 1 }
    return .piece(piece)
  }

  // MARK: Remarks

  /// Says it once; the decoder goes on as it would have.
  private mutating func remark(_ kind: Remarked, _ remark: Remark) -> DecoderStep? {
    remarked.insert(kind).inserted ? .remark(remark) : nil
  }

  private mutating func end() -> DecoderStep {
    if isInsideRead, let step = remark(.readNotEnded, .readNotEnded(stream)) { return step }
    if !isAtLineStart, let step = remark(.end, .lineNotEnded(stream)) { return step }
    return .needsMore
  }
}
