import Glibc
import Testing

@testable import UringRawlog

@Suite struct VerifyTests {
  private let directory: TemporaryDirectory
  private static let id = "20260131-091500.4711.1"
  private static let stamped = "1769850900.508219 a1 NOOP\r\n1769850900.510389 a2 LOGOUT\r\n"
  private static let plain = "* OK ready\r\n"

  init() throws {
    directory = try TemporaryDirectory()
    try directory.write("\(Self.id).in", Self.stamped)
    try directory.write("\(Self.id).out", Self.plain)
    try directory.write("sessions.jsonl", IndexSample.start(Self.id) + Self.end)
  }

  private static let end = IndexSample.end(id, in: (20, 20, 56), out: (12, 12, 12))

  private func expect(
    _ findings: [String], _ name: String = "", _ sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let verified = try directory.verify(name)
    #expect(verified.status == (findings.isEmpty ? .ok : .dataError), sourceLocation: sourceLocation)
    #expect(verified.lines.count == findings.count + 1, "\(verified.lines)", sourceLocation: sourceLocation)
    for finding in findings {
      #expect(verified.lines.contains { $0.contains(finding) }, "\(verified.lines)", sourceLocation: sourceLocation)
    }
    let sum = findings.isEmpty ? "all as the index says" : "\(findings.count) finding"
    #expect(verified.lines.last?.contains(sum) == true, sourceLocation: sourceLocation)
  }

  @Test func allIsWell() throws {
    for name in ["", Self.id, "\(Self.id).in", "\(Self.id).out"] { try expect([], name) }
    #expect(try directory.verify().lines == ["1 session, 2 files: all as the index says"])
    // Other files do not matter, and an index without sessions is one.
    try directory.write("README", "x")
    try directory.write("sessions.jsonl.1", "x")
    try expect([])
    let empty = try TemporaryDirectory()
    try empty.write("sessions.jsonl", "")
    #expect(try empty.verify() == (.ok, ["0 sessions, 0 files: all as the index says"]))
  }

  @Test func filesThatWereChanged() throws {
    try directory.write("\(Self.id).out", "* OK ready\r")
    try expect(["\(Self.id).out: 1 of 12 bytes are missing"])
    try directory.write("\(Self.id).out", Self.plain + "more")
    try expect(["\(Self.id).out: 4 bytes more than the 12"])
    try directory.write("\(Self.id).out", Self.plain)
    // As long as before, with a stamp that is none any more.
    try directory.write("\(Self.id).in", Self.stamped.replacing("900.510389 ", with: "9000510389 "))
    let changed = [
      "\(Self.id).in: line 2 has no stamp", "\(Self.id).in: holds 38 relayed bytes, and the index says 20",
    ]
    try expect(changed)
    try expect(changed, "\(Self.id).in")
    try expect([], "\(Self.id).out")
  }

  @Test func filesThatAreMissing() throws {
    try #require(unlink("\(directory.path)/\(Self.id).in") == 0)
    try expect(["\(Self.id).in: missing; the index says that it has 56 bytes"])
    try expect(["\(Self.id).in: missing"], Self.id)
    try #require(unlink("\(directory.path)/\(Self.id).out") == 0)
    try expect(["\(Self.id).in: missing", "\(Self.id).out: missing"])
    // Those that were left out are not.
    try directory.write("sessions.jsonl", IndexSample.end(Self.id, in: (20, 0, 0), out: (12, 0, 0), recording: "none"))
    try expect([])
  }

  @Test func filesThatAreNotTheRelays() throws {
    try directory.write("\(Self.id).in", Self.stamped, mode: 0o644)
    try expect(["\(Self.id).in: mode 0644 and not 0600: others may use it"])
    try directory.write("\(Self.id).in", Self.stamped, mode: 0o400)
    try expect(["\(Self.id).in: mode 0400 and not 0600: it was changed"])
    try #require(rename("\(directory.path)/\(Self.id).in", "\(directory.path)/elsewhere") == 0)
    try #require(symlink("elsewhere", "\(directory.path)/\(Self.id).in") == 0)
    try expect(["\(Self.id).in' is a symbolic link"])
    try #require(unlink("\(directory.path)/\(Self.id).in") == 0)
    try #require(mkfifo("\(directory.path)/\(Self.id).in", 0o600) == 0)
    try expect(["\(Self.id).in' is a FIFO"])
  }

  @Test func sessionsThatAreNotInTheIndex() throws {
    try directory.write("20260131-091501.4711.2.in", "x\r\n")
    try directory.write("20260131-091501-4712.out", "x\r\n")
    try directory.write("strange.in", "x\r\n")
    try expect([
      "20260131-091501.4711.2: no entry in the index", "20260131-091501-4712: no entry", "strange.in: the name is not",
    ])
    try expect(["no entry"], "20260131-091501.4711.2")
  }

  @Test func sessionsWithoutAnEnd() throws {
    try directory.write("sessions.jsonl", IndexSample.start(Self.id) + IndexSample.start("20260131-091500.4711.2"))
    try expect(["\(Self.id): no end in the index", "4711.2: no end in the index"])
    // An end without a start is what moving an index away leaves.
    try directory.write("sessions.jsonl", Self.end)
    try expect([])
  }

