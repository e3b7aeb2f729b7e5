import Testing

@testable import UringRawlog

@Suite struct TLSEngineTests {
  let certificates: TestCertificates

  init() throws {
    certificates = try TestCertificates.shared
  }

  private func link(_ version: TLSVersion = .tls13, _ key: String = "ec") throws -> TLSLink {
    let trust = try certificates.trust(versions: version...version)
    return TLSLink(trust: trust, identity: try certificates.identity(key))
  }

  /// A link after its handshake.
  private func openLink(_ version: TLSVersion = .tls13, _ key: String = "ec") throws -> TLSLink {
    var link = try link(version, key)
    link.settle()
    try #require(link.states == [.open, .open])
    return link
  }

  // MARK: The handshake

  @Test(arguments: TLSVersion.allCases, ["ec", "rsa"])
  func shakesHandsAndTalks(version: TLSVersion, key: String) throws {
    var link = try openLink(version, key)
    #expect(String(cString: link.server.engine.version) == "TLSv\(version.rawValue)")
    #expect(String(cString: link.client.engine.version) == "TLSv\(version.rawValue)")
    let cipher =
      version == .tls13 ? "TLS_AES_128_GCM_SHA256" : "ECDHE-\(key == "ec" ? "ECDSA" : "RSA")-AES128-GCM-SHA256"
    #expect(link.server.engine.cipher.map { String(cString: $0) } == cipher)
    #expect(link.client.engine.cipher.map { String(cString: $0) } == cipher)
    #expect(link.server.engine.serverName.map { String(cString: $0) } == "mail.example.org")
    let isResumed = link.server.engine.isResumed || link.client.engine.isResumed
    #expect(!isResumed)
    link.expectConversation()
  }

  @Test func oneIdentityHasAnRSAAndAnECDSACertificate() throws {
    let identity = try certificates.identity("rsa", "ec")
    var link = TLSLink(trust: try certificates.trust(versions: .tls12 ... .tls12), identity: identity)
    link.settle()
    #expect(link.server.engine.cipher.map { String(cString: $0) } == "ECDHE-ECDSA-AES128-GCM-SHA256")
  }

  /// The first byte that comes may be the last of a flight, of a record or of a header.
  @Test(arguments: TLSVersion.allCases, [TLSLink.End.client, .server])
  func everySplitGivesTheSame(version: TLSVersion, end: TLSLink.End) throws {
    let identity = try certificates.identity("ec")
    // Another trust for each: a session that is resumed has another handshake.
    func link() throws -> TLSLink {
      let trust = try TLSTrust.make(ServerName("localhost"), authorities: .none, versions: version...version)
      return TLSLink(trust: trust, identity: identity)
    }
    var whole = try link()
    whole.settle()
    whole.talk()
    // Signatures, and with them the streams, differ by some bytes from one handshake to the next.
    for split in 1...whole.made(for: end).count + 8 {
      var link = try link()
      let parts = { (at: TLSLink.End, given: Int) in at == end && given < split ? split - given : .max }
      link.settle(parts: parts)
      try #require(link.states == [.open, .open], "split at \(split)")
      link.talk(parts: parts)
      try #require(link.heard == TLSLink.conversation, "split at \(split)")
    }
  }

  @Test(arguments: TLSVersion.allCases, ["ec", "rsa"])
  func oneByteAtATime(version: TLSVersion, key: String) throws {
    var link = try link(version, key)
    link.settle { _, _ in 1 }
    #expect(link.states == [.open, .open])
    link.expectConversation { _, _ in 1 }
  }

  /// A step is at most one flight, and says when it has computed one: a loop counts these.
  @Test func stepsOfTheHandshakeAreCounted() throws {
    var link = try link()
    link.client.take([])
    #expect(link.client.costlySteps == 1)
    link.client.send()
    link.settle { _, _ in 1 }
    // The server: its flight, and the tickets at the end. The client: its hello and its end.
    #expect(link.server.costlySteps == 2)
    #expect(link.client.costlySteps == 2)
  }

