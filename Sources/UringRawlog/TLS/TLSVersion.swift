import COpenSSL

/// A version of TLS. Older than 1.2 there is none any more (RFC 8996).
public enum TLSVersion: String, Sendable, CaseIterable, Comparable {
  case tls12 = "1.2"
  case tls13 = "1.3"

  /// All that are spoken unless `--tls-min-version` says otherwise.
  public static var all: ClosedRange<TLSVersion> { .tls12 ... .tls13 }

  public static func < (one: TLSVersion, other: TLSVersion) -> Bool { one.number < other.number }

  /// As OpenSSL counts versions.
  var number: Int32 {
    switch self {
    case .tls12: TLS1_2_VERSION
    case .tls13: TLS1_3_VERSION
    }
  }
}
