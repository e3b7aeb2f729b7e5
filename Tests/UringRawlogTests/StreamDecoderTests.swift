import Testing

@testable import UringRawlog

@Suite struct StreamDecoderTests {
  private static let chunks: [(time: Int64, bytes: [UInt8])] = ["abc", "def", "\r\nghi", "\n", "last"].enumerated()
    .map { (1_795_340_682_000_000 + Int64($0.offset), Array($0.element.utf8)) }

  private func piece(
    _ text: String, at time: Int64? = nil, continues: Bool = false, beginsRead: Bool = false
  ) -> Decoded.Piece {
    Decoded.Piece(
      time: time.map { 1_795_340_682_000_000 + $0 }, continues: continues, beginsRead: beginsRead,
      bytes: Array(text.utf8))
  }

  // MARK: Samples

  @Test func withoutFlags() {
    let decoded = decode(StreamDecoder(.in), encode(Self.chunks, timestamps: false, boundaries: false))
    #expect(decoded.pieces == [piece("abcdef\r\n"), piece("ghi\n"), piece("last")])
    #expect(decoded.remarks == [.lineNotEnded(.in)] && decoded.markup == 0)
  }

  @Test func withStamps() {
    let decoded = decode(StreamDecoder(.in), encode(Self.chunks, timestamps: true, boundaries: false))
    #expect(decoded.pieces == [piece("abcdef\r\n", at: 0), piece("ghi\n", at: 2), piece("last", at: 4)])
    #expect(decoded.markup == 3 * 18)
  }

