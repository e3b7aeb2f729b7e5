import Glibc

/// The time of a turn, read once when it begins, and its texts, made only when they are asked for.
struct Clock: ~Copyable {
  private(set) var now = Instant(nanoseconds: 0, epochMicroseconds: 0)
  private var nameSecond: Int64 = .min
  private var nameText = LocalTimeText()
  private var indexSecond: Int64 = .min
  private var indexText = InlineArray<20, UInt8>(repeating: 0)
  private var stampMicroseconds: Int64 = .min
  private var stampText = Encoder.Stamp(microseconds: 0)

  mutating func set(_ instant: Instant) { now = instant }

  /// `YYYYMMDD-HHMMSS` in local time; made once a second.
  mutating func localName() -> LocalTimeText {
    let second = floorDivide(now.epochMicroseconds, 1_000_000)
    if second != nameSecond {
      nameSecond = second
      var time = time_t(second)
      var parts = tm()
      localtime_r(&time, &parts)
      nameText = withUnsafeTemporaryAllocation(byteCount: 32, alignment: 1) { text in
        text.initializeMemory(as: UInt8.self, repeating: UInt8(ascii: "0"))
        strftime(text.baseAddress!.assumingMemoryBound(to: CChar.self), 32, "%Y%m%d-%H%M%S", &parts)
        return LocalTimeText(UnsafeRawBufferPointer(text))
      }
    }
    return nameText
  }

  /// When the local day is over, in microseconds since the epoch.
  func endOfLocalDay() -> Int64 {
    var time = time_t(floorDivide(now.epochMicroseconds, 1_000_000))
    var parts = tm()
    localtime_r(&time, &parts)
    parts.tm_mday += 1
    (parts.tm_hour, parts.tm_min, parts.tm_sec, parts.tm_isdst) = (0, 0, 0, -1)
    return Int64(mktime(&parts)) * 1_000_000
  }

  /// RFC 3339 in UTC with microseconds: `2026-01-31T08:15:00.000001Z`.
  mutating func appendIndexTime(_ microseconds: Int64, to line: inout Bytes) {
    let second = floorDivide(microseconds, 1_000_000)
    if second != indexSecond {
      indexSecond = second
      var time = time_t(second)
      var parts = tm()
      gmtime_r(&time, &parts)
      withUnsafeTemporaryAllocation(byteCount: 32, alignment: 1) { text in
        strftime(text.baseAddress!.assumingMemoryBound(to: CChar.self), 32, "%Y-%m-%dT%H:%M:%S", &parts)
        for place in 0..<19 { indexText[place] = text[place] }
      }
    }
    indexText.span.withUnsafeBytes { line.append(UnsafeRawBufferPointer(rebasing: $0[0..<19])) }
    line.append(UInt8(ascii: "."))
    line.append(decimal: UInt64(microseconds - second * 1_000_000), width: 6)
    line.append(UInt8(ascii: "Z"))
  }

  /// The stamp of bytes received at `microseconds`.
  @inline(__always)
  mutating func stamp(_ microseconds: Int64) -> Encoder.Stamp {
    if microseconds != stampMicroseconds {
      stampMicroseconds = microseconds
      stampText = Encoder.Stamp(microseconds: microseconds)
    }
    return stampText
  }

  private func floorDivide(_ value: Int64, _ by: Int64) -> Int64 {
    value >= 0 ? value / by : -((-value + by - 1) / by)
  }
}
