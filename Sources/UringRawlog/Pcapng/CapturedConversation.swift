/// One recorded session as a TCP conversation in a capture: what its next packet must know.
///
/// Plain data, a slot of a table. Packets are composed in memory of the caller, with nothing allocated. The conversation
/// is a plausible one: a handshake, segments with right numbers and checksums, each acknowledging all that the other
/// side has sent, and FIN or RST. A direction is that of the recording; which side opened the connection is another
/// matter (`opener`).
struct CapturedConversation {
  /// What stands in memory for a packet whose payload was not copied: `head` bytes that belong in front of it, and
  /// directly behind them `tail` bytes that belong behind it.
  struct Frame {
    var head: Int
    var tail: Int
  }

  /// Relayed bytes that are missing in front of the next packet of a direction.
  struct Gap {
    var place: UInt64 = 0
    var bytes: UInt64 = 0
  }

  /// Payload of one packet at the most: both lengths of IPv4 have 16 bits, and the headers take 40 bytes.
  static let mostPayloadBytes = 65495
  /// What a packet takes beside its payload, at the most, an acknowledgement of the other side behind it included.
  static let mostOverheadBytes = 384
  /// What `open` takes, and `carryOn`.
  static let mostOpenBytes = 768
  /// The longest id of a session.
  static let mostIDBytes = 255
  /// The longest end record that a comment holds; the length of an option has 16 bits.
  static let mostRecordBytes = 62 << 10
  /// What `end` takes.
  static let mostEndBytes = mostRecordBytes + 2 * mostOverheadBytes
  /// So many packets, or bytes, of one side are acknowledged by the other though that has nothing to send. Other
  /// programs keep a list of segments without an acknowledgement, and Wireshark gives up at 10000.
  static let unacknowledgedPackets: UInt8 = 64
  static let unacknowledgedBytes: UInt32 = 1 << 20
  /// A gap moves the sequence number by so much at the most. A step of 2 GiB would be one backwards.
  static let mostGapStep: UInt64 = 1 << 30

  /// The session's number in the process: every packet has it.
  private(set) var number: UInt64 = 0
  /// The capture that has its last packet, by `Capture.number`; 0 for none.
  private(set) var capture: UInt64 = 0
  /// Where in that capture its first and its last block begin, and how many it has there.
  private(set) var firstBlock: UInt64 = 0
  private(set) var lastBlock: UInt64 = 0
  private(set) var blocks: UInt64 = 0

  /// By direction, as they lie in a packet: the address of its sender in two halves, and the port.
  private var addresses = InlineArray<4, UInt64>(repeating: 0)
  private var ports = InlineArray<2, UInt16>(repeating: 0)
  /// What the checksums of all its packets have in common: sums as `InternetChecksum` makes them.
  private var internetSum: UInt32 = 0
  private var segmentSum: UInt32 = 0
  /// By direction: the sequence number of the next byte; up to which one the other side has acknowledged; and how many
  /// packets it has not.
  private var next = InlineArray<2, UInt32>(repeating: 0)
  private var acknowledged = InlineArray<2, UInt32>(repeating: 0)
  private var unacknowledged = InlineArray<2, UInt8>(repeating: 0)
  private var gaps = InlineArray<2, Gap>(repeating: Gap())
  private var packets: UInt16 = 0
  private var isFinished = InlineArray<2, Bool>(repeating: false)
  private var lastFinished = Direction.in
  private var hasGap = false
  private var isIPv6 = false
  /// The direction whose sender opened the connection.
  private var opener = Direction.in
  /// It began in an earlier capture than its last packet is in.
  private(set) var isCarriedOn = false

  init() {}

