import Glibc
import Testing

@testable import UringRawlog

@Suite struct ShowTests {
  private let directory: TemporaryDirectory

  init() throws {
    directory = try TemporaryDirectory()
  }

  private static let id = "20260131-091500.4711.1"

  // MARK: Sessions

  @Test func aSessionAsOneDialogue() throws {
    try directory.write("\(Self.id).in", "1769850900.508219 a1 CAPABILITY\r\n1769850900.510389 a2 LOGOUT\r\n")
    try directory.write("\(Self.id).out", "1769850900.505434 * OK ready\r\n1769850900.508341 a1 OK\r\nno stamp\n")
    try directory.write(
      "sessions.jsonl", IndexSample.start(Self.id) + IndexSample.end(Self.id, in: (26, 26, 62), out: (28, 28, 64)))
    let shown = try directory.show(Self.id)
    var time = DisplayedTime()
    var day = Bytes()
    time.day(1_769_850_900_000_000).append(to: &day)
    let date = day.text
    var clock = Bytes()
    time.append(1_769_850_900_000_000, to: &clock)
    let hour = String(clock.text.prefix(8))
    #expect(
      shown.text == """
        == \(Self.id)
        -- \(date), \(hour).504671, client 192.0.2.7:45584, server 127.0.0.1:10143
        -- ended by server-eof after 0.031239 s; recording complete
        \(hour).505434 out : * OK ready
        \(hour).508219 in  : a1 CAPABILITY
        \(hour).508341 out : a1 OK
        -- out: line 3 has no stamp, though the first line has; if this was recorded without -t, the times shown are \
        what was sent
                        out : no stamp\\x0a
        \(hour).510389 in  : a2 LOGOUT

        """)
    #expect(shown.status == .ok && shown.errors.isEmpty)
    // A dot that completion left, and each file by itself.
    #expect(try directory.show(Self.id + ".").text == shown.text)
    let alone = try directory.show(Self.id + ".in")
    #expect(!alone.text.contains("out :") && alone.text.contains("only '.in' is shown"))
    #expect(TranscriptLine.stream(alone.text, .in) == Array("a1 CAPABILITY\r\na2 LOGOUT\r\n".utf8))
  }

  @Test func anotherDayIsSaid() throws {
    try directory.write("a.in", "1769850900.000000 one\r\n1769937300.000000 two\r\n1769937301.000000 three\r\n")
    let lines = try directory.show("a").text.split(separator: "\n")
    #expect(lines.filter { $0.hasPrefix("-- 2026-0") }.count == 2 && lines.count == 7, "\(lines)")
  }

  @Test func oneOfTheTwoIsMissing() throws {
    try directory.write("a.out", "* OK\r\n")
    #expect(try directory.show("a").text == "== a\n-- in: there is no file '.in'\nout : * OK\n")
    try directory.write("sessions.jsonl", IndexSample.end("a", in: (5, 0, 0), out: (6, 6, 6)))
    #expect(try directory.show("a").text.contains("-- in: not recorded\n"))
  }

  @Test func withoutStamps() throws {
    try directory.write("a.in", "a1\r\na2\r\n")
    try directory.write("a.out", "o1\r\no2")
    #expect(
      try directory.show("a").text == """
        == a
        -- without stamps (-t) the order between the two files is not known: first all of .in, then all of .out
        in  : a1
        in  : a2
        out : o1
        out : o2
        -- out: the last line has no line feed

        """)
  }

  @Test func merged() throws {
    try directory.write("a.rawlog", "1769850900.000001 O: * OK\r\n1769850900.000002 I: a1\n1769850900.000003 I> half\n")
    try directory.write("other.log", directory.content("a.rawlog")!)
    for name in ["a", "a.rawlog", "other.log"] {
      let shown = try directory.show(name)
      #expect(shown.status == .ok && shown.errors.isEmpty, "\(shown.errors)")
      let lines = shown.text.split(separator: "\n").compactMap(TranscriptLine.init)
      #expect(lines.map(\.direction) == [.out, .in, .in])
      #expect(lines.map { String(decoding: $0.bytes, as: UTF8.self) } == ["* OK", "a1\n", "half"])
    }
    // A pair of the same stem is another recording.
    try directory.write("a.in", "pair\r\n")
    let both = try directory.show("a").text
    #expect(both.split(separator: "\n").filter { $0 == "== a" }.count == 2 && both.contains("pair"))
  }

  @Test func nothingThatATerminalObeysIsLeft() throws {
    var random = SeededGenerator(seed: 11)
    let bytes = (0..<20_000).map { _ in UInt8(truncatingIfNeeded: random.next()) }
    try directory.write("a.in", bytes)
    let control = "\u{1B}[31m"
    try directory.write(
      "sessions.jsonl", IndexSample.start("a").replacing("192.0.2.7:45584", with: "unix:/tmp/\\u001b[31m\\u202e"))
    let shown = try directory.show("a")
    #expect(!shown.text.contains(control) && shown.text.contains(#"unix:/tmp/\x1b[31m\x202e"#))
    #expect(shown.text.unicodeScalars.allSatisfy { $0 == "\n" || !$0.isObeyed })
    #expect(firstDifference(TranscriptLine.stream(shown.text, .in), bytes) == nil)
    // With colour, taking the colours off gives the same.
    let coloured = try directory.show("a") { $0.hasColour = true }.text
    #expect(coloured.contains("\u{1B}[36min "))
    #expect(firstDifference(Self.withoutColours(Array(coloured.utf8)), Array(shown.text.utf8)) == nil)
  }

  private static func withoutColours(_ text: [UInt8]) -> [UInt8] {
    var kept: [UInt8] = []
    var isInside = false
    for byte in text {
      if byte == 0x1B { isInside = true }
      if !isInside { kept.append(byte) }
      if byte == UInt8(ascii: "m") { isInside = false }
    }
    return kept
  }

  /// Whatever is in the files: no crash, and every byte is shown.
  @Test func anythingIsShown() throws {
    let parts = ["\n", "\r\n", "1769850900.000001 ", "x", ">>>\n", "<<<\n", "17698", "\u{1B}[2J", "\\x", "é"]
    for seed in 0..<60 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      func file() -> [UInt8] {
        (0..<random.below(60)).flatMap { _ in
          random.once(in: 4)
            ? [UInt8(truncatingIfNeeded: random.next())] : Array(parts.randomElement(using: &random)!.utf8)
        }
      }
      let (input, output) = (file(), file())
      try directory.write("a.in", input)
      try directory.write("a.out", output)
      let shown = try directory.show("a")
      for (direction, bytes) in [(Direction.in, input), (.out, output)] {
        let decoded = decode(StreamDecoder(direction), bytes)
        let stream = TranscriptLine.stream(shown.text, direction)
        try #require(firstDifference(stream, decoded.data) == nil, "seed \(seed), \(direction)")
      }
    }
  }

  // MARK: Gaps and ends

  @Test func gapsStandWhereBytesAreMissing() throws {
    // 12 bytes were sent: "one\r\n", 4 lost, "two"; then 3 lost at the end.
    try directory.write("a.in", "1769850900.000001 one\r\n1769850900.000002 two")
    let gaps =
      #"{"direction":"in","offset":5,"bytes":4},{"direction":"in","offset":10,"bytes":2},"#
      + #"{"direction":"in","offset":14,"bytes":3}"#
    let end = IndexSample.end("a", in: (17, 8, 44), dropped: 9, gaps: gaps, recording: "lossy")
    try directory.write("sessions.jsonl", IndexSample.start("a") + end)
    let shown = try directory.show("a")
    let lines = shown.text.split(separator: "\n").dropFirst(3).map(String.init)
    #expect(shown.text.contains("recording lossy: 9 bytes were lost"))
    func gap(_ bytes: Int) -> String { "-- in: \(bytes) bytes are missing here; they were relayed and not recorded" }
    #expect(
      lines.map { $0.hasPrefix("--") ? $0 : String($0.dropFirst(16)) } == [
        "-- out: there is no file '.out'", "in  : one", gap(4), "in  : t", gap(2), "in  + wo",
        "-- in: the last line has no line feed", gap(3),
      ], "\(lines)")
  }

  @Test func gapsThatCannotBeRightAreLeftAside() throws {
    try directory.write("a.in", "some bytes\r\n")
    for gaps in [
      #"{"direction":"in","offset":5,"bytes":4},{"direction":"in","offset":3,"bytes":4}"#,
      #"{"direction":"in","offset":0,"bytes":18446744073709551615},{"direction":"in","offset":18446744073709551615,"bytes":9}"#,
    ] {
      try directory.write("sessions.jsonl", IndexSample.end("a", in: (12, 12, 12), gaps: gaps, recording: "lossy"))
      #expect(TranscriptLine.stream(try directory.show("a").text, .in) == Array("some bytes\r\n".utf8))
    }
  }

  @Test func whatTheIndexSaysOfTheRecording() throws {
    try directory.write("a.in", "some")
    for (recording, words) in [
      ("truncated", "more was sent than --max-recording allows"),
      ("failed", "could not be created, or written to its end"),
      ("pre-login", "recording pre-login"),
    ] {
      try directory.write("sessions.jsonl", IndexSample.end("a", in: (10, 4, 4), recording: recording))
      let shown = try directory.show("a")
      #expect(shown.text.contains(words) && shown.text.contains("-- in: 6 bytes more were relayed and not recorded"))
      #expect(shown.status == .ok)
    }
    try directory.write("sessions.jsonl", IndexSample.start("a"))
    #expect(try directory.show("a").text.contains("no end in the index"))
    try directory.write("sessions.jsonl", IndexSample.end("a", in: (9, 9, 9)))
    let shorter = try directory.show("a")
    #expect(shorter.status == .dataError && shorter.errors.contains("has 4 bytes, and the index says 9"))
  }

  /// A file with exactly the relayed bytes has no stamps, whatever its first line looks like.
  @Test func theIndexTellsWhatAFileIs() throws {
    let text = "1769850900.000001 is what was sent\r\n<<<\r\n"
    try directory.write("a.in", text)
    #expect(try directory.show("a").text.contains("in  : is what was sent"))
    try directory.write("sessions.jsonl", IndexSample.end("a", in: (41, 41, 41)))
    #expect(try directory.show("a").text.hasSuffix("in  : 1769850900.000001 is what was sent\nin  : <<<\n"))
  }

  // MARK: Directories

  private func fillDirectory() throws {
    try directory.makeDirectory("sub")
    for (name, text) in [
      ("20260131-091502.9.1", "third"), ("20260131-091500.9.10", "second"), ("20260131-091500.9.2", "first"),
      ("sub/192.0.2.7-20260131-091501.9.3", "between"), ("20260131-091503-77", "fourth"),
    ] {
      try directory.write("\(name).in", "\(text)\r\n")
    }
    try directory.write("Makefile.in", "none\r\n")
    try directory.write("20260131-091500.9.7.in.gz", "none\r\n")
  }

  private func order(_ text: String) -> [String] {
    text.split(separator: "\n").filter { $0.hasPrefix("in  : ") }.map { String($0.dropFirst(6)) }
  }

  @Test func sessionsComeInTheOrderOfTheirNames() throws {
    try fillDirectory()
    let shown = try directory.show()
    #expect(order(shown.text) == ["first", "second", "between", "third", "fourth"] && shown.status == .ok)
    #expect(shown.text.contains("== sub/192.0.2.7-20260131-091501.9.3\n"))
  }

  @Test func theIndexHasTheBetterTime() throws {
    try fillDirectory()
    try directory.write(
      "sessions.jsonl",
      IndexSample.start("20260131-091502.9.1", time: "2020-01-01T00:00:00.000001Z")
        + IndexSample.start("20260131-091500.9.10", time: "2020-01-01T00:00:00.000000Z"))
    #expect(order(try directory.show().text) == ["second", "third", "first", "between", "fourth"])
  }

  @Test func oneSession() throws {
    try fillDirectory()
    for id in ["20260131-091502.9.1", "20260131-091502", "192.0.2.7-"] {
      let shown = try directory.show { $0.session = id }
      #expect(order(shown.text).count == 1 && shown.status == .ok, "\(id)")
    }
    // One that is the beginning of another.
    #expect(order(try directory.show { $0.session = "20260131-091500.9.1" }.text) == ["second"])
    try directory.write("20260131-091500.9.1.in", "exactly\r\n")
    #expect(order(try directory.show { $0.session = "20260131-091500.9.1" }.text) == ["exactly"])
    let several = try directory.show { $0.session = "20260131-09150" }
    #expect(
      several.status == .noInput && several.errors.contains("5 sessions") && several.errors.contains("more of the id"))
    let none = try directory.show { $0.session = "2025" }
    #expect(none.status == .noInput && none.errors.contains("leave the option out"))
    try directory.write("sessions.jsonl", IndexSample.start("20250101-000000.1.1"))
    #expect(try directory.show { $0.session = "2025" }.errors.contains("is in the index"))
    #expect(try directory.show("20260131-091502.9.1") { $0.session = "2026" }.status == .usage)
  }

  @Test func oneThatCannotBeReadDoesNotHideTheOthers() throws {
    try fillDirectory()
    let target = directory.path + "/20260131-091500.9.2.in"
    try #require(symlink(target, directory.path + "/20260131-091504.1.1.in") == 0)
    try #require(mkfifo(directory.path + "/20260131-091505.1.1.in", 0o600) == 0)
    try directory.makeDirectory("20260131-091506.1.1.in")
    try directory.write("20260131-091507.1.1.rawlog", "foreign\n")
    let shown = try directory.show()
    #expect(order(shown.text) == ["first", "second", "between", "third", "fourth"] && shown.status == .dataError)
    for words in [
      "091504.1.1.in' is a symbolic link", "091505.1.1.in' is a FIFO", "091507.1.1.rawlog' is no recording",
    ] {
      #expect(shown.errors.contains(words), "\(shown.errors)")
    }
    #expect(shown.errors.split(separator: "\n").count == 3)
    // Named itself, a link is followed.
    #expect(order(try directory.show("20260131-091504.1.1.in").text) == ["first"])
    #expect(try directory.show("20260131-091505.1.1.in").status == .noInput)
  }

  @Test func anIndexThatCannotBeReadDoesNotHideRecordings() throws {
    try directory.write("a.in", "x\r\n")
    try #require(symlink("elsewhere", directory.path + "/sessions.jsonl") == 0)
    let shown = try directory.show("a")
    #expect(shown.text.contains("in  : x\n") && shown.status == .noInput && shown.errors.contains("symbolic link"))
    #expect(try directory.show("a") { $0.indexDirectory = directory.path }.text.isEmpty)
  }

  // MARK: Bad input

  @Test func whatIsNoRecording() throws {
    try directory.write("foreign", "a line\n")
    try directory.write("empty", "")
    try directory.write("binary", (0..<1000).map { UInt8(truncatingIfNeeded: $0) })
    try directory.write("a.rawlog", "1769850900.000001 x\n")
    try directory.write("sessions.jsonl", IndexSample.start("a"))
    try directory.makeDirectory("none")
    try directory.makeDirectory("d.in")
    for (name, status) in [
      ("foreign", UringRawlog.ExitStatus.dataError), ("empty", .dataError), ("binary", .dataError),
      ("a.rawlog", .dataError),
      ("sessions.jsonl", .dataError), ("missing", .noInput), ("missing/x", .noInput), ("foreign/x", .noInput),
      ("none", .noInput),
      ("d.in", .noInput), (String(repeating: "x", count: 5000), .noInput),
    ] {
      let shown = try directory.show(name)
      #expect(shown.status == status && shown.text.isEmpty, "\(name): \(shown)")
      #expect(!shown.errors.isEmpty && !shown.errors.contains("\n"), "\(name): \(shown.errors)")
    }
    #expect(try directory.show("sessions.jsonl").errors.contains("name its directory"))
    #expect(try directory.show("none") { $0.indexDirectory = directory.path + "/d.in" }.errors.contains("--index"))
  }

  @Test func tornFilesAreShownAndSaid() throws {
    try directory.write("a.in", "1769850900.000001 one\r\n17698509")
    try directory.write("b.rawlog", "1769850900.000001 O: one\r\n1769850900.000001 O: tw")
    for (name, words) in [("a", "ends within a stamp"), ("b", "ends within a line")] {
      let shown = try directory.show(name)
      #expect(shown.status == .dataError && shown.errors.contains(words) && shown.text.contains("one"), "\(shown)")
      #expect(shown.errors.split(separator: "\n").count == 1)
    }
  }

  /// Sparse: many GiB that are not there.
  @Test func linesOfAnyLengthTakeNoMemory() throws {
    try directory.write("a.in", "1769850900.000001 begin")
    try #require(truncate(directory.path + "/a.in", 8 << 20) == 0)
    try directory.write("a.in", "end\r\n", appends: true)
    let shown = try directory.show("a.in")
    #expect(shown.status == .ok)
    let lines = shown.text.split(separator: "\n").compactMap(TranscriptLine.init)
    #expect(lines.reduce(0) { $0 + $1.bytes.count } == (8 << 20) - 18 + 3)
    #expect(lines.allSatisfy { $0.bytes.count <= Limits.pieceBytes } && lines.filter { !$0.continues }.count == 1)
  }

  // MARK: Where it is written

  @Test func outputsThatEnd() throws {
    try directory.write("a.in", String(repeating: "a line\r\n", count: 100_000))
    // Nobody reads: as with `| head`.
    var ends: [Int32] = [0, 0]
    try #require(pipe(&ends) == 0)
    close(ends[0])
    #expect(try Show.run(ShowConfiguration(path: directory.path + "/a"), output: ends[1], errors: -1) == .ok)
    close(ends[1])
    let full = openFile("/dev/full", flags: O_WRONLY)
    try #require(full >= 0)
    defer { close(full) }
    #expect {
      try Show.run(ShowConfiguration(path: directory.path + "/a"), output: full, errors: -1)
    } throws: {
      ($0 as? StartError)?.status == .ioError
    }
  }
}
