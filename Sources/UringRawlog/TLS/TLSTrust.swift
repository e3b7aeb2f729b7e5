import COpenSSL

/// Whom we trust as the server, and the last session with it, which the next connection resumes.
///
/// To exchange it another one is made and assigned in its place, as with `TLSIdentity`.
struct TLSTrust: ~Copyable {
  let settings: TLSSettings
  private let name: ServerName?

  private init(_ settings: consuming TLSSettings, _ name: ServerName?) {
    self.settings = settings
    self.name = name
  }

  /// - Parameters:
  ///   - name: what the certificate must be for, and what is asked for with SNI; needed unless nothing is verified.
  static func make(
    _ name: ServerName?, authorities: ServerTrust, versions: ClosedRange<TLSVersion> = TLSVersion.all
  ) throws(TLSSetupError) -> TLSTrust {
    precondition(name != nil || authorities == .none)
    let trust = try TLSTrust(TLSSettings.make(TLS_client_method(), versions: versions), name)
    trust.keepSessions()
    switch authorities {
    case .none:
      SSL_CTX_set_verify(trust.settings.pointer, SSL_VERIFY_NONE, nil)
      return trust
    case .system:
      guard SSL_CTX_set_default_verify_paths(trust.settings.pointer) == 1 else { throw TLSSettings.refusal() }
    case .file(let path):
      try trust.accept(CertificateList(path, .authorities))
    }
    trust.verify()
    return trust
  }

  private func accept(_ authorities: consuming CertificateList) {
    let store = SSL_CTX_get_cert_store(settings.pointer)
    for place in 0..<authorities.count { X509_STORE_add_cert(store, authorities[place]) }
    // A server's own certificate can be trusted without its authority.
    X509_STORE_set_flags(store, UInt(X509_V_FLAG_PARTIAL_CHAIN))
  }

  private func verify() {
    let parameters = SSL_CTX_get0_param(settings.pointer)
    X509_VERIFY_PARAM_set_hostflags(parameters, UInt32(X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS))
    switch name {
    case .host(let host): X509_VERIFY_PARAM_set1_host(parameters, host, host.utf8.count)
    case .address(let address): X509_VERIFY_PARAM_set1_ip_asc(parameters, address)
    case nil: break
    }
    SSL_CTX_set_verify(settings.pointer, SSL_VERIFY_PEER) { isGood, store in
      guard isGood == 0, let store,
        let ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()),
        let transport = TLSTransport.of(OpaquePointer(ssl))
      else { return isGood }
      transport.pointee.failure = .unverified(UnverifiedCertificate(store, ssl: OpaquePointer(ssl)))
      return 0
    }
  }

  /// Where OpenSSL keeps the last session for us, beside the settings: it is freed with these, after the last
  /// connection that may bring another.
  private static let sessionIndex = openssl_new_index { _, session, _, _, _, _ in
    SSL_SESSION_free(session.map { OpaquePointer($0) })
  }

  /// Has OpenSSL hand over each session that can be resumed, and keep none in a memory of its own.
  private func keepSessions() {
    openssl_set_session_cache_mode(
      settings.pointer, Int(SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL))
    SSL_CTX_sess_set_new_cb(settings.pointer) { ssl, session in
      let settings = SSL_get_SSL_CTX(ssl)
      let last = SSL_CTX_get_ex_data(settings, TLSTrust.sessionIndex)
      guard SSL_CTX_set_ex_data(settings, TLSTrust.sessionIndex, session.map { UnsafeMutableRawPointer($0) }) == 1
      else { return 0 }
      SSL_SESSION_free(last.map { OpaquePointer($0) })
      return 1
    }
  }

  /// Tells a new connection which name to ask for and which session to resume.
  func prepare(_ ssl: OpaquePointer) {
    if case .host(let host) = name { _ = openssl_set_server_name(ssl, host) }
    guard let last = SSL_CTX_get_ex_data(settings.pointer, Self.sessionIndex) else { return }
    if SSL_SESSION_is_resumable(OpaquePointer(last)) == 1 { SSL_set_session(ssl, OpaquePointer(last)) }
  }
}

/// As `TLSIdentity`: handed over from one thread to another, never shared.
extension TLSTrust: @unchecked Sendable {}
