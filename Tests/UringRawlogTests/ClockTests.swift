import Glibc
import Testing

@testable import UringRawlog

@Suite struct ClockTests {
  private func indexTime(_ microseconds: Int64, _ clock: inout Clock) -> String {
    var line = Bytes()
    clock.appendIndexTime(microseconds, to: &line)
    return line.text
  }

  private func localName(_ microseconds: Int64, _ clock: inout Clock) -> String {
    clock.set(Instant(nanoseconds: 1, epochMicroseconds: microseconds))
    let name = clock.localName()
    var text = Bytes()
    name.append(to: &text)
    return text.text
  }

  private static let times: [(Int64, String)] = [
    (0, "1970-01-01T00:00:00.000000Z"), (1, "1970-01-01T00:00:00.000001Z"), (999_999, "1970-01-01T00:00:00.999999Z"),
    (1_000_000, "1970-01-01T00:00:01.000000Z"), (1_795_340_682_095_328, "2026-11-22T09:44:42.095328Z"),
    (1_709_164_799_999_999, "2024-02-28T23:59:59.999999Z"), (1_709_164_800_000_000, "2024-02-29T00:00:00.000000Z"),
    (4_102_444_799_999_999, "2099-12-31T23:59:59.999999Z"), (253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
    // A clock that was never set, or set wrongly, is no reason to stop.
    (-1, "1969-12-31T23:59:59.999999Z"), (-1_000_000, "1969-12-31T23:59:59.000000Z"),
    (-1_000_001, "1969-12-31T23:59:58.999999Z"),
  ]

  @Test func rfc3339() {
    var one = Clock()
    for (microseconds, expected) in Self.times {
      var fresh = Clock()
      let alone = indexTime(microseconds, &fresh)
      let behindOthers = indexTime(microseconds, &one)
      #expect(alone == expected && behindOthers == expected)
    }
    for (microseconds, expected) in Self.times.reversed() {
      let backwards = indexTime(microseconds, &one)
      #expect(backwards == expected)
    }
  }

  /// Around each second the text changes exactly when the second does, forwards and backwards.
  @Test func secondBoundaries() {
    var clock = Clock()
    let second: Int64 = 1_795_340_682_000_000
    for offset in [0, 1, 999_999, 1_000_000, 1_000_001, 999_999, 0, -1, 0, 59_999_999, 60_000_000] as [Int64] {
      let text = indexTime(second + offset, &clock)
      var fresh = Clock()
      let expected = indexTime(second + offset, &fresh)
      #expect(text == expected)
      #expect(text.hasSuffix(".\(String((1_000_000 + (offset % 1_000_000 + 1_000_000) % 1_000_000)).dropFirst())Z"))
    }
  }

  @Test func localNames() {
    var clock = Clock()
    for (microseconds, _) in Self.times where (0..<4_102_444_800_000_000).contains(microseconds) {
      for moment in [microseconds, microseconds + 1_000_000, microseconds + 999_999, microseconds] {
        var time = time_t(moment / 1_000_000)
        var parts = tm()
        localtime_r(&time, &parts)
        func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let expected =
          "\(parts.tm_year + 1900)\(two(parts.tm_mon + 1))\(two(parts.tm_mday))-"
          + two(parts.tm_hour) + two(parts.tm_min) + two(parts.tm_sec)
        let name = localName(moment, &clock)
        #expect(name == expected)
      }
    }
  }

  @Test func stampsOfAlternatingTimes() {
    var clock = Clock()
    for (microseconds, _) in Self.times + Self.times.reversed() {
      let stamp = clock.stamp(microseconds)
      let expected = Encoder.Stamp(microseconds: microseconds)
      let texts = [stamp, expected].map { stamp in
        stamp.text.span.withUnsafeBytes { String(decoding: $0.prefix(stamp.count), as: UTF8.self) }
      }
      #expect(texts[0] == texts[1])
    }
  }

  @Test func theTimeOfTheTurn() {
    var clock = Clock()
    let instant = Instant(nanoseconds: 5, epochMicroseconds: 6)
    clock.set(instant)
    let now = clock.now
    #expect(now == instant)
  }
}