  /// - Parameters:
  ///   - number: the session's number in the process; two sessions of one capture do not share it.
  ///   - peers: who is at the ends; the opener's packets are those of direction `opener`.
  ///   - port: that of a server without one, see `CapturedEndpoint.port(of:)`.
  init(number: UInt64, opener: Direction, from openerPeer: PeerAddress, to answererPeer: PeerAddress, port: UInt16) {
    self.number = number
    self.opener = opener
    let ends = CapturedEndpoint.Pair(opener: openerPeer, answerer: answererPeer, number: number, port: port)
    isIPv6 = ends.isIPv6
    set(ends.opener, opener)
    set(ends.answerer, opener.reverse)
    var sum: UInt64 = 0
    for place in 0..<4 { sum &+= addresses[place] & 0xFFFF_FFFF &+ addresses[place] >> 32 }
    // TTL 64, protocol TCP; version 4, five words, don't fragment.
    internetSum = UInt32(
      InternetChecksum.folded(sum &+ UInt64(Self.hopsAndProtocol) &+ UInt64(Self.version4) &+ UInt64(Self.unfragmented))
    )
    // The pseudo header has the protocol too.
    segmentSum = UInt32(
      InternetChecksum.folded(sum &+ UInt64(UInt16(6).bigEndian) &+ UInt64(ports[0]) &+ UInt64(ports[1])))
    // Sessions that follow each other between the same ports are told apart by these. The factor is odd: no two of 2^32
    // numbers give the same.
    let first = UInt32(truncatingIfNeeded: number) &* 0x9E37_79B1
    next[opener.rawValue] = first
    next[opener.reverse.rawValue] = ~first
    acknowledged = next
  }

  private mutating func set(_ end: CapturedEndpoint, _ direction: Direction) {
    addresses[2 * direction.rawValue] = end.high.bigEndian
    addresses[2 * direction.rawValue + 1] = isIPv6 ? end.low.bigEndian : UInt64(UInt32(end.low).bigEndian)
    ports[direction.rawValue] = end.port.bigEndian
  }

  // MARK: The session

  /// The handshake: three packets, the first with the session's id.
  ///
  /// - Parameter memory: `mostOpenBytes` at least.
  /// - Returns: how many bytes were composed.
  mutating func open(
    id: UnsafeRawBufferPointer, at microseconds: Int64, in capture: inout Capture,
    into memory: UnsafeMutableRawBufferPointer
  ) -> Int {
    assert(memory.count >= Self.mostOpenBytes && id.count <= Self.mostIDBytes)
    isCarriedOn = false
    begin(capture)
    let start = memory.baseAddress!
    var count = packet(opener, TCPFlag.syn, comment: .session(id), at: microseconds, in: &capture, into: start)
    count &+= packet(opener.reverse, TCPFlag.syn | TCPFlag.ack, at: microseconds, in: &capture, into: start + count)
    count &+= packet(opener, TCPFlag.ack, at: microseconds, in: &capture, into: start + count)
    return count
  }

  /// The first packet in another capture than that of the last: an acknowledgement with the session's id. Whenever
  /// `capture` is another one, this comes before anything else.
  ///
  /// - Parameter memory: `mostOpenBytes` at least.
  mutating func carryOn(
    id: UnsafeRawBufferPointer, at microseconds: Int64, in capture: inout Capture,
    into memory: UnsafeMutableRawBufferPointer
  ) -> Int {
    assert(memory.count >= Self.mostOpenBytes && id.count <= Self.mostIDBytes)
    isCarriedOn = true
    begin(capture)
    let start = memory.baseAddress!
    return packet(opener, TCPFlag.ack, comment: .continued(id), at: microseconds, in: &capture, into: start)
  }

  private mutating func begin(_ capture: borrowing Capture) {
    self.capture = capture.number
    firstBlock = capture.position
    lastBlock = 0
    blocks = 0
  }

  /// A packet with what one side sent.
  ///
  /// - Parameters:
  ///   - payload: `mostPayloadBytes` at the most.
  ///   - memory: as much as the payload and `mostOverheadBytes` at least.
  /// - Returns: how many bytes were composed.
  @inline(__always)
  mutating func add(
    _ payload: UnsafeRawBufferPointer, _ direction: Direction, at microseconds: Int64, in capture: inout Capture,
    into memory: UnsafeMutableRawBufferPointer
  ) -> Int {
    assert(memory.count >= payload.count + Self.mostOverheadBytes)
    let frame = segment(payload, direction, isCopied: true, at: microseconds, in: &capture, into: memory.baseAddress!)
    return frame.head &+ payload.count &+ frame.tail
  }

