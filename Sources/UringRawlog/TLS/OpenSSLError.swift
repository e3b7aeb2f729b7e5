import COpenSSL

/// One entry of OpenSSL's queue of errors. The queue belongs to the thread, and what is left in it would be taken for
/// the error of a later call: whoever meets an error empties it.
struct OpenSSLError: Equatable {
  private let code: UInt

  /// The oldest entry, which is the cause of those behind it; the queue is empty then. Nil when it was empty before.
  static func take() -> OpenSSLError? {
    let code = ERR_get_error()
    ERR_clear_error()
    return code == 0 ? nil : OpenSSLError(code: code)
  }

  static func clear() { ERR_clear_error() }

  /// The number of the reason within the part of OpenSSL that it is from.
  var reason: Int32 { ERR_GET_REASON(code) }
  var isOfTLS: Bool { ERR_GET_LIB(code) == ERR_LIB_SSL }
  var isOfPEM: Bool { ERR_GET_LIB(code) == ERR_LIB_PEM }

  /// OpenSSL's fixed words for the reason; nothing of what was being worked on is in them.
  var text: String {
    guard let words = ERR_reason_error_string(code) else { return "OpenSSL error \(String(code, radix: 16))" }
    return String(cString: words)
  }
}
