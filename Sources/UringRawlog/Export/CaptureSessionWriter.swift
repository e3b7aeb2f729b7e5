/// Sessions as conversations of one capture, one behind the other, with a side file.
final class CaptureSessionWriter: SessionWriter {
  private var file: NewFile
  private var side: NewFile
  private var capture: Capture
  private var conversation = CapturedConversation()
  private let plainPorts: Bool
  private var sessions: UInt64 = 0
  private var time: Int64 = 0
  private var finished: [Bool] = [false, false]
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

  private func write(_ count: Int) throws(StartError) {
    try file.write { $0.append(UnsafeRawBufferPointer(rebasing: memory[..<count])) }
  }

  func begin(_ session: ExportedSession) throws(StartError) {
    sessions += 1
    time = session.time
    var ends = session.connection
    if plainPorts { ends.to.port = Self.plainPort(ends.to.port) }
    conversation = CapturedConversation(
      number: sessions, opener: ends.opener, from: ends.from, to: ends.to, port: 1)
    let id = Array(session.id.utf8.prefix(CapturedConversation.mostIDBytes))
    try write(id.withUnsafeBytes { conversation.open(id: $0, at: time, in: &capture, into: memory) })
  }

  func add(_ piece: RecordedPiece, of session: ExportedSession) throws(StartError) {
    time = piece.time ?? time
    var rest = piece.bytes
    while !rest.isEmpty {
      let part = UnsafeRawBufferPointer(rebasing: rest.prefix(CapturedConversation.mostPayloadBytes))
      try write(conversation.add(part, piece.direction, at: time, in: &capture, into: memory))
      rest = UnsafeRawBufferPointer(rebasing: rest[part.count...])
    }
  }

  func add(_ gap: RecordingGap, of session: ExportedSession) {
    conversation.lose(gap.bytes, at: gap.offset, gap.direction)
  }

  func end(_ session: ExportedSession) throws(StartError) {
    if case .end(let end)? = session.record?.event, end.clientClose == "clean", end.serverClose == "clean" {
      for direction in [Direction.in, .out] {
        try write(conversation.finish(direction, at: time, in: &capture, into: memory))
      }
    }
    var count = 0
    session.recordText.withUnsafeBytes {
      count = conversation.end($0, resetBy: .in, at: time, in: &capture, into: memory)
    }
    try write(count)
    let id = Array(session.id.utf8)
    let ended = conversation
    try side.write { text in
      id.withUnsafeBytes { CaptureIndex.appendLine(ended, id: $0, goesOn: false, to: &text) }
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
