/// Follows the sequence numbers of one session, to see that no packet is missing.
struct SequenceTrack {
  private var expected = InlineArray<2, UInt32>(repeating: 0)
  private var isKnown = InlineArray<2, Bool>(repeating: false)

  /// Takes the next packet of the session.
  ///
  /// - Parameter gap: how many bytes the packet says are missing in front of it.
  /// - Returns: how many more are missing; negative when bytes come twice.
  mutating func missing(before packet: CapturedPacket, gap: UInt64) -> Int64 {
    let direction = packet.direction.rawValue
    let step = UInt32(truncatingIfNeeded: min(gap, CapturedConversation.mostGapStep))
    let jump = isKnown[direction] ? packet.sequence &- expected[direction] &- step : 0
    let length = packet.payload.count + (packet.has(TCPFlag.syn | TCPFlag.fin) ? 1 : 0)
    expected[direction] = packet.sequence &+ UInt32(length)
    isKnown[direction] = true
    return Int64(Int32(bitPattern: jump))
  }
}
