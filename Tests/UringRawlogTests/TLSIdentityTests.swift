import Foundation
import Glibc
import Testing

@testable import UringRawlog

@Suite struct TLSIdentityTests {
  let certificates: TestCertificates
  let directory: TemporaryDirectory

  init() throws {
    certificates = try TestCertificates.shared
    directory = try TemporaryDirectory()
  }

  private func error(_ files: TLSIdentityFiles) -> TLSSetupError? {
    do throws(TLSSetupError) {
      _ = try TLSIdentity.make(files)
      return nil
    } catch {
      return error
    }
  }

  private func error(certificate: String, key: String, password: String? = nil) -> TLSSetupError? {
    error(TLSIdentityFiles(pairs: [.init(certificate: certificate, key: key)], passwordFile: password))
  }

  /// An error is one line, names the option and the file, and has the exit code of its kind.
  private func expect(
    _ error: TLSSetupError?, _ expected: TLSSetupError, _ status: UringRawlog.ExitStatus, says words: String,
    _ location: SourceLocation = #_sourceLocation
  ) {
    #expect(error == expected, sourceLocation: location)
    guard let error else { return }
    #expect(error.status == status && error.startError.status == status, sourceLocation: location)
    #expect(error.message.contains(words) && !error.message.contains("\n"), sourceLocation: location)
    #expect(error.message.contains("; "), "what to do", sourceLocation: location)
    #expect(!error.message.contains("sesame"), sourceLocation: location)
  }

  // MARK: What is read

  @Test(arguments: ["ec", "rsa", "self", "together", "address"])
  func readsAPair(name: String) throws {
    let key = name == "together" ? "together.pem" : "\(name).key"
    #expect(error(certificate: certificates.path("\(name).pem"), key: certificates.path(key)) == nil)
  }

  @Test(arguments: ["encrypted-ec", "encrypted-rsa", "traditional"])
  func readsAnEncryptedKey(name: String) throws {
    let certificate = certificates.path("\(name).pem")
    let key = certificates.path("\(name).key")
    try certificates.write("\(name).password", "sesame\r\nwhat follows is not read\n")
    try certificates.write("\(name).bare", "sesame")
    try certificates.write("\(name).wrong", "open sesame\n")
    for password in ["\(name).password", "\(name).bare", "password"] {
      #expect(error(certificate: certificate, key: key, password: certificates.path(password)) == nil)
    }
    expect(
      error(certificate: certificate, key: key), .key(path: key, .locked), .badConfiguration,
      says: "'\(key)' is encrypted; name a file that holds its password with --tls-key-password-file")
    let wrong = certificates.path("\(name).wrong")
    expect(
      error(certificate: certificate, key: key, password: wrong), .password(path: wrong, .wrong(key: key)),
      .badConfiguration, says: "--tls-key-password-file: the first line of '\(wrong)' is not the password of")
    // A password that is not needed is no error.
    let plain = certificates.pair("ec")
    #expect(error(certificate: plain.certificate, key: plain.key, password: wrong) == nil)
  }

  @Test func passwordsMustBeUsable() throws {
    let pair = certificates.pair("encrypted-ec")
    let empty = "\(directory.path)/empty"
    let long = "\(directory.path)/long"
    try "\nsesame\n".write(toFile: empty, atomically: false, encoding: .utf8)
    try String(repeating: "x", count: 1025).write(toFile: long, atomically: false, encoding: .utf8)
    expect(
      error(certificate: pair.certificate, key: pair.key, password: empty), .password(path: empty, .empty),
      .badConfiguration, says: "the first line of '\(empty)' is empty")
    expect(
      error(certificate: pair.certificate, key: pair.key, password: long), .password(path: long, .tooLong),
      .badConfiguration, says: "longer than 1024 bytes")
    expect(
      error(certificate: pair.certificate, key: pair.key, password: "/nonexistent"),
      .reading(.password, path: "/nonexistent", .failed(Errno(ENOENT))), .noInput,
      says: "--tls-key-password-file: cannot read '/nonexistent': No such file or directory")
  }

  // MARK: What cannot be read

