/// Sizes and durations as users type them.
public enum Values {
  /// A size in bytes: a number, alone or with `K`, `M` or `G` of 1024.
  ///
  /// - Throws: `ValueError` naming the value and the forms that there are.
  public static func size(_ text: String) throws(ValueError) -> Int {
    let wrong = ValueError("'\(text.escapedForMessage)' is not a size; write a number with K, M or G, such as 64M")
    let (number, unit) = try split(text, orThrow: wrong)
    let factor: Int
    switch unit {
    case "": factor = 1
    case "K", "k": factor = 1 << 10
    case "M", "m": factor = 1 << 20
    case "G", "g": factor = 1 << 30
    default: throw wrong
    }
    let (size, overflow) = number.multipliedReportingOverflow(by: factor)
    guard !overflow else { throw ValueError("'\(text.escapedForMessage)' is too large") }
    return size
  }

  /// A duration in nanoseconds: a number with its unit, `ms`, `s`, `m`, `h` or `d`; 0 needs none.
  ///
  /// - Throws: `ValueError` naming the value and the forms that there are.
  public static func duration(_ text: String) throws(ValueError) -> UInt64 {
    let wrong = ValueError(
      "'\(text.escapedForMessage)' is not a duration; write a number with ms, s, m, h or d, such as 30s")
    let (number, unit) = try split(text, orThrow: wrong)
    let factor: Int
    switch unit {
    case "" where number == 0: factor = 1
    case "ms": factor = 1_000_000
    case "s": factor = 1_000_000_000
    case "m": factor = 60_000_000_000
    case "h": factor = 3_600_000_000_000
    case "d": factor = 86_400_000_000_000
    default: throw wrong
    }
    let (duration, overflow) = number.multipliedReportingOverflow(by: factor)
    // Sums of a clock and a duration must not overflow either.
    guard !overflow, duration < Int.max / 4 else { throw ValueError("'\(text.escapedForMessage)' is too long") }
    return UInt64(duration)
  }

  /// A local time, as far as it is given: `YYYY-MM-DD`, `YYYY-MM-DDTHH:MM` or `YYYY-MM-DDTHH:MM:SS`, in microseconds since
  /// the epoch.
  ///
  /// - Throws: `ValueError` naming the value and the forms that there are.
  public static func localTime(_ text: String) throws(ValueError) -> Int64 {
    let pattern = "0000-00-00T00:00:00"
    let isRight =
      [10, 16, 19].contains(text.utf8.count)
      && zip(text.utf8, pattern.utf8).allSatisfy { $1 == 0x30 ? (0x30...0x39).contains($0) : $0 == $1 }
    let digits = text.filter { $0.isNumber }
    let whole = digits + String(repeating: "0", count: max(0, 14 - digits.utf8.count))
    guard isRight, let time = RecordingName.Parts("\(whole.prefix(8))-\(whole.dropFirst(8)).1")?.microseconds else {
      throw ValueError(
        "'\(text.escapedForMessage)' is no time; write YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS, in local time")
    }
    return time
  }

  /// A bare number within bounds.
  ///
  /// - Throws: `ValueError` naming the value and the bounds.
  public static func number(_ text: String, from least: Int, to most: Int, unit: String = "number")
    throws(ValueError) -> Int
  {
    guard isDigits(text), let number = Int(text), number >= least, number <= most else {
      throw ValueError("'\(text.escapedForMessage)' is not a \(unit) from \(least) to \(most)")
    }
    return number
  }

  /// How often something may happen: `N/s` or `N/m`.
  ///
  /// - Throws: `ValueError` naming the value and the forms that there are.
  public static func rate(_ text: String) throws(ValueError) -> (count: Int, nanoseconds: UInt64) {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count == 2, let unit: UInt64 = ["s": 1_000_000_000, "m": 60_000_000_000][parts[1]],
      isDigits(parts[0]), let count = Int(parts[0]), (1...1_000_000).contains(count)
    else {
      throw ValueError(
        "'\(text.escapedForMessage)' is not a rate; write a number from 1 to 1000000 with /s or /m, such as 10/s")
    }
    return (count, unit)
  }

  private static func isDigits(_ text: some StringProtocol) -> Bool {
    !text.isEmpty && text.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
  }

  private static func split(_ text: String, orThrow wrong: ValueError) throws(ValueError) -> (Int, Substring) {
    let digits = text.prefix { isDigits(String($0)) }
    guard !digits.isEmpty else { throw wrong }
    guard let number = Int(digits) else { throw ValueError("'\(text.escapedForMessage)' is too large") }
    return (number, text.dropFirst(digits.count))
  }
}

extension RelayConfiguration {
  /// So many sessions a client may begin in so much time.
  public mutating func limitRate(count: Int, nanoseconds: UInt64) {
    maxRatePerClient = ClientLimits.Rate(count: count, perNanoseconds: nanoseconds)
  }

  /// The least `--log-memory`, in bytes.
  public static var logMemoryMinimum: Int { Limits.logMemoryMinimum }
  /// The least `--rotate-size`, in bytes, but for 0.
  public static var rotateBytesMinimum: Int { Limits.captureLeastBytes }
  /// The most `--max-sessions`.
  public static var maxSessionsMaximum: Int { Limits.sessionsMaximum }
}
