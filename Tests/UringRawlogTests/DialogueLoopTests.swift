import Foundation
import Testing

@testable import UringRawlog

/// The loop with a dialogue that listens: what is left out of recordings, where they end, who is named.
@Suite struct DialogueLoopTests {
  private static let login = """
    S: * OK ready
    C: a LOGIN "alice" "geheim"
    S: a NO no
    C: b LOGIN bob {6+}
    C: hidden
    C: c NOOP
    S: b OK in
    S: c OK
    C: d LOGOUT
    S: d OK
    """
  private static let loginScript = RedactedScript(
    "a LOGIN \"alice\" \"geheim\"\r\nb LOGIN bob {6+}\r\nhidden\r\nc NOOP\r\nd LOGOUT\r\n",
    secrets: ["geheim", "hidden"])

  @Test(arguments: [1, 16, 1000], [RelayConfiguration.Layout.pair, .merged])
  func credentialsAreLeftOut(_ bufferBytes: Int, _ layout: RelayConfiguration.Layout) throws {
    for seed in 1...UInt64(10) {
      let run = try DialogueRun.one(.imap, Self.login, seed: seed, bufferBytes: bufferBytes) { configuration, _ in
        configuration.layout = layout
      }
      #expect(run.faults == [])
      #expect(!run.everything.contains("geheim") && !run.everything.contains("hidden"), "\(run.everything)")
      let end = run.end()
      #expect(end["user"] as? String == "bob" && end["login"] as? String == "ok")
      #expect(end["failed_logins"] as? Int == 1 && end["redacted"] as? Int == 2)
      #expect(end["recording"] as? String == "complete")
      #expect(end["in_recorded"] as? Int == end["in_bytes"] as? Int)
      #expect(run.recorded(.in) == Self.loginScript.recording(upTo: Self.loginScript.bytes.count))
    }
  }

  // MARK: No memory

  /// Takes all staging memory away now and then, for some turns.
  private struct Shortage {
    private var random: SeededGenerator
    private var taken: [BlockPool.Block] = []
    private(set) var struck = 0

    init(seed: UInt64) { random = SeededGenerator(seed: seed) }

    mutating func strike(_ loop: inout RelayLoop<SimulatedRing>) {
      if !taken.isEmpty {
        guard random.once(in: 8) || loop.sessions.count == 0 else {
          // Another turn comes soon, though nothing may be left that moves.
          loop.acceptPausedUntil = loop.clock.now.nanoseconds + 1_000_000
          return
        }
        for block in taken { loop.pool.giveBack(block) }
        taken = []
        loop.hasMemoryReturned = true
      } else if loop.sessions.count > 0, random.once(in: 3) {
        struck += 1
        while let block = loop.pool.take(0, share: .max) { taken.append(block) }
      }
    }
  }

  private static func madeUp(_ mailProtocol: MailProtocol, seed: UInt64) -> (MailConversation, RedactedScript) {
    let conversation = MailGrammar(mailProtocol, seed: seed).conversation
    return (conversation, RedactedScript(conversation))
  }

  /// Memory that is short for a while delays the recording, and changes nothing in it.
  @Test(arguments: MailProtocol.allCases, [RelayConfiguration.Layout.pair, .merged])
  func memoryThatComesBackChangesNothing(_ mailProtocol: MailProtocol, _ layout: RelayConfiguration.Layout) throws {
    var struck = 0
    for seed in 1...UInt64(40) {
      let (conversation, script) = Self.madeUp(mailProtocol, seed: seed)
      var run = DialogueRun(mailProtocol, seed: seed, bufferBytes: [1, 7, 100][Int(seed % 3)]) { configuration, _ in
        configuration.layout = layout
        configuration.logMemoryBytes = Limits.logMemoryMinimum
        configuration.logWaitNanoseconds = 1_000_000_000_000
      }
      run.add(conversation)
      var shortage = Shortage(seed: seed)
      try run.finish { shortage.strike(&$0) }
      struck += shortage.struck
      #expect(run.faults == [], "seed \(seed)")
      let end = run.end()
      #expect(end["recording"] as? String == "complete", "seed \(seed)")
      #expect(end["in_recorded"] as? Int == script.bytes.count, "seed \(seed)")
      #expect(end["redacted"] as? Int == script.secrets.count, "seed \(seed)")
      let fault = script.fault(in: run.recorded(.in), upTo: script.bytes.count)
      #expect(fault == nil, "seed \(seed)")
    }
    #expect(struck > 100)
  }

