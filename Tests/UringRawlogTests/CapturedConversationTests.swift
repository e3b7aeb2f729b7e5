import Testing

@testable import UringRawlog

@Suite struct CapturedConversationTests {
  /// A capture and one conversation in it, and what was composed.
  private final class Bench {
    var capture: Capture
    var conversation: CapturedConversation
    var bytes: [UInt8]
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 128 << 10, alignment: 16)
    static let section = CaptureSection(
      application: "uring-rawlog test", operatingSystem: "", hardware: "", comment: "", interfaceName: "",
      interfaceDescription: "")

    init(
      _ from: PeerAddress = PeerAddress(ipv4: 0xC000_0207, port: 40000),
      _ to: PeerAddress = PeerAddress(ipv4: 0xC633_6407, port: 143), opener: Direction = .in, number: UInt64 = 1
    ) {
      var preamble = Bytes()
      capture = Capture(number: 1, section: Self.section, at: 0, to: &preamble)
      bytes = Array(preamble.span)
      conversation = CapturedConversation(number: number, opener: opener, from: from, to: to, port: 143)
      memory.initializeMemory(as: UInt8.self, repeating: 0xAA)
    }

    deinit { memory.deallocate() }

    /// - Returns: what was composed.
    @discardableResult
    func take(_ count: Int) -> [UInt8] {
      let made = Array(memory[..<count])
      bytes += made
      #expect(capture.position == UInt64(bytes.count))
      return made
    }

    @discardableResult
    func open(_ id: String = "id.1.1") -> [UInt8] {
      let id = Array(id.utf8)
      return take(id.withUnsafeBytes { conversation.open(id: $0, at: 1_000_002, in: &capture, into: memory) })
    }

    @discardableResult
    func add(_ payload: [UInt8], _ direction: Direction) -> [UInt8] {
      take(payload.withUnsafeBytes { conversation.add($0, direction, at: 2_000_003, in: &capture, into: memory) })
    }

    @discardableResult
    func finish(_ direction: Direction) -> [UInt8] {
      take(conversation.finish(direction, at: 3_000_004, in: &capture, into: memory))
    }

    @discardableResult
    func end(_ record: String = "{}", resetBy direction: Direction = .in) -> [UInt8] {
      let record = Array(record.utf8)
      return take(
        record.withUnsafeBytes {
          conversation.end($0, resetBy: direction, at: 4_000_005, in: &capture, into: memory)
        })
    }

