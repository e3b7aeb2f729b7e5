/// Looks for `{n}` or `{n+}` at the end of a line (RFC 9051 section 4.3, RFC 7888, RFC 5804 section 1.2), byte by byte.
struct LiteralHeader {
  enum Phase: UInt8 {
    case none
    /// Behind `{` and digits.
    case digits
    case plus
    case closed
    case closedCarriageReturn
    /// Its line feed came: the literal begins.
    case complete
  }

  /// The longest header that is believed, with its CR LF: twenty digits say more than any literal has.
  static let longest = 1 + mostDigits + 4
  private static let mostDigits = 20

  private(set) var phase = Phase.none
  /// The client sends the literal at once, without waiting for the server.
  private(set) var isNonSynchronizing = false
  private var digits: UInt8 = 0
  /// Bytes of the literal; the largest number there is when it says more.
  private(set) var count: UInt64 = 0

  /// No server takes as much: RFC 9051 allows 63 bits. Whoever believed it would not look at another byte.
  var isAbsurd: Bool { count > UInt64(Int64.max) }

  @inline(__always)
  mutating func take(_ byte: UInt8) {
    if phase == .none && byte != UInt8(ascii: "{") { return }
    step(byte)
  }

  private mutating func step(_ byte: UInt8) {
    if byte == UInt8(ascii: "{") {
      self = LiteralHeader()
      phase = .digits
      return
    }
    switch phase {
    case .digits:
      if byte &- UInt8(ascii: "0") < 10 {
        // With more than that nobody knows what a server makes of it, zeros in front or not.
        digits = min(digits, UInt8(Self.mostDigits)) + 1
        let (tens, isTooMuch) = count.multipliedReportingOverflow(by: 10)
        let (sum, isMore) = tens.addingReportingOverflow(UInt64(byte - UInt8(ascii: "0")))
        count = isTooMuch || isMore || digits > Self.mostDigits ? .max : sum
        return
      }
      if digits > 0, byte == UInt8(ascii: "+") {
        isNonSynchronizing = true
        phase = .plus
        return
      }
      phase = digits > 0 && byte == UInt8(ascii: "}") ? .closed : .none
    case .plus:
      phase = byte == UInt8(ascii: "}") ? .closed : .none
    case .closed:
      phase = byte == .lineFeed ? .complete : byte == .carriageReturn ? .closedCarriageReturn : .none
    case .closedCarriageReturn:
      phase = byte == .lineFeed ? .complete : .none
    case .none, .complete:
      phase = .none
    }
  }
}

extension UInt8 {
  static let lineFeed = UInt8(ascii: "\n")
  static let carriageReturn = UInt8(ascii: "\r")
  static let quote = UInt8(ascii: "\"")
  static let backslash = UInt8(ascii: "\\")
  static let brace = UInt8(ascii: "{")

  /// What separates words. Nobody should use tabs for that, but somebody may.
  @inline(__always) var isBlank: Bool { self == UInt8(ascii: " ") || self == UInt8(ascii: "\t") }
  @inline(__always) var endsLine: Bool { self == .lineFeed || self == .carriageReturn }
}
