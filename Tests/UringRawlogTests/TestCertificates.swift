import Foundation
import Synchronization

@testable import UringRawlog

/// Certificates and keys for tests, made once with the openssl program.
struct TestCertificates: Sendable {
  private static let result = Result { try TestCertificates() }
  static var shared: TestCertificates { get throws { try result.get() } }

  /// What is global is never freed, so its directory would stay.
  private static let directories = Mutex<[String]>([])
  private let directory: TemporaryDirectory

  /// The authority, to which the certificates lead over an intermediate one.
  var authority: String { path("ca.pem") }

  func path(_ name: String) -> String { "\(directory.path)/\(name)" }

  func pair(_ name: String) -> TLSIdentityFiles.Pair {
    TLSIdentityFiles.Pair(certificate: path("\(name).pem"), key: path("\(name).key"))
  }

  func identity(_ names: String..., versions: ClosedRange<TLSVersion> = TLSVersion.all) throws -> TLSIdentity {
    try TLSIdentity.make(TLSIdentityFiles(pairs: names.map(pair)), versions: versions)
  }

  /// One that expects `name`, and trusts the authority or what is in another file.
  func trust(
    _ name: String = "mail.example.org", authority: String? = nil, versions: ClosedRange<TLSVersion> = TLSVersion.all
  ) throws -> TLSTrust {
    try TLSTrust.make(ServerName(name), authorities: .file(authority ?? self.authority), versions: versions)
  }

  // MARK: Making them

  private init() throws {
    directory = try TemporaryDirectory()
    Self.directories.withLock { $0.append(directory.path) }
    atexit {
      TestCertificates.directories.withLock { for path in $0 { try? FileManager.default.removeItem(atPath: path) } }
    }
    try write("ca.conf", Self.configuration)
    try write("index.txt", "")
    try write("serial", "01\n")
    try write("password", "sesame\n")
    for name in [
      "ca", "intermediate", "expired-ca", "ec", "self", "other", "expired", "future", "address", "unnamed",
    ] {
      try openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out \(name).key")
    }
    for (name, bits) in [("rsa", 2048), ("rsa2", 2048), ("weak", 1024)] {
      try openssl("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:\(bits) -out \(name).key")
    }
    try makeAuthorities()
    try makeServers()
    try makeEncryptedKeys()
  }

  private func makeAuthorities() throws {
    try openssl(
      "req -config ca.conf -x509 -key ca.key -subj /CN=Authority -days 3650 -extensions authority -out ca.pem")
    try sign("intermediate", subject: "/CN=Intermediate", extensions: "authority", by: "ca")
    try sign("expired-ca", subject: "/CN=Old", extensions: "authority", by: "ca", years: 2020...2021)
    for name in ["intermediate", "expired-ca"] { try join("\(name).pem", ["\(name).crt"]) }
  }

  private func makeServers() throws {
    try openssl(
      "req -config ca.conf -x509 -key self.key -subj /CN=mail.example.org -days 3650 -extensions server -out self.pem")
    for name in ["ec", "rsa", "rsa2", "weak"] { try makeServer(name) }
    try makeServer("other", subject: "/CN=other.example", extensions: "other")
    try makeServer("address", subject: "/CN=address", extensions: "address")
    try makeServer("unnamed", subject: "/O=Nobody\nat all", extensions: "manyNames")
    try makeServer("expired", years: 2020...2021)
    try makeServer("future", years: 2090...2091)
    try sign("ec", subject: "/CN=mail.example.org", extensions: "server", by: "expired-ca", output: "old-issuer")
    try join("old-issuer.pem", ["old-issuer.crt", "expired-ca.crt"])
    try join("old-issuer.key", ["ec.key"])
    try join("together.pem", ["ec.key", "ec.pem"])
    try join("wrong-order.pem", ["intermediate.crt", "ec.crt"])
  }

  private func makeEncryptedKeys() throws {
    for key in ["ec", "rsa"] {
      try openssl("pkey -in \(key).key -aes256 -passout pass:sesame -out encrypted-\(key).key")
      try join("encrypted-\(key).pem", ["\(key).pem"])
    }
    // The older form of encryption, in the header of the key itself.
    try openssl("rsa -in rsa.key -traditional -aes128 -passout pass:sesame -out traditional.key")
    try join("traditional.pem", ["rsa.pem"])
  }

  private func makeServer(
    _ name: String, subject: String = "/CN=mail.example.org", extensions: String = "server",
    years: ClosedRange<Int> = 2024...2099
  ) throws {
    try sign(name, subject: subject, extensions: extensions, by: "intermediate", years: years)
    try join("\(name).pem", ["\(name).crt", "intermediate.crt"])
  }

  private func sign(
    _ key: String, subject: String, extensions: String, by issuer: String, years: ClosedRange<Int> = 2024...2099,
    output: String? = nil
  ) throws {
    let request = "req -config ca.conf -new -key \(key).key -out \(key).csr -subj".split(separator: " ").map(
      String.init)
    try TestProcess.run(["openssl"] + request + [subject], directory: directory.path)
    try openssl(
      "ca -config ca.conf -batch -notext -in \(key).csr -out \(output ?? key).crt -cert \(issuer).pem"
        + " -keyfile \(issuer).key -extensions \(extensions) -startdate \(years.lowerBound)0101000000Z"
        + " -enddate \(years.upperBound)0101000000Z"
    )
  }

  private func openssl(_ line: String) throws {
    try TestProcess.run(["openssl"] + line.split(separator: " ").map(String.init), directory: directory.path)
  }

  private func join(_ name: String, _ parts: [String]) throws {
    try write(name, parts.map { try String(contentsOfFile: path($0), encoding: .utf8) }.joined())
  }

  func write(_ name: String, _ text: String) throws {
    try text.write(toFile: path(name), atomically: false, encoding: .utf8)
  }

  private static let configuration = """
    [req]
    distinguished_name = empty
    string_mask = utf8only
    [empty]
    [ca]
    default_ca = test
    [test]
    database = index.txt
    serial = serial
    new_certs_dir = .
    default_md = sha256
    policy = any
    unique_subject = no
    [any]
    commonName = optional
    organizationName = optional
    [authority]
    basicConstraints = critical, CA:TRUE
    [server]
    subjectAltName = DNS:mail.example.org, DNS:localhost
    [other]
    subjectAltName = DNS:other.example, DNS:*.wild.example
    [address]
    subjectAltName = IP:127.0.0.1, IP:::1
    [manyNames]
    subjectAltName = DNS:one.example, DNS:two.example, DNS:three.example, DNS:four.example
    """
}