  /// The same without the payload, which is to be written between head and tail from where it is.
  ///
  /// - Parameter memory: `mostOverheadBytes` at least.
  @inline(__always)
  mutating func frame(
    _ payload: UnsafeRawBufferPointer, _ direction: Direction, at microseconds: Int64, in capture: inout Capture,
    into memory: UnsafeMutableRawBufferPointer
  ) -> Frame {
    assert(memory.count >= Self.mostOverheadBytes)
    return segment(payload, direction, isCopied: false, at: microseconds, in: &capture, into: memory.baseAddress!)
  }

  /// Bytes of a direction are missing from here on: the next packet of the direction tells so.
  ///
  /// - Parameter place: where in the relayed stream the first of them was. Of several calls without a packet between
  ///   them, the first place counts.
  mutating func lose(_ bytes: UInt64, at place: UInt64, _ direction: Direction) {
    if gaps[direction.rawValue].bytes == 0 { gaps[direction.rawValue].place = place }
    gaps[direction.rawValue].bytes &+= bytes
    hasGap = gaps[0].bytes > 0 || gaps[1].bytes > 0
  }

  /// The side has ended its stream.
  func hasFinished(_ direction: Direction) -> Bool { isFinished[direction.rawValue] }

  /// A side has ended its stream.
  ///
  /// - Parameter memory: `mostOverheadBytes` at least.
  mutating func finish(
    _ direction: Direction, at microseconds: Int64, in capture: inout Capture,
    into memory: UnsafeMutableRawBufferPointer
  ) -> Int {
    assert(memory.count >= Self.mostOverheadBytes && !isFinished[direction.rawValue])
    let start = memory.baseAddress!
    let count = packet(direction, TCPFlag.fin | TCPFlag.ack, at: microseconds, in: &capture, into: start)
    isFinished[direction.rawValue] = true
    lastFinished = direction
    return count
  }

  /// The session's last packet, with its end record: an acknowledgement when both sides have ended their streams,
  /// otherwise a reset.
  ///
  /// - Parameters:
  ///   - record: the line of the index, without its line feed. One longer than `mostRecordBytes` is left to the index.
  ///   - direction: whose side a reset comes from.
  ///   - memory: `mostEndBytes` at least.
  mutating func end(
    _ record: UnsafeRawBufferPointer, resetBy direction: Direction, at microseconds: Int64, in capture: inout Capture,
    into memory: UnsafeMutableRawBufferPointer
  ) -> Int {
    assert(memory.count >= min(record.count, Self.mostRecordBytes) + 2 * Self.mostOverheadBytes)
    let isClean = isFinished[0] && isFinished[1]
    let last = isClean ? lastFinished.reverse : direction
    let start = memory.baseAddress!
    var count = 0
    // What the last packet cannot tell of.
    if gaps[last.reverse.rawValue].bytes > 0 {
      count &+= packet(last.reverse, TCPFlag.ack, at: microseconds, in: &capture, into: start)
    }
    let flags = isClean ? TCPFlag.ack : TCPFlag.rst | TCPFlag.ack
    return count
      &+ packet(last, flags, comment: .record(record), at: microseconds, in: &capture, into: start + count)
  }

  // MARK: Packets

  @inline(__always)
  private mutating func segment(
    _ payload: UnsafeRawBufferPointer, _ direction: Direction, isCopied: Bool, at microseconds: Int64,
    in capture: inout Capture, into memory: UnsafeMutableRawPointer
  ) -> Frame {
    assert(payload.count <= Self.mostPayloadBytes && !isFinished[direction.rawValue])
    var frame = compose(
      direction, TCPFlag.push | TCPFlag.ack, payload, isCopied: isCopied, at: microseconds, in: &capture, into: memory)
    unacknowledged[direction.rawValue] &+= 1
    if unacknowledged[direction.rawValue] >= Self.unacknowledgedPackets
      || next[direction.rawValue] &- acknowledged[direction.rawValue] >= Self.unacknowledgedBytes
    {
      let end = memory + frame.head + frame.tail + (isCopied ? payload.count : 0)
      frame.tail &+= packet(direction.reverse, TCPFlag.ack, at: microseconds, in: &capture, into: end)
    }
    return frame
  }

