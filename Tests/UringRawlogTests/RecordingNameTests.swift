import Glibc
import Testing

@testable import UringRawlog

@Suite struct RecordingNameTests {
  @Test(arguments: [
    ("20260131-091500.4711.12", 4711, 12), ("192.0.2.7-20260131-091500.4711.1", 4711, 1),
    ("2001:db8::1-20260131-091500.4711.1", 4711, 1), ("fe80::1%3-20260131-091500.4711.1", 4711, 1),
    ("unix-20260131-091500.4711.1", 4711, 1), ("0.0.0.0-20260131-091500.1.18446744073709551615", 1, UInt64.max),
    // Dovecot's rawlog binary, with -I and an empty address, and with a name that was taken.
    ("20260131-091500-4711", 4711, 0), ("-20260131-091500-4711", 4711, 0), ("192.0.2.7-20260131-091500-4711", 4711, 0),
    ("20260131-091500-4711.1", 4711, 1), ("20260131-091500-4711-2", 4711, 2),
  ])
  func stems(stem: String, processID: UInt64, number: UInt64) throws {
    let parts = try #require(RecordingName.Parts(stem))
    #expect(parts.time == 20_260_131_091_500 && parts.processID == processID && parts.number == number)
  }

  @Test(arguments: [
    "", "x", "20260131-091500", "20260131-091500.", "20260131-091500.4711.", "20260131-091500.4711.1.1",
    "2026131-091500.1.1",
    "20260131-09150.1.1", "20260131091500.1.1", "x20260131-091500.1.1", "20260131-091500.1.x", "20260131-091500.1.1 ",
    "20260131-091500.1.1\n", "a b-20260131-091500.1.1", "a/b-20260131-091500.1.1", "é-20260131-091500.1.1",
    "20260131-091500.99999999999999999999.1", "Makefile",
  ])
  func others(stem: String) {
    #expect(RecordingName.Parts(stem) == nil)
  }

  @Test func suffixes() {
    #expect(RecordingName("a.in")?.stem == "a" && RecordingName("a.in")?.kind == .in)
    #expect(RecordingName("a.b.out")?.stem == "a.b" && RecordingName("a.b.out")?.kind == .out)
    #expect(RecordingName("a.rawlog")?.kind == .merged)
    for name in ["", ".in", ".rawlog", "in", "a.IN", "a.in ", "a.in.gz", "sessions.jsonl", "a.pcapng"] {
      #expect(RecordingName(name) == nil, "\(name)")
    }
  }

  @Test func times() throws {
    var time = time_t(1_769_850_900)
    var local = tm()
    localtime_r(&time, &local)
    var text = [CChar](repeating: 0, count: 32)
    strftime(&text, 32, "%Y%m%d-%H%M%S", &local)
    let stem = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self) + ".1.1"
    #expect(try #require(RecordingName.Parts(stem)).microseconds == 1_769_850_900_000_000)
  }
}
