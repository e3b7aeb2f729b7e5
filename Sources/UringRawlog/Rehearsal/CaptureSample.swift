/// Random sessions in captures, composed as the loop composes them: for readers, ours and those of others.
///
/// Peers of all families, packets of all sizes, both ways of composing them, gaps, all ends, sessions side by side, and
/// captures that are cut while sessions go on. The same for the same seed. What went in is kept beside it.
final class CaptureSample {
  /// One direction of a session.
  struct Stream: Equatable {
    /// What was recorded.
    var bytes: [UInt8] = []
    var gaps: [Gap] = []

    struct Gap: Equatable {
      /// How many bytes had been recorded before, and how many are missing.
      var recorded: Int
      var bytes: UInt64
    }

    var relayed: UInt64 { gaps.reduce(UInt64(bytes.count)) { $0 + $1.bytes } }
  }

  struct Session {
    let id: String
    let number: UInt64
    let opener: Direction
    let from: PeerAddress
    let to: PeerAddress
    let port: UInt16
    /// By direction.
    var streams = [Stream(), Stream()]
    var isFinished = [false, false]
    /// Whose side reset the connection; nil when both had ended their streams.
    var resetBy: Direction?
    var record: [UInt8] = []
    /// The places in `captures` of those that have packets of it.
    var captures: [Int] = []
    fileprivate(set) var conversation: CapturedConversation
    let dialogue: SampleDialogue?
    fileprivate var linesSaid = 0
    fileprivate var packetsLeft: Int
  }

  /// A capture and what belongs beside it.
  struct Written {
    let number: UInt64
    let bytes: [UInt8]
    let index: [UInt8]
  }

