import COpenSSL

/// What all connections of one side have in common (OpenSSL's SSL_CTX). A connection keeps it alive, so one that is
/// replaced goes with its last connection.
struct TLSSettings: ~Copyable {
  private let object: OpenSSLObject
  var pointer: OpaquePointer { object.pointer }

  /// For TLS 1.2: only ciphers with forward secrecy and authenticated encryption, as in Mozilla's "intermediate"
  /// recommendation. A server without Diffie-Hellman parameters, as this is, never chooses the last.
  private static let ciphers =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    + "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
    + "DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384"
  /// For TLS 1.3: all that it has in general use, the fastest first.
  private static let suites = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
  /// Key exchange, with the groups that clients in use have. Others would only cost time, at the wish of any client.
  private static let groups = "X25519:P-256:P-384"
  /// The same with the hybrid group that is safe from quantum computers, where OpenSSL knows it (from 3.5 on).
  private static let hybridGroups = "X25519MLKEM768:" + groups

  private init(_ pointer: OpaquePointer) {
    object = OpenSSLObject(pointer) { SSL_CTX_free($0) }
  }

  /// - Parameter method: TLS_server_method() or TLS_client_method().
  static func make(_ method: OpaquePointer?, versions: ClosedRange<TLSVersion>) throws(TLSSetupError) -> TLSSettings {
    OpenSSLError.clear()
    guard let pointer = SSL_CTX_new(method) else { throw refusal() }
    let settings = TLSSettings(pointer)
    // Partial writes: a write ends with a record, not with all the plaintext. Without buffers: a connection that says
    // nothing keeps neither plaintext nor ciphertext.
    openssl_set_mode(
      pointer, Int(SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS))
    // Compression betrays what is encrypted (CRIME), renegotiation lets a peer make us compute. ChaCha20 is for clients
    // that prefer it, since their processor has no AES. Early data are off unless they are asked for.
    SSL_CTX_set_options(
      pointer,
      openssl_op_no_compression | openssl_op_no_renegotiation | openssl_op_cipher_server_preference
        | openssl_op_prioritize_chacha)
    guard openssl_set_versions(pointer, versions.lowerBound.number, versions.upperBound.number) == 1,
      SSL_CTX_set_cipher_list(pointer, ciphers) == 1, SSL_CTX_set_ciphersuites(pointer, suites) == 1,
      openssl_set_groups(pointer, hybridGroups) == 1 || openssl_set_groups(pointer, groups) == 1
    else { throw refusal() }
    OpenSSLError.clear()
    return settings
  }

  static func refusal() -> TLSSetupError { .openSSL(reason: OpenSSLError.take()?.text ?? "no reason given") }
}