  /// What the client sends right behind its last flight comes in one piece with it.
  @Test(arguments: TLSVersion.allCases)
  func theHandshakeLeavesWhatIsBehindIt(version: TLSVersion) throws {
    var link = try link(version)
    link.client.take([])
    link.client.send()
    while link.client.engine.state == .handshaking {
      link.deliver(to: .server)
      link.deliver(to: .client)
    }
    link.client.send(Array("a NOOP\r\n".utf8))
    let wasHandshaking = link.server.engine.state == .handshaking
    link.deliver(to: .server)
    // In TLS 1.2 the server has the last word.
    #expect(wasHandshaking == (version == .tls13))
    #expect(link.server.plaintext == Array("a NOOP\r\n".utf8))
  }

  @Test func nothingIsSentBeforeTheHandshakeIsOver() throws {
    var link = try link()
    link.client.send(Array("early".utf8))
    #expect(link.client.made.isEmpty)
    link.client.engine.close()
    let isClosed = link.client.engine.isClosed
    #expect(!isClosed && link.client.engine.pendingBytes == 0)
    link.settle()
    link.expectConversation()
  }

  // MARK: Content

  @Test(arguments: TLSVersion.allCases, [1, 16384])
  func recordsOfAllSizes(version: TLSVersion, size: Int) throws {
    var link = try openLink(version)
    let handshakeBytes = link.client.made.count
    var expected: [UInt8] = []
    for number in 0..<40 {
      let text = [UInt8](repeating: UInt8(number), count: size)
      link.client.send(text)
      link.server.send(text)
      expected += text
    }
    link.settle()
    #expect(firstDifference(link.server.plaintext, expected) == nil)
    #expect(firstDifference(link.client.plaintext, expected) == nil)
    // One record each: header, a byte or eight for its kind or nonce, and the tag.
    let overhead = version == .tls13 ? 22 : 29
    #expect(link.client.made.suffix(40 * (size + overhead)).first == 0x17)
    #expect(link.client.made.count - 40 * (size + overhead) == handshakeBytes)
  }

  @Test(arguments: TLSVersion.allCases)
  func muchEachWay(version: TLSVersion) throws {
    var link = try openLink(version)
    var generator = SeededGenerator(seed: 7)
    let expected = (0..<8 << 20).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
    for first in stride(from: 0, to: expected.count, by: 1 << 16) {
      link.client.plaintextRoom = 1 + generator.below(100_000)
      link.server.plaintextRoom = 1 + generator.below(100_000)
      link.client.ciphertextRoom = TLSEngine.leastRoom + generator.below(100_000)
      link.server.ciphertextRoom = TLSEngine.leastRoom + generator.below(100_000)
      link.client.send(Array(expected[first..<first + 1 << 16]))
      link.server.send(Array(expected[first..<first + 1 << 16]))
      let part = 1 + generator.below(60_000)
      link.settle { _, _ in part }
    }
    #expect(firstDifference(link.server.plaintext, expected) == nil)
    #expect(firstDifference(link.client.plaintext, expected) == nil)
  }

  /// With the room that it asks for, nothing is left over on either side, and records are as large as they can be.
  @Test(arguments: TLSVersion.allCases, [1, 1023, 16384, 16385, 65536, 65537])
  func roomIsEnough(version: TLSVersion, count: Int) throws {
    var link = try openLink(version)
    let text = [UInt8](repeating: 7, count: count)
    let ciphertext = UnsafeMutableRawBufferPointer.allocate(byteCount: TLSEngine.ciphertextRoom(count), alignment: 1)
    let plaintext = UnsafeMutableRawBufferPointer.allocate(byteCount: TLSEngine.plaintextRoom(count), alignment: 1)
    defer {
      ciphertext.deallocate()
      plaintext.deallocate()
    }
    let sent = text.withUnsafeBytes { link.client.engine.send($0, into: ciphertext) }
    #expect(sent.taken == count && link.client.engine.pendingBytes == 0)
    #expect(sent.made <= count + (count + 16383) / 16384 * TLSEngine.recordOverhead)
    // The bytes of a record before, in the hands of the engine, come out with those that complete it.
    let made = UnsafeRawBufferPointer(rebasing: ciphertext[..<sent.made])
    let first = link.server.engine.receive(
      .init(rebasing: made[..<min(made.count - 1, 16000)]), at: link.server.engine.place, into: plaintext)
    let second = link.server.engine.receive(
      .init(rebasing: made[first.taken...]), at: link.server.engine.place, into: plaintext)
    #expect(first.taken + second.taken == made.count && first.made + second.made == count)
    let isLeft = link.server.engine.hasPlaintext
    #expect(!isLeft)
  }

