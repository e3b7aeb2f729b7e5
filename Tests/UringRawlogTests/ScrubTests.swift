import Foundation
import Glibc
import Testing

@testable import UringRawlog

@Suite struct ScrubTests {
  private let directory: TemporaryDirectory
  private static let id = "20260131-091500.4711.1"

  init() throws {
    directory = try TemporaryDirectory(inMemory: true)
    try directory.makeDirectory("from")
  }

  /// How a recording is written.
  enum Layout: String, CaseIterable, Sendable {
    case plain, stamps, boundaries, both, merged

    var hasOrder: Bool { self == .stamps || self == .both || self == .merged }
  }

  private func scrub(
    _ from: String = "from", to: String = "to", _ mailProtocol: MailProtocol = .imap
  ) throws -> (status: UringRawlog.ExitStatus, text: String, errors: String) {
    let configuration = ScrubConfiguration(
      path: "\(directory.path)/\(from)", mailProtocol: mailProtocol, outputDirectory: "\(directory.path)/\(to)")
    let output = openFile("\(directory.path)/.output", flags: O_RDWR | O_CREAT | O_TRUNC, mode: 0o600)
    let errors = openFile("\(directory.path)/.errors", flags: O_RDWR | O_CREAT | O_TRUNC, mode: 0o600)
    defer {
      close(output)
      close(errors)
    }
    do throws(StartError) {
      let status = try Scrub.run(configuration, output: output, errors: errors)
      return (status, directory.text(".output"), directory.text(".errors"))
    } catch {
      return (error.status, directory.text(".output"), error.message)
    }
  }

  // MARK: Made up connections

  /// Cuts a conversation and writes it; each cut has a time of its own.
  private func record(_ conversation: MailConversation, _ layout: Layout, _ stem: String, seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    var time: Int64 = 1_769_850_900_000_000
    var chunks: [[(time: Int64, bytes: [UInt8])]] = [[], []]
    var merged = MergedWriter()
    for piece in conversation.pieces {
      var rest = piece.bytes[...]
      while !rest.isEmpty {
        let count = random.once(in: 3) ? 1 + random.below(min(20, rest.count)) : rest.count
        time += 1 + Int64(random.below(3000))
        let part = Array(rest.prefix(count))
        chunks[piece.speaker == .client ? 0 : 1].append((time, part))
        merged.add(piece.speaker, part, at: time, endsPiece: random.once(in: 4))
        rest = rest.dropFirst(count)
      }
    }
    if layout == .merged {
      merged.end(at: time)
      return try directory.write("\(stem).rawlog", merged.text)
    }
    for (number, suffix) in ["in", "out"].enumerated() {
      let bytes = encode(
        chunks[number], timestamps: layout == .stamps || layout == .both,
        boundaries: layout == .boundaries || layout == .both)
      try directory.write("\(stem).\(suffix)", bytes)
    }
  }

  /// What a recording has of both directions.
  private func content(_ stem: String, _ layout: Layout) throws -> (client: [UInt8], server: [UInt8]) {
    let kinds: RecordingFiles.Kinds =
      layout == .merged ? RecordingFiles.Kinds(.merged) : [RecordingFiles.Kinds(.in), RecordingFiles.Kinds(.out)]
    let path = "\(directory.path)/\(stem)"
    var source = RecordingSource(RecordingFiles(path: path, id: stem, kinds: kinds), ending: nil, isFollowed: false)
    for kind in layout == .merged ? [RecordingName.Kind.merged] : [.in, .out] { try source.open(kind) }
    var found: [[UInt8]] = [[], []]
    while let event = try source.reader?.head(.whole) {
      if case .piece(let piece) = event { found[piece.direction.rawValue] += Array(piece.bytes) }
      source.reader?.removeHead()
    }
    return (found[0], found[1])
  }