  @Test func linesOfTheIndex() throws {
    try directory.write(
      "sessions.jsonl",
      IndexSample.start(Self.id) + "{\"event\":\"sta\n" + "\n" + Self.end + Self.end + IndexSample.start("../x") + "{",
      mode: 0o640)
    try expect([
      "sessions.jsonl: mode 0640 and not 0600", "sessions.jsonl: line 2 is torn, or no record",
      "line 5 is another 'end'",
      "line 6 has the id '../x'", "line 7 is torn: it has no line feed", "../x: no end in the index",
    ])
  }

  @Test func gapsAndSums() throws {
    let gaps = #"{"direction":"in","offset":3,"bytes":5}"#
    let lossy = IndexSample.end(
      Self.id, in: (25, 20, 56), out: (12, 12, 12), dropped: 5, gaps: gaps, recording: "lossy")
    try directory.write("sessions.jsonl", IndexSample.start(Self.id) + lossy)
    try expect([])
    try directory.write("sessions.jsonl", lossy.replacing(#""dropped":5"#, with: #""dropped":6"#))
    try expect(["the gaps have 5 bytes, and 'dropped' is 6"])
    try directory.write("sessions.jsonl", lossy.replacing(#""in_bytes":25"#, with: #""in_bytes":24"#))
    try expect(["20 bytes recorded and 5 lost are more than the 24 relayed"])
  }

  /// Directories of a template lie below the one that has the index.
  @Test func directoriesOfATemplate() throws {
    try directory.makeDirectory("192.0.2.7")
    try directory.makeDirectory("192.0.2.8")
    for (name, number) in [("192.0.2.7", 2), ("192.0.2.8", 3)] {
      let id = "20260131-091501.4711.\(number)"
      try directory.write("\(name)/\(id).in", "abc\r\n")
      try directory.write("sessions.jsonl", IndexSample.end(id, in: (5, 5, 5)), appends: true)
    }
    try expect([])
    let part = try directory.verify("192.0.2.7", index: directory.path)
    #expect(
      part.lines == [
        "1 session, 1 file: all as the index says; 2 sessions of the index without files here not looked at"
      ])
    try #require(unlink("\(directory.path)/192.0.2.8/20260131-091501.4711.3.in") == 0)
    try expect(["4711.3.in: missing"])
    // An index that lies beside is about this directory.
    let beside = try TemporaryDirectory()
    try beside.write("sessions.jsonl", directory.content("sessions.jsonl")!)
    #expect(try directory.verify("192.0.2.7", index: beside.path).status == .dataError)
  }

  @Test func nothingToVerify() throws {
    try directory.makeDirectory("none")
    for (name, index, words) in [
      ("missing", nil, "cannot find"), ("none", nil, "no index"),
      ("", directory.path + "/none", "--index: there is no index"),
    ] as [(String, String?, String)] {
      let verified = try directory.verify(name, index: index)
      #expect(
        verified.status == .noInput && verified.lines.count == 1 && verified.lines[0].contains(words), "\(verified)")
    }
    try #require(rename("\(directory.path)/sessions.jsonl", "\(directory.path)/elsewhere") == 0)
    try #require(symlink("elsewhere", "\(directory.path)/sessions.jsonl") == 0)
    #expect(try directory.verify().status == .noInput)
  }

  @Test func whatIsPrintedIsEscaped() throws {
    try directory.write("a\u{1B}[31m.in", "x")
    let id = IndexSample.start("x").replacing(#""id":"x""#, with: #""id":"\u001b[2J""#)
    try directory.write("sessions.jsonl", id, appends: true)
    let lines = try directory.verify().lines
    #expect(
      lines.contains { $0.contains(#"a\x1b[31m.in"#) } && lines.contains { $0.contains(#"'\x1b[2J'"#) }, "\(lines)")
    #expect(lines.allSatisfy { $0.unicodeScalars.allSatisfy { !$0.isObeyed } })
  }

  /// Whatever is in the files and in the index: no crash, and an answer.
  @Test func anything() throws {
    for seed in 0..<100 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      func noise(_ bytes: [UInt8]) -> [UInt8] {
        var bytes = bytes
        for _ in 0..<1 + random.below(4) where !bytes.isEmpty {
          let place = random.below(bytes.count)
          switch random.below(3) {
          case 0: bytes[place] = UInt8(truncatingIfNeeded: random.next())
          case 1: bytes.remove(at: place)
          default: bytes.insert(bytes[random.below(bytes.count)], at: place)
          }
        }
        return bytes
      }
      try directory.write("sessions.jsonl", noise(Array((IndexSample.start(Self.id) + Self.end).utf8)))
      try directory.write("\(Self.id).in", noise(Array(Self.stamped.utf8)))
      let verified = try directory.verify()
      #expect(verified.status == .ok || verified.status == .dataError)
      #expect(verified.lines.last?.contains("session") == true)
      #expect(try directory.show().status != .usage)
    }
  }
}
