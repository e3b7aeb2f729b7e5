/// Sessions as files of layout merged in a directory: each line when its end has come.
final class MergedSessionWriter: SessionWriter {
  private let directory: String
  private var file: NewFile
  private var lines: [[UInt8]] = [[], []]
  private var time: Int64 = 0

  init(_ directory: String) throws(StartError) {
    self.directory = directory
    // Nothing is created before there is a session.
    file = try NewFile("-")
  }

  func begin(_ session: ExportedSession) throws(StartError) {
    file = try NewFile("\(directory)/\(session.id).rawlog")
    lines = [[], []]
    time = session.time
  }

  func add(_ piece: RecordedPiece, of session: ExportedSession) throws(StartError) {
    time = piece.time ?? time
    var rest = piece.bytes
    while !rest.isEmpty {
      let room = MergedLine.heldBytes - lines[piece.direction.rawValue].count
      let end = rest.prefix(room).firstIndex(of: UInt8(ascii: "\n")).map { $0 + 1 }
      lines[piece.direction.rawValue] += rest[..<(end ?? min(room, rest.count))]
      if end != nil {
        try write(piece.direction, .whole)
      } else if lines[piece.direction.rawValue].count == MergedLine.heldBytes {
        try write(piece.direction, .piece)
      }
      rest = UnsafeRawBufferPointer(rebasing: rest[(end ?? min(room, rest.count))...])
    }
  }

  private func write(_ direction: Direction, _ kind: MergedLine.Kind) throws(StartError) {
    let line = lines[direction.rawValue]
    guard !line.isEmpty else { return }
    let stamp = Encoder.Stamp(microseconds: time)
    try file.write { text in
      stamp.append(to: &text)
      text.append(UInt8(ascii: direction == .in ? "I" : "O"))
      text.append(kind.rawValue)
      text.append(UInt8(ascii: " "))
      text.append(line)
      if kind == .piece { text.append(UInt8(ascii: "\n")) }
    }
    lines[direction.rawValue].removeAll(keepingCapacity: true)
  }

  func add(_ gap: RecordingGap, of session: ExportedSession) throws(StartError) {
    // What was there of the line before the gap has no end.
    try write(gap.direction, .piece)
    let stamp = Encoder.Stamp(microseconds: time)
    try file.write { MergedLine.appendGap(gap, gap.direction, stamp, to: &$0) }
  }

  func end(_ session: ExportedSession) throws(StartError) {
    try write(.in, .piece)
    try write(.out, .piece)
    try file.flush()
  }

  func finish() {}
}
