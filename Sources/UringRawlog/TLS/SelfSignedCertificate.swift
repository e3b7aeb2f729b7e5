import COpenSSL
import Glibc

/// A certificate for measurements, with its key, both new: nobody is to trust it.
public enum SelfSignedCertificate {
  public enum Kind: Sendable {
    /// P-256, as most servers have it today.
    case ecdsa
    /// 2048 bits.
    case rsa
  }

  /// The name that it is for.
  public static let name = "localhost"
  private static let lifeSeconds = 86400

  /// Writes both into one file in PEM form, with mode 0600.
  ///
  /// - Throws: `ValueError` when the file cannot be written, or OpenSSL refuses.
  public static func write(_ kind: Kind, to path: String) throws(ValueError) {
    OpenSSLError.clear()
    guard let key = kind == .ecdsa ? openssl_new_ec_key() : openssl_new_rsa_key() else { throw failed() }
    defer { EVP_PKEY_free(key) }
    guard let certificate = X509_new() else { throw failed() }
    defer { X509_free(certificate) }
    try fill(certificate, key)
    let descriptor = openFile(path, flags: O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode: 0o600)
    guard descriptor >= 0 else { throw ValueError("cannot write '\(path)': \(Errno.current.text)") }
    guard let file = BIO_new_fd(descriptor, BIO_CLOSE) else {
      close(descriptor)
      throw failed()
    }
    defer { BIO_free(file) }
    guard PEM_write_bio_X509(file, certificate) == 1,
      PEM_write_bio_PrivateKey(file, key, nil, nil, 0, nil, nil) == 1
    else { throw failed() }
  }

  private static func fill(_ certificate: OpaquePointer, _ key: OpaquePointer) throws(ValueError) {
    let subject = X509_get_subject_name(certificate)
    guard X509_set_version(certificate, Int(X509_VERSION_3)) == 1,
      ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1) == 1,
      X509_gmtime_adj(X509_getm_notBefore(certificate), -lifeSeconds) != nil,
      X509_gmtime_adj(X509_getm_notAfter(certificate), lifeSeconds) != nil,
      X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, name, -1, -1, 0) == 1,
      X509_set_issuer_name(certificate, subject) == 1, X509_set_pubkey(certificate, key) == 1,
      let names = X509V3_EXT_conf_nid(nil, nil, NID_subject_alt_name, "DNS:\(name)")
    else { throw failed() }
    defer { X509_EXTENSION_free(names) }
    guard X509_add_ext(certificate, names, -1) == 1, X509_sign(certificate, key, EVP_sha256()) > 0 else {
      throw failed()
    }
  }

  private static func failed() -> ValueError {
    ValueError("cannot make a certificate: \(OpenSSLError.take()?.text ?? "no reason given")")
  }
}
