import Glibc
import Testing

@testable import UringRawlog

/// Engines against other programs: Python's ssl module and the openssl program.
@Suite struct TLSPeersTests {
  let certificates: TestCertificates

  init() throws {
    certificates = try TestCertificates.shared
  }

  // MARK: Other clients

  /// Runs a Python client with `context` and a plain socket `raw` connected to us; it prints what it saw.
  private func serve(
    _ key: String = "ec", versions: ClosedRange<TLSVersion> = TLSVersion.all, client script: String,
    _ body: (inout TLSSocket) -> Void
  ) throws -> String {
    let identity = try certificates.identity(key, versions: versions)
    let (listener, port) = try TLSSocket.listen()
    defer { close(listener) }
    let beginning = """
      import socket, ssl
      context = ssl.create_default_context(cafile='\(certificates.authority)')
      raw = socket.create_connection(('127.0.0.1', \(port)), 60)
      def connect(**options):
          return context.wrap_socket(raw, server_hostname='mail.example.org', **options)

      """
    let client = try TestProcess(["python3", "-c", beginning + script])
    do {
      var socket = TLSSocket(try TLSSocket.accept(listener), TLSEngine(serving: identity))
      body(&socket)
    }
    let result = client.finish()
    #expect(result.status == 0, "\(result.output)")
    return result.output
  }

  @Test(arguments: TLSVersion.allCases, ["ec", "rsa"])
  func pythonAsClient(version: TLSVersion, key: String) throws {
    let name = version == .tls12 ? "TLSv1_2" : "TLSv1_3"
    let output = try serve(
      key,
      client: """
        context.minimum_version = context.maximum_version = ssl.TLSVersion.\(name)
        with connect(suppress_ragged_eofs=False) as connection:
            connection.sendall(b'question' * 100000)
            answer = b''
            while part := connection.recv(65536): answer += part
            print(connection.version(), len(answer), answer == b'answer' * 100000)
        """
    ) { socket in
      #expect(socket.handshake() == .open)
      var question: [UInt8] = []
      while question.count < 800_000, let part = socket.receive() { question += part }
      let expected = [UInt8]((0..<100_000).map { _ in "question".utf8 }.joined())
      #expect(firstDifference(question, expected) == nil)
      socket.send([UInt8]((0..<100_000).map { _ in "answer".utf8 }.joined()))
      socket.close()
      _ = socket.receiveAll()
    }
    #expect(output == "TLSv\(version.rawValue) 600000 True\n")
  }

  /// Without close_notify the client is told that it was cut, as without a relay.
  @Test func aCutIsACutToTheClient() throws {
    let output = try serve(
      client: """
        with connect(suppress_ragged_eofs=False) as connection:
            print(connection.recv(100))
            try:
                print(connection.recv(100))
            except ssl.SSLEOFError as error:
                print('cut')
        """
    ) { socket in
      #expect(socket.handshake() == .open)
      socket.send(Array("half an ans".utf8))
      socket.shut()
      _ = socket.receiveAll()
    }
    #expect(output == "b'half an ans'\ncut\n")
  }

  /// A client that just goes, and one that says so before.
  @Test(arguments: [("raw.shutdown(socket.SHUT_RDWR)", TLSEngine.State.truncated), ("connection.unwrap()", .ended)])
  func endsOfTheClient(statement: String, expected: TLSEngine.State) throws {
    _ = try serve(
      client: """
        connection = connect()
        raw = connection
        connection.sendall(b'that was it')
        \(statement)
        """
    ) { socket in
      #expect(socket.handshake() == .open)
      let text = socket.receiveAll()
      #expect(text == Array("that was it".utf8))
      #expect(socket.engine.state == expected)
      socket.close()
    }
  }

  @Test func aClientThatIsTooOld() throws {
    let output = try serve(
      versions: .tls13 ... .tls13,
      client: """
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        try:
            connect()
        except ssl.SSLError as error:
            print(error.reason)
        """
    ) { socket in
      #expect(socket.handshake() == .failed)
      #expect(socket.engine.failure == .broken(reason: "unsupported protocol"))
    }
    #expect(output == "TLSV1_ALERT_PROTOCOL_VERSION\n")
  }

  @Test func aClientThatDoesNotTrustUs() throws {
    let output = try serve(
      "self",
      client: """
        try:
            connect()
        except ssl.SSLCertVerificationError as error:
            print(error.verify_message)
        """
    ) { socket in
      // In TLS 1.3 it says so, behind the server's part of the handshake; here the server still waits for its end.
      #expect(socket.handshake() == .failed)
      #expect(socket.engine.failure == .refused(alert: 48))
    }
    #expect(output == "self-signed certificate\n")
  }

