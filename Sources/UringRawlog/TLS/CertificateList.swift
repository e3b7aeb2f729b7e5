import COpenSSL
import Glibc

/// The certificates of a PEM file, in its order: a server's own and those that lead to an authority, or authorities.
struct CertificateList: ~Copyable {
  /// OpenSSL's list (STACK_OF(X509)).
  private let object: OpenSSLObject
  private var pointer: OpaquePointer { object.pointer }

  init(_ path: String, _ option: TLSSetupError.Option) throws(TLSSetupError) {
    object = try Self.read(path, option)
  }

  private static func read(_ path: String, _ option: TLSSetupError.Option) throws(TLSSetupError) -> OpenSSLObject {
    let file = try SecretFile(path, option)
    let list = try makeList()
    OpenSSLError.clear()
    try file.withReader { reader throws(TLSSetupError) in
      // Blocks of other kinds, such as a key in the same file, are passed over.
      while let certificate = PEM_read_bio_X509(reader, nil, { _, _, _, _ in -1 }, nil) {
        if openssl_certificates_append(list.pointer, certificate) == 0 { X509_free(certificate) }
      }
    }
    // At the end of the file there is no further beginning of a block (PEM_read_bio_X509(3)).
    let error = OpenSSLError.take()
    if let error, !(error.isOfPEM && error.reason == PEM_R_NO_START_LINE) {
      throw .certificates(option, path: path, .malformed(reason: error.text))
    }
    guard openssl_certificates_count(list.pointer) > 0 else { throw .certificates(option, path: path, .none) }
    return list
  }

  private static func makeList() throws(TLSSetupError) -> OpenSSLObject {
    guard let list = openssl_certificates_new() else { throw .openSSL(reason: "no memory") }
    return OpenSSLObject(list) { openssl_certificates_free($0) }
  }

  var count: Int { Int(openssl_certificates_count(pointer)) }

  /// A certificate (X509), owned by the list.
  subscript(place: Int) -> OpaquePointer {
    guard let certificate = openssl_certificates_at(pointer, Int32(place)) else {
      fatalError("no certificate \(place)")
    }
    return certificate
  }

  /// Calls `body` with a list of those behind the first; nil when there are none.
  func withIssuers<Result>(_ body: (OpaquePointer?) -> Result) throws(TLSSetupError) -> Result {
    guard count > 1 else { return body(nil) }
    let issuers = try Self.makeList()
    for place in 1..<count {
      X509_up_ref(self[place])
      _ = openssl_certificates_append(issuers.pointer, self[place])
    }
    return body(issuers.pointer)
  }

  /// When the first certificate is not valid now: what is wrong with it.
  var invalidity: TLSSetupError.Pair? {
    if let end = X509_get0_notAfter(self[0]), X509_cmp_current_time(end) < 0 {
      return .expired(end: Self.text(of: end))
    }
    if let beginning = X509_get0_notBefore(self[0]), X509_cmp_current_time(beginning) > 0 {
      return .notYetValid(beginning: Self.text(of: beginning))
    }
    return nil
  }

  /// Such as `2026-01-31 12:00:00 UTC`.
  private static func text(of time: UnsafePointer<ASN1_TIME>) -> String {
    var parts = tm()
    guard ASN1_TIME_to_tm(time, &parts) == 1 else { return "an unknown day" }
    var text = [CChar](repeating: 0, count: 32)
    let count = strftime(&text, text.count, "%Y-%m-%d %H:%M:%S UTC", &parts)
    return String(decoding: text[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}
