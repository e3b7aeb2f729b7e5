/// What is expected of a connection's first bytes, by where it comes from.
enum ProxyPolicy {
  /// From a source that `--proxy-from` names: a whole and valid PROXY header, and nothing else.
  case required
  /// From any other source: no PROXY header. One would be believed by nobody, but must not reach the server, which might.
  case refused

  /// The memory that a parser needs to keep a header that comes in pieces.
  var bytesKept: Int {
    switch self {
    case .required: Limits.proxyHeaderBytes
    // Version 2 is decided by its fixed part, which is shorter.
    case .refused: ProxyLine.bytesMaximum
    }
  }
}