  /// The openssl program, which connects again and again with the ticket that it got.
  @Test(arguments: TLSVersion.allCases)
  func opensslAsClient(version: TLSVersion) throws {
    let identity = try certificates.identity("ec")
    let (listener, port) = try TLSSocket.listen()
    defer { close(listener) }
    let client = try TestProcess(
      [
        "openssl", "s_client", "-connect", "127.0.0.1:\(port)", "-CAfile", certificates.authority, "-reconnect",
        "-verify_return_error", "-servername", "mail.example.org", version == .tls12 ? "-tls1_2" : "-tls1_3",
      ])
    var resumed: [Bool] = []
    // It connects once, and then five times again. With TLS 1.3 it does not wait for a ticket before that.
    for number in 0..<6 {
      var socket = TLSSocket(try TLSSocket.accept(listener), TLSEngine(serving: identity))
      // Where it only reconnects, it says at once that it closes.
      let state = socket.handshake()
      #expect(state == .open || state == .ended && number < 5)
      resumed.append(socket.engine.isResumed)
      guard number == 5 else { continue }
      client.say("hello\n")
      let text = socket.receive()
      #expect(text == Array("hello\n".utf8))
      if version == .tls12 { expectNoRenegotiation(&socket, client) } else { expectNewKeys(&socket, client) }
      socket.close()
    }
    if version == .tls12 { #expect(resumed == [false, true, true, true, true, true]) }
    let output = client.finish().output
    #expect(output.contains("Verify return code: 0 (ok)") && output.contains("Compression: NONE"))
    // It prints the tickets that it got, and there its answer.
    if version == .tls13 { #expect(output.contains("Max Early Data: 0") && output.contains("with new keys\n")) }
  }

  /// The server answers with a warning, and keeps the connection as it is; it is the client that gives up.
  private func expectNoRenegotiation(_ socket: inout TLSSocket, _ client: TestProcess) {
    client.say("R\n")
    let text = socket.receive()
    #expect(text == [] && socket.engine.state == .open)
    let pending = socket.engine.pendingBytes
    #expect(pending > 0)
    socket.send()
  }

  /// The client takes new keys and asks for new ones (RFC 8446 §4.6.3): they come with what is sent next.
  private func expectNewKeys(_ socket: inout TLSSocket, _ client: TestProcess) {
    client.say("K\n")
    let text = socket.receive()
    #expect(text == [] && socket.engine.state == .open)
    socket.send(Array("with new keys\n".utf8))
    client.say("again\n")
    let more = socket.receive()
    #expect(more == Array("again\n".utf8) && socket.engine.state == .open)
  }

  // MARK: Other servers

  private struct Served {
    var state: TLSEngine.State
    var failure: TLSFailure?
    var text: [UInt8]
  }

  /// Connects to the openssl program with a certificate of ours; what it says is answered with what it was told.
  private func connect(
    to key: String, _ trust: borrowing TLSTrust, options: [String] = []
  ) throws -> Served {
    let pair = certificates.pair(key)
    let server = try TestProcess(
      [
        "openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", pair.certificate, "-cert_chain",
        certificates.path("intermediate.pem"), "-key", pair.key, "-rev", "-naccept", "1",
      ] + options)
    var port: UInt16?
    while port == nil, let line = server.line() {
      if line.hasPrefix("ACCEPT ") { port = line.split(separator: ":").last.flatMap { UInt16($0) } }
    }
    var socket = TLSSocket(try TLSSocket.connect(to: try #require(port)), TLSEngine(connecting: trust))
    var served = Served(state: socket.handshake(), failure: socket.engine.failure, text: [])
    if served.state == .open {
      socket.send(Array("abc\n".utf8))
      while served.text.count < 4, let part = socket.receive() { served.text += part }
    }
    socket.close()
    return served
  }

  @Test(arguments: TLSVersion.allCases, ["ec", "rsa"])
  func opensslAsServer(version: TLSVersion, key: String) throws {
    let trust = try certificates.trust()
    let served = try connect(to: key, trust, options: [version == .tls12 ? "-tls1_2" : "-tls1_3"])
    #expect(served.state == .open && served.failure == nil)
    #expect(served.text == Array("cba\n".utf8))
  }

  @Test func aServerWhoseCertificateExpired() throws {
    let served = try connect(to: "expired", certificates.trust())
    guard case .unverified(let certificate) = served.failure else {
      Issue.record("\(served)")
      return
    }
    #expect(certificate.reason == "certificate has expired" && certificate.subject == "CN=mail.example.org")
    #expect(
      try connect(to: "future", certificates.trust()).failure?.text.hasSuffix("certificate is not yet valid") == true)
    // Unless nobody asks.
    #expect(try connect(to: "expired", TLSTrust.make(nil, authorities: .none)).text == Array("cba\n".utf8))
  }

  @Test func aServerThatIsTooOld() throws {
    let served = try connect(to: "ec", certificates.trust(versions: .tls13 ... .tls13), options: ["-tls1_2"])
    #expect(served.state == .failed && served.failure == .refused(alert: 70))
  }

  /// Keys that only an old key exchange can use, and small ones, are not agreed to.
  @Test(arguments: [["-cipher", "AES128-SHA"], ["-cipher", "ECDHE-ECDSA-AES128-SHA"], ["-groups", "P-521"]])
  func aServerWithOtherTastes(options: [String]) throws {
    let isGroup = options[0] == "-groups"
    let served = try connect(to: "ec", certificates.trust(), options: options + (isGroup ? [] : ["-tls1_2"]))
    #expect(served.state == .failed && served.failure == .refused(alert: 40))
  }

  @Test func aServerThatSpeaksInTheClear() throws {
    let (listener, port) = try TLSSocket.listen()
    defer { close(listener) }
    var socket = TLSSocket(try TLSSocket.connect(to: port), TLSEngine(connecting: try certificates.trust()))
    let server = try TLSSocket.accept(listener)
    let greeting = "* OK IMAP4rev1 ready\r\n"
    _ = greeting.withCString { send(server, $0, strlen($0), 0) }
    shutdown(server, Int32(SHUT_WR))
    #expect(socket.handshake() == .failed)
    #expect(socket.engine.failure == .notTLS)
    close(server)
  }
}
