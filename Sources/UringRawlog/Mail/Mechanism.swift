/// A SASL mechanism, as far as it is known who it says logs in, and how often the client speaks.
enum Mechanism: UInt8 {
  case unknown
  /// RFC 4616.
  case plain
  /// draft-murchison-sasl-login.
  case login
  /// RFC 2195.
  case cramMD5
  /// RFC 5802, 7677, with channel binding or without.
  case scram
  /// Google's.
  case xoauth2
  /// RFC 7628.
  case oauthBearer
  /// RFC 4422 appendix A.
  case external

  init(_ name: Word) {
    switch name {
    case "PLAIN": self = .plain
    case "LOGIN": self = .login
    case "CRAM-MD5": self = .cramMD5
    case "XOAUTH2": self = .xoauth2
    case "OAUTHBEARER": self = .oauthBearer
    case "EXTERNAL": self = .external
    default: self = name.begins(with: "SCRAM-") ? .scram : .unknown
    }
  }

  /// Responses that a client has to send, an initial one included; it may have to send more, empty ones, when the
  /// server says so. Nil when nobody knows.
  var responses: UInt32? {
    switch self {
    case .unknown: nil
    case .plain, .cramMD5, .xoauth2, .oauthBearer, .external: 1
    case .login, .scram: 2
    }
  }
}
