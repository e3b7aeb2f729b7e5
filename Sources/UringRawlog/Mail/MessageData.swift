import Glibc

/// Finds the line with only a dot that ends a message (RFC 5321 section 4.1.1.4, RFC 1939 section 3).
///
/// It does not go from line to line: a dot is rarer than a line, and in an encoded attachment there is none.
struct MessageData {
  /// What came last.
  private enum Phase: UInt8 {
    case inLine
    case carriageReturn
    /// A line begins, behind CR LF or behind LF alone.
    case lineStart
    case looseLineStart
    case dot
    case looseDot
    case dotCarriageReturn
    case looseDotCarriageReturn
  }

  enum Found {
    case nothing
    case end
    /// What some take for the end: a dot between line ends of which one is no CR LF.
    case looseEnd
  }

  private var phase = Phase.lineStart

  /// Whether a line begins here.
  var isAtLineStart: Bool { phase == .lineStart || phase == .looseLineStart }

  /// Goes on to behind the end, or to the end of the span.
  mutating func skip(_ reader: inout SpanReader) -> Found {
    while !reader.isAtEnd {
      if phase == .inLine {
        skipLines(&reader)
        if reader.isAtEnd { return .nothing }
      }
      let byte = reader.byte
      reader.place += 1
      let found = take(byte)
      switch found {
      case .nothing: break
      case .end, .looseEnd: return found
      }
    }
    return .nothing
  }

  @inline(__always)
  private mutating func take(_ byte: UInt8) -> Found {
    let isLineFeed = byte == .lineFeed
    let isCarriageReturn = byte == .carriageReturn
    switch phase {
    case .inLine: phase = isLineFeed ? .looseLineStart : isCarriageReturn ? .carriageReturn : .inLine
    case .carriageReturn: phase = isLineFeed ? .lineStart : isCarriageReturn ? .carriageReturn : .inLine
    case .lineStart, .looseLineStart:
      let dot: Phase = phase == .lineStart ? .dot : .looseDot
      phase =
        byte == UInt8(ascii: ".") ? dot : isLineFeed ? .looseLineStart : isCarriageReturn ? .carriageReturn : .inLine
    case .dot, .looseDot:
      let next: Phase = phase == .dot ? .dotCarriageReturn : .looseDotCarriageReturn
      phase = isLineFeed ? .looseLineStart : isCarriageReturn ? next : .inLine
      if isLineFeed { return .looseEnd }
    case .dotCarriageReturn, .looseDotCarriageReturn:
      let isEnd = phase == .dotCarriageReturn
      phase = isLineFeed ? .lineStart : isCarriageReturn ? .carriageReturn : .inLine
      if isLineFeed { return isEnd ? .end : .looseEnd }
    }
    return .nothing
  }

  /// From within a line to the next one that begins with a dot, which is not taken yet, or to the end of the span. It
  /// looks for a dot and for the end of that dot's line in turns, so that a text full of dots costs no more than one
  /// without.
  private mutating func skipLines(_ reader: inout SpanReader) {
    let start = reader.place
    while let dot = reader.find(UInt8(ascii: "."), before: reader.end) {
      if dot > start, isLineFeed(reader, dot - 1) {
        reader.place = dot
        phase = lineStart(reader, behind: dot - 1, from: start)
        return
      }
      reader.place = dot
      guard let lineFeed = reader.find(.lineFeed, before: reader.end) else { break }
      reader.place = lineFeed + 1
      if reader.isAtEnd || reader.byte == UInt8(ascii: ".") {
        phase = lineStart(reader, behind: lineFeed, from: start)
        return
      }
    }
    reader.place = reader.end
    let last = reader.end - 1
    if isLineFeed(reader, last) {
      phase = lineStart(reader, behind: last, from: start)
    } else if reader.bytes.load(fromByteOffset: last, as: UInt8.self) == .carriageReturn {
      phase = .carriageReturn
    }
  }

  private func isLineFeed(_ reader: SpanReader, _ place: Int) -> Bool {
    reader.bytes.load(fromByteOffset: place, as: UInt8.self) == .lineFeed
  }

  private func lineStart(_ reader: SpanReader, behind lineFeed: Int, from start: Int) -> Phase {
    lineFeed > start && reader.bytes.load(fromByteOffset: lineFeed - 1, as: UInt8.self) == .carriageReturn
      ? .lineStart : .looseLineStart
  }
}