  @Test func withBoundaries() {
    let decoded = decode(StreamDecoder(.in), encode(Self.chunks, timestamps: false, boundaries: true))
    #expect(
      decoded.pieces == [
        piece("abc", beginsRead: true), piece("def", continues: true, beginsRead: true),
        piece("\r\n", continues: true, beginsRead: true), piece("ghi"),
        piece("\n", continues: true, beginsRead: true), piece("last", beginsRead: true),
      ])
    #expect(decoded.remarks == [.lineNotEnded(.in)] && decoded.markup == 40)
  }

  @Test func withBoth() {
    let decoded = decode(StreamDecoder(.in), encode(Self.chunks, timestamps: true, boundaries: true))
    #expect(
      decoded.pieces == [
        piece("abc", at: 0, beginsRead: true), piece("def", at: 0, continues: true, beginsRead: true),
        piece("\r\n", at: 0, continues: true, beginsRead: true), piece("ghi", at: 2),
        piece("\n", at: 2, continues: true, beginsRead: true), piece("last", at: 4, beginsRead: true),
      ])
  }

  /// Data that looks like boundaries, as `docs/FORMAT.md` has it: with stamps it is told apart.
  @Test func boundariesInTheDataOfStampedReads() {
    let chunks = ["<<<\nfake\n>>>\n", ">>>", "\n<<<\n", ">>>\n", "<<<\n", "x>>>\n<<<\n", ">>>\n>>>\n"]
    let file = encode(chunks.map { (1_000_000, Array($0.utf8)) }, timestamps: true, boundaries: true)
    let decoded = decode(StreamDecoder(.out), file)
    #expect(decoded.data == Array(chunks.joined().utf8) && decoded.remarks.isEmpty)
    let begins = decoded.pieces.indices.filter { decoded.pieces[$0].beginsRead }
    let reads = zip(begins, begins.dropFirst() + [decoded.pieces.count]).map { first, next in
      decoded.pieces[first..<next].map { String(decoding: $0.bytes, as: UTF8.self) }.joined()
    }
    #expect(reads == chunks)
  }

  @Test func boundariesInTheDataOfReadsWithoutStamps() {
    // All but `>>>` LF `<<<` LF is told apart.
    let chunks = [">>>\n", "a\n>>>\nb", "<<<\n", ">>>", "a>>>\n>>"]
    let file = encode(chunks.map { (0, Array($0.utf8)) }, timestamps: false, boundaries: true)
    #expect(decode(StreamDecoder(.in), file).data == Array(chunks.joined().utf8))
    let ambiguous = encode([(0, Array("a>>>\n<<<\nb".utf8))], timestamps: false, boundaries: true)
    let decoded = decode(StreamDecoder(.in), ambiguous)
    #expect(decoded.texts == ["a", "b"] && decoded.pieces[1].beginsRead && StreamDecoder(.in).isAmbiguous == false)
  }

  // MARK: Round trips, however the file becomes known

  private static let alphabet: [[UInt8]] =
    [
      "\n", "\r\n", ">", ">>>\n", "<<<\n", ">>>", "<<<", "a", "longer line", "1795340682.000001 ", " ", "1.5", "\0",
      "é",
    ]
    .map { Array($0.utf8) } + [[0xFF], [0x9B]]

  private static func randomChunks(_ random: inout SeededGenerator) -> [(time: Int64, bytes: [UInt8])] {
    var time: Int64 = 1_795_340_682_000_000
    return (0..<random.below(12)).map { _ in
      time += Int64(random.below(3))
      return (time, (0...random.below(6)).flatMap { _ in alphabet.randomElement(using: &random)! })
    }
  }

  @Test(arguments: [(false, false), (true, false), (true, true)])
  func everySplitGivesTheSame(timestamps: Bool, boundaries: Bool) throws {
    for seed in 0..<200 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      let chunks = Self.randomChunks(&random)
      let sent = chunks.flatMap(\.bytes)
      let file = encode(chunks, timestamps: timestamps, boundaries: boundaries)
      // Without either, the index is what tells that data like stamps is data.
      let decoder = StreamDecoder(.in, isKnownPlain: !timestamps && !boundaries)
      let whole = decode(decoder, file)
      try #require(whole.data == sent, "seed \(seed)")
      try #require(whole.markup + sent.count == file.count)
      try #require(!whole.remarks.contains { $0.isDamage })
      for cut in file.indices {
        try #require(decode(decoder, file, cuts: [cut]) == whole, "seed \(seed), cut at \(cut)")
      }
      try #require(decode(decoder, file, cuts: Array(file.indices)) == whole, "seed \(seed), byte by byte")
    }
  }

  /// Of boundaries without stamps, a pair in the data is the one thing that is taken for a boundary.
  @Test func splitsOfReadsWithoutStamps() throws {
    for seed in 0..<300 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      // Data that begins with a stamp makes it a file with stamps.
      let chunks = [(time: Int64(0), bytes: [UInt8(ascii: "x")])] + Self.randomChunks(&random)
      let sent = chunks.flatMap(\.bytes)
      let file = encode(chunks, timestamps: false, boundaries: true)
      let whole = decode(StreamDecoder(.in), file)
      let missing = sent.count - whole.data.count
      try #require(missing >= 0 && missing % 4 == 0 && whole.markup + whole.data.count == file.count)
      if !chunks.contains(where: { String(decoding: $0.bytes, as: UTF8.self).contains(">>>\n<<<\n") }) {
        try #require(whole.data == sent, "seed \(seed)")
      }
      for cut in file.indices {
        try #require(decode(StreamDecoder(.in), file, cuts: [cut]) == whole, "seed \(seed), cut at \(cut)")
      }
    }
  }

  /// A line that is shown before its end is known goes on in the next piece.
  @Test(arguments: [(false, false), (true, false), (true, true)])
  func restingShowsWhatIsThere(timestamps: Bool, boundaries: Bool) throws {
    for seed in 0..<200 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      let chunks = Self.randomChunks(&random).map { chunk in
        // What rests within data that looks like a mark is taken for one.
        (time: chunk.time, bytes: chunk.bytes.filter { $0 != UInt8(ascii: ">") && $0 != UInt8(ascii: "<") })
      }
      let file = encode(chunks, timestamps: timestamps, boundaries: boundaries)
      let decoder = StreamDecoder(.out, isKnownPlain: !timestamps && !boundaries)
      let cuts = file.indices.filter { _ in random.once(in: 3) }
      let decoded = decode(decoder, file, cuts: cuts, tailAtCuts: .resting)
      try #require(decoded.data == chunks.flatMap(\.bytes), "seed \(seed)")
      var isWithinLine = false
      for piece in decoded.pieces {
        try #require(piece.continues == isWithinLine)
        isWithinLine = piece.bytes.last != UInt8(ascii: "\n")
      }
    }
  }

  // MARK: Long lines

  @Test(arguments: [(false, false), (true, false), (false, true), (true, true)])
  func longLinesComeInPieces(timestamps: Bool, boundaries: Bool) {
    for extra in [-1, 0, 1, 3, 4, 5] {
      let line = [UInt8](repeating: UInt8(ascii: ">"), count: 2 * Limits.pieceBytes + extra) + [10]
      let file = encode([(5, line + line)], timestamps: timestamps, boundaries: boundaries)
      let decoded = decode(StreamDecoder(.in), file)
      #expect(firstDifference(decoded.data, line + line) == nil)
      #expect(decoded.pieces.filter { !$0.continues }.count == 2)
      #expect(decoded.pieces.allSatisfy { $0.time == (timestamps ? 5 : nil) })
      #expect(decoded.pieces.filter(\.beginsRead).count == (boundaries ? 1 : 0))
    }
  }

  // MARK: What a file is

  @Test(arguments: [
    ("a1 NOOP\r\n", StreamFormat()), ("1.000000 x", StreamFormat(stamps: true)),
    ("<<<\nx>>>\n", StreamFormat(boundaries: true)),
    ("<<<\n1.000000 x>>>\n", StreamFormat(stamps: true, boundaries: true)),
    ("<<<", StreamFormat()), ("<<", StreamFormat()), ("<<<\n", StreamFormat(boundaries: true)),
    ("1.00000", StreamFormat()),
    ("<<<x\n", StreamFormat()), ("<<<\r\n", StreamFormat()), ("1.000000\n2.000000 x\n", StreamFormat()),
    ("", StreamFormat()),
  ])
  func formats(text: String, expected: StreamFormat) {
    let bytes = Array(text.utf8)
    #expect(bytes.withUnsafeBytes { StreamFormat.detect($0, .whole) } == expected)
    // With the beginning of it, nothing else is said.
    for count in 0...bytes.count {
      let early = bytes[..<count].withUnsafeBytes { StreamFormat.detect($0, .growing) }
      #expect(early == nil || early == expected, "\(count)")
    }
  }

  @Test func theIndexKnowsBetter() {
    let text = "1795340682.000001 is no stamp\n<<<\n"
    let decoded = decode(StreamDecoder(.in, isKnownPlain: true), Array(text.utf8))
    #expect(decoded.data == Array(text.utf8) && decoded.remarks.isEmpty && decoded.markup == 0)
  }

  @Test func aLineWithoutItsStampIsShownAndSaid() {
    let decoded = decode(StreamDecoder(.in), Array("5.000001 one\ntwo\n6.000001 three\nfour\n".utf8))
    #expect(decoded.texts == ["one\n", "two\n", "three\n", "four\n"])
    #expect(decoded.pieces.map(\.time) == [5_000_001, nil, 6_000_001, nil])
    #expect(decoded.remarks == [.stampMissing(.in, line: 2)])
  }

  @Test func linesLikeStampsInAFileWithoutAreData() {
    let text = "one\n5.000001 two\n6.000001 three\n"
    let decoded = decode(StreamDecoder(.out), Array(text.utf8))
    #expect(decoded.data == Array(text.utf8) && decoded.pieces.allSatisfy { $0.time == nil })
    #expect(decoded.remarks == [.looksLikeStamp(.out, line: 2)])
  }

  /// A relay that was killed: the file may end anywhere.
  @Test(arguments: [(true, false), (false, true), (true, true)])
  func everyBeginningOfAFileIsShown(timestamps: Bool, boundaries: Bool) throws {
    let chunks: [(time: Int64, bytes: [UInt8])] = ["one\r\n", "two", " words\r\n>>>\r\n", "\n\nend"].enumerated().map {
      (1_795_340_682_000_000 + Int64($0.offset), Array($0.element.utf8))
    }
    let file = encode(chunks, timestamps: timestamps, boundaries: boundaries)
    let sent = chunks.flatMap(\.bytes)
    for count in file.indices.dropFirst(timestamps ? 30 : 5) {
      let decoded = decode(StreamDecoder(.in), Array(file[..<count]))
      // Half a stamp or mark at the end is shown, and said.
      let end = decoded.remarks.contains { $0 == .endsInStamp(.in) || $0 == .endsInBoundary(.in) }
      let common = zip(decoded.data, sent).prefix { $0 == $1 }.count
      try #require(common == decoded.data.count || end || decoded.data.count - common < 4, "\(count)")
      try #require(decoded.data.count + decoded.markup == count)
    }
    let torn = decode(StreamDecoder(.in), Array("5.000001 one\n17953".utf8))
    #expect(torn.texts == ["one\n", "17953"] && torn.remarks == [.endsInStamp(.in), .lineNotEnded(.in)])
    let open = decode(StreamDecoder(.in), Array("<<<\none\n".utf8))
    #expect(open.texts == ["one\n"] && open.remarks == [.readNotEnded(.in)])
    let halfOpen = decode(StreamDecoder(.in), Array("<<<\none\n>>>\n<<<\ntwo>>>\n<<".utf8))
    #expect(halfOpen.texts == ["one\n", "two", "<<"] && halfOpen.remarks.contains(.endsInBoundary(.in)))
  }

  @Test func whatIsNoReadIsSaid() {
    let decoded = decode(StreamDecoder(.in), Array("<<<\n1.000000 a\n>>>\njunk\n".utf8))
    #expect(decoded.texts == ["a\n", "junk\n"] && decoded.remarks.contains(.boundaryMissing(.in, line: 4)))
  }

  // MARK: Anything

  @Test func anyBytesAreReadToTheirEnd() {
    for seed in 0..<500 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      var file: [UInt8] = []
      for _ in 0..<random.below(40) {
        file += Self.alphabet.randomElement(using: &random)!
        if random.once(in: 4) { file += Array("1795340682.00000\(random.below(10)) ".utf8.prefix(random.below(19))) }
        if random.once(in: 6) { file.append(UInt8(truncatingIfNeeded: random.next())) }
      }
      let cuts = file.indices.filter { _ in random.once(in: 5) }
      for tail in [FileTail.growing, .settled, .resting] {
        let decoded = decode(StreamDecoder(.in), file, cuts: cuts, tailAtCuts: tail)
        #expect(decoded.data.count + decoded.markup == file.count, "seed \(seed)")
      }
    }
  }
}
