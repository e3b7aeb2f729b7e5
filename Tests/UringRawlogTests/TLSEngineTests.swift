import Testing

@testable import UringRawlog

@Suite struct TLSEngineTests {
  @Test(arguments: TLSVersion.allCases, ["ec", "rsa"])
  func shakesHandsAndTalks(version: TLSVersion, key: String) throws {
    let certificates = try TestCertificates.shared
    let identity = try certificates.identity(key)
    let trust = try certificates.trust(versions: version...version)
    var link = TLSLink(trust: trust, identity: identity)
    link.settle()
    #expect(link.client.engine.state == .open)
    #expect(link.server.engine.state == .open)
  }
}
