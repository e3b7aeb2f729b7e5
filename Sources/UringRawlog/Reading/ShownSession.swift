/// One session on its way into a transcript: its heading, its pieces and the gaps between them, its end.
struct ShownSession {
  let title: String
  var records: IndexTable.Records
  /// Gaps that were not shown yet, by direction: the place in the recorded stream where bytes are missing, and how many.
  private var gaps: [[(place: UInt64, bytes: UInt64)]] = [[], []]
  /// Those whose place in the recording is not known from the index.
  private var unplaced: [RecordingGap] = []
  /// Those that the recording itself told of.
  private var said: [RecordingGap] = []
  /// How many relayed bytes were shown, by direction.
  private var shown: InlineArray<2, UInt64> = [0, 0]
  /// What is wrong with the recording, in words for standard error.
  private(set) var damages: [String] = []

  /// - Parameter isMerged: the recording says itself where bytes are missing.
  init(title: String, records: IndexTable.Records, isMerged: Bool) {
    self.title = title
    self.records = records
    guard let ending = records.ending else { return }
    // What stands in the place of a credential moves all places behind it.
    if isMerged || ending.redacted > 0 { unplaced = ending.gaps } else { gaps = ending.gapPlaces ?? [[], []] }
  }

  // MARK: The heading

  /// - Parameter isBegun: the session was shown before, and others since.
  func begin(_ transcript: inout Transcript, isBegun: Bool = false) throws(TextOutput.End) {
    try transcript.heading(isBegun ? "\(title) goes on" : title)
    if !isBegun { try sayStart(&transcript) }
  }

  /// Says what the index knows of who spoke to whom.
  func sayStart(_ transcript: inout Transcript) throws(TextOutput.End) {
    guard let record = records.last else { return }
    var words = "client \(record.client), server \(record.server)"
    if let ending = records.ending, let user = ending.user { words += ", user '\(user)', login \(ending.login)" }
    if let time = records.start?.time {
      try transcript.note(at: time, ", " + words)
    } else {
      try transcript.note(words)
    }
  }

  /// Says how the session ended.
  func sayEnd(_ transcript: inout Transcript) throws(TextOutput.End) {
    if let ending = records.ending {
      try transcript.note("ended by \(ending.reason) after \(ending.seconds) s; \(Self.words(ending))")
    } else if records.start != nil {
      try transcript.note("no end in the index: the session is under way, or the relay was killed")
    }
  }

  private static func words(_ ending: SessionRecord.End) -> String {
    switch ending.recording {
    case "lossy": "recording lossy: \(ending.dropped) bytes were lost"
    case "truncated": "recording truncated: more was sent than --max-recording allows"
    case "failed": "recording failed: a file could not be created, or written to its end"
    case "none": "not recorded"
    default: "recording \(ending.recording)"
    }
  }

  /// Says which direction has no file.
  func sayMissing(_ files: RecordingFiles, _ transcript: inout Transcript) throws(TextOutput.End) {
    for (kind, direction) in [(RecordingName.Kind.in, Direction.in), (.out, .out)] where !files.has(kind) {
      guard !files.has(.merged) else { continue }
      let isLeftOut = records.ending.map { $0.recording == "complete" && $0.file[direction] == 0 } ?? false
      try transcript.note(isLeftOut ? "\(direction): not recorded" : "\(direction): there is no file '\(kind.suffix)'")
    }
  }

  // MARK: What was recorded

  mutating func show(_ event: RecordingEvent, _ transcript: inout Transcript) throws(TextOutput.End) {
    switch event {
    case .remark(let remark):
      if remark.isDamage { damages.append(remark.text) }
      try transcript.note(remark.text)
    case .gap(let gap):
      unplaced.removeAll { $0 == gap }
      if said.count < Limits.gapsPerSession { said.append(gap) }
      try sayGap(gap.direction, gap.bytes, &transcript)
    case .piece(let piece): try show(piece, &transcript)
    }
  }