  @Test func unreadableFiles() throws {
    let pair = certificates.pair("ec")
    let missing = "\(directory.path)/missing"
    expect(
      error(certificate: missing, key: pair.key), .reading(.certificate, path: missing, .failed(Errno(ENOENT))),
      .noInput, says: "--tls-cert: cannot read '\(missing)': No such file or directory")
    expect(
      error(certificate: pair.certificate, key: missing), .reading(.key, path: missing, .failed(Errno(ENOENT))),
      .noInput, says: "--tls-key: cannot read '\(missing)': No such file or directory")
    expect(
      error(certificate: directory.path, key: pair.key), .reading(.certificate, path: directory.path, .directory),
      .noInput, says: "--tls-cert: '\(directory.path)' is a directory")
    expect(
      error(certificate: pair.certificate, key: directory.path), .reading(.key, path: directory.path, .directory),
      .noInput, says: "--tls-key: '\(directory.path)' is a directory")
    let pipe = "\(directory.path)/pipe"
    #expect(mkfifo(pipe, 0o600) == 0)
    expect(
      error(certificate: pair.certificate, key: pipe), .reading(.key, path: pipe, .notRegular), .noInput,
      says: "'\(pipe)' is not an ordinary file")
    let large = "\(directory.path)/large"
    #expect(FileManager.default.createFile(atPath: large, contents: nil) && truncate(large, 4 << 20 + 1) == 0)
    expect(
      error(certificate: large, key: pair.key), .reading(.certificate, path: large, .tooLarge), .noInput,
      says: "'\(large)' is larger than 4M")
  }

  @Test func filesThatAreNotWhatTheyShouldBe() throws {
    let pair = certificates.pair("ec")
    let empty = "\(directory.path)/empty"
    try "".write(toFile: empty, atomically: false, encoding: .utf8)
    expect(
      error(certificate: empty, key: pair.key), .certificates(.certificate, path: empty, .none), .badConfiguration,
      says: "--tls-cert: '\(empty)' holds no certificate in PEM form")
    expect(
      error(certificate: pair.certificate, key: empty), .key(path: empty, .none), .badConfiguration,
      says: "--tls-key: '\(empty)' holds no private key in PEM form")
    // Exchanged, and a form that is not PEM.
    #expect(error(certificate: pair.key, key: pair.key) == .certificates(.certificate, path: pair.key, .none))
    let intermediate = certificates.path("intermediate.pem")
    #expect(error(certificate: pair.certificate, key: intermediate) == .key(path: intermediate, .none))
    let der = "\(directory.path)/der"
    try TestProcess.run(["openssl", "x509", "-in", pair.certificate, "-outform", "der", "-out", der])
    #expect(error(certificate: der, key: pair.key) == .certificates(.certificate, path: der, .none))
    // Damaged: in the middle, and cut off behind its first lines.
    let text = try String(contentsOfFile: pair.certificate, encoding: .utf8)
    let damaged = "\(directory.path)/damaged"
    for broken in [text.replacingOccurrences(of: "MII", with: "!!!"), String(text.prefix(200))] {
      try broken.write(toFile: damaged, atomically: false, encoding: .utf8)
      let found = try #require(error(certificate: damaged, key: pair.key))
      guard case .certificates(.certificate, damaged, .malformed(let reason)) = found else {
        Issue.record("\(found)")
        continue
      }
      expect(
        found, .certificates(.certificate, path: damaged, .malformed(reason: reason)), .badConfiguration,
        says: "--tls-cert: a certificate in '\(damaged)' is broken: ")
    }
  }

  /// Damaged: at its beginning, in the middle, at its end, and something else where it should be.
  @Test(arguments: ["ec", "rsa"])
  func aDamagedKeyIsNone(name: String) throws {
    let pair = certificates.pair(name)
    let text = try String(contentsOfFile: pair.key, encoding: .utf8)
    let damaged = "\(directory.path)/damaged"
    for broken in [
      text.replacingOccurrences(of: "MI", with: "!!"), text.replacingOccurrences(of: "\nMI", with: "\nAA"),
      text.replacingOccurrences(of: "END", with: "ENDE"), String(text.prefix(text.utf8.count / 2)),
      "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
    ] {
      try broken.write(toFile: damaged, atomically: false, encoding: .utf8)
      expect(
        error(certificate: pair.certificate, key: damaged), .key(path: damaged, .none), .badConfiguration,
        says: "--tls-key: '\(damaged)' holds no private key in PEM form, or a damaged one; restore")
    }
  }

