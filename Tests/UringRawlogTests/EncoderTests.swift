import Testing

@testable import UringRawlog

/// The bytes on disk: the samples measured on Dovecot's rawlog, and an implementation of the rules that goes byte by
/// byte, against the encoder fed in any pieces and with any room.
@Suite struct EncoderTests {
  /// What one read returned, and when.
  private struct Chunk {
    var bytes: [UInt8]
    var microseconds: Int64

    init(_ bytes: [UInt8], at microseconds: Int64 = EncoderTests.sampleMicroseconds) {
      self.bytes = bytes
      self.microseconds = microseconds
    }
  }

  private static let sampleMicroseconds: Int64 = 1_795_340_682_095_328
  private static let sampleStamp = "1795340682.095328"

  // MARK: The rules, byte by byte

  /// A recording, and for each of its bytes whether it is one of the data and whether a write may begin with it.
  private struct Reference {
    var bytes: [UInt8] = []
    var isData: [Bool] = []
    var mayBegin: [Bool] = []

    init(_ chunks: [Chunk], _ encoder: Encoder) {
      var lineEnded = true
      for chunk in chunks where !chunk.bytes.isEmpty {
        if encoder.boundaries { addWhole("<<<\n") }
        for (place, byte) in chunk.bytes.enumerated() {
          let beginsLine = place == 0 ? lineEnded : chunk.bytes[place - 1] == 10
          if encoder.timestamps && beginsLine {
            let fraction = String(chunk.microseconds % 1_000_000)
            addWhole(
              "\(chunk.microseconds / 1_000_000)." + String(repeating: "0", count: 6 - fraction.count) + fraction + " ")
          }
          // A stamp and the byte behind it belong together.
          mayBegin.append(!(encoder.timestamps && beginsLine))
          isData.append(true)
          bytes.append(byte)
        }
        lineEnded = chunk.bytes.last == 10
        if encoder.boundaries { addWhole(">>>\n") }
      }
    }

    private mutating func addWhole(_ text: String) {
      for (place, byte) in text.utf8.enumerated() {
        bytes.append(byte)
        isData.append(false)
        mayBegin.append(place == 0)
      }
    }
  }

  // MARK: Driving the encoder