  @Test func plaintextWithoutRoomWaits() throws {
    var link = try openLink()
    link.client.send(Array("0123456789".utf8))
    let record = link.client.made[link.server.given...]
    let room = UnsafeMutableRawBufferPointer.allocate(byteCount: 4, alignment: 1)
    defer { room.deallocate() }
    var result = ""
    record.withUnsafeBytes { bytes in
      var rest = bytes[...]
      for _ in 0..<3 {
        let part = UnsafeRawBufferPointer(rebasing: rest)
        let moved = link.server.engine.receive(part, at: link.server.engine.place, into: room)
        rest = rest.dropFirst(moved.taken)
        result += String(decoding: room[..<moved.made], as: UTF8.self) + (link.server.engine.hasPlaintext ? "|" : ".")
      }
    }
    #expect(result == "0123|4567|89.")
  }

  // MARK: Ends

  @Test(arguments: TLSVersion.allCases)
  func closeNotifyIsAHalfClose(version: TLSVersion) throws {
    var link = try openLink(version)
    link.client.send(Array("last words".utf8))
    link.client.engine.close()
    link.client.engine.close()
    let isClosed = link.client.engine.isClosed
    #expect(isClosed && link.client.engine.state == .open)
    link.client.send(Array("too late".utf8))
    link.settle()
    #expect(link.server.engine.state == .ended)
    #expect(link.server.plaintext == Array("last words".utf8))
    // The other direction goes on.
    let answer = [UInt8](repeating: 1, count: 100_000)
    link.server.send(answer)
    link.settle()
    #expect(firstDifference(link.client.plaintext, answer) == nil)
    #expect(link.client.engine.state == .open)
    link.server.engine.close()
    link.server.send()
    link.settle()
    #expect(link.client.engine.state == .ended)
    // What is below TLS ends afterwards.
    link.client.engine.inputEnded()
    link.server.engine.inputEnded()
    #expect(link.client.engine.state == .ended && link.server.engine.state == .ended)
    #expect(link.client.plaintext.count == answer.count && link.server.plaintext.count == 10)
  }

  /// The same with the server closing first.
  @Test(arguments: TLSVersion.allCases)
  func theServerMayCloseFirst(version: TLSVersion) throws {
    var link = try openLink(version)
    link.server.engine.close()
    link.server.send()
    link.settle()
    #expect(link.client.engine.state == .ended && link.server.engine.state == .open)
    link.client.send(Array("still here".utf8))
    link.settle()
    #expect(link.server.plaintext == Array("still here".utf8))
    link.client.engine.close()
    link.client.send()
    link.settle()
    #expect(link.server.engine.state == .ended)
  }

  @Test func whatComesBehindTheEndIsDropped() throws {
    var link = try openLink()
    link.client.engine.close()
    link.client.send()
    link.client.made += Array("\u{17}garbage".utf8)
    link.settle()
    #expect(link.server.engine.state == .ended)
    #expect(link.server.given == link.client.made.count && link.server.plaintext.isEmpty)
  }

