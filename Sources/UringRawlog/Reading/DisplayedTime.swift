import Glibc

/// Times in local time, as a transcript shows them.
struct DisplayedTime {
  /// A date and the zone's distance from UTC: what the time of a day leaves out.
  struct Day: Equatable {
    var year: Int
    var month: Int
    var day: Int
    /// Seconds east of UTC.
    var zone: Int

    /// `YYYY-MM-DD +HH:MM`
    func append(to text: inout Bytes) {
      text.append(decimal: UInt64(max(0, year)), width: 4)
      text.append("-")
      text.append(decimal: UInt64(month), width: 2)
      text.append("-")
      text.append(decimal: UInt64(day), width: 2)
      text.append(zone < 0 ? " -" : " +")
      text.append(decimal: UInt64(abs(zone) / 3600), width: 2)
      text.append(":")
      text.append(decimal: UInt64(abs(zone) / 60 % 60), width: 2)
    }
  }

  /// `HH:MM:SS.UUUUUU`
  static let bytes = 15

  private var second = Int64.min
  private var parts = tm()

  /// - Parameter microseconds: since the epoch.
  mutating func day(_ microseconds: Int64) -> Day {
    look(microseconds)
    return Day(
      year: Int(parts.tm_year) + 1900, month: Int(parts.tm_mon) + 1, day: Int(parts.tm_mday), zone: parts.tm_gmtoff)
  }

  mutating func append(_ microseconds: Int64, to text: inout Bytes) {
    look(microseconds)
    text.append(decimal: UInt64(parts.tm_hour), width: 2)
    text.append(":")
    text.append(decimal: UInt64(parts.tm_min), width: 2)
    text.append(":")
    text.append(decimal: UInt64(parts.tm_sec), width: 2)
    text.append(".")
    text.append(decimal: UInt64(microseconds - second * 1_000_000), width: 6)
  }

  private mutating func look(_ microseconds: Int64) {
    let second = microseconds / 1_000_000 - (microseconds % 1_000_000 < 0 ? 1 : 0)
    guard second != self.second else { return }
    self.second = second
    var time = time_t(second)
    // Beyond the years that fit, the parts stay as they were.
    localtime_r(&time, &parts)
  }
}
