import COpenSSL

/// A server's certificate that was not accepted: whose it is, whose it should be, and what is wrong.
struct UnverifiedCertificate: Equatable {
  /// The most bytes of a name that is quoted, and the most names.
  private static let nameBytes = 128
  private static let namesQuoted = 3

  /// The subject of the server's certificate, as RFC 2253 writes it.
  let subject: String
  /// The first of the DNS names that it is for.
  let names: [String]
  /// The name or address that was connected to.
  let expectedName: String
  /// OpenSSL's fixed words.
  let reason: String
  /// The option that helps; empty when it is not for us to help.
  let remedy: String

  var text: String {
    let owner = subject.isEmpty ? "without a subject" : "of '\(subject)'"
    let others = names.isEmpty ? "" : ", for \(names.map { "'\($0)'" }.joined(separator: ", "))"
    return "the server's certificate \(owner)\(others), expected '\(expectedName)', is not trusted: \(reason)\(remedy)"
  }

  /// Reads what a failed verification left; to be called from the verification's callback.
  ///
  /// - Parameters:
  ///   - store: the verification under way (X509_STORE_CTX).
  ///   - ssl: the connection that it is for.
  init(_ store: OpaquePointer, ssl: OpaquePointer) {
    let certificate = X509_STORE_CTX_get0_cert(store)
    subject = certificate.flatMap { X509_get_subject_name($0) }.map(Self.text(of:)) ?? ""
    names = certificate.map(Self.names(of:)) ?? []
    expectedName = Self.expectedName(ssl)
    let error = X509_STORE_CTX_get_error(store)
    var words = String(cString: X509_verify_cert_error_string(Int(error)))
    let depth = X509_STORE_CTX_get_error_depth(store)
    if depth > 0, let issuer = X509_STORE_CTX_get_current_cert(store).flatMap({ X509_get_subject_name($0) }) {
      words += " (its issuer '\(Self.text(of: issuer))')"
    }
    reason = words
    remedy = Self.remedy(error)
  }

  /// - Parameter error: an X509_V_ERR_ number.
  private static func remedy(_ error: Int32) -> String {
    switch error {
    case X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH:
      "; say what name it is for with --connect-name"
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN,
      X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
      X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
      "; name a file of what signed it with --connect-ca"
    default: ""
    }
  }

  private static func text(of name: OpaquePointer) -> String {
    guard let output = BIO_new(BIO_s_mem()) else { return "" }
    defer { BIO_free(output) }
    X509_NAME_print_ex(output, name, 0, openssl_name_rfc2253)
    let text = [UInt8](unsafeUninitializedCapacity: nameBytes) { buffer, count in
      count = max(0, Int(BIO_read(output, buffer.baseAddress, Int32(nameBytes))))
    }
    return String(decoding: text, as: UTF8.self).escapedForMessage
  }

  private static func names(of certificate: OpaquePointer) -> [String] {
    guard let list = X509_get_ext_d2i(certificate, NID_subject_alt_name, nil, nil) else { return [] }
    let names = OpaquePointer(list)
    defer { GENERAL_NAMES_free(names) }
    var result: [String] = []
    var place: Int32 = 0
    var isOver: Int32 = 0
    while result.count < namesQuoted {
      var count: Int32 = 0
      let name = openssl_dns_name(names, place, &count, &isOver)
      guard isOver == 0 else { break }
      place += 1
      guard let name else { continue }
      let bytes = UnsafeRawBufferPointer(start: name, count: min(Int(count), nameBytes))
      result.append(String(decoding: bytes, as: UTF8.self).escapedForMessage)
    }
    return result
  }

  private static func expectedName(_ ssl: OpaquePointer) -> String {
    let parameters = SSL_get0_param(ssl)
    if let host = X509_VERIFY_PARAM_get0_host(parameters, 0) { return String(cString: host) }
    guard let address = X509_VERIFY_PARAM_get1_ip_asc(parameters) else { return "" }
    defer { CRYPTO_free(address, #fileID, #line) }
    return String(cString: address)
  }
}
