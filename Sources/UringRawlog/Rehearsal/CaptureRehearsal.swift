/// Packets of captures by themselves: composed in memory as the loop composes them, and not written anywhere.
struct CaptureRehearsal {
  private static let conversations = 100
  static let payloadBytes = 64
  /// A block's head, IPv4 and TCP, the options, the length again.
  private static let packetBytes =
    PcapngFormat.packetHeadBytes + 40 + payloadBytes + PcapngFormat.packetOptionsBytes + 4
  private static let blockBytes = Limits.blockBytes[Limits.blockBytes.count - 1]

  private var capture: Capture
  private var conversations: [CapturedConversation] = []
  private let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: blockBytes, alignment: 64)
  private let payload = UnsafeMutableRawBufferPointer.allocate(
    byteCount: CapturedConversation.mostPayloadBytes, alignment: 64)
  /// Where the packets begin that are counted.
  private var beginning: UInt64 = 0

  private init() {
    var preamble = Bytes()
    let section = CaptureSection(
      application: CaptureSection.applicationName, operatingSystem: "", hardware: "", comment: "", interfaceName: "",
      interfaceDescription: "")
    capture = Capture(number: 1, section: section, at: 0, to: &preamble)
    for place in payload.indices { payload[place] = UInt8(truncatingIfNeeded: place) }
    let id = Array("20260131-091500.4711.1".utf8)
    for number in 0..<Self.conversations {
      var conversation = CapturedConversation(
        number: UInt64(number), opener: .in, from: PeerAddress(ipv4: 0xC000_0207, port: 40000),
        to: PeerAddress(ipv4: 0xC000_0201, port: 143), port: 143)
      _ = id.withUnsafeBytes { conversation.open(id: $0, at: 0, in: &capture, into: memory) }
      conversations.append(conversation)
    }
    beginning = capture.position
  }

  private func deallocate() {
    memory.deallocate()
    payload.deallocate()
  }

  /// Packets of 64 bytes, from each side in turn, into blocks of staging memory.
  static func packets(_ count: Int) throws(ValueError) -> String {
    var rehearsal = CaptureRehearsal()
    defer { rehearsal.deallocate() }
    let payload = UnsafeRawBufferPointer(rebasing: rehearsal.payload[..<payloadBytes])
    var used = 0
    for number in 0..<count {
      if rehearsal.memory.count - used < payloadBytes + CapturedConversation.mostOverheadBytes { used = 0 }
      let room = UnsafeMutableRawBufferPointer(rebasing: rehearsal.memory[used...])
      // A conversation's packets come from both sides in turn.
      let direction = number / conversations & 1 == 0 ? Direction.in : .out
      used += rehearsal.conversations[number % conversations].add(
        payload, direction, at: Int64(number), in: &rehearsal.capture, into: room)
    }
    try Rehearsal.check("bytes composed", Int(rehearsal.capture.position - rehearsal.beginning), count * packetBytes)
    return "\(count) packets of \(payloadBytes) bytes, \(count * packetBytes) bytes composed"
  }

  /// Bulk that stays where it is, in the largest packets that there are.
  static func bytes(_ count: Int) throws(ValueError) -> String {
    var rehearsal = CaptureRehearsal()
    defer { rehearsal.deallocate() }
    var left = count
    var composed = 0
    var packets = 0
    while left > 0 {
      let payload = UnsafeRawBufferPointer(rebasing: rehearsal.payload[..<min(left, rehearsal.payload.count)])
      let frame = rehearsal.conversations[0].frame(
        payload, .in, at: 0, in: &rehearsal.capture, into: rehearsal.memory)
      composed += frame.head + frame.tail
      left -= payload.count
      packets += 1
    }
    try Rehearsal.check(
      "bytes of the capture", Int(rehearsal.capture.position - rehearsal.beginning), count + composed)
    let expected = (count + CapturedConversation.mostPayloadBytes - 1) / CapturedConversation.mostPayloadBytes
    try Rehearsal.check("packets", packets, expected)
    return "\(count) bytes in \(packets) packets"
  }
}