  /// A packet without payload.
  @inline(never)
  private mutating func packet(
    _ direction: Direction, _ flags: UInt8, comment: Comment = .none, at microseconds: Int64,
    in capture: inout Capture, into memory: UnsafeMutableRawPointer
  ) -> Int {
    let frame = compose(
      direction, flags, UnsafeRawBufferPointer(start: nil, count: 0), isCopied: true, comment: comment,
      at: microseconds, in: &capture, into: memory)
    return frame.head &+ frame.tail
  }

  /// One block. What depends on its length is written last.
  @inline(__always)
  private mutating func compose(
    _ direction: Direction, _ flags: UInt8, _ payload: UnsafeRawBufferPointer, isCopied: Bool,
    comment: Comment = .none, at microseconds: Int64, in capture: inout Capture, into memory: UnsafeMutableRawPointer
  ) -> Frame {
    assert(self.capture == capture.number, "a conversation is carried on in a capture before anything else")
    let internetBytes = isIPv6 ? Self.version6Bytes : Self.version4Bytes
    let segmentBytes = flags & TCPFlag.syn != 0 ? Self.synBytes : Self.segmentBytes
    let head = PcapngFormat.packetHeadBytes &+ internetBytes &+ segmentBytes
    var tail = memory + head
    if isCopied, let source = payload.baseAddress {
      tail.copyMemory(from: source, byteCount: payload.count)
      tail += payload.count
    }
    // Zeros up to the next multiple of four; what is not needed of them is written over.
    var tailBytes = PcapngFormat.padding(payload.count)
    tail.storeBytes(of: 0, as: UInt32.self)
    if hasGap || comment.isSome {
      tailBytes &+= writeComments(comment, direction, at: tail + tailBytes, in: &capture)
    }
    tailBytes &+= writeOptions(direction, at: tail + tailBytes)
    let packetBytes = internetBytes &+ segmentBytes &+ payload.count
    let blockBytes = head &+ payload.count &+ tailBytes &+ 4
    (tail + tailBytes).storeBytes(of: UInt32(truncatingIfNeeded: blockBytes), as: UInt32.self)
    writeBlockHead(blockBytes, packetBytes, at: microseconds, to: memory)
    let internet = memory + PcapngFormat.packetHeadBytes
    if isIPv6 {
      writeVersion6(direction, packetBytes, to: internet)
    } else {
      writeVersion4(direction, packetBytes, to: internet)
    }
    let sum = InternetChecksum.sum(payload)
    writeSegment(direction, flags, payload.count, payloadSum: sum, to: internet + internetBytes)
    lastBlock = capture.position
    blocks &+= 1
    capture.note(blockBytes)
    return Frame(head: head, tail: tailBytes &+ 4)
  }

  @inline(__always)
  private func writeBlockHead(
    _ blockBytes: Int, _ packetBytes: Int, at microseconds: Int64, to memory: UnsafeMutableRawPointer
  ) {
    let time = UInt64(truncatingIfNeeded: max(0, microseconds))
    memory.storeBytes(of: PcapngFormat.packet, as: UInt32.self)
    memory.storeBytes(of: UInt32(truncatingIfNeeded: blockBytes), toByteOffset: 4, as: UInt32.self)
    memory.storeBytes(of: 0, toByteOffset: 8, as: UInt32.self)
    memory.storeBytes(of: UInt32(truncatingIfNeeded: time >> 32), toByteOffset: 12, as: UInt32.self)
    memory.storeBytes(of: UInt32(truncatingIfNeeded: time), toByteOffset: 16, as: UInt32.self)
    memory.storeBytes(of: UInt32(truncatingIfNeeded: packetBytes), toByteOffset: 20, as: UInt32.self)
    memory.storeBytes(of: UInt32(truncatingIfNeeded: packetBytes), toByteOffset: 24, as: UInt32.self)
  }

