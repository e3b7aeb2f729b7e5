import Testing

@testable import UringRawlog

@Suite struct ValuesTests {
  @Test(arguments: [
    ("0", 0), ("1", 1), ("4096", 4096), ("64K", 64 << 10), ("64k", 64 << 10), ("64M", 64 << 20), ("1m", 1 << 20),
    ("2G", 2 << 30), ("007", 7), ("9223372036854775807", Int.max), ("9007199254740991K", 9_007_199_254_740_991 << 10),
  ])
  func sizes(text: String, expected: Int) throws {
    #expect(try Values.size(text) == expected)
  }

  @Test(arguments: [
    "", "K", "M64", "-1", "+1", "1.5M", "64KB", "64 M", " 64M", "64M ", "0x10", "1e3", "64T", "\u{0661}", "6\u{301}4M",
  ])
  func notSizes(text: String) {
    let error = #expect(throws: ValueError.self) { try Values.size(text) }
    #expect(
      error?.description == "'\(text.escapedForMessage)' is not a size; write a number with K, M or G, such as 64M")
  }

  @Test(arguments: [
    "9223372036854775808", "99999999999999999999999", "9223372036854775807K", "9007199254740992K", "8589934592G",
  ])
  func sizesThatAreTooLarge(text: String) {
    let error = #expect(throws: ValueError.self) { try Values.size(text) }
    #expect(error?.description == "'\(text)' is too large")
  }

  @Test(
    arguments: [
      ("0", 0), ("0s", 0), ("00", 0), ("1ms", 1_000_000), ("1500ms", 1_500_000_000), ("30s", 30_000_000_000),
      ("35m", 2_100_000_000_000), ("2h", 7_200_000_000_000), ("1d", 86_400_000_000_000),
      ("26687d", 26687 * 86_400_000_000_000),
    ] as [(String, UInt64)])
  func durations(text: String, expected: UInt64) throws {
    #expect(try Values.duration(text) == expected)
  }

  @Test(arguments: [
    "", "5", "s", "-1s", "+1s", "1.5s", "10 s", "10S", "10min", "10us", "0x1s", "1s ", "1m30s", "\u{0661}s",
  ])
  func notDurations(text: String) {
    let error = #expect(throws: ValueError.self) { try Values.duration(text) }
    #expect(
      error?.description
        == "'\(text.escapedForMessage)' is not a duration; write a number with ms, s, m, h or d, such as 30s")
  }

  @Test(arguments: ["26689d", "99999999999d", "9223372036854775807ms", "99999999999999999999s"])
  func durationsThatAreTooLong(text: String) {
    let error = #expect(throws: ValueError.self) { try Values.duration(text) }
    #expect(error?.description.hasPrefix("'\(text)' is too l") == true)
  }

  /// A clock and a duration can be added without a trap.
  @Test func theLongestDurationsCanBeAdded() throws {
    let longest = try Values.duration("26687d")
    let (sum, overflow) = longest.addingReportingOverflow(longest)
    #expect(!overflow && sum < UInt64(Int64.max))
  }

  @Test func numbers() throws {
    #expect(try Values.number("0", from: 0, to: 10) == 0)
    #expect(try Values.number("10", from: 0, to: 10) == 10)
    #expect(try Values.number("0010", from: 0, to: 10) == 10)
    for text in ["", "11", "-1", "+1", "1.0", "ten", " 1", "99999999999999999999", "\u{0661}"] {
      let error = #expect(throws: ValueError.self) { try Values.number(text, from: 0, to: 10, unit: "count") }
      #expect(error?.description == "'\(text)' is not a count from 0 to 10")
    }
  }

  /// What the user typed is shown, but never as it is.
  @Test func messagesAreEscaped() {
    for text in ["1\u{1B}[2J", "1\nK"] {
      for error in [
        #expect(throws: ValueError.self) { try Values.size(text) },
        #expect(throws: ValueError.self) { try Values.duration(text) },
        #expect(throws: ValueError.self) { try Values.number(text, from: 0, to: 1) },
      ] {
        let shown = error?.description ?? ""
        #expect(shown.escapedForMessage == shown && shown.contains("\\x"))
      }
    }
  }

  @Test func boundsOfOptions() {
    #expect(RelayConfiguration.logMemoryMinimum == Limits.logMemoryMinimum)
    #expect(RelayConfiguration.maxSessionsMaximum == Limits.sessionsMaximum)
  }

  @Test(arguments: [
    ("2026-01-31", "20260131-000000"), ("2026-01-31T08:15", "20260131-081500"),
    ("2026-01-31T08:15:59", "20260131-081559"),
  ])
  func localTimes(text: String, expected: String) throws {
    var clock = Clock()
    clock.set(Instant(nanoseconds: 0, epochMicroseconds: try Values.localTime(text)))
    var name = Bytes()
    clock.localName().append(to: &name)
    #expect(String(decoding: name.span, as: UTF8.self) == expected)
  }

  @Test(arguments: ["", "2026", "2026-1-31", "2026-01-31T08", "2026-01-31 08:15", "2026-01-31T08:15:59Z", "yesterday"])
  func notLocalTimes(text: String) {
    #expect(throws: ValueError.self) { try Values.localTime(text) }
  }
}