  /// A stream that is cut anywhere is seen as cut, and what came out of it is a beginning of what was said.
  @Test(arguments: TLSVersion.allCases, [TLSLink.End.client, .server])
  func everyCutIsSeen(version: TLSVersion, end: TLSLink.End) throws {
    let identity = try certificates.identity("ec")
    // Of 7 places next to each other one: records and flights begin and end anywhere.
    var cut = 0
    var isCut = true
    var states: Set<TLSEngine.State> = []
    while isCut {
      var link = TLSLink(trust: try certificates.trust(versions: version...version), identity: identity)
      let parts = { (at: TLSLink.End, given: Int) in at == end ? cut - given : .max }
      link.settle(parts: parts)
      link.talk(parts: parts)
      link.client.engine.close()
      link.server.engine.close()
      link.settle(parts: parts)
      isCut = link.given(end) < link.made(for: end).count
      let state = link.endInput(of: end)
      if isCut {
        #expect(state == .truncated || state == .failed, "cut at \(cut)")
        states.insert(state)
      } else {
        #expect(state == .ended)
      }
      let isBeginning = link.hasHeardABeginning(end)
      try #require(isBeginning, "cut at \(cut)")
      cut += 7
    }
    #expect(states == [.truncated, .failed])
  }

  @Test func aCutHandshakeSaysSo() throws {
    var link = try link()
    link.server.engine.inputEnded()
    #expect(link.server.engine.state == .failed)
    #expect(link.server.engine.failure == .endedInHandshake)
    #expect(link.server.engine.failure?.text == "the peer closed the connection during the TLS handshake")
  }

  // MARK: Bad peers

  @Test(arguments: [
    "GET / HTTP/1.0\r\n\r\n", "a001 LOGIN user secret\r\n", "EHLO client.example\r\n", "\r\n\r\n\r\n\r\n\r\n",
  ])
  func textIsNoTLS(text: String) throws {
    var link = try link()
    link.server.take(Array(text.utf8)[...])
    #expect(link.server.engine.state == .failed)
    #expect(link.server.engine.failure == .notTLS)
    // Nothing of it is repeated.
    #expect(link.server.engine.failure?.text == "what the peer sent is not TLS")
    // What follows is dropped.
    link.server.take(Array(text.utf8)[...])
    #expect(link.server.plaintext.isEmpty && link.server.given == 2 * text.utf8.count)
  }

  /// Random bytes, behind beginnings of a record and of a hello that are right.
  @Test(
    arguments: [
      [], [0x16, 0x03, 0x01], [0x16, 0x03, 0x01, 0x40, 0x00], [0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xFC],
      [0x80, 0x2E, 0x01, 0x00, 0x02], [0x15, 0x03, 0x01, 0x00, 0x02], [0x17, 0x03, 0x03, 0x00, 0x40],
      [0x16, 0x03, 0x01, 0xFF, 0xFF], [0x16, 0x03, 0x03, 0x00, 0x04, 0x0E, 0x00, 0x00, 0x00],
    ] as [[UInt8]])
  func garbageFails(beginning: [UInt8]) throws {
    let identity = try certificates.identity("ec")
    var generator = SeededGenerator(seed: UInt64(beginning.count))
    let random = (0..<40_000).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
    for _ in 0..<100 {
      var server = TLSLink.Peer(TLSEngine(serving: identity))
      let start = generator.below(20_000)
      server.take((beginning + random[start..<start + 20_000])[...])
      try #require(server.engine.state == .failed && server.engine.failure != nil)
      server.send()
      #expect(server.plaintext.isEmpty && server.made.count <= 7, "an alert at the most")
    }
  }

  /// A byte of the handshake that is changed on the way: it is found, or it is one that TLS does not look at.
  @Test(arguments: TLSVersion.allCases, [TLSLink.End.client, .server])
  func aChangedByteOfTheHandshakeIsFound(version: TLSVersion, end: TLSLink.End) throws {
    let identity = try certificates.identity("ec")
    var tried = 0
    var failed = 0
    while true {
      var link = TLSLink(trust: try certificates.trust(versions: version...version), identity: identity)
      let place = tried * 3
      link.settle { at, given in at == end ? place - given : .max }
      guard link.change(for: end, at: place) else { break }
      link.settle()
      if link.states == [.open, .open] { link.expectConversation() } else { failed += 1 }
      tried += 1
    }
    // Only the version in the headers of early records may be anything.
    #expect(tried > 80 && failed >= tried - 8)
  }

