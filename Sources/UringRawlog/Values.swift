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
  /// The most `--max-sessions`.
  public static var maxSessionsMaximum: Int { Limits.sessionsMaximum }
}
