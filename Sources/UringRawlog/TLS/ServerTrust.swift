/// Which authorities may vouch for the server's certificate.
public enum ServerTrust: Equatable, Sendable {
  /// Those that the system trusts (OpenSSL's own places, SSL_CERT_FILE and SSL_CERT_DIR).
  case system
  /// Those in a PEM file; a certificate in it is trusted by itself, also one that is no authority.
  case file(String)
  /// Nothing is verified (`--connect-insecure`).
  case none
}
