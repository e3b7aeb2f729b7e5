import COpenSSL

/// Why an engine does not go on. Its text is for a line of the log: it holds nothing of a key, and what the peer chose
/// in it (names in a certificate) is escaped and short.
enum TLSFailure: Equatable {
  /// The peer ended its stream, or said that it closes, before the handshake was over.
  case endedInHandshake
  /// The peer sent this fatal alert (RFC 8446 §6.2).
  case refused(alert: UInt8)
  /// The server's certificate was not accepted.
  case unverified(UnverifiedCertificate)
  /// What came first is no TLS.
  case notTLS
  /// Something was wrong with what the peer sent, in OpenSSL's words.
  case broken(reason: String)
  /// The bytes that were handed in are not those that follow what was taken before: they came before TLS began, or were
  /// handed in twice, or some were left out.
  case outOfPlace

  var text: String {
    switch self {
    case .endedInHandshake: "the peer closed the connection during the TLS handshake"
    case .refused(let alert): "the peer refused: \(Self.name(ofAlert: alert)) (TLS alert \(alert))"
    case .unverified(let certificate): certificate.text
    case .notTLS: "what the peer sent is not TLS"
    case .broken(let reason): "TLS failed: \(reason)"
    case .outOfPlace: "bytes from outside of TLS were refused"
    }
  }

  private static func name(ofAlert alert: UInt8) -> String {
    String(cString: SSL_alert_desc_string_long(Int32(alert)))
  }

  /// What an error of OpenSSL means here.
  init(_ error: OpenSSLError?) {
    guard let error else {
      self = .broken(reason: "no reason given")
      return
    }
    let alerts = SSL_AD_REASON_OFFSET..<SSL_AD_REASON_OFFSET + 256
    switch error.reason {
    case let reason where error.isOfTLS && alerts.contains(reason):
      self = .refused(alert: UInt8(reason - SSL_AD_REASON_OFFSET))
    case SSL_R_WRONG_VERSION_NUMBER where error.isOfTLS, SSL_R_HTTP_REQUEST where error.isOfTLS,
      SSL_R_HTTPS_PROXY_REQUEST where error.isOfTLS:
      self = .notTLS
    default:
      self = .broken(reason: error.text)
    }
  }
}
