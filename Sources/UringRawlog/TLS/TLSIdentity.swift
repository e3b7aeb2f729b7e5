import COpenSSL
import Glibc

/// Who we are to clients: certificates with their keys, and the keys that tickets for resuming sessions are sealed
/// with.
///
/// To exchange it (SIGHUP, a renewed certificate) another one is made and assigned in its place. Engines that were made
/// before keep what they were made with. When making the other one fails, this one is still there.
///
/// Ticket keys are made by OpenSSL with each identity and never leave it. So sessions of before a reload cannot be
/// resumed after it: their clients make a whole handshake, and see the new certificate.
struct TLSIdentity: ~Copyable {
  let settings: TLSSettings

  private init(_ settings: consuming TLSSettings) {
    self.settings = settings
  }

  /// Reads all files, and checks what can be checked: that they are there, that each key is that of its certificate,
  /// and that the certificates are valid now.
  static func make(
    _ files: TLSIdentityFiles, versions: ClosedRange<TLSVersion> = TLSVersion.all
  ) throws(TLSSetupError) -> TLSIdentity {
    precondition(!files.pairs.isEmpty)
    let settings = try TLSSettings.make(TLS_server_method(), versions: versions)
    // Sessions are resumed by tickets alone, which the clients keep. OpenSSL's own memory of sessions would grow to
    // 20 000 of them.
    openssl_set_session_cache_mode(settings.pointer, Int(SSL_SESS_CACHE_OFF))
    // Accepting whatever name the client asks for has OpenSSL keep it with a session (SSL_get_servername(3)).
    openssl_set_server_name_callback(settings.pointer) { _, _, _ in SSL_TLSEXT_ERR_OK }
    let identity = TLSIdentity(settings)
    var kinds: [(kind: Int32, path: String)] = []
    for pair in files.pairs {
      let certificates = try CertificateList(pair.certificate, .certificate)
      let key = try PrivateKey(pair.key, passwordFile: files.passwordFile)
      try check(certificates, key, pair)
      let kind = EVP_PKEY_get_base_id(key.pointer)
      if let other = kinds.first(where: { $0.kind == kind }) {
        throw .pair(certificate: pair.certificate, .sameKind(other: other.path))
      }
      kinds.append((kind, pair.certificate))
      try identity.add(certificates, key, pair)
    }
    return identity
  }

  private static func check(
    _ certificates: borrowing CertificateList, _ key: borrowing PrivateKey, _ pair: TLSIdentityFiles.Pair
  ) throws(TLSSetupError) {
    defer { OpenSSLError.clear() }
    guard X509_check_private_key(certificates[0], key.pointer) == 1 else {
      for place in 1..<max(1, certificates.count) where X509_check_private_key(certificates[place], key.pointer) == 1 {
        throw .pair(certificate: pair.certificate, .wrongOrder(key: pair.key, place: place + 1))
      }
      throw .pair(certificate: pair.certificate, .mismatch(key: pair.key))
    }
    if let invalidity = certificates.invalidity { throw .pair(certificate: pair.certificate, invalidity) }
  }

  private func add(
    _ certificates: borrowing CertificateList, _ key: borrowing PrivateKey, _ pair: TLSIdentityFiles.Pair
  ) throws(TLSSetupError) {
    OpenSSLError.clear()
    let result = try certificates.withIssuers {
      SSL_CTX_use_cert_and_key(settings.pointer, certificates[0], key.pointer, $0, 1)
    }
    guard result == 1 else {
      let reason = OpenSSLError.take()?.text ?? "no reason given"
      throw .pair(certificate: pair.certificate, .notAllowed(reason: reason))
    }
  }

  /// Seals tickets with new keys from now on. Those that were given out before do not resume any more. Who comes to
  /// know a ticket key can read the TLS 1.2 sessions whose tickets it sealed, so it should not live long.
  func rotateTicketKeys() {
    let size = openssl_ticket_keys_size(settings.pointer)
    withUnsafeTemporaryAllocation(byteCount: size, alignment: 16) { keys in
      // Without randomness the old keys stay, which is better than weak ones.
      if RAND_priv_bytes(keys.baseAddress, Int32(size)) == 1 {
        _ = openssl_set_ticket_keys(settings.pointer, keys.baseAddress, size)
      }
      OPENSSL_cleanse(keys.baseAddress, size)
    }
    OpenSSLError.clear()
  }
}

/// It is only ever used by one thread at a time. It may be made in another one than the loop's and handed over: OpenSSL
/// counts references to it atomically, and its errors are those of the thread that makes it.
extension TLSIdentity: @unchecked Sendable {}
