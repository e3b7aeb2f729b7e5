/// Captures beside the index.
extension VerifyRun {
  /// What all captures that were looked at have of a session.
  struct Captured {
    var recorded = CapturedSession.Counts()
    var lost = CapturedSession.Counts()
    var hasBeginning = false
    var hasEnded = false
    /// The last capture that has some of it.
    var path = ""
  }

  /// Reads captures to their ends: each is compared with its side file, and all of them with the index.
  ///
  /// - Returns: the sessions that they have.
  mutating func verifyCaptures(_ paths: [String]) throws -> [String: Captured] {
    var sessions: [String: Captured] = [:]
    for path in paths { try verify(path, &sessions) }
    for id in sessions.keys.sorted() { try compare(id, sessions[id]!) }
    return sessions
  }

  private mutating func verify(_ path: String, _ sessions: inout [String: Captured]) throws {
    countFile()
    var listing = CaptureListing()
    do throws(StartError) {
      let opened = try RecordingFiles.open(path, followsLinks: false)
      if opened.status.st_mode & 0o7777 != 0o600 { try? found("\(path): \(Self.words(mode: opened.status.st_mode))") }
      let file = CaptureFile(opened)
      let source: any CaptureSource = path.hasSuffix(".zst") ? try CompressedCapture(file) : file
      try listing.read(try CaptureReader(source))
    } catch {
      try found("\(path): \(error.message)")
    }
    for damage in listing.damages { try found("\(path): \(damage.text)") }
    if listing.damageCount > UInt64(listing.damages.count) {
      try found("\(path): \(listing.damageCount - UInt64(listing.damages.count)) more such places")
    }
    try sayTail(path, listing)
    try verifySide(path, listing)
    for session in listing.sessions {
      var known = sessions[session.id] ?? Captured()
      for direction in [Direction.in, .out] {
        known.recorded[direction] += session.recorded[direction]
        known.lost[direction] &+= session.lost[direction]
      }
      if !session.isCarriedOn { known.hasBeginning = true }
      known.hasEnded = session.hasEnded
      known.path = path
      sessions[session.id] = known
    }
  }

  private mutating func sayTail(_ path: String, _ listing: CaptureListing) throws {
    let there = "\(listing.packets) packets of \(listing.sessions.count) sessions are there"
    switch listing.tail {
    case .complete: break
    case .unfinished where path.hasSuffix(".part"):
      try found("\(path): it was not ended: it is being written, or the relay was killed; \(there)")
    case .unfinished: try found("\(path): its last block is missing; \(there)")
    case .cut(let place): try found("\(path): it was cut at byte \(place), within a block; \(there)")
    }
  }

  private mutating func verifySide(_ path: String, _ listing: CaptureListing) throws {
    guard !path.hasSuffix(".part"), listing.damageCount == 0 else { return }
    let side = path.dropLast(path.hasSuffix(".zst") ? ".pcapng.zst".count : ".pcapng".count) + ".idx"
    do throws(StartError) {
      let index = try CaptureIndexReader(CaptureFile(try RecordingFiles.open(String(side), followsLinks: false)))
      let entries = listing.sessions.map {
        CaptureIndex.Entry(
          id: $0.id, firstBlock: $0.firstBlock, lastBlock: $0.lastBlock, blocks: $0.blocks, part: $0.part)
      }
      if index.captureBytes != listing.place || Set(entries.map(\.id)) != Set(index.entries.map(\.id))
        || !index.entries.allSatisfy(entries.contains)
      {
        try? found("\(side): it is not that of '\(path)'; remove it, it can be done without")
      }
    } catch {
      try found("\(side): \(error.message)")
    }
  }

  private mutating func compare(_ id: String, _ captured: Captured) throws {
    let path = "\(captured.path): session \(id)"
    countSession()
    let records = try table.records(of: id)
    guard let end = records.ending else {
      if records.last == nil {
        try found("\(path): no entry in the index '\(table.path)'")
      } else {
        try found("\(path): no end in the index: the session is under way, or the relay was killed")
      }
      return
    }
    var checks = SessionFindings()
    checks.check(end)
    for text in checks.session { try found("\(path): \(text)") }
    let isFailed = end.recording == "failed"
    // An earlier capture may have been deleted.
    let isWhole = captured.hasBeginning
    if !captured.hasEnded, !isFailed { try found("\(path): its last packet is missing") }
    if !isWhole, table.deleted.isEmpty { try found("\(path): its first packet is missing") }
    guard end.redacted == 0 else { return }
    for direction in [Direction.in, .out] {
      let (has, said) = (captured.recorded[direction], end.recorded[direction])
      guard has != said, isWhole || has > said, !isFailed || has < said else { continue }
      try found("\(path): \(direction): holds \(has) recorded bytes, and the index says \(said)")
    }
  }
}
