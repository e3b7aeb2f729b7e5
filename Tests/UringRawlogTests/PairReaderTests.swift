import Testing

@testable import UringRawlog

/// The two files of a session as one: what is earlier comes first, and nothing changes its place within a file.
@Suite struct PairReaderTests {
  private struct Line: Equatable {
    var direction: Direction
    var time: Int64?
    var text: String
  }

  private static func read(
    in input: String, out output: String, isFollowed: Bool = false, tail: FileTail = .whole
  ) throws -> (lines: [Line], remarks: [Remark]) {
    let directory = try TemporaryDirectory()
    try directory.write("s.in", input)
    try directory.write("s.out", output)
    var source = RecordingSource(
      RecordingFiles(path: directory.path + "/s", id: "s", kinds: []), ending: nil, isFollowed: isFollowed)
    try source.open(.in)
    try source.open(.out)
    let reader = try #require(source.reader)
    return try rest(reader, tail)
  }

  private static func rest(_ reader: any RecordingReader, _ tail: FileTail) throws -> (
    lines: [Line], remarks: [Remark]
  ) {
    var lines: [Line] = []
    var remarks: [Remark] = []
    while let event = try reader.head(tail) {
      switch event {
      case .gap: Issue.record("a file of one direction tells of no gap")
      case .remark(let remark): remarks.append(remark)
      case .piece(let piece):
        lines.append(
          Line(direction: piece.direction, time: piece.time, text: String(decoding: piece.bytes, as: UTF8.self)))
      }
      reader.removeHead()
    }
    return (lines, remarks)
  }

  @Test func linesComeInTheOrderOfTime() throws {
    let (lines, remarks) = try Self.read(
      in: "5.000002 a\n5.000005 b\n5.000006 c\n", out: "5.000001 x\n5.000003 y\n5.000004 z\n5.000009 end\n")
    #expect(lines.map(\.text) == ["x\n", "a\n", "y\n", "z\n", "b\n", "c\n", "end\n"] && remarks.isEmpty)
  }

  /// Either may have been first; `in` comes whole, and before its answers.
  @Test func equalTimes() throws {
    let (lines, _) = try Self.read(
      in: "5.000001 a\n5.000001 b\n5.000002 c\n", out: "5.000001 x\n5.000001 y\n5.000002 z\n")
    #expect(lines.map(\.text) == ["a\n", "b\n", "x\n", "y\n", "c\n", "z\n"])
  }

  /// Within a file the order is known, whatever the clock said.
  @Test func aClockThatWasSetBack() throws {
    let (lines, _) = try Self.read(in: "5.000009 a\n5.000001 b\n5.000010 c\n", out: "5.000005 x\n5.000011 y\n")
    #expect(lines.filter { $0.direction == .in }.map(\.text) == ["a\n", "b\n", "c\n"])
    #expect(lines.map(\.text) == ["x\n", "a\n", "b\n", "c\n", "y\n"])
  }

  @Test func aLineWithoutStampFollowsTheOneBefore() throws {
    let (lines, remarks) = try Self.read(in: "5.000001 a\nnone\n5.000009 b\n", out: "5.000002 x\n")
    #expect(lines.map(\.text) == ["a\n", "none\n", "x\n", "b\n"] && remarks == [.stampMissing(.in, line: 2)])
  }

  @Test func withoutStampsOneFollowsTheOther() throws {
    for (input, output) in [
      ("a\nb\n", "x\ny\n"), ("a\nb\n", "5.000001 x\n5.000002 y\n"), ("5.000009 a\n5.000009 b\n", "x\ny\n"),
    ] {
      let (lines, remarks) = try Self.read(in: input, out: output)
      #expect(lines.map(\.text) == ["a\n", "b\n", "x\n", "y\n"] && remarks == [.orderUnknown(isFollowed: false)])
    }
    // Where one is empty there is no order to be known.
    for (input, output) in [("a\n", ""), ("", "a\n"), ("", "")] {
      let (lines, remarks) = try Self.read(in: input, out: output)
      #expect(lines.map(\.text).joined() == input + output && remarks.isEmpty)
    }
  }

