import Testing

@testable import UringRawlog

@Suite struct CaptureReaderTests {
  private func listing(_ bytes: [UInt8]) throws -> CaptureListing {
    var listing = CaptureListing()
    try listing.read(try CaptureReader(CaptureInMemory(bytes)))
    return listing
  }

  /// A small capture with few sessions, and small packets.
  private static let small: [UInt8] = {
    var seed: UInt64 = 1
    while true {
      let sample = CaptureSample(sessions: 2, seed: seed)
      if sample.captures[0].bytes.count < 6000, sample.sessions.allSatisfy({ !$0.captures.isEmpty }) {
        return sample.captures[0].bytes
      }
      seed += 1
    }
  }()

  // MARK: What was written

  @Test(arguments: 1...12) func samples(seed: UInt64) throws {
    let sample = CaptureSample(sessions: 25, seed: seed, rotateBytes: 200_000)
    let sources = sample.captures.map { CaptureInMemory($0.bytes, "\($0.number).pcapng") }
    let listings = try sample.captures.map { try listing($0.bytes) }
    for (place, listing) in listings.enumerated() {
      #expect(listing.tail == .complete && listing.damageCount == 0)
      let reader = try CaptureReader(sources[place])
      #expect(reader.section == sample.section)
      try checkIndex(sample.captures[place], listing)
      let expected = sample.sessions.filter { $0.captures.contains(place) }.map(\.id)
      #expect(Set(listing.sessions.map(\.id)) == Set(expected) && listing.sessions.count == expected.count)
    }
    for session in sample.sessions {
      let parts = try session.captures.map { place in
        CapturedPart(sources[place], try #require(listings[place].sessions.first { $0.id == session.id }))
      }
      try check(session, CapturedRun(CapturedSessionReader(parts)))
      try check(session, CapturedRun(CapturedSessionReader(parts, mostPlaces: 0)))
    }
  }

  private func checkIndex(_ capture: CaptureSample.Written, _ listing: CaptureListing) throws {
    let index = try CaptureIndexReader(CaptureInMemory(capture.index, "test.idx"))
    #expect(index.captureBytes == UInt64(capture.bytes.count))
    let expected = listing.sessions.map {
      CaptureIndex.Entry(
        id: $0.id, firstBlock: $0.firstBlock, lastBlock: $0.lastBlock, blocks: $0.blocks, part: $0.part)
    }
    #expect(index.entries.sorted { $0.firstBlock < $1.firstBlock } == expected)
  }

  private func check(_ session: CaptureSample.Session, _ run: CapturedRun) throws {
    #expect(run.ids == Array(repeating: session.id, count: session.captures.count))
    #expect(run.continues == session.captures.indices.map { $0 > 0 })
    for direction in [Direction.in, .out] {
      let stream = session.streams[direction.rawValue]
      #expect(firstDifference(run.streams[direction.rawValue], stream.bytes) == nil)
      let gaps = run.gaps.filter { $0.direction == direction }
      // One that was told of while it went on is told of in two parts.
      var joined: [CaptureSample.Stream.Gap] = []
      for gap in gaps {
        let isMore = joined.last?.recorded == gap.recorded
        let before = isMore ? joined.removeLast().bytes : 0
        joined.append(CaptureSample.Stream.Gap(recorded: gap.recorded, bytes: before + gap.bytes))
      }
      #expect(joined == stream.gaps)
      var lost: UInt64 = 0
      for gap in gaps {
        #expect(gap.place == UInt64(gap.recorded) + lost)
        lost += gap.bytes
      }
    }
    #expect(run.damages.isEmpty && run.record == session.record && run.resetBy == session.resetBy)
    #expect(Set(run.finished.map(\.rawValue)) == Set([0, 1].filter { session.isFinished[$0] }))
    #expect(run.times == run.times.sorted())
  }

  @Test func extractionReadsLittle() throws {
    let sample = CaptureSample(sessions: 60, seed: 5)
    let index = try CaptureIndexReader(
      CaptureInMemory(sample.captures[0].index, "test.idx"), only: sample.sessions[3].id)
    #expect(index.entries.map(\.id) == [sample.sessions[3].id])
    let source = CaptureInMemory(sample.captures[0].bytes)
    let run = try CapturedRun(CapturedSessionReader([CapturedPart(source, index.entries[0])]))
    #expect(firstDifference(run.streams[0], sample.sessions[3].streams[0].bytes) == nil)
    let own = sample.sessions[3].streams.reduce(0) { $0 + $1.bytes.count }
    let blocks = Int(index.entries[0].blocks)
    #expect(source.bytesRead < 2 * (own + blocks * 10_000) && source.bytesRead < sample.captures[0].bytes.count)
  }

  @Test func sessionsOfManyIDsAreFoundExactly() throws {
    let sample = CaptureSample(sessions: 20, seed: 9)
    for session in sample.sessions {
      let index = try CaptureIndexReader(CaptureInMemory(sample.captures[0].index), only: session.id)
      #expect(index.entries.map(\.id) == [session.id])
    }
    // No beginning of an id is one.
    let beginning = String(sample.sessions[0].id.dropLast())
    #expect(try CaptureIndexReader(CaptureInMemory(sample.captures[0].index), only: beginning).entries.isEmpty)
  }

  // MARK: Captures that end early

  @Test func everyLength() throws {
    let whole = try listing(Self.small)
    let starts = try blockStarts(Self.small)
    var lastPackets: UInt64 = 0
    for count in 0..<Self.small.count {
      let cut = Array(Self.small[..<count])
      guard count >= starts[2] else {
        #expect(throws: StartError.self) { try listing(cut) }
        continue
      }
      let found = try listing(cut)
      let wholeBlocks = starts.dropFirst(2).filter { $0 <= count }
      #expect(found.packets == UInt64(wholeBlocks.count - 1))
      #expect(found.tail == (starts.contains(count) ? .unfinished : .cut(at: UInt64(wholeBlocks.last!))))
      #expect(found.damageCount == 0 && found.packets >= lastPackets)
      lastPackets = found.packets
    }
    #expect(whole.tail == .complete && whole.packets == lastPackets)
  }

  /// Where the blocks begin, and the end.
  private func blockStarts(_ bytes: [UInt8]) throws -> [Int] {
    var starts = [0]
    while let last = starts.last, last < bytes.count {
      let length = bytes.withUnsafeBytes { Int($0.number(at: last + 4, as: UInt32.self)) }
      try #require(length >= 12)
      starts.append(last + length)
    }
    return starts
  }

  @Test func zerosBehindTheLastBlockAreACut() throws {
    let starts = try blockStarts(Self.small)
    for zeros in [1, 11, 12, 4096] {
      let bytes = Array(Self.small[..<starts[5]]) + [UInt8](repeating: 0, count: zeros)
      #expect(try listing(bytes).tail == .cut(at: UInt64(starts[5])))
    }
  }

  @Test func aCaptureThatGrows() throws {
    let source = CaptureInMemory(Array(Self.small[..<0]))
    #expect(throws: StartError.self) { try CaptureReader(source) }
    let starts = try blockStarts(Self.small)
    source.bytes = Array(Self.small[..<starts[2]])
    let reader = try CaptureReader(source)
    var grown = CaptureListing()
    for count in stride(from: starts[2], through: Self.small.count, by: 7) {
      source.bytes = Array(Self.small[..<count])
      try grown.read(reader)
    }
    source.bytes = Self.small
    try grown.read(reader)
    let whole = try listing(Self.small)
    #expect(grown.packets == whole.packets && grown.tail == .complete && grown.damageCount == 0)
    #expect(grown.sessions.map(\.recorded) == whole.sessions.map(\.recorded))
  }

  // MARK: Captures that were changed

  /// Every bit of a capture is changed by itself: what is said to be right is right.
  @Test func everyBit() throws {
    let right = try listing(Self.small)
    var bytes = Self.small
    var unnoticed = 0
    for bit in 0..<bytes.count * 8 {
      bytes[bit >> 3] ^= 1 << (bit & 7)
      defer { bytes[bit >> 3] ^= 1 << (bit & 7) }
      guard let found = try? listing(bytes), found.damageCount == 0, found.tail == .complete else { continue }
      // Only what no checksum covers may go unnoticed: times, comments, numbers.
      unnoticed += 1
      #expect(found.packets == right.packets, "bit \(bit)")
      let counts = found.sessions.reduce(into: CapturedSession.Counts()) {
        $0.in += $1.recorded.in
        $0.out += $1.recorded.out
      }
      let expected = right.sessions.reduce(into: CapturedSession.Counts()) {
        $0.in += $1.recorded.in
        $0.out += $1.recorded.out
      }
      #expect(counts.in + counts.out == expected.in + expected.out, "bit \(bit)")
    }
    #expect(unnoticed < bytes.count * 4)
  }

  @Test(arguments: 1...8) func manyChanges(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    for _ in 0..<300 {
      var bytes = Self.small
      for _ in 0...generator.below(6) {
        let place = generator.below(bytes.count)
        switch generator.below(4) {
        case 0: bytes[place] = UInt8(generator.below(256))
        case 1: bytes.removeSubrange(place..<min(bytes.count, place + 1 + generator.below(40)))
        case 2: bytes.insert(contentsOf: bytes[..<min(bytes.count, generator.below(200))], at: place)
        default: for next in place..<min(bytes.count, place + 4) { bytes[next] = 0xFF }
        }
      }
      let source = CaptureInMemory(bytes)
      var found = CaptureListing()
      do throws(StartError) {
        try found.read(try CaptureReader(source))
      } catch {
        #expect(!error.message.contains("\n") && error.status == .dataError)
      }
      for session in found.sessions {
        for mostPlaces in [0, 1000] as [UInt64] {
          _ = try? CapturedRun(CapturedSessionReader([CapturedPart(source, session)], mostPlaces: mostPlaces))
        }
      }
      // Places that an index may name.
      let entry = CaptureIndex.Entry(
        id: "x", firstBlock: UInt64(generator.below(bytes.count)),
        lastBlock: generator.next() >> UInt64(generator.below(64)),
        blocks: 1 + UInt64(generator.below(4)), part: .whole)
      _ = try? CapturedRun(CapturedSessionReader([CapturedPart(source, entry)]))
    }
  }

  @Test func aMissingPacketIsNoticed() throws {
    let sample = CaptureSample(sessions: 1, seed: 4)
    let bytes = sample.captures[0].bytes
    let starts = try blockStarts(bytes)
    // Neither of the first three, nor the last: those of a dialogue all have bytes.
    for place in 5..<starts.count - 5 {
      let found = try listing(Array(bytes[..<starts[place]] + bytes[starts[place + 1]...]))
      #expect(found.damageCount == 2, "without block \(place)")
      #expect(found.damages.last?.kind == .count(found: found.packets, stated: found.packets + 1))
      guard case .missing(_, let count)? = found.damages.first?.kind else {
        Issue.record("\(found.damages)")
        continue
      }
      #expect(count > 0)
    }
    let twice = Array(bytes[..<starts[8]] + bytes[starts[7]..<starts[8]] + bytes[starts[8]...])
    guard case .missing(_, let count)? = try listing(twice).damages.first?.kind else {
      Issue.record("a packet that comes twice was not noticed")
      return
    }
    #expect(count < 0)
  }

  @Test func aMissingBeginningIsNoticed() throws {
    let sample = CaptureSample(sessions: 1, seed: 4)
    let starts = try blockStarts(sample.captures[0].bytes)
    let bytes = Array(sample.captures[0].bytes[..<starts[2]] + sample.captures[0].bytes[starts[3]...])
    let found = try listing(bytes)
    #expect(found.damages.first?.kind == .beginningMissing)
    #expect(found.sessions.map(\.id) == ["session-\(sample.sessions[0].number)"])
  }

  // MARK: Captures put together

  @Test func sectionsBehindEachOther() throws {
    let samples = [CaptureSample(sessions: 4, seed: 1), CaptureSample(sessions: 4, seed: 1)]
    let source = CaptureInMemory(samples.flatMap { $0.captures[0].bytes })
    var found = CaptureListing()
    try found.read(try CaptureReader(source))
    #expect(found.sessions.count == 8 && found.damageCount == 0 && found.tail == .complete)
    for (place, session) in found.sessions.enumerated() {
      let expected = try #require(samples[place / 4].sessions.first { $0.id == session.id })
      for mostPlaces in [0, 1 << 20] as [UInt64] {
        let run = try CapturedRun(CapturedSessionReader([CapturedPart(source, session)], mostPlaces: mostPlaces))
        #expect(firstDifference(run.streams[1], expected.streams[1].bytes) == nil && run.damages.isEmpty)
      }
    }
  }

  @Test func blocksOfOtherKindsArePassedOver() throws {
    let starts = try blockStarts(Self.small)
    func block(_ bytes: Int) -> [UInt8] {
      var text = Bytes()
      text.append(number: UInt32(4))
      text.append(number: UInt32(bytes))
      for _ in 0..<bytes - 12 { text.append(0x55) }
      text.append(number: UInt32(bytes))
      return Array(text.span)
    }
    let right = try listing(Self.small)
    for length in [12, 16, 4096, Limits.captureBlockBytes, 3 << 20] {
      let bytes = Array(Self.small[..<starts[4]]) + block(length) + block(12) + Array(Self.small[starts[4]...])
      let found = try listing(bytes)
      #expect(found.packets == right.packets && found.tail == .complete && found.damageCount == 0)
      let cut = try listing(Array(bytes[..<(starts[4] + length - 1)]))
      #expect(cut.tail == .cut(at: UInt64(starts[4])))
    }
  }

  // MARK: Files that are no captures

  private func refusal(_ bytes: [UInt8]) throws -> StartError {
    try #require(throws: StartError.self) { try CaptureReader(CaptureInMemory(bytes, "a.pcapng")) }
  }

  private func section(_ application: String) -> [UInt8] {
    var bytes = Bytes()
    CaptureSection(
      application: application, operatingSystem: "", hardware: "", comment: "", interfaceName: "",
      interfaceDescription: ""
    ).append(to: &bytes)
    return Array(bytes.span)
  }

  @Test func foreignFiles() throws {
    let pcap = [UInt8]([0xD4, 0xC3, 0xB2, 0xA1]) + [UInt8](repeating: 0, count: 40)
    for (bytes, words) in [
      ([], "is empty"), (Array("hello".utf8), "no pcapng capture"),
      (Array(String(repeating: "text\n", count: 50).utf8), "no pcapng capture"), (pcap, "the older pcap format"),
      ([0x28, 0xB5, 0x2F, 0xFD] + [UInt8](repeating: 7, count: 40), "compressed (zstd)"),
      (section("Dumpcap (Wireshark) 4.0\u{1B}[2J"), "written by 'Dumpcap (Wireshark) 4.0\\x1b[2J'"),
      (section(""), "written by another program"), (section("uring-rawlogger 1"), "written by 'uring-rawlogger 1'"),
      (Array(Self.small[..<30]), "ends within its first blocks"),
    ] as [([UInt8], String)] {
      let error = try refusal(bytes)
      #expect(error.status == .dataError && error.message.contains(words), "\(error.message)")
      #expect(error.message.hasPrefix("'a.pcapng' ") && !error.message.contains("\u{1B}"))
    }
  }

  @Test func longTextsAreCutBetweenCharacters() throws {
    var section = CaptureSection(
      application: "uring-rawlog 1", operatingSystem: "", hardware: "", comment: "",
      interfaceName: String(repeating: "ä", count: 5000), interfaceDescription: String(repeating: "x", count: 4097))
    var bytes = Bytes()
    section.append(to: &bytes)
    #expect(try CaptureReader(CaptureInMemory(Array(bytes.span))).section.interfaceName.utf8.count == 4096)
    section.interfaceName = "x" + section.interfaceName
    bytes.removeAll()
    section.append(to: &bytes)
    let found = try CaptureReader(CaptureInMemory(Array(bytes.span))).section
    #expect(found.interfaceName == "x" + String(repeating: "ä", count: 2047))
    #expect(found.interfaceDescription == String(repeating: "x", count: 4096) && found.comment.isEmpty)
  }

  @Test func theOtherByteOrder() throws {
    var bytes = section("uring-rawlog 1")
    bytes[8..<12].reverse()
    #expect(try refusal(bytes).message.contains("other byte order"))
    // Its length is of that order too.
    bytes[4..<8].reverse()
    #expect(try refusal(bytes).message.contains("other byte order"))
  }

  @Test func blocksThatCannotBe() throws {
    let starts = try blockStarts(Self.small)
    for (place, value) in [(4, 13), (4, 8), (4, Limits.captureBlockBytes + 4), (4, Int(UInt32.max))] {
      var bytes = Self.small
      withUnsafeBytes(of: UInt32(value)) { for byte in 0..<4 { bytes[starts[4] + place + byte] = $0[byte] } }
      let error = try #require(throws: StartError.self) { try listing(bytes) }
      #expect(error.status == .dataError && error.message.contains("damaged at byte \(starts[4])"), "\(error.message)")
    }
    var bytes = Self.small
    bytes[starts[5] - 4] ^= 4
    #expect(try #require(throws: StartError.self) { try listing(bytes) }.message.contains("two different lengths"))
  }

  private func open(_ path: String) throws(StartError) -> CaptureFile {
    CaptureFile(try RecordingFiles.open(path, followsLinks: false))
  }

  @Test func filesThatAreNotThere() throws {
    let directory = try TemporaryDirectory()
    for path in [directory.path, directory.path + "/none.pcapng", "/dev/null"] {
      #expect(try #require(throws: StartError.self) { try open(path) }.status == .noInput)
    }
  }

  @Test func filesOnDisk() throws {
    let directory = try TemporaryDirectory()
    let sample = CaptureSample(sessions: 6, seed: 2, rotateBytes: 20_000)
    #expect(try sample.write(to: directory.path) == "6 sessions in \(sample.captures.count) captures")
    let source = try open("\(directory.path)/20260131-080000.4711.1.pcapng")
    var found = CaptureListing()
    try found.read(try CaptureReader(source))
    #expect(found.tail == .complete && found.packets > 0)
    #expect(try source.count() == UInt64(sample.captures[0].bytes.count))
    #expect(
      firstDifference(directory.content("\(sample.sessions[0].id).in"), sample.sessions[0].streams[0].bytes) == nil)
    // Nothing is written over.
    #expect(throws: StartError.self) { try sample.write(to: directory.path) }
  }
}