  /// Encodes chunks as the loop does: each in pieces as `cut` says, into rooms as `room` says. The answer is what was
  /// put into each room; nil when the encoder did not get on with a room in which it must.
  private func encode(
    _ chunks: [Chunk], _ encoder: Encoder, cut: (Int) -> Int = { $0 }, room: () -> Int = { 1 << 20 }
  ) -> [[UInt8]]? {
    var state = Encoder.State()
    var rooms: [[UInt8]] = []
    var size = room()
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 16)
    defer { memory.deallocate() }
    var used = 0
    for chunk in chunks where !chunk.bytes.isEmpty {
      let stamp = Encoder.Stamp(microseconds: chunk.microseconds)
      var place = 0
      while place < chunk.bytes.count {
        let count = min(max(1, cut(chunk.bytes.count - place)), chunk.bytes.count - place)
        let ends = place + count == chunk.bytes.count
        var starts = place == 0
        var from = place
        while true {
          let result = chunk.bytes.withUnsafeBytes { bytes in
            encoder.encode(
              UnsafeRawBufferPointer(rebasing: bytes[from..<place + count]), startsChunk: starts, endsChunk: ends,
              stamp: stamp, state: &state, into: UnsafeMutableRawBufferPointer(rebasing: memory[used..<size]))
          }
          used += result.produced
          from += result.consumed
          if result.isDone { break }
          if result.consumed > 0 { starts = false }
          if result.produced == 0 && used == 0 && size >= Encoder.leastOutput { return nil }
          rooms.append(Array(memory[..<used]))
          used = 0
          size = room()
        }
        if from != place + count { return nil }
        place += count
      }
    }
    rooms.append(Array(memory[..<used]))
    return rooms
  }

  private func text(_ chunks: [String], timestamps: Bool, boundaries: Bool) -> String? {
    let encoder = Encoder(timestamps: timestamps, boundaries: boundaries)
    let rooms = encode(chunks.map { Chunk(Array($0.utf8)) }, encoder)
    return rooms.map { String(decoding: $0.joined(), as: UTF8.self) }
  }

  // MARK: Samples

  struct Sample: Sendable {
    var chunks: [String]
    var timestamps: Bool
    var boundaries: Bool
    /// `@T` stands for the stamp.
    var recording: String
  }

  private static let fiveChunks = ["abc", "def", "\r\nghi", "\n", "last"]
  private static let markerChunks = ["<<<\nfake\n>>>\n", ">>>", "\n<<<\n"]

  static let samples = [
    Sample(chunks: fiveChunks, timestamps: false, boundaries: false, recording: "abcdef\r\nghi\nlast"),
    Sample(chunks: fiveChunks, timestamps: true, boundaries: false, recording: "@T abcdef\r\n@T ghi\n@T last"),
    Sample(
      chunks: fiveChunks, timestamps: false, boundaries: true,
      recording: "<<<\nabc>>>\n<<<\ndef>>>\n<<<\n\r\nghi>>>\n<<<\n\n>>>\n<<<\nlast>>>\n"),
    Sample(
      chunks: fiveChunks, timestamps: true, boundaries: true,
      recording: "<<<\n@T abc>>>\n<<<\ndef>>>\n<<<\n\r\n@T ghi>>>\n<<<\n\n>>>\n<<<\n@T last>>>\n"),
    Sample(chunks: ["\n\n\n"], timestamps: false, boundaries: false, recording: "\n\n\n"),
    Sample(chunks: ["\n\n\n"], timestamps: true, boundaries: false, recording: "@T \n@T \n@T \n"),
    Sample(chunks: ["\n\n\n"], timestamps: false, boundaries: true, recording: "<<<\n\n\n\n>>>\n"),
    Sample(chunks: ["\n\n\n"], timestamps: true, boundaries: true, recording: "<<<\n@T \n@T \n@T \n>>>\n"),
    Sample(chunks: ["four\nfive", "\nsix\n"], timestamps: false, boundaries: false, recording: "four\nfive\nsix\n"),
    Sample(
      chunks: ["four\nfive", "\nsix\n"], timestamps: true, boundaries: false, recording: "@T four\n@T five\n@T six\n"),
    Sample(
      chunks: ["four\nfive", "\nsix\n"], timestamps: false, boundaries: true,
      recording: "<<<\nfour\nfive>>>\n<<<\n\nsix\n>>>\n"),
    Sample(
      chunks: ["four\nfive", "\nsix\n"], timestamps: true, boundaries: true,
      recording: "<<<\n@T four\n@T five>>>\n<<<\n\n@T six\n>>>\n"),
    Sample(
      chunks: markerChunks, timestamps: false, boundaries: false, recording: "<<<\nfake\n>>>\n>>>\n<<<\n"),
    Sample(
      chunks: markerChunks, timestamps: true, boundaries: false,
      recording: "@T <<<\n@T fake\n@T >>>\n@T >>>\n@T <<<\n"),
    Sample(
      chunks: markerChunks, timestamps: false, boundaries: true,
      recording: "<<<\n<<<\nfake\n>>>\n>>>\n<<<\n>>>>>>\n<<<\n\n<<<\n>>>\n"),
    Sample(
      chunks: markerChunks, timestamps: true, boundaries: true,
      recording: "<<<\n@T <<<\n@T fake\n@T >>>\n>>>\n<<<\n@T >>>>>>\n<<<\n\n@T <<<\n>>>\n"),
    Sample(chunks: [], timestamps: true, boundaries: true, recording: ""),
    Sample(chunks: ["", "x", ""], timestamps: true, boundaries: true, recording: "<<<\n@T x>>>\n"),
  ]

  @Test(arguments: samples)
  func samplesOfTheOriginal(_ sample: Sample) {
    let recording = text(sample.chunks, timestamps: sample.timestamps, boundaries: sample.boundaries)
    #expect(recording == sample.recording.replacing("@T", with: Self.sampleStamp))
  }

  @Test(arguments: samples)
  func theReferenceAgreesWithTheSamples(_ sample: Sample) {
    let encoder = Encoder(timestamps: sample.timestamps, boundaries: sample.boundaries)
    let reference = Reference(sample.chunks.map { Chunk(Array($0.utf8)) }, encoder)
    let recording = String(decoding: reference.bytes, as: UTF8.self)
    #expect(recording == sample.recording.replacing("@T", with: Self.sampleStamp))
  }

  /// The first 48 bytes of an `.in` that Dovecot's rawlog -b -t wrote.
  @Test func hexdumpOfRealIMAP() {
    let dump: [UInt8] = [
      0x3c, 0x3c, 0x3c, 0x0a, 0x31, 0x37, 0x39, 0x35, 0x33, 0x34, 0x30, 0x36, 0x38, 0x32, 0x2e, 0x30,
      0x39, 0x35, 0x33, 0x32, 0x38, 0x20, 0x43, 0x47, 0x4a, 0x45, 0x32, 0x20, 0x53, 0x45, 0x4c, 0x45,
      0x43, 0x54, 0x20, 0x49, 0x4e, 0x42, 0x4f, 0x58, 0x0d, 0x0a, 0x3e, 0x3e, 0x3e, 0x0a, 0x3c, 0x3c,
    ]
    let chunks = [
      Chunk(Array("CGJE2 SELECT INBOX\r\n".utf8)), Chunk(Array("CGJE3 NOOP\r\n".utf8), at: 1_795_340_683_000_000),
    ]
    let recording = encode(chunks, Encoder(timestamps: true, boundaries: true)).map { Array($0.joined()) }
    #expect(recording.map { Array($0.prefix(48)) } == dump)
  }

  /// A chunk that lost its end is closed by the next one, or at the end of the file.
  @Test(arguments: [false, true])
  func anOpenChunkIsClosed(byNext: Bool) {
    let encoder = Encoder(timestamps: false, boundaries: true)
    var state = Encoder.State()
    let stamp = Encoder.Stamp(microseconds: 0)
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 200, alignment: 16)
    defer { memory.deallocate() }
    func encode(_ text: String, from used: Int, starts: Bool, ends: Bool) -> Int {
      Array(text.utf8).withUnsafeBytes { input in
        let result = encoder.encode(
          input, startsChunk: starts, endsChunk: ends, stamp: stamp, state: &state,
          into: UnsafeMutableRawBufferPointer(rebasing: memory[used...]))
        #expect(result.isDone && result.consumed == text.utf8.count)
        return used + result.produced
      }
    }
    var used = encode("half", from: 0, starts: true, ends: false)
    #expect(state.insideChunk)
    used =
      byNext ? encode("next", from: used, starts: true, ends: true) : encode("", from: used, starts: false, ends: true)
    #expect(!state.insideChunk)
    let recording = String(decoding: memory[..<used], as: UTF8.self)
    #expect(recording == (byNext ? "<<<\nhalf>>>\n<<<\nnext>>>\n" : "<<<\nhalf>>>\n"))
  }

  /// What goes on behind a chunk that is closed already, since its middle is lost, is a chunk of its own.
  @Test func aPieceWithoutItsBeginningOpensAChunk() {
    let encoder = Encoder(timestamps: true, boundaries: true)
    var state = Encoder.State()
    let stamp = Encoder.Stamp(microseconds: Self.sampleMicroseconds)
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 200, alignment: 16)
    defer { memory.deallocate() }
    var used = 0
    for (text, ends) in [("x\n", true), ("rest", false), ("", true)] {
      let result = Array(text.utf8).withUnsafeBytes { input in
        encoder.encode(
          input, startsChunk: false, endsChunk: ends, stamp: stamp, state: &state,
          into: UnsafeMutableRawBufferPointer(rebasing: memory[used...]))
      }
      #expect(result.isDone)
      used += result.produced
    }
    let recording = String(decoding: memory[..<used], as: UTF8.self)
    #expect(recording == "<<<\n\(Self.sampleStamp) x\n>>>\n<<<\n\(Self.sampleStamp) rest>>>\n")
  }

  // MARK: Any pieces, any room

  /// Data that is hard on an encoder: line feeds in runs, what looks like markers and stamps, NUL, CR, 8-bit.
  private static func chunks(_ random: inout SeededGenerator) -> [Chunk] {
    var microseconds: Int64 = [0, 5, 999_999, 1_795_340_682_095_328, 99_999_999_999_999_999].randomElement(
      using: &random)!
    return (0..<random.below(12)).map { _ in
      microseconds += Int64(random.below(3) * random.below(2_000_000))
      let lineFeeds = 1 + random.below(20)
      let bytes = (0..<random.below(random.once(in: 5) ? 3000 : 40)).map { _ -> UInt8 in
        if random.once(in: lineFeeds) { return 10 }
        switch random.below(4) {
        case 0: return UInt8(ascii: "<") + UInt8(random.below(3))
        case 1: return Array("0123456789. \r\0".utf8)[random.below(14)]
        default: return UInt8(truncatingIfNeeded: random.next())
        }
      }
      return Chunk(bytes, at: microseconds)
    }
  }

  @Test(arguments: [false, true], [false, true])
  func theRecordingDependsOnBytesStampsAndChunksOnly(timestamps: Bool, boundaries: Bool) throws {
    let encoder = Encoder(timestamps: timestamps, boundaries: boundaries)
    for seed in 1...UInt64(150) {
      var random = SeededGenerator(seed: seed)
      let chunks = Self.chunks(&random)
      let reference = Reference(chunks, encoder)

      let whole = encode(chunks, encoder)
      let wholeFault = firstDifference(whole.map { Array($0.joined()) }, reference.bytes)
      try #require(wholeFault == nil, "seed \(seed), in one piece")

      let most = 1 + random.below(50)
      let rooms: [() -> Int] = [
        { Encoder.leastOutput }, { random.below(100) }, { Encoder.leastOutput + random.below(300) },
      ]
      for (number, room) in rooms.enumerated() {
        var cuts = SeededGenerator(seed: seed ^ 0xFFFF)
        let pieces = encode(chunks, encoder, cut: { _ in 1 + cuts.below(most) }, room: room)
        let fault = firstDifference(pieces.map { Array($0.joined()) }, reference.bytes)
        try #require(fault == nil, "seed \(seed), rooms \(number)")
        // No room begins inside a stamp or a marker, or between a stamp and its byte.
        var place = 0
        for piece in pieces ?? [] {
          if place < reference.bytes.count, !piece.isEmpty, !reference.mayBegin[place] {
            Issue.record("seed \(seed), rooms \(number): a room begins inside what belongs together, at \(place)")
          }
          place += piece.count
        }
      }
    }
  }

  @Test func encodingTakesNothingWithoutRoomAndLosesNothing() throws {
    let encoder = Encoder(timestamps: true, boundaries: true)
    let stamp = Encoder.Stamp(microseconds: Self.sampleMicroseconds)
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: Encoder.leastOutput, alignment: 16)
    defer { memory.deallocate() }
    for room in 0...Encoder.leastOutput {
      var state = Encoder.State()
      let result = Array("ab\ncd".utf8).withUnsafeBytes {
        encoder.encode(
          $0, startsChunk: true, endsChunk: true, stamp: stamp, state: &state,
          into: UnsafeMutableRawBufferPointer(rebasing: memory[..<room]))
      }
      try #require(result.produced <= room)
      try #require((result.consumed > 0) == (room == Encoder.leastOutput), "room \(room)")
      try #require(state.insideChunk == (result.consumed > 0))
    }
  }

  // MARK: Counting back

  @Test(arguments: [false, true])
  func relayedBytesCountsBack(timestamps: Bool) {
    let encoder = Encoder(timestamps: timestamps, boundaries: false)
    for seed in 1...UInt64(60) {
      var random = SeededGenerator(seed: seed)
      let reference = Reference(Self.chunks(&random), encoder)
      // Runs begin at the beginning of the file, and wherever a block may have begun.
      var start = 0
      while start < reference.bytes.count {
        let run = Array(reference.bytes[start...].prefix(400))
        let atLineStart = start == 0 || reference.isData[start - 1] && reference.bytes[start - 1] == 10
        var relayed = 0
        for count in 0...run.count {
          let answer = run.withUnsafeBytes { encoder.relayedBytes(inFirst: count, of: $0, atLineStart: atLineStart) }
          if answer != relayed {
            Issue.record("seed \(seed): \(String(describing: answer)) of \(relayed) in \(count) from \(start)")
            return
          }
          if count < run.count, reference.isData[start + count] { relayed += 1 }
        }
        start += 1 + random.below(500)
        while start < reference.bytes.count, !reference.mayBegin[start] { start += 1 }
      }
    }
  }

  @Test func relayedBytesCannotBeToldWithBoundaries() {
    let bytes = Array("<<<\nabc>>>\n".utf8)
    for timestamps in [false, true] {
      let encoder = Encoder(timestamps: timestamps, boundaries: true)
      let answer = bytes.withUnsafeBytes { encoder.relayedBytes(inFirst: 7, of: $0, atLineStart: true) }
      #expect(answer == nil)
    }
  }

  // MARK: Stamps

  @Test(
    arguments: [
      (0, "0.000000 "), (1, "0.000001 "), (999_999, "0.999999 "), (1_000_000, "1.000000 "), (10_000_000, "10.000000 "),
      (1_795_340_682_095_328, "1795340682.095328 "), (9_999_999_999_999_999, "9999999999.999999 "),
      (10_000_000_000_000_000, "10000000000.000000 "), (99_999_999_999_999_999, "99999999999.999999 "),
      (Int64.max, "9223372036854.775807 "),
      // A clock before the epoch is no reason to stop.
      (-1, "0.000000 "), (Int64.min, "0.000000 "),
    ] as [(Int64, String)])
  func stampText(microseconds: Int64, expected: String) {
    let stamp = Encoder.Stamp(microseconds: microseconds)
    let text = stamp.text.span.withUnsafeBytes { String(decoding: $0.prefix(stamp.count), as: UTF8.self) }
    #expect(text == expected)
    #expect(stamp.count <= Encoder.Stamp.maximumBytes)
  }
}