  /// Random dialogues: sorted by time, stable, nothing lost.
  @Test func everyDialogue() throws {
    for seed in 0..<100 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      var expected: [Line] = []
      for direction in [Direction.in, .out] {
        var time: Int64 = 5_000_000
        for number in 0..<random.below(20) {
          time += Int64(random.below(4))
          expected.append(Line(direction: direction, time: time, text: "\(direction) \(number)\n"))
        }
      }
      func file(_ direction: Direction) -> String {
        expected.filter { $0.direction == direction }.map { "5.\(String($0.time!).dropFirst(1)) \($0.text)" }.joined()
      }
      let found = try Self.read(in: file(.in), out: file(.out)).lines
      expected.sort {
        let (first, second) = (($0.time!, $0.direction.rawValue), ($1.time!, $1.direction.rawValue))
        if first != second { return first < second }
        return Int($0.text.dropLast().split(separator: " ")[1])! < Int($1.text.dropLast().split(separator: " ")[1])!
      }
      try #require(found == expected, "seed \(seed)")
    }
  }

  // MARK: While it is recorded

  @Test func aLineWaitsForTheOtherDirection() throws {
    let directory = try TemporaryDirectory()
    try directory.write("s.in", "5.000001 a\n5.000004 b\n")
    try directory.write("s.out", "5.000002 x\n")
    var source = RecordingSource(
      RecordingFiles(path: directory.path + "/s", id: "s", kinds: []), ending: nil, isFollowed: true)
    try source.open(.in)
    try source.open(.out)
    let reader = try #require(source.reader)
    #expect(try Self.rest(reader, .growing).lines.map(\.text) == ["a\n", "x\n"])
    #expect(reader.isHolding)
    reader.rest()
    try directory.write("s.out", "5.000003 y\n5.00", appends: true)
    reader.lookAgain()
    #expect(try Self.rest(reader, .growing).lines.map(\.text) == ["y\n"])
    #expect(try Self.rest(reader, .settled).lines.map(\.text) == ["b\n"])
    // Half a stamp is nothing yet.
    #expect(try Self.rest(reader, .resting).lines.isEmpty && reader.isHolding)
    try directory.write("s.out", "0009 half", appends: true)
    reader.lookAgain()
    #expect(try Self.rest(reader, .settled).lines.isEmpty)
    #expect(try Self.rest(reader, .resting).lines == [Line(direction: .out, time: 5_000_009, text: "half")])
    #expect(!reader.isHolding)
    // Nothing is held: memory and descriptors are given back, and the place is kept.
    reader.rest()
    try directory.write("s.out", " a line\n", appends: true)
    reader.lookAgain()
    #expect(try Self.rest(reader, .resting).lines == [Line(direction: .out, time: 5_000_009, text: " a line\n")])
  }

  @Test func withoutStampsLinesComeAsTheyAreFound() throws {
    let found = try Self.read(in: "a\n", out: "x\n", isFollowed: true, tail: .growing)
    #expect(found.lines.map(\.text) == ["a\n", "x\n"] && found.remarks == [.orderUnknown(isFollowed: true)])
  }

  @Test func aFileThatBecameShorter() throws {
    let directory = try TemporaryDirectory()
    try directory.write("s.in", "one\ntwo\n")
    var source = RecordingSource(
      RecordingFiles(path: directory.path + "/s", id: "s", kinds: []), ending: nil, isFollowed: true)
    try source.open(.in)
    let reader = try #require(source.reader)
    #expect(try Self.rest(reader, .resting).lines.count == 2)
    reader.rest()
    try directory.write("s.in", "new\n")
    reader.lookAgain()
    #expect(try Self.rest(reader, .resting).remarks == [.cut(.in)])
    try directory.write("s.in", "more\n", appends: true)
    reader.lookAgain()
    #expect(try Self.rest(reader, .resting).lines.map(\.text) == ["more\n"])
  }
}