  private(set) var sessions: [Session] = []
  private(set) var captures: [Written] = []
  let section: CaptureSection
  private let rotateBytes: UInt64
  private var generator: SampleGenerator
  private var capture: Capture
  private var output = Bytes()
  private var index = Bytes()
  private var indexLines: UInt64 = 0
  /// Places of those that have not ended.
  private var live: [Int] = []
  private var time: Int64 = 1_769_846_400_000_000
  private let firstNumber: UInt64
  private let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 16)
  private static let sideBySide = 12

  deinit { memory.deallocate() }

  /// - Parameter rotateBytes: how long a capture becomes before the next one is begun.
  init(sessions count: Int, seed: UInt64, rotateBytes: UInt64 = .max) {
    generator = SampleGenerator(seed: seed)
    self.rotateBytes = rotateBytes
    section = CaptureSection(
      application: "\(CaptureSection.applicationName) \(programVersion)", operatingSystem: "Linux 6.1.0",
      hardware: "x86_64", comment: "process 4711 on mx1.example.org",
      interfaceName: "127.0.0.1:143, unix:/run/mail.sock", interfaceDescription: "clients")
    firstNumber = UInt64(1 + generator.below(1 << 20))
    capture = Capture(number: 1, section: section, at: time, to: &output)
    index.append(CaptureIndex.heading)
    while sessions.count < count || !live.isEmpty {
      time += Int64(generator.below(20_000))
      if sessions.count < count, live.isEmpty || live.count < Self.sideBySide && generator.once(in: 6) {
        start()
      } else {
        act(live[generator.below(live.count)])
      }
      if capture.position >= self.rotateBytes { rotate() }
    }
    endCapture()
  }

  // MARK: Captures

  private func rotate() {
    for place in live { line(of: place, goesOn: true) }
    endCapture()
    output.removeAll()
    index.removeAll()
    indexLines = 0
    capture = Capture(number: capture.number + 1, section: section, at: time, to: &output)
    index.append(CaptureIndex.heading)
  }

  private func endCapture() {
    capture.appendStatistics(at: time, to: &output)
    CaptureIndex.appendTotal(lines: indexLines, captureBytes: capture.position, to: &index)
    captures.append(Written(number: capture.number, bytes: Array(output.span), index: Array(index.span)))
  }

  private func line(of place: Int, goesOn: Bool) {
    guard sessions[place].conversation.capture == capture.number else { return }
    var id = Array(sessions[place].id.utf8)
    id.withUnsafeMutableBytes {
      CaptureIndex.appendLine(
        sessions[place].conversation, id: UnsafeRawBufferPointer($0), goesOn: goesOn, to: &index)
    }
    indexLines += 1
  }

  // MARK: Sessions

  private func start() {
    let place = sessions.count
    let number = firstNumber + UInt64(place)
    let dialogue = place < SampleDialogue.allCases.count ? SampleDialogue.allCases[place] : nil
    let opener = dialogue != nil || !generator.once(in: 4) ? Direction.in : .out
    let port = dialogue.map { CapturedEndpoint.port(of: $0.mailProtocol) } ?? UInt16(40000 + generator.below(20000))
    let (from, to) = peers(port, isDialogue: dialogue != nil)
    let conversation = CapturedConversation(
      number: number, opener: opener, from: from, to: to, port: port)
    sessions.append(
      Session(
        id: "20260131-080000.4711.\(number)", number: number, opener: opener, from: from, to: to, port: port,
        conversation: conversation, dialogue: dialogue, packetsLeft: generator.below(40)))
    live.append(place)
    sessions[place].captures.append(captures.count)
    let id = Array(sessions[place].id.utf8)
    let count = id.withUnsafeBytes {
      sessions[place].conversation.open(id: $0, at: time, in: &capture, into: memory)
    }
    take(count)
  }

  /// No two live sessions have the same two ends.
  private func peers(_ port: UInt16, isDialogue: Bool) -> (PeerAddress, PeerAddress) {
    let place = UInt16(sessions.count)
    let client = [
      PeerAddress(ipv4: 0xC000_0200 + UInt32(generator.below(4)), port: 50000 + place % 10000),
      PeerAddress(ipv6: 0x2001_0DB8_0000_0000, 1 + UInt64(generator.below(4)), port: 50000 + place % 10000),
      .unix, .unspecified, .unknown,
    ][generator.below(isDialogue ? 3 : 5)]
    let server = [
      PeerAddress(ipv4: 0xC633_6407, port: port), PeerAddress(ipv6: 0x2001_0DB8_0001_0000, 0xFFFF, port: port), .unix,
      .unknown,
    ][generator.below(isDialogue ? 3 : 4)]
    return (client, server)
  }

  private func act(_ place: Int) {
    if sessions[place].conversation.capture != capture.number {
      sessions[place].captures.append(captures.count)
      let id = Array(sessions[place].id.utf8)
      let count = id.withUnsafeBytes {
        sessions[place].conversation.carryOn(id: $0, at: time, in: &capture, into: memory)
      }
      take(count)
    }
    if let dialogue = sessions[place].dialogue {
      say(dialogue, place)
    } else {
      actAtRandom(place)
    }
  }

  private func say(_ dialogue: SampleDialogue, _ place: Int) {
    let lines = dialogue.lines
    guard sessions[place].linesSaid < lines.count else {
      finish(place, sessions[place].isFinished[0] ? .out : .in)
      return
    }
    let line = lines[sessions[place].linesSaid]
    sessions[place].linesSaid += 1
    send(Array((line.text + "\r\n").utf8), place, line.direction)
  }

  private func actAtRandom(_ place: Int) {
    sessions[place].packetsLeft -= 1
    let direction = generator.once(in: 2) ? Direction.in : .out
    let isFinished = sessions[place].isFinished[direction.rawValue]
    guard sessions[place].packetsLeft > 0 else {
      if generator.once(in: 3) || isFinished { reset(place, by: direction) } else { finish(place, direction) }
      return
    }
    guard !isFinished else { return }
    if generator.once(in: 12) { lose(place, direction) }
    // Many segments of one side in a row, which the other must acknowledge.
    let isMany = generator.once(in: 40)
    for _ in 0..<(isMany ? 150 : 1) { send(payload(isMany: isMany), place, direction) }
  }

  private func payload(isMany: Bool) -> [UInt8] {
    let size: Int
    switch generator.below(isMany ? 4 : 24) {
    case 4: size = CapturedConversation.mostPayloadBytes - generator.below(3)
    case 5: size = generator.below(CapturedConversation.mostPayloadBytes)
    default: size = 1 + generator.below(80)
    }
    // Runs of one byte, so that carries and large sums come up, with lines in them.
    var bytes = [UInt8](repeating: UInt8(truncatingIfNeeded: generator.next()), count: size)
    for _ in 0...size / 16 { bytes[generator.below(size)] = UInt8(generator.below(256)) }
    for place in stride(from: 31, to: size, by: 64) { bytes[place] = UInt8(ascii: "\n") }
    return bytes
  }

  private func send(_ payload: [UInt8], _ place: Int, _ direction: Direction) {
    let isCopied = generator.once(in: 2)
    payload.withUnsafeBytes { bytes in
      guard !isCopied else {
        take(sessions[place].conversation.add(bytes, direction, at: time, in: &capture, into: memory))
        return
      }
      let frame = sessions[place].conversation.frame(bytes, direction, at: time, in: &capture, into: memory)
      output.append(UnsafeRawBufferPointer(rebasing: memory[..<frame.head]))
      output.append(bytes)
      output.append(UnsafeRawBufferPointer(rebasing: memory[frame.head..<frame.head + frame.tail]))
    }
    sessions[place].streams[direction.rawValue].bytes += payload
  }

  private func lose(_ place: Int, _ direction: Direction) {
    let stream = sessions[place].streams[direction.rawValue]
    let bytes = generator.once(in: 6) ? UInt64(1) << 33 : UInt64(1 + generator.below(100_000))
    // In two steps, as a gap grows.
    sessions[place].conversation.lose(bytes - 1, at: stream.relayed, direction)
    sessions[place].conversation.lose(1, at: stream.relayed + bytes - 1, direction)
    if let last = stream.gaps.last, last.recorded == stream.bytes.count {
      sessions[place].streams[direction.rawValue].gaps[stream.gaps.count - 1].bytes += bytes
    } else {
      sessions[place].streams[direction.rawValue].gaps.append(
        Stream.Gap(recorded: stream.bytes.count, bytes: bytes))
    }
  }

  private func finish(_ place: Int, _ direction: Direction) {
    if generator.once(in: 10) { lose(place, direction) }
    take(sessions[place].conversation.finish(direction, at: time, in: &capture, into: memory))
    sessions[place].isFinished[direction.rawValue] = true
    if sessions[place].isFinished[direction.reverse.rawValue] { end(place, resetBy: direction) }
  }

  private func reset(_ place: Int, by direction: Direction) {
    if generator.once(in: 4) { lose(place, direction.reverse) }
    sessions[place].resetBy = direction
    end(place, resetBy: direction)
  }

  private func end(_ place: Int, resetBy direction: Direction) {
    let (input, output) = (sessions[place].streams[0], sessions[place].streams[1])
    let record = Array(
      ("{\"event\":\"end\",\"id\":\"\(sessions[place].id)\",\"in_recorded\":\(input.bytes.count),\"out_recorded\":"
        + "\(output.bytes.count),\"reason\":\"\(sessions[place].resetBy == nil ? "client-eof" : "client-reset")\"}")
        .utf8)
    sessions[place].record = record
    let count = record.withUnsafeBytes {
      sessions[place].conversation.end($0, resetBy: direction, at: time, in: &capture, into: memory)
    }
    take(count)
    line(of: place, goesOn: false)
    live.removeAll { $0 == place }
  }

  private func take(_ count: Int) { output.append(UnsafeRawBufferPointer(rebasing: memory[..<count])) }
}
