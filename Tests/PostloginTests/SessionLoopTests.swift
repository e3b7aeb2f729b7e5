import Glibc
import Testing

@testable import rawlog

/// The loop over a simulated ring: whatever comes, bytes arrive whole and in order, and the files have what was read.
@Suite struct SessionLoopTests {
  /// A session from its beginning to its end.
  private func run(_ session: SimulatedSession, records: [Bool] = [true, true], encoder: Encoder = Encoder()) {
    let memory = UnsafeMutableRawPointer.allocate(
      byteCount: SessionLoop<SimulatedSessionRing>.memoryBytes, alignment: 4096)
    defer { memory.deallocate() }
    var loop = SessionLoop(
      ring: SimulatedSessionRing(session: session), client: (SimulatedSession.client, SimulatedSession.client),
      program: SimulatedSession.program,
      files: [records[0] ? SimulatedSession.files[0] : -1, records[1] ? SimulatedSession.files[1] : -1],
      encoder: encoder, memory: memory)
    loop.run()
  }

  private func script(_ seed: UInt64, _ most: Int) -> [UInt8] {
    var random = SeededGenerator(seed: seed)
    return (0..<random.below(most)).map { _ in random.once(in: 20) ? 10 : UInt8(random.below(256)) }
  }

  private func session(_ seed: UInt64, most: Int = 50_000) -> SimulatedSession {
    SimulatedSession(seed: seed, client: script(seed &* 2, most), program: script(seed &* 2 + 1, most))
  }

  /// Everything was delivered, both ends too, and recorded.
  private func expectComplete(_ session: SimulatedSession, _ seed: UInt64) {
    #expect(session.violations == [], "seed \(seed)")
    #expect(session.sides[0].received == session.sides[1].script, "seed \(seed)")
    #expect(session.sides[1].received == session.sides[0].script, "seed \(seed)")
    #expect(session.sides[0].sawEnd && session.sides[1].sawEnd, "seed \(seed)")
    #expect(session.files == [session.sides[0].script, session.sides[1].script], "seed \(seed)")
  }

  private static let seeds: ClosedRange<UInt64> = 1...40

  @Test(arguments: seeds) func nothingHappens(_ seed: UInt64) {
    let session = session(seed)
    run(session)
    expectComplete(session, seed)
  }

  @Test func nothingIsSaid() {
    let session = SimulatedSession(seed: 1, client: [], program: [])
    run(session)
    expectComplete(session, 1)
  }

  @Test(arguments: seeds) func passingErrorsAndSlowSides(_ seed: UInt64) {
    let session = session(seed)
    session.faults.passing = 6
    session.faults.stalling = 10
    session.faults.shortWrite = 3
    run(session)
    expectComplete(session, seed)
  }

  @Test(arguments: seeds) func whatIsOldIsWritten(_ seed: UInt64) {
    let session = session(seed, most: 40_000)
    session.faults.pausing = 20
    session.checksFlush = true
    run(session)
    expectComplete(session, seed)
  }

  @Test(arguments: seeds) func sidesThatBreakOrLeave(_ seed: UInt64) {
    let session = session(seed)
    session.faults.breaking = 60
    session.faults.leaving = 2
    session.faults.passing = 10
    run(session)
    #expect(session.violations == [], "seed \(seed)")
    // What was delivered is a beginning of what was sent, and what was read is recorded, delivered or not.
    #expect(session.sides[1].script.starts(with: session.sides[0].received), "seed \(seed)")
    #expect(session.sides[0].script.starts(with: session.sides[1].received), "seed \(seed)")
    #expect(session.files == session.read, "seed \(seed)")
    #expect(session.read[0].starts(with: session.sides[1].received), "seed \(seed)")
    #expect(session.read[1].starts(with: session.sides[0].received), "seed \(seed)")
    // Who is still there hears of it: by an end, or because its bytes are refused.
    for index in 0..<2 where !session.sides[index].isGone && session.sides[1 - index].isGone {
      #expect(session.sides[index].sawEnd || session.sides[index].refuses, "seed \(seed), side \(index)")
    }
  }