  /// What is lost is lost with the whole of what stood for it, and the index says all of it; nothing of it comes to light
  /// in the next session of that place.
  @Test(arguments: MailProtocol.allCases, [RelayConfiguration.Layout.pair, .merged])
  func memoryThatDoesNotComeBackTakesWholeCredentials(
    _ mailProtocol: MailProtocol, _ layout: RelayConfiguration.Layout
  ) throws {
    var lost = 0
    for seed in 1...UInt64(40) {
      var run = DialogueRun(mailProtocol, seed: seed, bufferBytes: [1, 7, 100][Int(seed % 3)]) { configuration, _ in
        configuration.layout = layout
        configuration.logMemoryBytes = Limits.logMemoryMinimum
        configuration.logFull = seed % 2 == 0 ? .wait : .drop
        configuration.logWaitNanoseconds = 3_000_000
      }
      let scripts = (0..<3).map { number in
        let (conversation, script) = Self.madeUp(mailProtocol, seed: seed * 3 + UInt64(number))
        run.add(conversation)
        return script
      }
      var shortage = Shortage(seed: seed)
      try run.finish { shortage.strike(&$0) }
      #expect(run.faults == [], "seed \(seed)")
      for (place, script) in scripts.enumerated() {
        let end = run.end(place + 1)
        let gaps = run.gaps(.in, client: place + 1)
        lost += gaps.count
        let missing = gaps.reduce(0) { $0 + $1.count }
        #expect(end["in_recorded"] as? Int == script.bytes.count - missing, "seed \(seed), client \(place + 1)")
        let fault = script.fault(
          in: run.recorded(.in, client: place + 1), upTo: script.bytes.count, without: gaps, mayHoldBack: true)
        #expect(fault == nil, "seed \(seed), client \(place + 1), gaps \(gaps)")
      }
    }
    #expect(lost > 20)
  }

  /// More was left out than a number of 32 bits holds, all of it in one line.
  @Test func aCredentialWithoutEndIsCounted() throws {
    var run = DialogueRun(.imap, bufferBytes: 16) { configuration, _ in configuration.layout = .merged }
    run.add(MailConversation(.imap, Self.login))
    var isSet = false
    try run.finish { loop in
      guard !isSet, loop.sessions.count > 0, let line = loop.sessions[file: FlowIndex(0, .in)].line else { return }
      line.header.pointee.relayed = Int(Int32.max) - 3
      isSet = true
    }
    #expect(isSet && run.faults == [])
  }

  // MARK: Pre-login

