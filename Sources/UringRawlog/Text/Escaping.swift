extension String {
  /// The text with everything that a terminal or a line-based reader might obey written as `\xHH`.
  public var escapedForMessage: String {
    var result = ""
    for scalar in unicodeScalars {
      if scalar.isObeyed {
        let digits = String(scalar.value, radix: 16)
        result += "\\x" + (digits.count < 2 ? "0" : "") + digits
      } else {
        result.unicodeScalars.append(scalar)
      }
    }
    return result
  }
}

extension Unicode.Scalar {
  /// Whether a terminal or a reader of lines might do something about it instead of showing it: control characters, line
  /// and paragraph separators, and the controls of bidirectional text, with which what comes first can be shown last.
  var isObeyed: Bool {
    switch value {
    case 0..<0x20, 0x7F..<0xA0: true
    case 0x2028, 0x2029: true
    case 0x061C, 0x200E, 0x200F, 0x202A...0x202E, 0x2066...0x2069: true
    default: false
    }
  }
}
