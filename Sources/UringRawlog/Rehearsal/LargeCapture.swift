/// One capture of very many short sessions, with its side file: for what must not depend on how large a capture is.
///
/// It is written as it is composed, and some fifty sessions are side by side. What session N says follows from N: the
/// server `* OK session N`, the client `N LOGOUT`, the server `N OK`.
final class LargeCapture {
  /// Steps of a session, and how many others begin between two of them.
  private static let steps = 5
  private static let distance = 11

  private var file: NewFile
  private var side: NewFile
  private var capture: Capture
  private var conversations = [CapturedConversation](repeating: CapturedConversation(), count: steps * distance)
  private var time: Int64 = 1_769_846_400_000_000
  private var text = Bytes()
  private let memory = UnsafeMutableRawBufferPointer.allocate(
    byteCount: CapturedConversation.mostEndBytes, alignment: 16)

  deinit { memory.deallocate() }

  /// - Parameter directory: where `20260131-080000.4711.1.pcapng` and its `.idx` are made.
  /// - Throws: 73.
  private init(in directory: String) throws(StartError) {
    let stem = "\(directory)/20260131-080000.4711.1"
    file = try NewFile(stem + ".pcapng")
    side = try NewFile(stem + ".idx")
    var bytes = Bytes()
    let section = CaptureSection(leg: .front, listeners: ["127.0.0.1:143"], processID: 4711)
    capture = Capture(number: 1, section: section, at: time, to: &bytes)
    try file.write { $0.append(bytes) }
    try side.write { $0.append(CaptureIndex.heading) }
  }

  /// Writes it.
  ///
  /// - Throws: 73 when a file cannot be made, 74 when it cannot be written.
  static func write(sessions: Int, to directory: String) throws(StartError) -> String {
    let large = try LargeCapture(in: directory)
    for turn in 0..<sessions + steps * distance {
      large.time += 7
      for step in 0..<steps {
        let number = turn - step * distance
        if (0..<sessions).contains(number) { try large.take(step, of: UInt64(number + 1)) }
      }
    }
    return try large.finish(sessions)
  }

  private func take(_ step: Int, of number: UInt64) throws(StartError) {
    let place = Int(number) % conversations.count
    text.removeAll()
    let count: Int
    switch step {
    case 0:
      conversations[place] = CapturedConversation(
        number: number, opener: .in,
        from: PeerAddress(ipv4: 0xC612_0000 + UInt32(number % 131_071), port: UInt16(1024 + number % 60_000)),
        to: PeerAddress(ipv4: 0xC633_6407, port: 143), port: 143)
      text.appendSampleID(number)
      count = conversations[place].open(id: text.span, at: time, in: &capture, into: memory)
    case 1: count = say(number, .out, "* OK session ", "\r\n")
    case 2: count = say(number, .in, "", " LOGOUT\r\n")
    case 3: count = say(number, .out, "", " OK\r\n")
    default:
      text.append("{\"event\":\"end\",\"id\":\"")
      text.appendSampleID(number)
      text.append("\",\"client\":\"unknown\",\"server\":\"unknown\",\"reason\":\"server-reset\"}")
      count = conversations[place].end(text.span, resetBy: .out, at: time, in: &capture, into: memory)
    }
    try file.write { $0.append(UnsafeRawBufferPointer(rebasing: memory[..<count])) }
    if step == Self.steps - 1 { try list(number) }
  }

  /// A line of a session: words, its number, words.
  private func say(
    _ number: UInt64, _ direction: Direction, _ before: StaticString, _ behind: StaticString
  ) -> Int {
    text.append(before)
    text.append(decimal: number)
    text.append(behind)
    return conversations[Int(number) % conversations.count].add(
      text.span, direction, at: time, in: &capture, into: memory)
  }

  /// The session's line of the side file.
  private func list(_ number: UInt64) throws(StartError) {
    text.removeAll()
    text.appendSampleID(number)
    let (ended, id) = (conversations[Int(number) % conversations.count], text.span)
    try side.write { CaptureIndex.appendLine(ended, id: id, goesOn: false, to: &$0) }
  }

  private func finish(_ sessions: Int) throws(StartError) -> String {
    text.removeAll()
    capture.appendStatistics(at: time, to: &text)
    let (last, bytes) = (text.span, capture.position)
    try file.write { $0.append(last) }
    try file.flush()
    try side.write { CaptureIndex.appendTotal(lines: UInt64(sessions), captureBytes: bytes, to: &$0) }
    try side.flush()
    return "\(sessions) sessions in one capture of \(bytes) bytes"
  }
}

extension Bytes {
  fileprivate mutating func appendSampleID(_ number: UInt64) {
    append("20260131-080000.4711.")
    append(decimal: number)
  }
}