  @Test(arguments: [RelayConfiguration.Layout.pair, .merged])
  func theRecordingEndsAtTheLogin(_ layout: RelayConfiguration.Layout) throws {
    for seed in 1...UInt64(10) {
      var ways: Set<Flow.Way> = []
      var run = DialogueRun(.imap, seed: seed, bufferBytes: 100) { configuration, _ in
        configuration.layout = layout
        configuration.preLogin = true
        configuration.relay = .splice
      }
      run.add(
        MailConversation(
          .imap,
          """
          S: * OK ready
          C: a LOGIN alice wrong
          S: a NO no
          C: b LOGIN alice geheim
          C: c NOOP
          S: b OK in
          S: c OK
          C: d FETCH 1:* BODY
          S: * 1 FETCH (BODY {9}
          S: geheimer!)
          S: d OK
          C: e NOOP
          S: e OK
          """))
      try run.finish { loop in
        if loop.sessions.count > 0 { ways.insert(loop.sessions[flow: FlowIndex(0, .out)].way) }
      }
      #expect(run.faults == [], "seed \(seed)")
      let end = run.end()
      #expect(end["recording"] as? String == "pre-login" && end["login"] as? String == "ok")
      #expect(end["failed_logins"] as? Int == 1 && end["redacted"] as? Int == 2)
      #expect(
        run.recorded(.in) == Array("a LOGIN alice <redacted>\r\nb LOGIN alice <redacted>\r\nc NOOP\r\n".utf8),
        "seed \(seed)")
      #expect(run.recorded(.out) == Array("* OK ready\r\na NO no\r\nb OK in\r\n".utf8), "seed \(seed)")
      #expect(ways.contains(.splice), "seed \(seed)")
    }
  }

  /// What the client said behind its login, and is not known to be no credential, was left out without a trace.
  @Test(arguments: [RelayConfiguration.Layout.pair, .merged])
  func whatIsWithheldAtTheLoginIsMarked(_ layout: RelayConfiguration.Layout) throws {
    for seed in 1...UInt64(10) {
      let run = try DialogueRun.one(
        .imap,
        """
        S: * OK ready
        C: a AUTHENTICATE PLAIN
        S: +
        C: AGFsaWNlAGdlaGVpbQ==
        C: b NO\\
        S: a OK in
        C: OP
        S: b OK
        """, seed: seed, bufferBytes: 100
      ) { configuration, _ in
        configuration.layout = layout
        configuration.preLogin = true
      }
      #expect(run.faults == [])
      #expect(
        run.recorded(.in) == Array("a AUTHENTICATE PLAIN\r\n<redacted>\r\n<redacted>".utf8), "seed \(seed)")
      #expect(run.end()["in_recorded"] as? Int == 48, "seed \(seed)")
      #expect(run.end()["redacted"] as? Int == 2, "seed \(seed)")
    }
  }

  /// A recording that was too long before the login is not as whole as one that ends there.
  @Test func aRecordingCutBeforeTheLoginIsTruncated() throws {
    func recording(_ most: UInt64) throws -> String? {
      let run = try DialogueRun.one(.imap, Self.login) { configuration, _ in
        configuration.preLogin = true
        configuration.maxRecordingBytes = most
      }
      return run.end()["recording"] as? String
    }
    #expect(try recording(20) == "truncated")
    // As many bytes as there are: the client's up to the login, all pipelined ones included.
    #expect(
      try recording(UInt64("a LOGIN \"alice\" \"geheim\"\r\nb LOGIN bob {6+}\r\nhidden\r\nc NOOP\r\n".utf8.count))
        == "pre-login")
  }

  /// With the server's bytes still in their receive buffers, the end of their recording applied the client's edits to
  /// them, and left what the client had said unredacted.
  @Test func theEndOfOneDirectionDoesNotTakeTheOthersEdits() throws {
    for seed in 1...UInt64(20) {
      let long = String(repeating: "x", count: 80)
      let run = try DialogueRun.one(
        .smtp,
        """
        S: 220 ready
        C: EHLO me
        S: 250 \(long)
        C: NOOP
        S: 334 \(long)
        C: geheim
        C: MAIL FROM:<a@example.org>
        S: 250 ok
        """, seed: seed, bufferBytes: 100
      ) { configuration, _ in
        configuration.preLogin = true
        configuration.flushNanoseconds = 1_000_000_000
      }
      #expect(run.faults == [])
      #expect(!run.everything.contains("geheim"), "seed \(seed)")
    }
  }

  // MARK: Limits

  /// A name that might be a credential is cut by the limit: the recording still is what was relayed up to there.
  @Test func theLimitSettlesWhatIsWithheld() throws {
    for most in 0..<Self.loginScript.bytes.count {
      let run = try DialogueRun.one(.imap, Self.login, seed: UInt64(most), bufferBytes: 1 + most % 20) {
        configuration, _ in configuration.maxRecordingBytes = UInt64(most)
      }
      let fault = Self.loginScript.fault(in: run.recorded(.in), upTo: most, mayHoldBack: true)
      #expect(fault == nil, "limit \(most)")
      #expect(run.end()["in_recorded"] as? Int == most, "limit \(most)")
      #expect(run.end()["recording"] as? String == "truncated")
    }
  }

  /// Flows that are not recorded any more were kept from the faster way by a dialogue that had nothing left to say.
  @Test(arguments: [MailProtocol.imap, .lmtp])
  func nobodyListensToNothing(_ mailProtocol: MailProtocol) throws {
    for isRecorded in [false, true] {
      var ways: Set<Flow.Way> = []
      var run = DialogueRun(mailProtocol, bufferBytes: 100) { configuration, _ in
        configuration.relay = .splice
        if isRecorded { configuration.maxRecordingBytes = 70 } else { configuration.only = [try! CIDR("192.0.2.1")] }
      }
      let long = String(repeating: "x", count: 80)
      run.add(
        mailProtocol == .imap
          ? MailConversation(
            .imap,
            """
            S: * OK ready
            C: a LOGIN alice geheim
            S: a OK \(long)
            C: b NOOP \(long)
            S: b OK \(long)
            C: c NOOP \(long)
            S: c OK \(long)
            C: d NOOP
            S: d OK
            """)
          : MailConversation(
            .lmtp,
            """
            S: 220 ready
            C: LHLO me
            S: 250 \(long)
            C: RSET \(long)
            S: 250 \(long)
            C: RSET \(long)
            S: 250 \(long)
            C: RSET \(long)
            S: 250 \(long)
            """))
      try run.finish { loop in
        if loop.sessions.count > 0 { ways.insert(loop.sessions[flow: FlowIndex(0, .out)].way) }
      }
      #expect(run.faults == [])
      #expect(ways.contains(.splice), "\(mailProtocol), recorded at first: \(isRecorded)")
      #expect(run.end()["user"] as? String == (mailProtocol == .imap ? "alice" : nil))
    }
  }

  // MARK: Names

  /// The user of an attempt that does not name one is not that of the attempt before.
  @Test func aLoginWithoutANameHasNone() throws {
    let run = try DialogueRun.one(
      .imap,
      """
      S: * OK ready
      C: a LOGIN alice wrong
      S: a NO no
      C: b AUTHENTICATE GSSAPI YWJj
      S: b OK in
      """)
    #expect(run.end()["login"] as? String == "ok")
    #expect(run.end()["user"] is NSNull)
  }

  @Test func aDirectoryForEachUser() throws {
    let run = try DialogueRun.one(.imap, Self.login) { configuration, world in
      configuration.directory = try! DirectoryTemplate("mail/%{user}")
      world.directories = ["mail/bob"]
    }
    #expect(run.faults == [])
    #expect(run.recorded(.in, directory: "mail/bob/") == Self.loginScript.recording(upTo: Self.loginScript.bytes.count))
    #expect(run.end()["recording"] as? String == "complete")
  }

  /// A session for whose user there is no directory has no gaps and no bytes recorded, whatever was lost of it before.
  @Test func whatIsNotRecordedHasNoGaps() throws {
    for name in ["carol", "bob"] {
      let text = String(repeating: "x", count: 5000)
      let run = try DialogueRun.one(
        .imap, "S: * OK \(text)\nC: x NOOP \(text)\nS: x OK \(text)\nC: a LOGIN \(name) geheim\nS: a OK\n"
      ) { configuration, world in
        configuration.directory = try! DirectoryTemplate("mail/%{user}")
        configuration.logMemoryBytes = Limits.logMemoryMinimum
        world.directories = ["mail/bob"]
      }
      let end = run.end()
      #expect(run.faults == [])
      #expect(end["recording"] as? String == (name == "bob" ? "lossy" : "none"))
      #expect(((end["gaps"] as? [Any])?.isEmpty == true) == (name == "carol"))
      #expect((end["dropped"] as? Int == 0) == (name == "carol"))
      #expect((end["out_recorded"] as? Int == 0) == (name == "carol"))
    }
  }

  /// The start record names the files that are made later: their name may not change any more.
  @Test func aNameThatIsSaidStays() throws {
    let run = try DialogueRun.one(.imap, Self.login) { configuration, world in
      configuration.directory = try! DirectoryTemplate("mail/%{user}")
      world.faults.nameTaken = 1
    }
    #expect(run.record("start")["id"] as? String == run.end()["id"] as? String)
    #expect(run.end()["recording"] as? String == "failed")
  }

  /// Clients that do not log in hold what they said: not in all the memory that there is.
  @Test func thoseWhoDoNotLogInLeaveMemoryToOthers() throws {
    var run = DialogueRun(.imap) { configuration, _ in
      configuration.directory = try! DirectoryTemplate("mail/%{user}")
      configuration.logMemoryBytes = Limits.logMemoryMinimum
    }
    for _ in 0..<9 {
      run.add(MailConversation(.imap, "S: * OK ready\nC: a NOOP\nS: a OK\nC: b NOOP\nS: b OK"))
    }
    var most = 0
    run.areTogether = true
    try run.finish { most = max(most, $0.pool.usedBytes) }
    #expect(run.faults == [])
    #expect(most > 0 && most <= Limits.logMemoryMinimum / 2)
    for client in 1...9 { #expect(run.end(client)["recording"] as? String == "none") }
  }
}
