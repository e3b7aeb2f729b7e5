import Glibc

/// The name or address that a server's certificate must be for.
public enum ServerName: Equatable, Sendable {
  /// A DNS name, without the dot at its end.
  case host(String)
  /// An IPv4 or IPv6 address, without brackets. It is not asked for with SNI (RFC 6066 §3).
  case address(String)

  /// - Throws: `ValueError` for what is neither.
  public init(_ text: String) throws(ValueError) {
    let bare = text.hasPrefix("[") && text.hasSuffix("]") ? String(text.dropFirst().dropLast()) : text
    if Self.isAddress(bare) {
      self = .address(bare)
      return
    }
    let name = text.hasSuffix(".") ? String(text.dropLast()) : text
    guard Self.isHost(name) else {
      throw ValueError(
        "'\(text.escapedForMessage)' is neither a host name nor an address; write it as in a certificate")
    }
    self = .host(name)
  }

  public var text: String {
    switch self {
    case .host(let text), .address(let text): text
    }
  }

  private static func isAddress(_ text: String) -> Bool {
    var storage = in6_addr()
    return inet_pton(AF_INET, text, &storage) == 1 || inet_pton(AF_INET6, text, &storage) == 1
  }

  /// Letters, digits, hyphens and underscores in labels of at most 63, and 253 characters in all (RFC 1035 §2.3.4).
  private static func isHost(_ text: String) -> Bool {
    guard !text.isEmpty, text.utf8.count <= 253 else { return false }
    return text.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { label in
      (1...63).contains(label.utf8.count)
        && label.unicodeScalars.allSatisfy { scalar in
          switch scalar {
          case "a"..."z", "A"..."Z", "0"..."9", "-", "_": true
          default: false
          }
        }
    }
  }
}
