/// What happens in a captured session. Bytes are valid until the reader is asked for the next event.
enum CapturedEvent {
  /// The session's first packet in a capture.
  case beginning(id: String, continues: Bool, from: CapturedEndpoint, to: CapturedEndpoint, time: Int64)
  /// What one side sent: what one packet has, which may be many lines or a part of one.
  case bytes(Direction, UnsafeRawBufferPointer, time: Int64)
  /// Bytes of a direction are missing here.
  case gap(RecordingGap, time: Int64)
  /// A side has ended its stream.
  case finished(Direction, time: Int64)
  /// A side has reset the connection, or the relay has cut it.
  case reset(Direction, time: Int64)
  /// The session's end record, a line of the index.
  case record(UnsafeRawBufferPointer, time: Int64)
  case damage(CaptureDamage)
}

/// What the packets of one session tell, one behind the other.
struct CapturedContent {
  private var track = SequenceTrack()

  /// - Parameter events: what the packet tells, in its order.
  mutating func take(_ packet: CapturedPacket, to events: inout [CapturedEvent]) {
    events.removeAll(keepingCapacity: true)
    func damage(_ kind: CaptureDamage.Kind) -> CapturedEvent {
      .damage(CaptureDamage(kind: kind, block: packet.block, session: packet.session))
    }
    if !packet.hasRightChecksums { events.append(damage(.checksum)) }
    var gap: RecordingGap?
    var record: UnsafeRawBufferPointer?
    packet.forEachComment { comment in
      switch comment {
      case .session(let id, let continues):
        events.append(
          .beginning(
            id: id, continues: continues, from: packet.source, to: packet.destination, time: packet.time))
      case .gap(let bytes, let place): gap = RecordingGap(direction: packet.direction, offset: place, bytes: bytes)
      case .record(let text): record = text
      case .other: break
      }
    }
    let missing = track.missing(before: packet, gap: gap?.bytes ?? 0)
    if missing != 0 { events.append(damage(.missing(packet.direction, bytes: missing))) }
    if let gap { events.append(.gap(gap, time: packet.time)) }
    if !packet.payload.isEmpty { events.append(.bytes(packet.direction, packet.payload, time: packet.time)) }
    if packet.has(TCPFlag.fin) { events.append(.finished(packet.direction, time: packet.time)) }
    if packet.has(TCPFlag.rst) { events.append(.reset(packet.direction, time: packet.time)) }
    if let record { events.append(.record(record, time: packet.time)) }
  }
}
