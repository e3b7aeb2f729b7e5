/// The stamp in front of a line: `SECONDS.MICROSECONDS `, the seconds without leading zeros.
enum LineStamp: Equatable {
  case stamp(microseconds: Int64, length: Int)
  /// What is there may be the beginning of one.
  case incomplete
  case none

  /// Seconds beyond this do not fit into microseconds of 64 bits.
  private static let secondDigitsMaximum = 13
  /// The longest stamp.
  static let maximumBytes = secondDigitsMaximum + 8

  /// Looks for a stamp at `place`.
  static func match(_ bytes: UnsafeRawBufferPointer, at place: Int = 0) -> LineStamp {
    var seconds: Int64 = 0
    var next = place
    while next < bytes.count, let digit = digit(bytes[next]) {
      guard next - place < secondDigitsMaximum, next == place || seconds > 0 else { return .none }
      seconds = seconds * 10 + digit
      next += 1
    }
    guard next < bytes.count else { return .incomplete }
    guard next > place, bytes[next] == UInt8(ascii: ".") else { return .none }
    next += 1
    var microseconds: Int64 = 0
    for _ in 0..<6 {
      guard next < bytes.count else { return .incomplete }
      guard let digit = digit(bytes[next]) else { return .none }
      microseconds = microseconds * 10 + digit
      next += 1
    }
    guard next < bytes.count else { return .incomplete }
    guard bytes[next] == UInt8(ascii: " ") else { return .none }
    let (whole, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000)
    let (sum, overflowOfSum) = whole.addingReportingOverflow(microseconds)
    guard !overflow, !overflowOfSum else { return .none }
    return .stamp(microseconds: sum, length: next + 1 - place)
  }

  private static func digit(_ byte: UInt8) -> Int64? {
    let value = byte &- UInt8(ascii: "0")
    return value <= 9 ? Int64(value) : nil
  }
}