  @Test(arguments: TLSVersion.allCases)
  func aChangedByteOfARecordIsFound(version: TLSVersion) throws {
    let identity = try certificates.identity("ec")
    let trust = try certificates.trust(versions: version...version)
    for place in 0..<TLSLink.question.count + (version == .tls13 ? 22 : 29) {
      var link = TLSLink(trust: trust, identity: identity)
      link.settle()
      let start = link.client.made.count
      link.client.send(TLSLink.question)
      let isThere = link.change(for: .server, at: start + place)
      try #require(isThere)
      link.settle()
      // A record that claims to be longer than it is may keep its reader waiting.
      if link.server.engine.state == .open { _ = link.endInput(of: .server) }
      #expect(link.server.engine.state == .failed || link.server.engine.state == .truncated, "byte \(place)")
      #expect(link.server.plaintext.isEmpty, "byte \(place)")
    }
  }

  /// The peer's alert is told in its own words.
  @Test func aRefusalIsToldByTheOtherSide() throws {
    var link = TLSLink(trust: try certificates.trust("wrong.example"), identity: try certificates.identity("ec"))
    link.settle()
    #expect(link.client.engine.state == .failed && link.server.engine.state == .failed)
    #expect(link.server.engine.failure == .refused(alert: 42))
    #expect(link.server.engine.failure?.text == "the peer refused: bad certificate (TLS alert 42)")
  }

  @Test func versionsMustMeet() throws {
    var link = TLSLink(
      trust: try certificates.trust(versions: .tls12 ... .tls12),
      identity: try certificates.identity("ec", versions: .tls13 ... .tls13))
    link.settle()
    #expect(link.server.engine.failure?.text == "TLS failed: unsupported protocol")
    #expect(link.client.engine.failure == .refused(alert: 70))
    var other = TLSLink(
      trust: try certificates.trust(versions: .tls13 ... .tls13),
      identity: try certificates.identity("ec", versions: .tls12 ... .tls12))
    other.settle()
    #expect(other.server.engine.state == .failed && other.client.engine.failure == .refused(alert: 70))
  }

  // MARK: Places

  @Test func bytesFromElsewhereAreRefused() throws {
    let identity = try certificates.identity("ec")
    for place: UInt64 in [0, 99, 101] {
      var engine = TLSEngine(serving: identity, from: 100)
      #expect(Array("a".utf8).withUnsafeBytes { engine.handshake($0, at: place) } == TLSEngine.Step())
      #expect(engine.state == .failed && engine.failure == .outOfPlace)
    }
    var link = try openLink()
    let given = UInt64(link.server.given)
    #expect(link.server.engine.place == given)
    link.client.send(Array("x".utf8))
    let record = Array(link.client.made[link.server.given...])
    let room = UnsafeMutableRawBufferPointer.allocate(byteCount: 100, alignment: 1)
    defer { room.deallocate() }
    #expect(record.withUnsafeBytes { link.server.engine.receive($0, at: given, into: room) }.made == 1)
    // The same again, as if a loop had forgotten that it had given it.
    #expect(record.withUnsafeBytes { link.server.engine.receive($0, at: given, into: room) } == TLSEngine.Moved())
    #expect(link.server.engine.failure == .outOfPlace)
  }

  @Test func anEngineBeginsInTheMiddleOfAStream() throws {
    let identity = try certificates.identity("ec")
    var link = TLSLink(
      TLSEngine(connecting: try certificates.trust(), from: 77), TLSEngine(serving: identity, from: 33))
    link.settle()
    link.expectConversation()
    #expect(link.server.engine.place == 33 + UInt64(link.server.given))
    #expect(link.client.engine.place == 77 + UInt64(link.client.given))
  }

