/// What is wrong with one session: its end record by itself, and its files beside it. Each finding is in words that fit
/// behind a name.
struct SessionFindings {
  private(set) var session: [String] = []
  private(set) var files: [(kind: RecordingName.Kind, text: String)] = []

  /// What is found in a file.
  struct Content: Equatable {
    /// On disk.
    var bytes: UInt64
    /// Relayed bytes, by direction; nil when they were not counted.
    var relayed: SessionRecord.Counts?
    /// A boundary may have been data, so the count may be too small.
    var isLeast = false
  }

  // MARK: The record by itself

  /// Compares the numbers of an end record with one another.
  mutating func check(_ end: SessionRecord.End) {
    var lost: UInt64 = 0
    for direction in [Direction.in, .out] {
      let gaps = end.gaps.filter { $0.direction == direction }
      let sum = checkGaps(gaps, direction, in: end.bytes[direction])
      lost &+= sum
      checkCounts(end, direction, lost: sum)
    }
    if lost != end.dropped { session.append("the gaps have \(lost) bytes, and 'dropped' is \(end.dropped)") }
    // A `lossy` one may have none: what went to a collector that broke off may have been lost on the way.
    if end.recording == "complete", !end.gaps.isEmpty { session.append("the recording is 'complete' and has gaps") }
  }

  /// - Returns: how many bytes they have.
  private mutating func checkGaps(_ gaps: [RecordingGap], _ direction: Direction, in bytes: UInt64) -> UInt64 {
    var place: UInt64 = 0
    var sum: UInt64 = 0
    for gap in gaps {
      let (end, isTooLarge) = gap.offset.addingReportingOverflow(gap.bytes)
      guard gap.offset >= place, gap.bytes > 0, !isTooLarge, end <= bytes else {
        session.append(
          "\(direction): the gap of \(gap.bytes) bytes at \(gap.offset) is not behind the one before and within the stream"
        )
        return sum
      }
      place = end
      sum += gap.bytes
    }
    return sum
  }

  private mutating func checkCounts(_ end: SessionRecord.End, _ direction: Direction, lost: UInt64) {
    let (bytes, recorded, file) = (end.bytes[direction], end.recorded[direction], end.file[direction])
    let covered = recorded.addingReportingOverflow(lost)
    guard !covered.overflow, covered.partialValue <= bytes else {
      session.append("\(direction): \(recorded) bytes recorded and \(lost) lost are more than the \(bytes) relayed")
      return
    }
    let isLeftOut = recorded == 0 && file == 0
    if end.recording == "complete", recorded != bytes, !isLeftOut {
      session.append("\(direction): the recording is 'complete', and has \(recorded) of \(bytes) bytes")
    }
    if end.recording == "none", !isLeftOut {
      session.append("\(direction): the recording is 'none', and has \(file) bytes")
    }
    if file < recorded, end.redacted == 0 {
      session.append("\(direction): a file of \(file) bytes cannot have \(recorded)")
    }
  }

  // MARK: Files

  /// A file that is not there.
  mutating func checkMissing(_ kind: RecordingName.Kind, _ end: SessionRecord.End) {
    let expected = Self.fileBytes(kind, end)
    if expected > 0 { files.append((kind, "missing; the index says that it has \(expected) bytes")) }
  }

  mutating func check(_ content: Content, of kind: RecordingName.Kind, _ end: SessionRecord.End) {
    let expected = Self.fileBytes(kind, end)
    // The disk may have taken more than a relay that did not wait for it knew of.
    let mayHaveMore = end.recording == "failed"
    if content.bytes < expected {
      files.append((kind, "\(expected - content.bytes) of \(expected) bytes are missing"))
    } else if content.bytes > expected && !mayHaveMore {
      files.append((kind, "\(content.bytes - expected) bytes more than the \(expected) that the index says"))
    }
    guard content.bytes == expected || mayHaveMore, end.redacted == 0, let relayed = content.relayed else { return }
    for direction in Self.directions(kind) {
      let (found, recorded) = (relayed[direction], end.recorded[direction])
      guard found != recorded else { continue }
      // Each boundary that was data takes two markers with it, or one at the end of the file.
      if content.isLeast, found < recorded, recorded <= content.bytes, (recorded - found) % 4 == 0 { continue }
      if mayHaveMore, found > recorded { continue }
      let which = kind == .merged ? "\(direction): " : ""
      files.append((kind, "\(which)holds \(found) relayed bytes, and the index says \(recorded)"))
    }
  }

  mutating func add(_ text: String, to kind: RecordingName.Kind) { files.append((kind, text)) }

  static func directions(_ kind: RecordingName.Kind) -> [Direction] {
    switch kind {
    case .in: [.in]
    case .out: [.out]
    case .merged: [.in, .out]
    }
  }

  /// How long the index says that a file is. Of a merged one, each direction has its lines.
  static func fileBytes(_ kind: RecordingName.Kind, _ end: SessionRecord.End) -> UInt64 {
    directions(kind).reduce(0) { $0 &+ end.file[$1] }
  }
}