    func packets() throws -> [Packet] {
      let reader = try CaptureReader(CaptureInMemory(bytes))
      var packets: [Packet] = []
      while let step = try reader.next() {
        guard case .packet(let packet) = step else {
          Issue.record("\(step)")
          break
        }
        #expect(packet.hasRightChecksums)
        packets.append(Packet(packet))
      }
      return packets
    }
  }

  /// A packet that outlives its reader.
  private struct Packet {
    var direction: Direction
    var flags: UInt8
    var sequence: UInt32
    var acknowledgement: UInt32
    var payload: [UInt8]
    var comments: [String] = []
    var time: Int64

    init(_ packet: CapturedPacket) {
      direction = packet.direction
      flags = packet.flags
      sequence = packet.sequence
      acknowledgement = packet.acknowledgement
      payload = Array(packet.payload)
      time = packet.time
      var comments: [String] = []
      packet.forEachComment { comment in
        switch comment {
        case .session(let id, let continues): comments.append("\(continues ? "continues" : "session") \(id)")
        case .gap(let bytes, let place): comments.append("gap \(bytes) at \(place)")
        case .record(let text): comments.append(String(decoding: text, as: UTF8.self))
        case .other: comments.append("other")
        }
      }
      self.comments = comments
    }
  }

  private func bytes(_ hexadecimal: String) -> [UInt8] {
    let digits = hexadecimal.filter { !$0.isWhitespace }
    return stride(from: 0, to: digits.count, by: 2).map { place in
      let start = digits.index(digits.startIndex, offsetBy: place)
      return UInt8(digits[start..<digits.index(start, offsetBy: 2)], radix: 16)!
    }
  }

  // MARK: Bytes

  /// Put together by hand from the draft, RFC 791 and RFC 9293, checksums apart from this program. Numbers of blocks are
  /// little-endian.
  @Test(.enabled(if: UInt16(1).littleEndian == 1)) func everyByteOfAPacket() {
    let bench = Bench()
    bench.open()
    #expect(
      bench.add(Array("hello".utf8), .in)
        == bytes(
          """
          06000000 70000000 00000000 00000000 83841e00 2d000000 2d000000
          4500002d 00044000 40064e85 c0000207 c6336407
          9c40008f 9e3779b2 61c8864f 5018ffff e2e10000 68656c6c 6f
          000000
          02000400 01000000 72951000 0100000000000000 4c01000000000000 00000000 70000000
          """))
  }

  @Test(.enabled(if: UInt16(1).littleEndian == 1)) func everyByteOfTheFirstIPv6Packet() {
    let bench = Bench(
      PeerAddress(ipv6: 0x2001_0DB8_0000_0000, 1, port: 40000), PeerAddress(ipv4: 0xC633_6407, port: 143))
    #expect(
      Array(bench.open()[..<152])
        == bytes(
          """
          06000000 98000000 00000000 00000000 42420f00 44000000 44000000
          60000000 001c0640 20010db8000000000000000000000001 00000000000000000000ffffc6336407
          9c40008f 9e3779b1 00000000 7002ffff 704d0000 0204ffd7 03030e01
          01000e00 73657373696f6e2069642e312e31 0000
          02000400 01000000 72951000 0100000000000000 0000000000000000 00000000 98000000
          """))
  }

  // MARK: Conversations

  @Test(arguments: [Direction.in, .out]) func handshakeDataAndEnds(opener: Direction) throws {
    let bench = Bench(opener: opener)
    bench.open()
    bench.add([1, 2, 3], .out)
    bench.add([4], .in)
    bench.finish(.in)
    bench.add([5], .out)
    bench.finish(.out)
    bench.end("{\"event\":\"end\"}")
    let packets = try bench.packets()
    let answerer = opener.reverse
    #expect(packets.map(\.direction) == [opener, answerer, opener, .out, .in, .in, .out, .out, .in])
    #expect(packets.map(\.flags) == [0x02, 0x12, 0x10, 0x18, 0x18, 0x11, 0x18, 0x11, 0x10])
    #expect(packets.map(\.payload) == [[], [], [], [1, 2, 3], [4], [], [5], [], []])
    let starts = [packets[opener == .in ? 0 : 1].sequence, packets[opener == .in ? 1 : 0].sequence]
    let relative = packets.map { $0.sequence &- starts[$0.direction.rawValue] }
    let sent: [UInt32] = [0, 0, 1, 1, 1, 2, 4, 5, 3]
    #expect(relative == sent)
    let acknowledged = packets.dropFirst().map { $0.acknowledgement &- starts[$0.direction.reverse.rawValue] }
    #expect(acknowledged == [1, 1, 1, 4, 4, 3, 3, 6])
    #expect(packets[0].acknowledgement == 0)
    let times: [Int64] = [
      1_000_002, 1_000_002, 1_000_002, 2_000_003, 2_000_003, 3_000_004, 2_000_003, 3_000_004, 4_000_005,
    ]
    #expect(packets.map(\.time) == times)
    #expect(packets[0].comments == ["session id.1.1"] && packets[8].comments == ["{\"event\":\"end\"}"])
    #expect(packets[1..<8].allSatisfy { $0.comments.isEmpty })
  }

  @Test(arguments: [Direction.in, .out]) func reset(by direction: Direction) throws {
    let bench = Bench()
    bench.open()
    bench.finish(direction.reverse)
    bench.end(resetBy: direction)
    let packets = try bench.packets()
    #expect(packets[4].flags == 0x14 && packets[4].direction == direction && packets[4].comments == ["{}"])
  }

  @Test func theOtherSideAcknowledges() throws {
    let bench = Bench()
    bench.open()
    let many = Int(CapturedConversation.unacknowledgedPackets)
    for _ in 0..<many - 1 { bench.add([1], .in) }
    bench.add([1], .out)
    for _ in 0..<many { bench.add([1], .in) }
    let large = [UInt8](repeating: 7, count: CapturedConversation.mostPayloadBytes)
    for _ in 0..<17 { bench.add(large, .out) }
    let packets = try bench.packets()
    let acknowledgements = packets.indices.filter { packets[$0].payload.isEmpty && $0 > 2 }
    #expect(acknowledgements == [3 + many + many, 3 + many + many + 1 + 17])
    #expect(acknowledgements.map { packets[$0].direction } == [.out, .in])
    #expect(
      packets[acknowledgements[1]].acknowledgement == packets[acknowledgements[1] - 1].sequence &+ UInt32(large.count))
  }

  @Test func gaps() throws {
    let bench = Bench()
    bench.open()
    bench.conversation.lose(10, at: 100, .in)
    bench.add([1], .out)
    bench.conversation.lose(5, at: 110, .in)
    bench.add([2], .in)
    bench.add([3], .in)
    // What a reset by the other side cannot tell of comes before it.
    bench.conversation.lose(1 << 40, at: 200, .in)
    bench.conversation.lose(7, at: 300, .out)
    bench.end(resetBy: .out)
    let packets = try bench.packets()
    let first: [String?] = [
      "session id.1.1", nil, nil, nil, "gap 15 at 100", nil, nil, "gap 1099511627776 at 200", "gap 7 at 300",
    ]
    #expect(packets.map(\.comments.first) == first)
    #expect(packets[8].comments == ["gap 7 at 300", "{}"])
    // What is behind a gap is acknowledged at once.
    #expect(packets[5].direction == .out && packets[5].acknowledgement == packets[6].sequence)
    #expect(packets[4].sequence == packets[2].sequence &+ 15 && packets[6].sequence == packets[4].sequence &+ 1)
    #expect(packets[7].sequence == packets[6].sequence &+ 1 &+ 1 << 30 && packets[7].flags == 0x10)
    #expect(packets[8].flags == 0x14 && packets[8].sequence == packets[3].sequence &+ 1 &+ 7)
    #expect(bench.capture.gaps == 3)
  }

  @Test func aGapInFrontOfAnEnd() throws {
    let bench = Bench()
    bench.open()
    bench.conversation.lose(3, at: 0, .in)
    bench.finish(.in)
    bench.conversation.lose(4, at: 0, .out)
    bench.finish(.out)
    bench.end()
    let packets = try bench.packets()
    #expect(packets.map(\.comments) == [["session id.1.1"], [], [], ["gap 3 at 0"], ["gap 4 at 0"], ["{}"]])
    #expect(packets[5].direction == .in && packets[5].acknowledgement == packets[4].sequence &+ 1)
  }

  @Test func framesAreTheSamePackets() {
    var generator = SeededGenerator(seed: 3)
    for size in [0, 1, 2, 3, 4, 31, 32, 33, 64, 1500, 65494, CapturedConversation.mostPayloadBytes] {
      let payload = (0..<size).map { _ in UInt8(generator.below(256)) }
      let (copied, framed) = (Bench(), Bench())
      copied.open()
      framed.open()
      for _ in 0..<20 {
        copied.conversation.lose(1, at: 2, .in)
        framed.conversation.lose(1, at: 2, .in)
        let whole = copied.add(payload, .in)
        let frame = payload.withUnsafeBytes {
          framed.conversation.frame($0, .in, at: 2_000_003, in: &framed.capture, into: framed.memory)
        }
        let head = Array(framed.memory[..<frame.head])
        let tail = Array(framed.memory[frame.head..<frame.head + frame.tail])
        #expect(head + payload + tail == whole, "\(size) bytes")
        #expect(frame.head + frame.tail <= CapturedConversation.mostOverheadBytes)
      }
    }
  }

  @Test func nothingIsWrittenBeyondTheMemoryThatIsAskedFor() throws {
    let longest = String(repeating: "i", count: CapturedConversation.mostIDBytes)
    let ipv6 = PeerAddress(ipv6: 1 << 60, 2, port: 3)
    for record in ["{}", "{" + String(repeating: "r", count: CapturedConversation.mostRecordBytes - 1)] {
      let bench = Bench(ipv6, ipv6, number: .max)
      #expect(bench.open(longest).count <= CapturedConversation.mostOpenBytes)
      for direction in [Direction.in, .out] { bench.conversation.lose(.max, at: .max, direction) }
      for _ in 0..<200 {
        let made = bench.add([1], .in).count
        #expect(made - 1 <= CapturedConversation.mostOverheadBytes)
        bench.conversation.lose(.max - 7, at: .max, .in)
      }
      var preamble = Bytes()
      bench.capture = Capture(number: 2, section: Bench.section, at: 0, to: &preamble)
      let id = Array(longest.utf8)
      let carried = id.withUnsafeBytes {
        bench.conversation.carryOn(id: $0, at: .max, in: &bench.capture, into: bench.memory)
      }
      #expect(carried <= CapturedConversation.mostOpenBytes)
      let text = Array(record.utf8)
      let ended = text.withUnsafeBytes {
        bench.conversation.end($0, resetBy: .out, at: .max, in: &bench.capture, into: bench.memory)
      }
      #expect(ended <= text.count + 2 * CapturedConversation.mostOverheadBytes)
      #expect(ended <= CapturedConversation.mostEndBytes)
    }
  }

  @Test func aRecordThatIsTooLongIsLeftToTheIndex() throws {
    let bench = Bench()
    bench.open()
    bench.end("{" + String(repeating: "r", count: CapturedConversation.mostRecordBytes))
    #expect(try bench.packets().last?.comments == ["{\"event\":\"end\"}"])
  }

  @Test func sequenceNumbersPassTheirEnd() throws {
    // The first number of this session is close to 2^32.
    let number = try #require(
      (1...200_000).first { UInt32(truncatingIfNeeded: $0) &* 0x9E37_79B1 > UInt32.max - 40_000 })
    let bench = Bench(number: UInt64(number))
    bench.open()
    let payload = [UInt8](repeating: 9, count: 60_000)
    bench.add(payload, .in)
    bench.add(payload, .in)
    let packets = try bench.packets()
    #expect(packets[3].sequence > packets[4].sequence)
    var listing = CaptureListing()
    try listing.read(try CaptureReader(CaptureInMemory(bench.bytes)))
    #expect(listing.damageCount == 0 && listing.sessions.map(\.recorded.in) == [120_000])
  }

  @Test func sessionsBetweenTheSamePortsBeginAtOtherNumbers() {
    var seen: Set<UInt32> = []
    for number in 1...10_000 {
      #expect(seen.insert(UInt32(truncatingIfNeeded: number) &* 0x9E37_79B1).inserted)
    }
  }

  @Test func aSlotIsSmall() {
    #expect(MemoryLayout<CapturedConversation>.stride <= 192)
  }
}