  /// One that goes after its last byte takes nothing with it that the other is still to get.
  @Test(arguments: seeds) func theLastBytesOfOneThatLeaves(_ seed: UInt64) {
    let session = session(seed)
    session.sides[0].script = []
    session.faults.leaving = 1
    session.faults.stalling = 5
    run(session)
    #expect(session.violations == [], "seed \(seed)")
    if !session.sides[0].isGone { #expect(session.sides[0].received == session.sides[1].script, "seed \(seed)") }
    #expect(session.files == session.read, "seed \(seed)")
  }

  @Test(arguments: seeds) func aFullDisk(_ seed: UInt64) {
    let session = session(seed)
    session.faults.fileBytes = Int(seed) * 2000
    session.faults.shortWrite = 3
    run(session)
    #expect(session.violations == [], "seed \(seed)")
    #expect(session.sides[0].received == session.sides[1].script, "seed \(seed)")
    #expect(session.sides[1].received == session.sides[0].script, "seed \(seed)")
    for index in 0..<2 {
      let whole = session.sides[index].script
      #expect(session.files[index] == Array(whole.prefix(session.faults.fileBytes)), "seed \(seed)")
    }
  }

  /// A disk that hangs holds bytes up for two seconds at the most, and then the recording ends, not the session.
  @Test(arguments: seeds) func aDiskThatHangs(_ seed: UInt64) {
    let session = session(seed)
    session.faults.hangingBytes = 10_000
    session.faults.hangingNanoseconds = seed % 2 == 0 ? 1_000_000_000 : 60_000_000_000
    run(session)
    #expect(session.violations == [], "seed \(seed)")
    #expect(session.sides[0].received == session.sides[1].script, "seed \(seed)")
    #expect(session.sides[1].received == session.sides[0].script, "seed \(seed)")
    for index in 0..<2 { #expect(session.sides[index].script.starts(with: session.files[index]), "seed \(seed)") }
    if seed % 2 == 0 { #expect(session.files == session.read, "seed \(seed)") }
  }

  @Test(arguments: [[true, false], [false, true], [false, false]]) func filters(_ records: [Bool]) {
    for seed in 1...10 as ClosedRange<UInt64> {
      let session = session(seed)
      session.faults.passing = 10
      run(session, records: records)
      #expect(session.violations == [])
      #expect(session.sides[0].received == session.sides[1].script)
      #expect(session.sides[1].received == session.sides[0].script)
      #expect(session.files[0] == (records[0] ? session.sides[0].script : []))
      #expect(session.files[1] == (records[1] ? session.sides[1].script : []))
    }
  }

  /// With stamps and markers a read may need nineteen times its room, in several blocks.
  @Test(arguments: seeds) func stampsAndMarkers(_ seed: UInt64) throws {
    let session = session(seed, most: 60_000)
    session.sides[0].script = session.sides[0].script.map { $0 < 128 ? 10 : 120 }
    session.faults.shortWrite = 3
    run(session, encoder: Encoder(timestamps: true, boundaries: true))
    #expect(session.violations == [], "seed \(seed)")
    let text = String(decoding: session.files[0], as: UTF8.self)
    let begins = text.split(separator: "<<<\n", omittingEmptySubsequences: false)
    #expect(begins.count == text.split(separator: ">>>\n", omittingEmptySubsequences: false).count, "seed \(seed)")
    var relayed: [UInt8] = []
    for line in text.split(separator: "\n", omittingEmptySubsequences: false).dropLast() {
      guard line != "<<<" else { continue }
      // A marker ends a read, also in the middle of a line.
      let content = line.hasSuffix(">>>") ? line.dropLast(3) : line
      let stamp = content.prefix { $0.isNumber || $0 == "." }
      relayed += Array((stamp.count > 16 ? content.dropFirst(stamp.count + 1) : content).utf8)
      if !line.hasSuffix(">>>") { relayed.append(10) }
    }
    #expect(relayed == session.sides[0].script, "seed \(seed)")
  }
}