  /// As a loop has them: in the places of a table, each there or not.
  @Test func enginesLieInATable() throws {
    let trust = try certificates.trust()
    let table = UnsafeMutablePointer<TLSEngine?>.allocate(capacity: 3)
    for place in 0..<3 { (table + place).initialize(to: nil) }
    table[1] = TLSEngine(connecting: trust)
    let nothing = UnsafeRawBufferPointer(start: nil, count: 0)
    let first = table[1]?.handshake(nothing, at: 0)
    let none = table[2]?.handshake(nothing, at: 0)
    #expect(first == TLSEngine.Step(taken: 0, isCostly: true) && none == nil)
    table[2] = TLSEngine(connecting: trust)
    table[1] = nil
    let states = [table[1]?.state, table[2]?.state]
    #expect(states == [nil, .handshaking])
    table.deinitialize(count: 3)
    table.deallocate()
  }

  // MARK: Resumption

  @Test(arguments: TLSVersion.allCases)
  func sessionsAreResumed(version: TLSVersion) throws {
    let identity = try certificates.identity("ec")
    let trust = try certificates.trust(versions: version...version)
    for number in 0..<4 {
      var link = TLSLink(trust: trust, identity: identity)
      link.settle()
      #expect(link.client.engine.isResumed == (number > 0))
      #expect(link.server.engine.isResumed == (number > 0))
      // The name is known as before.
      #expect(link.server.engine.serverName.map { String(cString: $0) } == "mail.example.org")
      link.expectConversation()
    }
    // Keys that are replaced resume nothing, and nobody is turned away.
    identity.rotateTicketKeys()
    for isResumed in [false, true] {
      var link = TLSLink(trust: trust, identity: identity)
      link.settle()
      #expect(link.states == [.open, .open])
      let wasResumed = link.server.engine.isResumed
      #expect(wasResumed == isResumed)
    }
  }

  @Test(arguments: TLSVersion.allCases)
  func anotherIdentityResumesNothing(version: TLSVersion) throws {
    var identity = try certificates.identity("ec")
    let trust = try certificates.trust(versions: version...version)
    var old = TLSLink(trust: trust, identity: identity)
    old.settle()
    identity = try certificates.identity("ec")
    var link = TLSLink(trust: trust, identity: identity)
    link.settle()
    #expect(link.states == [.open, .open])
    let wasResumed = link.server.engine.isResumed
    #expect(!wasResumed)
  }
}

extension TLSLink {
  static let question = Array("a1 CAPABILITY\r\n".utf8)
  static let answer = Array("* CAPABILITY IMAP4rev1\r\na1 OK done\r\n".utf8)

  static let conversation = [question, answer]

  var states: [TLSEngine.State] { [client.engine.state, server.engine.state] }
  /// What came out at the server, and what at the client.
  var heard: [[UInt8]] { [server.plaintext, client.plaintext] }

  /// Each says something.
  mutating func talk(parts: (End, Int) -> Int = { _, _ in .max }) {
    client.send(Self.question)
    server.send(Self.answer)
    settle(parts: parts)
  }

  mutating func expectConversation(parts: (End, Int) -> Int = { _, _ in .max }) {
    talk(parts: parts)
    #expect(heard == Self.conversation)
  }

  func hasHeardABeginning(_ end: End) -> Bool {
    switch end {
    case .client: Self.answer.starts(with: client.plaintext)
    case .server: Self.question.starts(with: server.plaintext)
    }
  }

  func given(_ end: End) -> Int { end == .client ? client.given : server.given }

  func made(for end: End) -> [UInt8] { end == .client ? server.made : client.made }

  /// What is below TLS ends: what the engine makes of it.
  mutating func endInput(of end: End) -> TLSEngine.State {
    switch end {
    case .client:
      client.engine.inputEnded()
      return client.engine.state
    case .server:
      server.engine.inputEnded()
      return server.engine.state
    }
  }

  /// Changes a byte on its way to an end; false when there is none at this place.
  mutating func change(for end: End, at place: Int) -> Bool {
    guard place < made(for: end).count else { return false }
    if end == .client { server.made[place] ^= 0x41 } else { client.made[place] ^= 0x41 }
    return true
  }
}
