@testable import UringRawlog

/// A mail connection in pieces, in the order in which a relay sees them, and what a dialogue makes of it.
struct MailConversation: Sendable {
  struct Piece: Sendable {
    var speaker: Dialogue.Speaker
    var bytes: [UInt8]
  }

  /// What came out. Equal for equal conversations, however they were split.
  struct Outcome: Equatable {
    /// The recording of each direction.
    var client: [UInt8] = []
    var server: [UInt8] = []
    var redactions = 0
    /// Each event, with the place in its direction behind which it happened and who it was about.
    var events: [String] = []
    /// The recording in the order in which it came about.
    var pieces: MailConversation

    static func == (one: Outcome, other: Outcome) -> Bool {
      one.client == other.client && one.server == other.server && one.redactions == other.redactions
        && one.events == other.events
    }

    var clientText: String { String(decoding: client, as: UTF8.self) }
  }

  static let mark = Array("<redacted>".utf8)

  var mailProtocol: MailProtocol
  var pieces: [Piece] = []

  init(_ mailProtocol: MailProtocol) {
    self.mailProtocol = mailProtocol
  }

  /// Lines that begin with `C: ` or `S: `. Each gets CR LF, unless it ends in `\`; in it `\r`, `\n`, `\0`, `\\` stand
  /// for what they say.
  init(_ mailProtocol: MailProtocol, _ text: String) {
    self.mailProtocol = mailProtocol
    for line in text.split(separator: "\n", omittingEmptySubsequences: true) {
      var bytes: [UInt8] = []
      var rest = line.dropFirst(3).utf8[...]
      var hasEnd = true
      while let byte = rest.popFirst() {
        guard byte == UInt8(ascii: "\\") else {
          bytes.append(byte)
          continue
        }
        switch rest.popFirst() {
        case UInt8(ascii: "r"): bytes.append(13)
        case UInt8(ascii: "n"): bytes.append(10)
        case UInt8(ascii: "0"): bytes.append(0)
        case UInt8(ascii: "\\"): bytes.append(UInt8(ascii: "\\"))
        default: hasEnd = false
        }
      }
      add(line.hasPrefix("C") ? .client : .server, bytes + (hasEnd ? [13, 10] : []))
    }
  }

  mutating func add(_ speaker: Dialogue.Speaker, _ bytes: [UInt8]) {
    if !bytes.isEmpty { pieces.append(Piece(speaker: speaker, bytes: bytes)) }
  }

  func traffic(_ speaker: Dialogue.Speaker) -> [UInt8] { pieces.filter { $0.speaker == speaker }.flatMap(\.bytes) }

  // MARK: Scanning

  /// Scans it.
  ///
  /// - Parameters:
  ///   - readsRecording: it was redacted already.
  ///   - cut: how many bytes of a piece come at once, given how many are left.
  func scan(readsRecording: Bool = false, cut: (Int) -> Int = { $0 }) -> Outcome {
    let memory = UnsafeMutablePointer<LoginMemory>.allocate(capacity: 1)
    memory.initialize(to: LoginMemory())
    defer { memory.deallocate() }
    var dialogue = Dialogue(mailProtocol, readsRecording: readsRecording)
    var outcome = Outcome(pieces: MailConversation(mailProtocol))
    var places = [0, 0]
    for piece in pieces {
      let before = (client: outcome.client.count, server: outcome.server.count)
      defer {
        outcome.pieces.add(.client, Array(outcome.client[before.client...]))
        outcome.pieces.add(.server, Array(outcome.server[before.server...]))
      }
      piece.bytes.withUnsafeBytes { bytes in
        var done = 0
        while done < bytes.count {
          let end = done + min(max(1, cut(bytes.count - done)), bytes.count - done)
          let part = UnsafeRawBufferPointer(rebasing: bytes[done..<end])
          Self.scan(part, from: piece.speaker, &dialogue, memory, &places, &outcome)
          done = end
        }
      }
    }
    if dialogue.finish().treatment == .redact {
      outcome.client += Self.mark
      outcome.pieces.add(.client, Self.mark)
      outcome.redactions += 1
    }
    return outcome
  }

  /// As the loop does it.
  private static func scan(
    _ bytes: UnsafeRawBufferPointer, from speaker: Dialogue.Speaker, _ dialogue: inout Dialogue,
    _ memory: UnsafeMutablePointer<LoginMemory>, _ places: inout [Int], _ outcome: inout Outcome
  ) {
    var rest = bytes
    var idleSteps = 0
    while !rest.isEmpty {
      let step = dialogue.scan(rest, from: speaker, memory: memory)
      idleSteps = step.count == 0 ? idleSteps + 1 : 0
      precondition(idleSteps < 4 && step.count <= rest.count, "the dialogue does not get on")
      let recording = speaker == .client ? \Outcome.client : \Outcome.server
      for place in 0..<Int(step.released) { outcome[keyPath: recording].append(memory.pointee.withheld[place]) }
      switch step.treatment {
      case .record: outcome[keyPath: recording].append(contentsOf: rest.prefix(step.count))
      case .redact:
        outcome[keyPath: recording] += mark
        outcome.redactions += 1
      case .omit, .withhold: break
      }
      places[speaker == .client ? 0 : 1] += step.count
      if step.event != .none {
        outcome.events.append(text(step.event, speaker, places[speaker == .client ? 0 : 1], dialogue, memory))
      }
      rest = UnsafeRawBufferPointer(rebasing: rest[step.count...])
    }
  }

  private static func text(
    _ event: DialogueStep.Event, _ speaker: Dialogue.Speaker, _ place: Int, _ dialogue: Dialogue,
    _ memory: UnsafeMutablePointer<LoginMemory>
  ) -> String {
    var text = "\(event) \(speaker)@\(place)"
    switch event {
    case .userNamed, .loginSucceeded, .loginFailed:
      let authentication = name(dialogue.authenticationIdentity(memory))
      let authorization = name(dialogue.authorizationIdentity(memory))
      text += " \(authentication)"
      if authorization != "-", authorization != authentication { text += " as \(authorization)" }
    case .none, .startTLSRequested, .startTLSAccepted, .startTLSRefused, .mailWithoutLogin, .compressed: break
    }
    return text
  }

  private static func name(_ identity: LoginIdentity) -> String {
    switch identity {
    case .absent: "-"
    case .unusable: "?"
    case .known(let bytes): "'\(String(decoding: bytes, as: UTF8.self))'"
    }
  }
}