  @Test func pairsMustBelongTogether() throws {
    let certificate = certificates.path("ec.pem")
    let key = certificates.path("other.key")
    expect(
      error(certificate: certificate, key: key), .pair(certificate: certificate, .mismatch(key: key)),
      .badConfiguration, says: "--tls-cert: '\(key)' is not the key of the certificate in '\(certificate)'")
    let rsa = certificates.path("rsa.key")
    #expect(error(certificate: certificate, key: rsa) == .pair(certificate: certificate, .mismatch(key: rsa)))
    let wrongOrder = certificates.path("wrong-order.pem")
    let own = certificates.path("ec.key")
    expect(
      error(certificate: wrongOrder, key: own), .pair(certificate: wrongOrder, .wrongOrder(key: own, place: 2)),
      .badConfiguration, says: "'\(own)' is the key of certificate 2 in '\(wrongOrder)'")
    let first = certificates.pair("rsa")
    let second = certificates.pair("rsa2")
    expect(
      error(TLSIdentityFiles(pairs: [first, certificates.pair("ec"), second])),
      .pair(certificate: second.certificate, .sameKind(other: first.certificate)), .badConfiguration,
      says: "'\(second.certificate)' and '\(first.certificate)' are for keys of the same kind")
  }

  @Test func certificatesMustBeValid() throws {
    let expired = certificates.pair("expired")
    expect(
      error(TLSIdentityFiles(pairs: [expired])),
      .pair(certificate: expired.certificate, .expired(end: "2021-01-01 00:00:00 UTC")), .badConfiguration,
      says: "--tls-cert: the certificate in '\(expired.certificate)' expired on 2021-01-01 00:00:00 UTC; renew it")
    let future = certificates.pair("future")
    expect(
      error(TLSIdentityFiles(pairs: [future])),
      .pair(certificate: future.certificate, .notYetValid(beginning: "2090-01-01 00:00:00 UTC")), .badConfiguration,
      says: "is not valid before 2090-01-01 00:00:00 UTC")
    let weak = certificates.pair("weak")
    expect(
      error(TLSIdentityFiles(pairs: [weak])),
      .pair(certificate: weak.certificate, .notAllowed(reason: "ee key too small")), .badConfiguration,
      says: "OpenSSL does not allow the certificate in '\(weak.certificate)': ee key too small")
  }

  // MARK: Reload

  /// A renewed certificate is for new connections; those that are there stay as they are.
  @Test func anotherIdentityTakesItsPlace() throws {
    let oldTrust = try certificates.trust()
    let newTrust = try certificates.trust(authority: certificates.path("self.pem"))
    var identity = try certificates.identity("ec")
    var old = TLSLink(trust: oldTrust, identity: identity)
    // In the middle of its handshake.
    old.client.take([])
    old.client.send()
    old.deliver(to: .server)
    identity = try certificates.identity("self")
    var new = TLSLink(trust: newTrust, identity: identity)
    new.settle()
    new.expectConversation()
    old.settle()
    old.expectConversation()
    // The old certificate is not shown any more.
    var late = TLSLink(trust: oldTrust, identity: identity)
    late.settle()
    #expect(late.states == [.failed, .failed])
  }

  /// A pair that is wrong leaves everything as it was.
  @Test func aBadIdentityIsNotTaken() throws {
    var identity = try certificates.identity("ec")
    let files = TLSIdentityFiles(pairs: [certificates.pair("expired")])
    do throws(TLSSetupError) {
      identity = try TLSIdentity.make(files)
      Issue.record("it was taken")
    } catch {
      #expect(error.status == .badConfiguration)
    }
    var link = TLSLink(trust: try certificates.trust(), identity: identity)
    link.settle()
    link.expectConversation()
  }

  @Test func whatCannotBeReadAgainIsFound() throws {
    var files = TLSIdentityFiles(pairs: [certificates.pair("ec"), certificates.pair("rsa")])
    #expect(files.firstUnreadable() == nil)
    files.passwordFile = "/nonexistent"
    #expect(files.firstUnreadable() == .reading(.password, path: "/nonexistent", .failed(Errno(ENOENT))))
    files.pairs[1].key = directory.path
    #expect(files.firstUnreadable() == .reading(.key, path: directory.path, .directory))
  }

  /// Errors of OpenSSL that are left behind would be taken for those of a connection.
  @Test func errorsLeaveNothingBehind() throws {
    let identity = try certificates.identity("ec")
    var link = TLSLink(trust: try certificates.trust(), identity: identity)
    link.settle()
    for name in ["expired", "weak", "wrong-order"] {
      _ = error(certificate: certificates.path("\(name).pem"), key: certificates.path("ec.key"))
      #expect(OpenSSLError.take() == nil, "\(name)")
    }
    link.expectConversation()
  }
}
