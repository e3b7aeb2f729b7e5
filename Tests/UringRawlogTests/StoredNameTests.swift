import Testing

@testable import UringRawlog

@Suite struct StoredNameTests {
  @Test(arguments: [
    ("20260131-091500.4711.1.in", StoredName.Kind.pair, "20260131-091500.4711.1"),
    ("20260131-091500.4711.1.out", .pair, "20260131-091500.4711.1"),
    ("192.0.2.7-20260131-091500.4711.12.in", .pair, "192.0.2.7-20260131-091500.4711.12"),
    ("2001:db8::1-20260131-091500.1.1.out", .pair, "2001:db8::1-20260131-091500.1.1"),
    ("fe80::1%3-20260131-091500.1.1.out", .pair, "fe80::1%3-20260131-091500.1.1"),
    ("unix-20260131-091500.4711.1.rawlog", .merged, "unix-20260131-091500.4711.1"),
    ("20260131-091500.4711.18446744073709551615.rawlog", .merged, "20260131-091500.4711.18446744073709551615"),
    ("20260131-091500.4711.1.pcapng", .capture, "20260131-091500.4711.1"),
    ("20260131-091500.4711.1.pcapng.zst", .capture, "20260131-091500.4711.1"),
    ("20260131-091500.4711.1.idx", .captureIndex, "20260131-091500.4711.1"),
    ("sessions-20260131.jsonl", .dayIndex, "sessions-20260131.jsonl"),
  ])
  func ours(name: String, kind: StoredName.Kind, stem: String) throws {
    let stored = try #require(StoredName(name))
    #expect(stored.kind == kind && stored.stem == stem && !stored.isPartial)
  }

  @Test(arguments: ["20260131-091500.4711.1.pcapng", "20260131-091500.4711.1.idx", "20260131-091500.4711.1.pcapng.zst"])
  func partial(name: String) throws {
    let stored = try #require(StoredName(name + ".part"))
    #expect(stored.isPartial && stored.stem == "20260131-091500.4711.1")
  }

  @Test(arguments: [
    "", ".in", "sessions.jsonl", "sessions-2026013.jsonl", "sessions-20261331.jsonl", "sessions-20260132.jsonl",
    "sessions-20260131.jsonl.part", "sessions-20260131.json", "mail.in", "20260131-091500.4711.in",
    "20260131-091500-4711.in", "20260131-091500.4711.1.in.part", "20260131-091500.4711.1.rawlog.part",
    "20260131-091500.4711.1", "20260131-091500.4711.1.txt", "20260131-091500.4711.01.in", "20260131-241500.4711.1.in",
    "20260131-096000.4711.1.in", "20261331-091500.4711.1.in", "x20260131-091500.4711.1.in",
    "-20260131-091500.4711.1.in",
    "192.0.2-20260131-091500.4711.1.in", "host-20260131-091500.4711.1.in", "192.0.2.7-20260131-091500.4711.1.pcapng",
    "2001:db8::1%-20260131-091500.1.1.in", "20260131-091500.4711.1.in~", "20260131-091500.4711.1.IN",
    "20260131-091500.4711.1.1.in", "20260131-091500.+711.1.in", "20260131-091500.4711.1.pcapng.gz",
    "20260131-0915٠٠.4711.1.in", "20260131-091500.4711.111111111111111111111.in",
  ])
  func notOurs(name: String) { #expect(StoredName(name) == nil) }

  @Test func whatCapturesAreCalledIsOurs() throws {
    let name = CaptureName(
      time: Array("20260131-081500".utf8).withUnsafeBytes { LocalTimeText($0) }, processID: 4711, number: 12)
    for (file, kind) in [(CaptureName.File.capture, StoredName.Kind.capture), (.index, .captureIndex)] {
      for isPartial in [false, true] {
        var text = Bytes()
        name.append(file, isPartial: isPartial, to: &text)
        let made = text.text
        let stored = try #require(StoredName(made))
        #expect(stored.kind == kind && stored.isPartial == isPartial && stored.stem == "20260131-081500.4711.12")
      }
    }
  }
}