  @Test(arguments: MailProtocol.allCases, Layout.allCases)
  func noSecretStaysAndNothingElseIsMissing(_ mailProtocol: MailProtocol, _ layout: Layout) throws {
    var exact = 0
    let seeds = 1...UInt64(120)
    for seed in seeds {
      let made = MailGrammar(mailProtocol, seed: seed)
      try record(made.conversation, layout, "from/20260131-091500.4711.\(seed)", seed: seed)
    }
    try #require(try scrub("from", to: "to", mailProtocol).status == .ok)
    try #require(try scrub("to", to: "again", mailProtocol).status == .ok)
    try #require(directory.names(in: "to") == directory.names(in: "from"))
    for seed in seeds {
      let made = MailGrammar(mailProtocol, seed: seed)
      let stem = "20260131-091500.4711.\(seed)"
      let found = try content("to/\(stem)", layout)
      let text = String(decoding: found.client, as: UTF8.self)
      for token in made.tokens where text.contains(token) {
        Issue.record("seed \(seed): \(token)\n\(text)")
        return
      }
      try #require(firstDifference(found.server, made.conversation.traffic(.server)) == nil, "seed \(seed)")
      let fault = firstDifference(found.client, made.recorded)
      // A password that begins as the mark is taken for two.
      let isMisleading = made.secrets.contains { $0.starts(with: MailConversation.mark) }
      if layout.hasOrder, !isMisleading, let fault {
        Issue.record("seed \(seed): \(fault)\n\(text)\n--\n\(String(decoding: made.recorded, as: UTF8.self))")
        return
      }
      if fault == nil { exact += 1 }
      for suffix in layout == .merged ? ["rawlog"] : ["in", "out"] {
        let once = directory.content("to/\(stem).\(suffix)")
        try #require(
          firstDifference(once, directory.content("again/\(stem).\(suffix)")) == nil, "seed \(seed), scrubbed twice")
        guard made.secrets.isEmpty || suffix == "out" else { continue }
        try #require(firstDifference(once, directory.content("from/\(stem).\(suffix)")) == nil, "seed \(seed)")
      }
    }
    // Without stamps the order is guessed, and seldom wrongly.
    #expect(exact >= seeds.count * 9 / 10, "\(exact)")
  }

  // MARK: Single cases

  private func write(_ input: String, _ output: String, _ id: String = id) throws {
    try directory.write("from/\(id).in", input)
    try directory.write("from/\(id).out", output)
  }

  private func scrubbed(_ suffix: String = "in", _ id: String = id) -> String { directory.text("to/\(id).\(suffix)") }

  @Test func aReadOrALineThatWasACredentialIsLeftOut() throws {
    try write(
      "<<<\n1.000001 a LOGIN alice {7}\r\n>>>\n<<<\n1.000003 ab\n>>>\n<<<\n1.000004 cd\r\n>>>\n<<<\n1.000005 \r\n>>>\n"
        + "<<<\n1.000006 b NOOP\r\n>>>\n",
      "<<<\n1.000000 * OK\r\n1.000002 + go on\r\n>>>\n")
    #expect(try scrub().text == "1 session, 2 files: 1 credential redacted\n")
    #expect(
      scrubbed()
        == "<<<\n1.000001 a LOGIN alice {7}\r\n>>>\n<<<\n1.000003 <redacted>>>>\n<<<\n\r\n>>>\n"
        + "<<<\n1.000006 b NOOP\r\n>>>\n")
    try directory.write(
      "from/\(Self.id).rawlog",
      "1.000000 O: * OK\r\n1.000001 I: a LOGIN alice {7}\r\n1.000002 O: + go on\r\n1.000003 I: ab\n1.000004 I: cd\r\n"
        + "1.000005 I: \r\n1.000006 I: b NOOP\r\n")
    #expect(try scrub(to: "merged").status == .ok)
    #expect(
      directory.text("merged/\(Self.id).rawlog")
        == "1.000000 O: * OK\r\n1.000001 I: a LOGIN alice {7}\r\n1.000002 O: + go on\r\n1.000003 I> <redacted>\n"
        + "1.000005 I: \r\n1.000006 I: b NOOP\r\n")
  }

  @Test func recordingsOfTheLegToTheServer() throws {
    try write("* OK ready\r\na OK\r\n", "a LOGIN alice secret\r\n")
    try write("", "PROXY TCP4 192.0.2.7 192.0.2.1 1 143\r\na LOGIN alice secret\r\n", "20260131-091500.4711.2")
    try directory.write(
      "from/20260131-091500.4711.3.rawlog", "1.000000 I: * OK\r\n1.000001 O: a LOGIN alice secret\r\n")
    #expect(try scrub().text == "3 sessions, 5 files: 3 credentials redacted\n")
    #expect(scrubbed("out") == "a LOGIN alice <redacted>\r\n")
    #expect(scrubbed("out", "20260131-091500.4711.2").hasSuffix("a LOGIN alice <redacted>\r\n"))
    #expect(scrubbed("rawlog", "20260131-091500.4711.3").hasSuffix("O: a LOGIN alice <redacted>\r\n"))
  }

  @Test func dovecotsRecordingsBeginBehindTheLogin() throws {
    let text = "b SEARCH TEXT {22+}\r\nc LOGIN alice hunter22\r\nd APPEND x {22+}\r\nc LOGIN alice hunter22\r\n"
    try write(text, "a OK Logged in\r\nb OK\r\nd OK\r\n")
    #expect(try scrub().text == "1 session, 2 files: 0 credentials redacted\n")
    #expect(scrubbed() == text)
  }

  @Test func whatIsMissingMayHaveBeenTheCommand() throws {
    // `a LOGIN ali` is missing.
    let id = "20260131-091500.4711.1"
    let input = "ce hunter2\r\nb NOOP\r\n"
    try write(input, "* OK\r\n")
    #expect(try scrub(to: "whole").text.contains(" 0 credentials"))
    let gap = #"{"direction":"in","offset":0,"bytes":11}"#
    try directory.write(
      "from/sessions.jsonl",
      IndexSample.end(id, in: (32, 21, 21), out: (6, 6, 6), dropped: 11, gaps: gap, recording: "lossy"))
    #expect(try scrub().text.contains(" 1 credential "))
    #expect(scrubbed() == "<redacted>\r\nb NOOP\r\n")
    // In a literal of which a part is missing, nothing is a command, and behind it everything may be.
    let merged = "20260131-091500.4711.2"
    try directory.write(
      "from/\(merged).rawlog",
      "1.000000 O: a OK\r\n1.000001 I: b APPEND x {30+}\r\n1.000002 I! 4 bytes missing at 20\n"
        + "1.000003 I: c LOGIN alice hunter2\r\n1.000004 I: 123\r\n1.000005 I! 9 bytes missing at 55\n"
        + "1.000006 I: ce hunter3\r\n1.000006 I: d NOOP\r\n")
    #expect(try scrub(to: "again").status == .ok)
    let text = directory.text("again/\(merged).rawlog")
    #expect(text.contains("c LOGIN alice hunter2") && !text.contains("hunter3") && text.hasSuffix("I: d NOOP\r\n"))
  }

  @Test func theIndexSaysWhatTheFilesAreNow() throws {
    let input = "1769850900.000001 a LOGIN alice secret\r\n"
    try write(input, "* OK\r\n")
    let end = IndexSample.end(Self.id, in: (22, 22, input.utf8.count), out: (6, 6, 6))
    try directory.write("from/sessions.jsonl", IndexSample.start(Self.id) + "torn: secret\n" + end)
    #expect(try scrub().status == .ok)
    let amended = end.replacing("\"in_file\":40", with: "\"in_file\":44").replacing(
      "\"redacted\":0", with: "\"redacted\":1")
    #expect(directory.text("to/sessions.jsonl") == IndexSample.start(Self.id) + amended)
    #expect(try directory.verify("to").status == .ok)
    var status = stat()
    for name in directory.names(in: "to") {
      try #require(lstat("\(directory.path)/to/\(name)", &status) == 0)
      #expect(status.st_mode & 0o7777 == 0o600)
    }
    // What it says of the protocol counts.
    try directory.write(
      "from/sessions.jsonl", (IndexSample.start(Self.id) + end).replacing("\"raw\"", with: "\"pop3\""))
    #expect(try scrub(to: "pop3").text.contains(" 0 credentials"))
  }

  @Test func oneFileIsReadTogetherWithTheOther() throws {
    try write("a AUTHENTICATE X\r\nsecret\r\nb NOOP\r\n", "* OK\r\n+ \r\na OK\r\nb OK\r\n")
    #expect(try scrub("from/\(Self.id).in").text == "1 session, 1 file: 1 credential redacted\n")
    #expect(directory.names(in: "to") == ["\(Self.id).in"])
    #expect(scrubbed() == "a AUTHENTICATE X\r\n<redacted>\r\nb NOOP\r\n")
    // Without it, there is no telling where the exchange ends.
    try #require(unlink("\(directory.path)/from/\(Self.id).out") == 0)
    #expect(try scrub("from/\(Self.id).in", to: "alone").status == .ok)
    #expect(!directory.text("alone/\(Self.id).in").contains("secret"))
  }

  @Test func nothingIsOverwrittenOrFollowed() throws {
    try write("a LOGIN alice secret\r\n", "* OK\r\n")
    try directory.makeDirectory("to")
    try #require(symlink("\(directory.path)/elsewhere", "\(directory.path)/to/\(Self.id).in") == 0)
    let refused = try scrub()
    #expect(refused.status == .cannotCreate && refused.errors.contains("File exists"))
    #expect(directory.content("elsewhere") == nil)
    #expect(try scrub(to: "from/below").status == .usage)
    #expect(try scrub(to: "from").status == .usage)
    #expect(try scrub(to: "no/such").status == .cannotCreate)
  }

  @Test func whatIsNoRecording() throws {
    #expect(try scrub("missing").status == .noInput)
    #expect(try scrub().status == .noInput)
    try directory.write("from/binary", [0x7F, 0x45, 0x4C, 0x46, 0, 0, 10, 0])
    #expect(try scrub("from/binary").status == .dataError)
    try directory.write("from/\(Self.id).rawlog", [0, 1, 2, 10, 0xFF])
    try directory.write("from/20260131-091500.4711.2.in", "a LOGIN alice secret\r\n")
    try directory.write("from/strange.in", "x")
    let done = try scrub()
    #expect(done.status == .dataError && done.errors.split(separator: "\n").count == 2)
    #expect(scrubbed("in", "20260131-091500.4711.2") == "a LOGIN alice <redacted>\r\n")
    #expect(directory.names(in: "to") == ["20260131-091500.4711.2.in"])
  }
}

/// Writes layout merged for the tests.
private struct MergedWriter {
  var text: [UInt8] = []
  private var lines: [[UInt8]] = [[], []]

  mutating func add(_ speaker: Dialogue.Speaker, _ bytes: [UInt8], at time: Int64, endsPiece: Bool) {
    let number = speaker == .client ? 0 : 1
    for byte in bytes {
      lines[number].append(byte)
      if byte == 10 { write(number, ":", at: time) }
    }
    if endsPiece, !lines[number].isEmpty { write(number, ">", at: time) }
  }

  mutating func end(at time: Int64) {
    for number in 0..<2 where !lines[number].isEmpty { write(number, ">", at: time) }
  }

  private mutating func write(_ number: Int, _ kind: String, at time: Int64) {
    let micro = String(time % 1_000_000)
    let stamp = "\(time / 1_000_000)." + String(repeating: "0", count: 6 - micro.count) + micro
    text += Array("\(stamp) \(number == 0 ? "I" : "O")\(kind) ".utf8) + lines[number] + (kind == ">" ? [10] : [])
    lines[number] = []
  }
}