  /// The flags, the link and the end of options.
  @inline(__always)
  private func writeOptions(_ direction: Direction, at memory: UnsafeMutableRawPointer) -> Int {
    memory.storeBytes(of: PcapngFormat.Option.flags, as: UInt16.self)
    memory.storeBytes(of: 4, toByteOffset: 2, as: UInt16.self)
    memory.storeBytes(of: direction == .in ? 1 : 2, toByteOffset: 4, as: UInt32.self)
    memory.storeBytes(of: PcapngFormat.Option.sessionLink, toByteOffset: 8, as: UInt16.self)
    memory.storeBytes(of: UInt16(PcapngFormat.sessionLinkBytes), toByteOffset: 10, as: UInt16.self)
    memory.storeBytes(of: number, toByteOffset: 12, as: UInt64.self)
    memory.storeBytes(of: lastBlock, toByteOffset: 20, as: UInt64.self)
    memory.storeBytes(of: 0, toByteOffset: 28, as: UInt32.self)
    return PcapngFormat.packetOptionsBytes
  }

  // MARK: Headers

  private static let version4Bytes = 20
  private static let version6Bytes = 40
  private static let segmentBytes = 20
  /// With the largest segment and the scale of the window.
  private static let synBytes = 28
  /// As they lie in memory. Computed, since a constant that is not a literal is looked up each time.
  @inline(__always) private static var version4: UInt16 { UInt16(0x4500).bigEndian }
  @inline(__always) private static var unfragmented: UInt16 { UInt16(0x4000).bigEndian }
  @inline(__always) private static var hopsAndProtocol: UInt16 { UInt16(0x4006).bigEndian }

  /// RFC 791 §3.1.
  @inline(__always)
  private mutating func writeVersion4(_ direction: Direction, _ packetBytes: Int, to memory: UnsafeMutableRawPointer) {
    packets &+= 1
    let length = UInt16(truncatingIfNeeded: packetBytes).bigEndian
    let identification = packets.bigEndian
    let sum = UInt64(internetSum) &+ UInt64(length) &+ UInt64(identification)
    memory.storeBytes(of: Self.version4, as: UInt16.self)
    memory.storeBytes(of: length, toByteOffset: 2, as: UInt16.self)
    memory.storeBytes(of: identification, toByteOffset: 4, as: UInt16.self)
    memory.storeBytes(of: Self.unfragmented, toByteOffset: 6, as: UInt16.self)
    memory.storeBytes(of: Self.hopsAndProtocol, toByteOffset: 8, as: UInt16.self)
    memory.storeBytes(of: ~InternetChecksum.folded(sum), toByteOffset: 10, as: UInt16.self)
    let source = direction.rawValue << 1 | 1
    memory.storeBytes(of: UInt32(truncatingIfNeeded: addresses[source]), toByteOffset: 12, as: UInt32.self)
    memory.storeBytes(of: UInt32(truncatingIfNeeded: addresses[source ^ 2]), toByteOffset: 16, as: UInt32.self)
  }

  /// RFC 8200 §3.
  @inline(__always)
  private func writeVersion6(_ direction: Direction, _ packetBytes: Int, to memory: UnsafeMutableRawPointer) {
    let length = UInt16(truncatingIfNeeded: packetBytes &- Self.version6Bytes).bigEndian
    memory.storeBytes(of: UInt32(0x6000_0000).bigEndian, as: UInt32.self)
    memory.storeBytes(of: length, toByteOffset: 4, as: UInt16.self)
    // Next header TCP, 64 hops.
    memory.storeBytes(of: UInt16(0x0640).bigEndian, toByteOffset: 6, as: UInt16.self)
    let source = direction.rawValue << 1
    memory.storeBytes(of: addresses[source], toByteOffset: 8, as: UInt64.self)
    memory.storeBytes(of: addresses[source | 1], toByteOffset: 16, as: UInt64.self)
    memory.storeBytes(of: addresses[source ^ 2], toByteOffset: 24, as: UInt64.self)
    memory.storeBytes(of: addresses[(source | 1) ^ 2], toByteOffset: 32, as: UInt64.self)
  }

