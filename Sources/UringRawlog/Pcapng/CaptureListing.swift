/// All sessions of a capture, found by reading it from its beginning to its end.
///
/// In memory is one entry for each session, and nothing of what they sent.
struct CaptureListing {
  /// In the order of their first packets.
  private(set) var sessions: [CapturedSession] = []
  /// What is wrong, the first of it, and how much there was in all.
  private(set) var damages: [CaptureDamage] = []
  private(set) var damageCount: UInt64 = 0
  private(set) var tail = CaptureReader.Tail.unfinished
  private(set) var packets: UInt64 = 0
  /// Where the reading of a capture that may grow came to.
  private(set) var place: UInt64 = 0

  /// Packets of the section.
  private var sectionPackets: UInt64 = 0
  /// Where the sessions of the section are in `sessions`, by their numbers.
  private var places: [UInt64: Int] = [:]
  private var tracks: [SequenceTrack] = []

  /// - Throws: 65 where nothing more can be read, 66; what was found before is kept.
  mutating func read(_ reader: CaptureReader) throws(StartError) {
    defer {
      tail = reader.tail
      place = reader.place
    }
    while let step = try reader.next() {
      switch step {
      case .packet(let packet): take(packet, section: reader.sectionPlace)
      case .damage(let damage): note(damage)
      case .end(let stated):
        if stated != sectionPackets {
          note(
            CaptureDamage(
              kind: .count(found: sectionPackets, stated: stated), block: reader.place, session: 0))
        }
      case .section:
        places.removeAll()
        sectionPackets = 0
      }
    }
  }

  private mutating func note(_ damage: CaptureDamage) {
    damageCount += 1
    if damages.count < Limits.captureDamages { damages.append(damage) }
  }

  private mutating func take(_ packet: CapturedPacket, section: UInt64) {
    packets += 1
    sectionPackets += 1
    func damage(_ kind: CaptureDamage.Kind) -> CaptureDamage {
      CaptureDamage(kind: kind, block: packet.block, session: packet.session)
    }
    if !packet.hasRightChecksums { note(damage(.checksum)) }
    var gap: UInt64 = 0
    var beginning: (id: String, continues: Bool)?
    var isEnd = false
    packet.forEachComment { comment in
      switch comment {
      case .session(let id, let continues): beginning = (id, continues)
      case .gap(let bytes, _): gap = bytes
      case .record: isEnd = true
      case .other: break
      }
    }
    let place: Int
    if let known = places[packet.session], beginning == nil {
      place = known
    } else {
      if beginning == nil { note(damage(.beginningMissing)) }
      place = sessions.count
      places[packet.session] = place
      tracks.append(SequenceTrack())
      sessions.append(
        CapturedSession(
          id: beginning?.id ?? "session-\(packet.session)", number: packet.session, section: section,
          firstBlock: packet.block, lastBlock: packet.block, isCarriedOn: beginning?.continues ?? true,
          time: packet.time, lastTime: packet.time, from: packet.source, to: packet.destination))
    }
    let missing = tracks[place].missing(before: packet, gap: gap)
    if missing != 0 { note(damage(.missing(packet.direction, bytes: missing))) }
    sessions[place].lastBlock = packet.block
    sessions[place].lastTime = packet.time
    sessions[place].blocks += 1
    sessions[place].hasEnded = isEnd
    sessions[place].recorded[packet.direction] += UInt64(packet.payload.count)
    sessions[place].lost[packet.direction] &+= gap
    if isEnd { places[packet.session] = nil }
  }
}
