import Testing

@testable import UringRawlog

/// The rehearsals check themselves; here they only run, so that a change that breaks one is seen without counting.
@Suite struct RehearsalTests {
  /// Around whole reads, lines, turns, halves of the sessions, waves and flush intervals.
  @Test(arguments: Rehearsal.allCases.filter { !isOfTLS($0) }, [1, 49, 50, 51, 72, 101, 7600])
  func doesWhatItSays(rehearsal: Rehearsal, count: Int) throws {
    #expect(try rehearsal.run(count: count).hasPrefix("\(rehearsal.rawValue): \(count) ") == !isOfMessages(rehearsal))
  }

  @Test(arguments: Rehearsal.allCases.filter(isOfTLS), [1, 3, 70])
  func tlsDoesWhatItSays(rehearsal: Rehearsal, count: Int) throws {
    #expect(try rehearsal.run(count: count).hasPrefix("\(rehearsal.rawValue): \(count) "))
  }

  @Test(arguments: [65535, 65536, 65537, 1 << 20])
  func tlsTakesWholeChunks(bytes: Int) throws {
    #expect(try Rehearsal.tlsBulk.run(count: bytes).contains(" in \((bytes + 65535) / 65536) chunks"))
  }

  @Test(arguments: [65535, 65536, 65537, 9 * 65536])
  func encoderTakesWholeReads(bytes: Int) throws {
    for rehearsal in [Rehearsal.encoderPlain, .encoderTimestamps, .encoderBoth] {
      #expect(try rehearsal.run(count: bytes).contains(" in \((bytes + 65535) / 65536) reads"))
    }
  }

  @Test func messageHasSixtyFourBytes() { #expect(RehearsalRing.messageBytes == 64) }

  @Test func aWrongResultIsAnError() {
    #expect(throws: ValueError.self) { try Rehearsal.check("bytes", 1, 2) }
  }

  /// Messages go through 100 sessions, which are what is told first.
  private func isOfMessages(_ rehearsal: Rehearsal) -> Bool {
    switch rehearsal {
    case .messagePlain, .messageRecorded, .messageRecordedTimestamps: true
    case .encoderPlain, .encoderTimestamps, .encoderBoth, .scannerIMAP, .scannerPOP3, .scannerSMTP, .scannerLMTP,
      .scannerSieve, .sessionPlain, .sessionRecorded, .tlsBulk, .tlsHandshakeECDSA, .tlsHandshakeRSA, .tlsResumption,
      .tlsIdle, .packetCaptured, .payloadCaptured:
      false
    }
  }

  private static func isOfTLS(_ rehearsal: Rehearsal) -> Bool { rehearsal.rawValue.hasPrefix("tls-") }
}
