import Testing

@testable import UringRawlog

@Suite struct MergedDecoderTests {
  private func piece(_ direction: Direction, _ text: String, at time: Int64?, continues: Bool = false) -> Decoded.Piece
  {
    Decoded.Piece(direction: direction, time: time, continues: continues, bytes: Array(text.utf8))
  }

  private static func decoded(_ text: String, cuts: [Int] = []) -> Decoded {
    decode(MergedDecoder(), Array(text.utf8), cuts: cuts)
  }

  @Test func lines() {
    let text = "5.000001 O: * OK ready\r\n5.000002 I: a1 NOOP\r\n5.000002 O: a1 OK\n5.000003 I: \n"
    #expect(
      Self.decoded(text)
        == Decoded(
          pieces: [
            piece(.out, "* OK ready\r\n", at: 5_000_001), piece(.in, "a1 NOOP\r\n", at: 5_000_002),
            piece(.out, "a1 OK\n", at: 5_000_002), piece(.in, "\n", at: 5_000_003),
          ], markup: 48))
  }

  /// From 2.4 on, and as the relay writes: a line feed that was not sent stands behind each piece.
  @Test func pieces() {
    let part = String(repeating: "x", count: 8192)
    let text = "5.000001 I> \(part)\n5.000002 O: between\n5.000003 I> \(part)\n5.000004 I: end\r\n5.000005 I> last\n"
    let decoded = Self.decoded(text)
    #expect(
      decoded.pieces == [
        piece(.in, part, at: 5_000_001), piece(.out, "between\n", at: 5_000_002),
        piece(.in, part, at: 5_000_003, continues: true), piece(.in, "end\r\n", at: 5_000_004, continues: true),
        piece(.in, "last", at: 5_000_005),
      ])
    #expect(decoded.remarks == [.lineNotEnded(.in)])
  }

  /// Dovecot 2.3: the next stamp stands behind the piece in the same line.
  @Test(arguments: [8192, 8193, 9000, 20_000])
  func gluedPieces(count: Int) {
    // Digits before the stamp belong to what was sent.
    let part = String(repeating: "y", count: count - 2) + "77"
    let text =
      "1795340682.000001 O> \(part)1795340683.000002 O> \(part)1795340684.000003 I: a\n1795340685.000004 O: z\n"
    let decoded = Self.decoded(text)
    #expect(
      decoded.pieces == [
        piece(.out, part, at: 1_795_340_682_000_001), piece(.out, part, at: 1_795_340_683_000_002, continues: true),
        piece(.in, "a\n", at: 1_795_340_684_000_003), piece(.out, "z\n", at: 1_795_340_685_000_004, continues: true),
      ])
    #expect(decoded.remarks == [.gluedStamp(line: 1)])
  }

  /// In pieces with a line feed behind them, stamps are what was sent.
  @Test func stampsWithinPiecesAreData() {
    let part = String(repeating: "x", count: 8192)
    let fake = String(repeating: "x", count: 8100) + "5.000009 O: forged" + String(repeating: "x", count: 100)
    let text = "5.000001 I> \(part)\n5.000002 I> \(fake)\n5.000003 I: 5.000009 O: too\n"
    #expect(Self.decoded(text).data(.in) == Array((part + fake + "5.000009 O: too\n").utf8))
    // Nor before 8192 bytes.
    #expect(Self.decoded("5.000001 I> \(fake.prefix(8150))\n").data(.out).isEmpty)
  }

  private static func sample(_ random: inout SeededGenerator, glued: Bool) -> String {
    var text = ""
    for _ in 0..<random.below(10) {
      text += "\(1_795_340_682 + random.below(9)).00000\(random.below(10)) " + (random.once(in: 2) ? "I" : "O")
      if random.once(in: 3) {
        text += "> " + String(repeating: "p", count: 8192 + (glued ? random.below(30) : 0)) + (glued ? "" : "\n")
      } else {
        text += ": " + ["", "line", "two words 1.5 I: x", "\r"].randomElement(using: &random)! + "\n"
      }
    }
    return text
  }

  @Test(arguments: [false, true])
  func everySplitGivesTheSame(glued: Bool) throws {
    for seed in 0..<25 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      let text = Self.sample(&random, glued: glued)
      let whole = Self.decoded(text)
      try #require(whole.data.count + whole.markup == text.utf8.count)
      // Around each mark, and some anywhere.
      let marks = text.utf8.enumerated().filter { ":>\n".utf8.contains($0.element) }.map(\.offset)
      let cuts = Set(marks.flatMap { ($0 - 22)...($0 + 2) }).filter { (0..<text.utf8.count).contains($0) }
      for cut in cuts {
        try #require(Self.decoded(text, cuts: [cut]) == whole, "seed \(seed), cut at \(cut)")
      }
      try #require(Self.decoded(text, cuts: Array(cuts).sorted()) == whole, "seed \(seed)")
    }
  }

  @Test func longLinesComeInPieces() {
    let long = String(repeating: "l", count: 3 * Limits.pieceBytes + 7)
    let decoded = Self.decoded("5.000001 I: \(long)\n5.000002 O: short\n")
    #expect(decoded.data(.in) == Array((long + "\n").utf8) && decoded.data(.out) == Array("short\n".utf8))
    #expect(decoded.pieces.filter { !$0.continues }.count == 2)
    // A piece that is longer than any that Dovecot writes.
    let piece = Self.decoded("5.000001 I> \(long)\n5.000002 I: \n")
    #expect(piece.data == Array((long + "\n").utf8))
  }

  @Test func whatIsNoLineIsShownAndSaid() {
    let decoded = Self.decoded("5.000001 O: one\njunk\n5.000002 X: two\n5.000003 I: three\n")
    #expect(decoded.texts == ["one\n", "junk\n", "5.000002 X: two\n", "three\n"])
    #expect(decoded.pieces.map(\.time) == [5_000_001, nil, nil, 5_000_003])
    #expect(decoded.pieces.map(\.direction) == [.out, .out, .out, .in])
    #expect(decoded.remarks == [.notMerged(line: 2)])
  }

  @Test func gapsAreTold() throws {
    let text =
      "5.000001 I: one\n5.000002 I! 12 bytes missing at 34\n5.000003 O! 5 bytes missing at 0\n5.000004 I: two\n"
    for cut in 0..<text.utf8.count {
      let decoded = Self.decoded(text, cuts: [cut])
      try #require(decoded.texts == ["one\n", "two\n"] && decoded.remarks.isEmpty)
      try #require(
        decoded.gaps == [
          RecordingGap(direction: .in, offset: 34, bytes: 12), RecordingGap(direction: .out, offset: 0, bytes: 5),
        ])
    }
    // As the relay writes them.
    var line = Bytes()
    let gap = RecordingGap(direction: .out, offset: .max, bytes: .max - 1)
    MergedLine.appendGap(gap, .out, Encoder.Stamp(microseconds: .max), to: &line)
    let written = line.text
    #expect(Self.decoded(written).gaps == [gap])
    // What is not quite such a line is shown.
    for line in [
      "I! many bytes missing at 3", "I! 3 bytes missing", "I! ", "I! 1 bytes missing at 2 bytes missing at 3",
    ] {
      let decoded = Self.decoded("5.000001 \(line)\n")
      #expect(decoded.texts == ["5.000001 \(line)\n"] && decoded.remarks == [.notMerged(line: 1)], "\(line)")
    }
    let long = "5.000001 I! " + String(repeating: "9", count: 500) + "\n"
    #expect(Self.decoded(long).data == Array(long.utf8))
  }

  /// Lines without an end are overwritten: nothing of them is taken while the file grows.
  @Test func tentativePieces() throws {
    let directory = try TemporaryDirectory()
    try directory.write("s.rawlog", "5.000001 O: one\n5.000002 I> ab\n")
    var source = RecordingSource(
      RecordingFiles(path: directory.path + "/s", id: "s", kinds: []), ending: nil, isFollowed: true)
    try source.open(.merged)
    let reader = try #require(source.reader)
    func shown(_ tail: FileTail) throws -> [String] {
      var texts: [String] = []
      while let event = try reader.head(tail) {
        if case .piece(let piece) = event {
          texts.append("\(piece.direction) \(String(decoding: piece.bytes, as: UTF8.self))")
        }
        reader.removeHead()
      }
      reader.rest()
      reader.lookAgain()
      return texts
    }
    #expect(try shown(.resting) == ["out one\n"] && !reader.isHolding)
    try directory.write("s.rawlog", "5.000001 O: one\n5.000003 O: two\n5.000003 I> abc\n5.000003 O> x\n")
    #expect(try shown(.growing) == ["out two\n"])
    #expect(try shown(.resting) == [])
    try directory.write("s.rawlog", "5.000001 O: one\n5.000003 O: two\n5.000004 I: abcd\n5.000004 O> xyz\n")
    #expect(try shown(.growing) == ["in abcd\n"])
    // A piece that something follows stays; so does a long one.
    let long = String(repeating: "y", count: 8192)
    try directory.write(
      "s.rawlog", "5.000005 I: e\n5.000006 O> \(long)\n5.000007 I> end\n", appends: true)
    #expect(try shown(.growing) == ["out xyz", "in e\n", "out " + long])
    #expect(try shown(.whole) == ["in end"])
  }

  @Test func endsAnywhere() {
    let text = "5.000001 O: one\n5.000002 I: two\n"
    for count in 0...text.utf8.count {
      let decoded = Self.decoded(String(text.prefix(count)))
      #expect(decoded.data.count + decoded.markup == count)
      let isTorn = count != 0 && count != 16 && count != 32
      // A head without a byte behind it was given whole.
      #expect(decoded.remarks.contains { $0.isDamage } == isTorn, "\(count)")
    }
  }

  @Test(
    arguments: [
      ("5.000001 I: x", true), ("5.000001 O> x", true), ("5.000001 I:", nil), ("5.000001 ", nil), ("5.00", nil),
      ("", nil),
      ("5.000001 x", false), ("5.000001 I x", false), ("5.000001 I:x", false), ("5.000001 i: x", false),
      ("I: x", false),
      ("\u{7F}ELF", false),
    ] as [(String, Bool?)])
  func beginnings(text: String, expected: Bool?) {
    let begins = Array(text.utf8).withUnsafeBytes { MergedDecoder.begins($0, .growing) }
    #expect(begins == expected)
    #expect(Array(text.utf8).withUnsafeBytes { MergedDecoder.begins($0, .whole) } == (expected ?? false))
  }

  @Test func anyBytesAreReadToTheirEnd() {
    let parts = ["5.000001 I: ", "6.000002 O> ", "7.000003 O: ", "\n", "x", ":", ">", " ", "5.0000", "é", "I> "]
    for seed in 0..<400 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      var file: [UInt8] = []
      for _ in 0..<random.below(30) {
        file += Array(parts.randomElement(using: &random)!.utf8)
        if random.once(in: 12) { file += [UInt8](repeating: 0x70, count: 8192) }
        if random.once(in: 6) { file.append(UInt8(truncatingIfNeeded: random.next())) }
      }
      let cuts = file.indices.filter { _ in random.once(in: 1 + file.count / 20) }
      for tail in [FileTail.growing, .resting] {
        let decoded = decode(MergedDecoder(), file, cuts: cuts, tailAtCuts: tail)
        #expect(decoded.data.count + decoded.markup == file.count, "seed \(seed)")
      }
    }
  }
}
