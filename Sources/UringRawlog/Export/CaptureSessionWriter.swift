/// Sessions as conversations of one capture, their packets in the order of time, with a side file.
final class CaptureSessionWriter: SessionWriter {
  private var file: NewFile
  private var side: NewFile
  private var capture: Capture
  private let plainPorts: Bool
  private var sessions: UInt64 = 0
  private var time: Int64 = 0
  /// Those that have begun and not ended, by their numbers, and the time of the last packet of each.
  private var open: [Int: (conversation: CapturedConversation, time: Int64)] = [:]
  private let memory = UnsafeMutableRawBufferPointer.allocate(
    byteCount: CapturedConversation.mostPayloadBytes + CapturedConversation.mostEndBytes, alignment: 16)

  init(_ path: String, plainPorts: Bool) throws(StartError) {
    guard path.hasSuffix(".pcapng") else {
      throw StartError(.usage, "--output: '\(path)' does not end in .pcapng; name a file that does")
    }
    self.plainPorts = plainPorts
    file = try NewFile(path)
    side = try NewFile(String(path.dropLast(".pcapng".count)) + ".idx")
    var bytes = Bytes()
    let section = CaptureSection(leg: .front, listeners: [], processID: 0)
    capture = Capture(number: 1, section: section, at: Instant.current.epochMicroseconds, to: &bytes)
    try file.write { $0.append(bytes) }
    try side.write { $0.append(CaptureIndex.heading) }
  }

  deinit { memory.deallocate() }

  var mostSessions: Int { Limits.exportedSessions }

  private func write(_ count: Int) throws(StartError) {
    try file.write { $0.append(UnsafeRawBufferPointer(rebasing: memory[..<count])) }
  }

  func begin(_ session: ExportedSession) throws(StartError) {
    sessions += 1
    time = max(time, session.time)
    var ends = session.connection
    if plainPorts { ends.to.port = Self.plainPort(ends.to.port) }
    var conversation = CapturedConversation(
      number: sessions, opener: ends.opener, from: ends.from, to: ends.to, port: 1)
    let id = Array(session.id.utf8.prefix(CapturedConversation.mostIDBytes))
    try write(id.withUnsafeBytes { conversation.open(id: $0, at: session.time, in: &capture, into: memory) })
    open[session.number] = (conversation, session.time)
  }

  func add(_ piece: RecordedPiece, of session: ExportedSession) throws(StartError) {
    if let now = piece.time {
      open[session.number]!.time = now
      time = max(time, now)
    }
    let now = open[session.number]!.time
    var rest = piece.bytes
    while !rest.isEmpty {
      let part = UnsafeRawBufferPointer(rebasing: rest.prefix(CapturedConversation.mostPayloadBytes))
      try write(
        open[session.number]!.conversation.add(part, piece.direction, at: now, in: &capture, into: memory))
      rest = UnsafeRawBufferPointer(rebasing: rest[part.count...])
    }
  }

  func add(_ gap: RecordingGap, of session: ExportedSession) {
    open[session.number]!.conversation.lose(gap.bytes, at: gap.offset, gap.direction)
  }

  func end(_ session: ExportedSession) throws(StartError) {
    guard let written = open.removeValue(forKey: session.number) else { return }
    let time = written.time
    var ended = written.conversation
    if case .end(let end)? = session.record?.event, end.clientClose == "clean", end.serverClose == "clean" {
      for direction in [Direction.in, .out] {
        try write(ended.finish(direction, at: time, in: &capture, into: memory))
      }
    }
    var count = 0
    session.recordText.withUnsafeBytes {
      count = ended.end($0, resetBy: .in, at: time, in: &capture, into: memory)
    }
    try write(count)
    let id = Array(session.id.utf8)
    let conversation = ended
    try side.write { text in
      id.withUnsafeBytes { CaptureIndex.appendLine(conversation, id: $0, goesOn: false, to: &text) }
    }
  }

  func finish() throws(StartError) {
    var bytes = Bytes()
    capture.appendStatistics(at: time, to: &bytes)
    try file.write { $0.append(bytes) }
    try file.flush()
    let (sessions, position) = (sessions, capture.position)
    try side.write { CaptureIndex.appendTotal(lines: sessions, captureBytes: position, to: &$0) }
    try side.flush()
  }

  /// The port of the same protocol without TLS; what is captured here would be taken for TLS otherwise.
  private static func plainPort(_ port: UInt16) -> UInt16 {
    switch port {
    case 993: 143
    case 995: 110
    case 465: 25
    default: port
    }
  }
}