  /// RFC 9293 §3.1, and the numbers of the conversation move on.
  @inline(__always)
  private mutating func writeSegment(
    _ direction: Direction, _ flags: UInt8, _ payloadBytes: Int, payloadSum: UInt64, to memory: UnsafeMutableRawPointer
  ) {
    let from = direction.rawValue
    let to = direction.reverse.rawValue
    let isSyn = flags & TCPFlag.syn != 0
    let segmentBytes = isSyn ? Self.synBytes : Self.segmentBytes
    let sequence = next[from].bigEndian
    var acknowledgement: UInt32 = 0
    if flags & TCPFlag.ack != 0 {
      acknowledgement = next[to].bigEndian
      acknowledged[to] = next[to]
      unacknowledged[to] = 0
    }
    let lengthAndFlags = UInt16(truncatingIfNeeded: segmentBytes << 10 | Int(flags)).bigEndian
    let segmentLength = UInt16(truncatingIfNeeded: segmentBytes &+ payloadBytes).bigEndian
    var sum = payloadSum &+ UInt64(segmentSum) &+ UInt64(segmentLength) &+ UInt64(lengthAndFlags) &+ 0xFFFF
    sum &+= UInt64(sequence) &+ UInt64(acknowledgement)
    if isSyn {
      // The largest segment is that of the largest packet. A window of 1 GiB, the widest scale, is never full.
      let largestSegment = UInt32(0x0204_0000 | UInt32(Self.mostPayloadBytes)).bigEndian
      let windowScale = UInt32(0x0303_0E01).bigEndian
      memory.storeBytes(of: largestSegment, toByteOffset: 20, as: UInt32.self)
      memory.storeBytes(of: windowScale, toByteOffset: 24, as: UInt32.self)
      sum &+= UInt64(largestSegment) &+ UInt64(windowScale)
    }
    memory.storeBytes(of: ports[from], as: UInt16.self)
    memory.storeBytes(of: ports[to], toByteOffset: 2, as: UInt16.self)
    memory.storeBytes(of: sequence, toByteOffset: 4, as: UInt32.self)
    memory.storeBytes(of: acknowledgement, toByteOffset: 8, as: UInt32.self)
    memory.storeBytes(of: lengthAndFlags, toByteOffset: 12, as: UInt16.self)
    memory.storeBytes(of: 0xFFFF, toByteOffset: 14, as: UInt16.self)
    memory.storeBytes(of: ~InternetChecksum.folded(sum), toByteOffset: 16, as: UInt16.self)
    memory.storeBytes(of: 0, toByteOffset: 18, as: UInt16.self)
    next[from] &+= UInt32(truncatingIfNeeded: payloadBytes) &+ (flags & (TCPFlag.syn | TCPFlag.fin) != 0 ? 1 : 0)
  }

  // MARK: Comments

  private enum Comment {
    case none
    case session(UnsafeRawBufferPointer)
    case continued(UnsafeRawBufferPointer)
    case record(UnsafeRawBufferPointer)

    @inline(__always) var isSome: Bool {
      switch self {
      case .none: false
      case .session, .continued, .record: true
      }
    }
  }

  /// The comments of one packet, of which the one of a gap comes first; the gap is over then.
  @inline(never)
  private mutating func writeComments(
    _ comment: Comment, _ direction: Direction, at memory: UnsafeMutableRawPointer, in capture: inout Capture
  ) -> Int {
    var count = 0
    let gap = gaps[direction.rawValue]
    if gap.bytes > 0 {
      var text = CommentWriter(memory)
      text.append(decimal: gap.bytes)
      text.append(PcapngFormat.gapWords)
      text.append(decimal: gap.place)
      count += text.end()
      next[direction.rawValue] &+= UInt32(truncatingIfNeeded: min(gap.bytes, Self.mostGapStep))
      gaps[direction.rawValue] = Gap()
      // Wireshark shows what follows a gap when the other side has acknowledged it: that does so at once.
      unacknowledged[direction.rawValue] = Self.unacknowledgedPackets
      hasGap = gaps[direction.reverse.rawValue].bytes > 0
      capture.noteGap()
    }
    var text = CommentWriter(memory + count)
    switch comment {
    case .none: return count
    case .session(let id):
      text.append(PcapngFormat.sessionWord)
      text.append(id)
    case .continued(let id):
      text.append(PcapngFormat.sessionWord)
      text.append(id)
      text.append(PcapngFormat.continuesWord)
    case .record(let record) where record.count <= Self.mostRecordBytes: text.append(record)
    case .record: text.append("{\"event\":\"end\"}")
    }
    return count + text.end()
  }
}
