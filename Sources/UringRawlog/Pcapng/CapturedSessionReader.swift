/// Where one session's packets are in a capture.
struct CapturedPart {
  let source: any CaptureSource
  /// Where the section begins that has them; 0 in a capture that was not put together of others.
  var section: UInt64 = 0
  let firstBlock: UInt64
  let lastBlock: UInt64
  let blocks: UInt64

  init(_ source: any CaptureSource, _ entry: CaptureIndex.Entry) {
    self.source = source
    firstBlock = entry.firstBlock
    lastBlock = entry.lastBlock
    blocks = entry.blocks
  }

  init(_ source: any CaptureSource, _ session: CapturedSession) {
    self.source = source
    section = session.section
    firstBlock = session.firstBlock
    lastBlock = session.lastBlock
    blocks = session.blocks
  }
}

/// Reads one session out of captures, from its first packet to its last, in their order.
///
/// The session's blocks are found by their links, backwards, before any is given. Of a session with very many of them,
/// the capture is read from its first block to its last instead: what is kept in memory is bounded.
final class CapturedSessionReader {
  private let parts: [CapturedPart]
  private let mostPlaces: UInt64
  private var part = -1
  private var reader: CaptureReader?
  /// Places of the part's blocks that were not given yet, the last first; nil when the capture is read on.
  private var places: [UInt64]?
  private var session: UInt64 = 0
  private var content = CapturedContent()
  private var packet: CapturedPacket?
  /// Events of the packet that was read, in their order.
  private var events: [CapturedEvent] = []
  private var nextEvent = 0

  /// - Parameter parts: in the order of their captures.
  init(_ parts: [CapturedPart], mostPlaces: UInt64 = Limits.capturePlaces) {
    self.parts = parts
    self.mostPlaces = mostPlaces
  }

  /// The next event; nil when there is no more.
  ///
  /// - Throws: 65 when the captures have no such session where it is said to be, or are damaged there; 66 when they cannot
  ///   be read.
  func next() throws(StartError) -> CapturedEvent? {
    while nextEvent == events.count {
      guard let packet = try nextPacket() else { return nil }
      take(packet)
    }
    nextEvent += 1
    return events[nextEvent - 1]
  }

  private func take(_ packet: CapturedPacket) {
    nextEvent = 0
    content.take(packet, to: &events)
  }

  // MARK: Packets

  private func nextPacket() throws(StartError) -> CapturedPacket? {
    while true {
      if part >= 0, part < parts.count {
        if let packet = places != nil ? try linked() : try scanned() { return packet }
      }
      guard part + 1 < parts.count else { return nil }
      part += 1
      try begin(parts[part])
    }
  }

  /// Finds the blocks of a part.
  private func begin(_ part: CapturedPart) throws(StartError) {
    let reader = try CaptureReader(part.source)
    let last = try reader.packet(at: part.lastBlock, section: part.section)
    session = last.session
    places = nil
    if part.blocks <= mostPlaces {
      var found = [part.lastBlock]
      var previous = last.previousBlock
      while previous != 0, UInt64(found.count) < part.blocks, previous < found[found.count - 1] {
        let packet = try reader.packet(at: previous, section: part.section)
        guard packet.session == session else { break }
        found.append(previous)
        previous = packet.previousBlock
      }
      guard previous == 0, UInt64(found.count) == part.blocks, found.last == part.firstBlock else {
        throw StartError(
          .dataError,
          "'\(part.source.path)': the packets of session \(session) are not linked as its .idx says; "
            + "read it without its .idx")
      }
      places = found
    } else {
      reader.seek(part.firstBlock, section: part.section)
    }
    self.reader = reader
  }

  private func linked() throws(StartError) -> CapturedPacket? {
    guard let place = places?.popLast() else { return nil }
    return try reader?.packet(at: place, section: parts[part].section)
  }

  private func scanned() throws(StartError) -> CapturedPacket? {
    guard let reader else { return nil }
    while reader.place <= parts[part].lastBlock, let step = try reader.next() {
      switch step {
      case .packet(let packet) where packet.session == session: return packet
      case .packet, .damage, .end: break
      case .section: return nil
      }
    }
    return nil
  }
}