  private mutating func show(_ piece: RecordedPiece, _ transcript: inout Transcript) throws(TextOutput.End) {
    let direction = piece.direction.rawValue
    var rest = piece
    while let gap = gaps[direction].first, gap.place < shown[direction] + UInt64(rest.bytes.count) {
      let count = Int(gap.place - min(gap.place, shown[direction]))
      if count > 0 {
        try transcript.piece(rest.first(count))
        rest.drop(count)
        shown[direction] += UInt64(count)
      }
      try sayGap(piece.direction, gap.bytes, &transcript)
      gaps[direction].removeFirst()
    }
    try transcript.piece(rest)
    shown[direction] += UInt64(rest.bytes.count)
  }

  private func sayGap(_ direction: Direction, _ bytes: UInt64, _ transcript: inout Transcript) throws(TextOutput.End) {
    try transcript.note("\(direction): \(bytes) bytes are missing here; they were relayed and not recorded")
  }

  // MARK: The end

  /// What is still to be said when everything was shown.
  ///
  /// - Parameter fileBytes: how long the files were when they were opened.
  mutating func end(_ fileBytes: [RecordingName.Kind: UInt64], _ transcript: inout Transcript) throws(TextOutput.End) {
    for direction in [Direction.in, .out] {
      for gap in gaps[direction.rawValue] { try sayGap(direction, gap.bytes, &transcript) }
      gaps[direction.rawValue] = []
    }
    try sayUnplaced(&transcript)
    guard let ending = records.ending else { return }
    for finding in ending.sizeFindings(fileBytes) {
      damages.append(finding)
      try transcript.note(finding)
    }
    for (kind, direction) in [(RecordingName.Kind.in, Direction.in), (.out, .out)] {
      guard fileBytes[kind] ?? fileBytes[.merged] != nil, ending.recording != "complete" else { continue }
      let lost = ending.gaps.reduce(UInt64(0)) { $0 &+ ($1.direction == direction ? $1.bytes : 0) }
      let (more, isLess) = ending.bytes[direction].subtractingReportingOverflow(ending.recorded[direction] &+ lost)
      guard !isLess, more > 0 else { continue }
      try transcript.note("\(direction): \(more) bytes more were relayed and not recorded")
    }
  }

  /// The session has ended while it was followed: what the index says about gaps comes too late for their places.
  mutating func end(_ record: SessionRecord, _ transcript: inout Transcript) throws(TextOutput.End) {
    records.end = record
    try sayEnd(&transcript)
    unplaced = (records.ending?.gaps ?? []).filter { !said.contains($0) }
    try sayUnplaced(&transcript)
  }

  private mutating func sayUnplaced(_ transcript: inout Transcript) throws(TextOutput.End) {
    for gap in unplaced {
      try transcript.note(
        "\(gap.direction): \(gap.bytes) bytes are missing behind the first \(gap.offset) that were sent")
    }
    unplaced = []
  }
}

extension RecordedPiece {
  fileprivate func first(_ count: Int) -> RecordedPiece {
    var piece = self
    piece.bytes = UnsafeRawBufferPointer(rebasing: bytes[..<count])
    return piece
  }

  fileprivate mutating func drop(_ count: Int) {
    bytes = UnsafeRawBufferPointer(rebasing: bytes[count...])
    continuesLine = true
    beginsRead = false
  }
}

extension SessionRecord.End {
  /// Where files are shorter or longer than the index says, in words. A recording that failed may have got more than the
  /// relay knew of; its file may also lie elsewhere than where bytes are counted for it.
  func sizeFindings(_ fileBytes: [RecordingName.Kind: UInt64]) -> [String] {
    var findings: [String] = []
    func compare(_ name: String, _ found: UInt64?, _ expected: UInt64) {
      guard let found, found != expected, found < expected || recording != "failed" else { return }
      findings.append("\(name) has \(found) bytes, and the index says \(expected)")
    }
    compare("in: the file", fileBytes[.in], file.in)
    compare("out: the file", fileBytes[.out], file.out)
    compare("the file", fileBytes[.merged], file.in &+ file.out)
    return findings
  }
}
