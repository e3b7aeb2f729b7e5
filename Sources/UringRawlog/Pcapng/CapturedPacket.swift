/// A packet of a capture, taken apart. What it points to is valid until its reader moves on.
struct CapturedPacket {
  /// What a comment says.
  enum Comment {
    case session(id: String, continues: Bool)
    case gap(bytes: UInt64, place: UInt64)
    /// The session's end record.
    case record(UnsafeRawBufferPointer)
    /// Nothing of this program's.
    case other
  }

  /// Where in the capture its block begins, and how long it is.
  var block: UInt64
  var blockBytes: Int
  /// Microseconds since the epoch.
  var time: Int64
  /// The session's number in the process that recorded it.
  var session: UInt64
  /// Where the session's block before began when this one was written; 0 when this is the first in the capture.
  var previousBlock: UInt64
  var direction: Direction
  /// Bits of `TCPFlag`.
  var flags: UInt8
  var sequence: UInt32
  /// What it acknowledges; nothing without `TCPFlag.ack`.
  var acknowledgement: UInt32
  var source: CapturedEndpoint
  var destination: CapturedEndpoint
  var payload: UnsafeRawBufferPointer
  var hasRightChecksums: Bool
  fileprivate(set) var options: UnsafeRawBufferPointer

  func has(_ flag: UInt8) -> Bool { flags & flag != 0 }

  /// Its comments, in their order.
  func forEachComment(_ visit: (Comment) -> Void) {
    var list = OptionList(options)
    while let option = list.next() {
      if option.code == PcapngFormat.Option.comment { visit(Self.comment(option.value)) }
    }
  }

  private static func comment(_ text: UnsafeRawBufferPointer) -> Comment {
    if text.first == UInt8(ascii: "{") { return .record(text) }
    guard let words = String(validating: text, as: UTF8.self), words.utf8.count <= mostWordsBytes else { return .other }
    let parts = words.split(separator: " ", omittingEmptySubsequences: false)
    switch parts.count {
    case 2 where parts[0] == "session": return .session(id: String(parts[1]), continues: false)
    case 3 where parts[0] == "session" && parts[2] == "continues":
      return .session(id: String(parts[1]), continues: true)
    case 5 where parts[1] == "bytes" && parts[2] == "missing" && parts[3] == "at":
      guard let bytes = UInt64(parts[0]), let place = UInt64(parts[4]), bytes > 0 else { return .other }
      return .gap(bytes: bytes, place: place)
    default: return .other
    }
  }

  private static let mostWordsBytes = CapturedConversation.mostIDBytes + 32
}

extension CapturedPacket {
  /// Takes a packet block apart.
  ///
  /// - Parameters:
  ///   - block: all of it; its lengths are right.
  ///   - section: where in the capture its section begins.
  /// - Returns: nil when it is not as this program writes them.
  init?(_ block: UnsafeRawBufferPointer, at place: UInt64, section: UInt64) {
    let captured = Int(block.number(at: 20, as: UInt32.self))
    let optionsStart = PcapngFormat.packetHeadBytes + captured + PcapngFormat.padding(captured)
    guard block.number(at: 8, as: UInt32.self) == 0, block.number(at: 24, as: UInt32.self) == UInt32(captured),
      optionsStart <= block.count - 4
    else { return nil }
    let start = PcapngFormat.packetHeadBytes
    guard let datagram = Datagram(UnsafeRawBufferPointer(rebasing: block[start..<start + captured])) else { return nil }
    options = UnsafeRawBufferPointer(rebasing: block[optionsStart..<block.count - 4])
    var link: UnsafeRawBufferPointer?
    var flags: UInt32 = 0
    var list = OptionList(options)
    while let option = list.next() {
      switch (option.code, option.value.count) {
      case (PcapngFormat.Option.sessionLink, PcapngFormat.sessionLinkBytes): link = option.value
      case (PcapngFormat.Option.flags, 4): flags = option.value.number(at: 0, as: UInt32.self)
      default: break
      }
    }
    guard list.isWhole, let link else { return nil }
    switch flags & 3 {
    case 1: direction = .in
    case 2: direction = .out
    default: return nil
    }
    let previous = link.number(at: 8, as: UInt64.self)
    self.block = place
    blockBytes = block.count
    let high = UInt64(block.number(at: 12, as: UInt32.self))
    let time = high << 32 | UInt64(block.number(at: 16, as: UInt32.self))
    self.time = Int64(clamping: time)
    session = link.number(at: 0, as: UInt64.self)
    previousBlock = previous == 0 ? 0 : section &+ previous
    self.flags = datagram.flags
    sequence = datagram.sequence
    acknowledgement = datagram.acknowledgement
    source = datagram.source
    destination = datagram.destination
    payload = datagram.payload
    hasRightChecksums = datagram.hasRightChecksums
  }
}

extension CapturedPacket {
  /// What the first packet of a session says of it: between whom it is, as a start record has it.
  func startRecord(of id: String) -> SessionRecord? {
    func text(_ end: CapturedEndpoint) -> String {
      var bytes = Bytes()
      PeerAddress(end).append(to: &bytes)
      return String(decoding: bytes.span, as: UTF8.self)
    }
    let isFromClient = direction == .in
    var record = Array("{\"event\":\"start\",\"id\":".utf8) + jsonString(id)
    record += Array(",\"client\":".utf8) + jsonString(text(isFromClient ? source : destination))
    record += Array(",\"server\":".utf8) + jsonString(text(isFromClient ? destination : source)) + [0x7D]
    return record.withUnsafeBytes { try? SessionRecord($0) }
  }
}
