import Testing

@testable import UringRawlog

@Suite struct IndexReaderTests {
  private enum Seen: Equatable {
    case record(String)
    case nothing, unended, wrong, tooLong
  }

  private static func seen(_ line: IndexReader.Line) -> Seen {
    switch line {
    case .record(let record): .record(record.id)
    case .nothing: .nothing
    case .unended: .unended
    case .wrong: .wrong
    case .tooLong: .tooLong
    }
  }

  private static func read(_ directory: TemporaryDirectory) throws -> [Seen] {
    var reader = try found(try IndexReader.open(directory: directory.path))
    var lines: [Seen] = []
    while let line = try reader.next(isWhole: true) {
      lines.append(seen(line))
      let number = reader.lineNumber
      #expect(number == UInt64(lines.count))
    }
    return lines
  }

  private static func found(_ reader: consuming IndexReader?) throws -> IndexReader {
    guard let reader else { throw StartError(.noInput, "no index") }
    return reader
  }

  @Test func lines() throws {
    let directory = try TemporaryDirectory()
    #expect(try IndexReader.open(directory: directory.path) == nil)
    let torn = IndexSample.start("torn").prefix(40)
    try directory.write(
      "sessions.jsonl",
      IndexSample.start("a") + "\n" + torn + "\n" + IndexSample.end("a") + "{}\n" + #"{"event":"new","id":"a"}"# + "\n"
        + IndexSample.start("b").dropLast())
    #expect(try Self.read(directory) == [.record("a"), .nothing, .wrong, .record("a"), .wrong, .nothing, .unended])
  }

  /// Longer than what is read at once, and longer than what is kept.
  @Test func longLines() throws {
    let directory = try TemporaryDirectory()
    let gap = #"{"direction":"in","offset":18446744073709551615,"bytes":18446744073709551615}"#
    let gaps = IndexSample.end("gaps", gaps: Array(repeating: gap, count: Limits.gapsPerSession).joined(separator: ","))
    let long = #"{"event":"start","id":"long","x":""# + String(repeating: "x", count: 900_000) + "\"}\n"
    let tooLong = #"{"event":"start","id":"too","x":""# + String(repeating: "x", count: 3_000_000) + "\"}\n"
    try directory.write("sessions.jsonl", gaps + long + tooLong + IndexSample.start("last") + tooLong.dropLast())
    #expect(try Self.read(directory) == [.record("gaps"), .record("long"), .tooLong, .record("last"), .tooLong])
    let table = IndexTable(try Self.found(try IndexReader.open(directory: directory.path)))
    try table.read()
    #expect(try table.records(of: "gaps").ending?.gaps.count == Limits.gapsPerSession)
    #expect(try table.records(of: "long").start?.id == "long" && table.records(of: "last").start?.id == "last")
  }

  @Test func tables() throws {
    let directory = try TemporaryDirectory()
    try directory.write(
      "sessions.jsonl",
      IndexSample.start("a") + IndexSample.start("b") + IndexSample.end("a", in: (1, 1, 1)) + IndexSample.end("c"))
    let table = IndexTable(try Self.found(try IndexReader.open(directory: directory.path)))
    var repeated: [UInt64] = []
    try table.read { (_, number, isRepeated) in if isRepeated { repeated.append(number) } }
    let a = try table.records(of: "a")
    #expect(a.start?.id == "a" && a.ending?.bytes.in == 1 && a.last == a.end)
    #expect(try table.records(of: "b").end == nil && table.records(of: "c").start == nil)
    #expect(try table.records(of: "d").last == nil && repeated.isEmpty)
    // The end knows when its session began.
    #expect(table.sessions["c"]?.time == 1_769_850_900_504_671 && table.sessions["a"]?.time == 1_769_850_900_504_671)

    // It may grow, also by half a line.
    let more = IndexSample.end("b") + IndexSample.start("a")
    try directory.write("sessions.jsonl", String(more.prefix(100)), appends: true)
    try table.read()
    #expect(try table.records(of: "b").end == nil)
    try directory.write("sessions.jsonl", String(more.dropFirst(100)), appends: true)
    try table.read { (_, number, isRepeated) in if isRepeated { repeated.append(number) } }
    #expect(try table.records(of: "b").end?.id == "b" && repeated == [6])
  }

  @Test func onlyOneSessionIsRemembered() throws {
    let directory = try TemporaryDirectory()
    try directory.write("sessions.jsonl", (0..<100).map { IndexSample.start("s\($0)") }.joined())
    let table = IndexTable(try Self.found(try IndexReader.open(directory: directory.path)))
    try table.read(only: "s77")
    #expect(table.sessions.count == 1 && table.sessions["s77"] != nil)
  }
}
