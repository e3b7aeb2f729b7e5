/// Feeds the scanners with whatever libFuzzer thinks of (`make fuzz`).
///
/// The first byte of an input chooses the protocol. Then comes one piece after the other: a byte whose lowest bit says who
/// speaks and whose others say how many bytes follow. Each connection is scanned in whole pieces, and then in parts whose
/// sizes come from the input too; both must come to the same.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzDialogue(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  guard count > 1 else { return 0 }
  let input = UnsafeBufferPointer(start: start, count: count)
  let all = MailProtocol.allCases
  let mailProtocol = all[Int(input[0]) % all.count]
  let pieces = UnsafeBufferPointer(rebasing: input[1...])
  let whole = FuzzedConnection(mailProtocol, pieces) { _ in Int.max }
  let parts = FuzzedConnection(mailProtocol, pieces) { 1 + Int(pieces[$0]) % 7 }
  let bytes = FuzzedConnection(mailProtocol, pieces) { _ in 1 }
  precondition(whole.isSame(parts) && whole.isSame(bytes), "the split matters")
  return 0
}

/// What came out of one connection.
private struct FuzzedConnection {
  private static let mark = Array("<redacted>".utf8)

  private var client: [UInt8] = []
  private var server: [UInt8] = []
  private var events: [UInt64] = []

  func isSame(_ other: FuzzedConnection) -> Bool {
    client == other.client && server == other.server && events == other.events
  }

  /// - Parameter cut: how many bytes are given at once, at this place of the input.
  init(_ mailProtocol: MailProtocol, _ input: UnsafeBufferPointer<UInt8>, cut: (Int) -> Int) {
    let memory = UnsafeMutablePointer<LoginMemory>.allocate(capacity: 1)
    memory.initialize(to: LoginMemory())
    defer { memory.deallocate() }
    var dialogue = Dialogue(mailProtocol)
    var place = 0
    while place < input.count {
      let speaker: Dialogue.Speaker = input[place] & 1 == 0 ? .client : .server
      let end = min(input.count, place + 1 + Int(input[place] >> 1))
      place += 1
      while place < end {
        // A copy by itself, so that the address sanitizer sees who reads behind its end.
        let part = Array(input[place..<min(end, place + min(cut(place), end - place))])
        scan(part, speaker, &dialogue, memory)
        place += part.count
      }
    }
    if dialogue.finish().treatment == .redact { client += Self.mark }
  }

  private mutating func scan(
    _ part: [UInt8], _ speaker: Dialogue.Speaker, _ dialogue: inout Dialogue,
    _ memory: UnsafeMutablePointer<LoginMemory>
  ) {
    var done = 0
    var emptySteps = 0
    while done < part.count {
      let step = part.withUnsafeBytes {
        dialogue.scan(UnsafeRawBufferPointer(rebasing: $0[done...]), from: speaker, memory: memory)
      }
      emptySteps = step.count == 0 ? emptySteps + 1 : 0
      precondition(emptySteps < 4, "the dialogue does not get on")
      var recorded = (0..<Int(step.released)).map { memory.pointee.withheld[$0] }
      switch step.treatment {
      case .record: recorded += part[done..<done + step.count]
      case .redact: recorded += Self.mark
      case .omit, .withhold: break
      }
      if speaker == .client { client += recorded } else { server += recorded }
      done += step.count
      guard step.event != .none else { continue }
      events += [UInt64(step.event.rawValue), UInt64(client.count), UInt64(server.count)]
      for identity in [dialogue.authenticationIdentity(memory), dialogue.authorizationIdentity(memory)] {
        note(identity)
      }
    }
  }

  private mutating func note(_ identity: LoginIdentity) {
    switch identity {
    case .absent: events.append(0)
    case .unusable: events.append(1)
    case .known(let bytes): events.append(bytes.reduce(UInt64(bytes.count)) { $0 &* 31 &+ UInt64($1) })
    }
  }
}
