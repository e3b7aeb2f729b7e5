import Testing

@testable import UringRawlog

@Suite struct RetentionTests {
  private let second: Int64 = 1_000_000_000
  private let now: Int64 = 1_769_846_400_000_000_000
  private let volume = Retention.Volume(bytes: 100_000, freeBytes: 50_000)

  /// Files of so many bytes, the first the oldest, an hour apart.
  private func files(_ paths: [String], bytes: UInt64 = 100) -> [Retention.File] {
    paths.enumerated().map {
      Retention.File(
        path: $0.element, bytes: bytes, modified: now - Int64(paths.count - $0.offset) * 3600 * second, isLocked: false,
        isRegular: true)
    }
  }

  private func pair(_ number: Int) -> [String] {
    ["20260131-080000.1.\(number).in", "20260131-080000.1.\(number).out"]
  }

  private func deleted(_ plan: Retention.Plan) -> [String] { plan.deletions.flatMap(\.paths) }

  @Test func withoutLimitsNothingGoes() {
    let plan = Retention().plan(files(pair(1) + pair(2)), volume, now: now)
    #expect(plan == Retention.Plan())
  }

  @Test func theOldestGoFirstAndPairsTogether() {
    let files = files(pair(1) + pair(2) + pair(3))
    for (most, expected, bytes) in [(600, 0, 0), (599, 1, 200), (400, 1, 200), (399, 2, 400), (1, 3, 600), (0, 3, 600)]
    {
      let plan = Retention(mostBytes: UInt64(most)).plan(files.shuffled(), volume, now: now)
      #expect(deleted(plan) == (1..<1 + expected).flatMap { pair($0) }, "at most \(most)")
      #expect(plan.deletions.reduce(0) { $0 + $1.bytes } == UInt64(bytes))
      #expect(plan.deletions.allSatisfy { $0.reason == .size } && plan.isEnough)
    }
  }

  @Test func age() {
    let files = files(pair(1) + pair(2))
    // The last file of the first pair is three hours old, and that counts for both.
    for (hours, expected) in [(5, 0), (3, 0), (2, 1), (1, 1), (0, 2)] {
      let plan = Retention(mostAge: Int64(hours) * 3600 * second).plan(files, volume, now: now)
      #expect(plan.deletions.count == expected && plan.deletions.allSatisfy { $0.reason == .age })
    }
  }

  @Test func freeSpace() {
    let files = files(pair(1) + pair(2) + pair(3), bytes: 2500)
    for (percent, expected) in [(0, 0), (50, 0), (51, 1), (55, 1), (56, 2), (65, 3)] {
      let plan = Retention(leastFreePercent: percent).plan(files, volume, now: now)
      #expect(plan.deletions.count == expected && plan.isEnough, "\(percent) %")
      #expect(plan.deletions.allSatisfy { $0.reason == .free })
    }
    let tooMuch = Retention(leastFreePercent: 66).plan(files, volume, now: now)
    #expect(tooMuch.deletions.count == 3 && !tooMuch.isEnough)
  }

  @Test func limitsTogether() {
    var files = files(pair(1) + pair(2) + pair(3))
    files[0].modified -= 86400 * second
    files[1].modified -= 86400 * second
    let plan = Retention(mostBytes: 300, mostAge: 86400 * second).plan(files, volume, now: now)
    #expect(plan.deletions.map(\.reason) == [.age, .size])
  }

  @Test func liveOnesStay() {
    var files = files(pair(1) + pair(2))
    files[1].isLocked = true
    let plan = Retention(mostBytes: 0, mostAge: 0).plan(files, volume, now: now)
    #expect(deleted(plan) == pair(2) && !plan.isEnough)
    // A file that was only just written to may not be locked yet. A clock that was set back makes nothing live.
    files[1].isLocked = false
    for (age, isLive) in [(0, true), (4, true), (5, false), (-1, false)] {
      files[1].modified = now - Int64(age) * second
      let plan = Retention(mostBytes: 0).plan(files, volume, now: now)
      #expect(deleted(plan).contains(pair(1)[0]) == !isLive, "\(age) s")
    }
  }

  @Test func capturesGoBeforeTheirSideFiles() {
    let stem = "20260131-080000.1.1"
    for suffixes in [[".idx", ".pcapng"], [".idx", ".pcapng.zst"], [".idx.part", ".pcapng.part"]] {
      let plan = Retention(mostBytes: 0).plan(files(suffixes.map { stem + $0 }), volume, now: now)
      #expect(deleted(plan) == [stem + suffixes[1], stem + suffixes[0]])
      #expect(plan.deletions.count == 1)
    }
  }

  @Test func aCaptureAndASessionOfOneNameAreTwo() {
    var files = files(["20260131-080000.1.1.pcapng"] + pair(1) + ["20260131-080000.1.1.idx"])
    files[1].isLocked = true
    let plan = Retention(mostBytes: 0).plan(files, volume, now: now)
    #expect(deleted(plan) == ["20260131-080000.1.1.pcapng", "20260131-080000.1.1.idx"])
  }

  @Test func onlyOurOwnRegularFiles() {
    var files = files(
      ["sessions.jsonl", "notes.txt", "sessions-20260130.jsonl", "20260130-080000.1.1.rawlog", "a/mail.in"] + pair(1))
    files[5].isRegular = false
    let plan = Retention(mostBytes: 0).plan(files, volume, now: now)
    #expect(deleted(plan) == ["sessions-20260130.jsonl", "20260130-080000.1.1.rawlog", pair(1)[1]])
    // What is not ours counts for nothing.
    #expect(plan.isEnough)
  }

  @Test func directoriesKeepFilesApart() {
    var files = files(["alice/\(pair(1)[0])", "bob/\(pair(1)[1])"])
    files[0].isLocked = true
    let plan = Retention(mostBytes: 0).plan(files, volume, now: now)
    #expect(deleted(plan) == ["bob/\(pair(1)[1])"])
  }
}
