import Glibc
import Testing

@testable import UringRawlog

@Suite struct TLSTrustTests {
  let certificates: TestCertificates

  init() throws {
    certificates = try TestCertificates.shared
  }

  /// Connects to a server with this certificate: why the client refused it, nil when it did not.
  private func refusal(_ key: String, _ trust: borrowing TLSTrust) throws -> TLSFailure? {
    var link = TLSLink(trust: trust, identity: try certificates.identity(key))
    link.settle()
    guard link.client.engine.state == .failed else {
      link.expectConversation()
      return nil
    }
    // The server hears of it, and neither gives a reason to go on.
    #expect(link.server.engine.state == .failed || link.server.engine.state == .handshaking)
    #expect(link.client.plaintext.isEmpty && link.server.plaintext.isEmpty)
    return link.client.engine.failure
  }

  private func unverified(_ key: String, _ trust: borrowing TLSTrust) throws -> UnverifiedCertificate {
    guard case .unverified(let certificate) = try refusal(key, trust) else {
      throw TestProcess.Failure(description: "not refused for its certificate")
    }
    let text = certificate.text
    #expect(text.hasPrefix("the server's certificate ") && !text.contains("\n"))
    return certificate
  }

  @Test(arguments: ["mail.example.org", "localhost", "MAIL.example.ORG", "mail.example.org."])
  func aNameOfTheCertificate(name: String) throws {
    #expect(try refusal("ec", certificates.trust(name)) == nil)
    #expect(try refusal("rsa", certificates.trust(name)) == nil)
  }

  @Test(arguments: ["127.0.0.1", "::1", "[::1]", "0:0::1"])
  func anAddressOfTheCertificate(address: String) throws {
    let trust = try certificates.trust(address)
    var link = TLSLink(trust: trust, identity: try certificates.identity("address"))
    link.settle()
    // An address is not asked for.
    #expect(link.server.engine.serverName == nil)
    link.expectConversation()
  }

  @Test func anotherNameIsRefused() throws {
    let found = try unverified("other", certificates.trust())
    #expect(found.subject == "CN=other.example" && found.expectedName == "mail.example.org")
    #expect(found.names == ["other.example", "*.wild.example"] && found.reason == "hostname mismatch")
    #expect(
      found.text == "the server's certificate of 'CN=other.example', for 'other.example', '*.wild.example', expected "
        + "'mail.example.org', is not trusted: hostname mismatch; say what name it is for with --connect-name")
    // A certificate for a name is not one for an address, and the reverse.
    let address = try unverified("ec", certificates.trust("127.0.0.1"))
    #expect(address.expectedName == "127.0.0.1" && address.reason == "IP address mismatch")
    #expect(try unverified("address", certificates.trust("127.0.0.2")).reason == "IP address mismatch")
    #expect(try unverified("address", certificates.trust()).reason == "hostname mismatch")
  }

  @Test func wildcardsStandForOneLabel() throws {
    #expect(try refusal("other", certificates.trust("imap.wild.example")) == nil)
    #expect(try unverified("other", certificates.trust("a.b.wild.example")).reason == "hostname mismatch")
    #expect(try unverified("other", certificates.trust("wild.example")).reason == "hostname mismatch")
  }

  /// What a server wrote into its certificate cannot disturb a log.
  @Test func namesAreEscapedAndFew() throws {
    let found = try unverified("unnamed", certificates.trust())
    #expect(found.subject == "O=Nobody\\0Aat all")
    #expect(found.names == ["one.example", "two.example", "three.example"])
  }

  @Test func selfSigned() throws {
    let found = try unverified("self", certificates.trust())
    #expect(found.reason == "self-signed certificate" && found.subject == "CN=mail.example.org")
    #expect(found.text.hasSuffix("; name a file of what signed it with --connect-ca"))
    #expect(try refusal("self", certificates.trust(authority: certificates.path("self.pem"))) == nil)
    #expect(
      try unverified("self", certificates.trust("other", authority: certificates.path("self.pem"))).reason
        == "hostname mismatch")
  }

  @Test func aServersOwnCertificateCanBeTrusted() throws {
    #expect(try refusal("ec", certificates.trust(authority: certificates.path("ec.crt"))) == nil)
    let other = try unverified("rsa", certificates.trust(authority: certificates.path("ec.crt")))
    #expect(other.reason.hasPrefix("unable to get local issuer certificate"))
  }

  @Test func theSystemsAuthoritiesDoNotKnowOurs() throws {
    let trust = try TLSTrust.make(ServerName("mail.example.org"), authorities: .system)
    #expect(try unverified("ec", trust).reason.contains("certificate"))
    #expect(try unverified("self", trust).reason == "self-signed certificate")
  }

  @Test func anIssuerThatExpired() throws {
    let found = try unverified("old-issuer", certificates.trust())
    #expect(found.subject == "CN=mail.example.org")
    #expect(found.reason == "certificate has expired (its issuer 'CN=Old')")
  }

  @Test func insecureTakesEverything() throws {
    for key in ["ec", "other", "self", "old-issuer"] {
      for name in [nil, "mail.example.org"] {
        #expect(try refusal(key, TLSTrust.make(name.map { try ServerName($0) }, authorities: .none)) == nil)
      }
    }
  }

  /// What was verified once is not forgotten, and what was not is never resumed.
  @Test func aRefusedSessionIsNotResumed() throws {
    let trust = try certificates.trust()
    let identity = try certificates.identity("other")
    for _ in 0..<3 {
      var link = TLSLink(trust: trust, identity: identity)
      link.settle()
      #expect(link.client.engine.state == .failed)
    }
  }

  @Test func authoritiesMustBeReadable() throws {
    func error(_ path: String) -> TLSSetupError? {
      do {
        _ = try certificates.trust(authority: path)
        return nil
      } catch {
        return error as? TLSSetupError
      }
    }
    let missing = error("/nonexistent")
    #expect(missing == .reading(.authorities, path: "/nonexistent", .failed(Errno(ENOENT))))
    #expect(missing?.message.hasPrefix("--connect-ca: cannot read '/nonexistent': No such file") == true)
    #expect(missing?.status == .noInput)
    #expect(error("/tmp") == .reading(.authorities, path: "/tmp", .directory))
    let key = certificates.path("ec.key")
    #expect(error(key) == .certificates(.authorities, path: key, .none))
    #expect(error(key)?.status == .badConfiguration)
  }
}
