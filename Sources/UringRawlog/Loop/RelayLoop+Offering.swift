/// The relay answers STARTTLS itself: the server's leg has another kind of TLS, or none. The server's lists get the
/// capability, and the client's command ends here.
extension RelayLoop where R: ~Copyable {
  /// Begins to listen for the command.
  mutating func offerTLS(_ slot: Int) {
    guard frontTLS == .startTLS, backTLS != .startTLS, let mailProtocol = configuration.mailProtocol else { return }
    if sessions[slot].sealing == .none { sessions[slot].sealing = .offered }
    offerings[slot] = StartTLSOffering(StartTLSOffer(mailProtocol))
  }

  /// Takes what came in the clear, or was opened, while TLS is offered; false when it is not.
  mutating func takeOffered(_ flow: FlowIndex, _ bytes: UnsafeRawBufferPointer) -> Bool {
    let slot = flow.slot
    guard !offerings.isEmpty, let offering = offerings[slot] else { return false }
    switch flow.direction {
    case .in: takeClientLines(flow, offering, bytes)
    case .out: takeServerLines(flow, offering, bytes)
    }
    if offerings[slot] != nil, !awaitsStartTLS(slot) { endOffering(slot, offering) }
    return true
  }

  // MARK: The client

  private mutating func takeClientLines(
    _ flow: FlowIndex, _ offering: StartTLSOffering, _ bytes: UnsafeRawBufferPointer
  ) {
    var rest = bytes
    while !rest.isEmpty {
      guard offering.answer.isEmpty else {
        clearBytesFound(flow.slot, .client)
        return
      }
      let isComplete = Self.takeLine(&rest, &offering.clientLine)
      let mayBeCommand = offering.mayBeCommand ?? isAtCommand(flow.slot)
      offering.mayBeCommand = mayBeCommand
      let isLong = offering.clientLine.count > StartTLSOffer.lineBytes
      guard isComplete || isLong || !mayBeCommand else { return }
      let line = offering.takeClientLine(endsLine: isComplete)
      let answer = isComplete && mayBeCommand ? line.withUnsafeBytes { offering.offer.answer(to: $0) } : nil
      if let answer {
        line.withUnsafeBytes { recordUnrelayed(flow, $0, on: .front) }
        offering.answer = answer
        answerStartTLS(flow.slot, offering)
      } else {
        line.withUnsafeBytes { takeCopied(flow, $0) }
      }
    }
  }

  /// Moves a line, or what there is of it, to the end of what is kept; true when it is complete.
  private static func takeLine(_ rest: inout UnsafeRawBufferPointer, _ line: inout [UInt8]) -> Bool {
    let end = rest.firstIndex(of: UInt8(ascii: "\n"))
    let count = end.map { $0 + 1 } ?? rest.count
    line.append(contentsOf: rest[..<count])
    rest = UnsafeRawBufferPointer(rebasing: rest[count...])
    return end != nil
  }

  /// The client's next byte begins a command, and no message, literal or response.
  private func isAtCommand(_ slot: Int) -> Bool {
    sessions[slot].isObserved && dialogues[slot].client == .lineStart && !dialogues[slot].isInsideData
      && !dialogues[slot].exchange.owesResponse
  }

  /// Answers the command when everything that was asked before it is answered.
  private mutating func answerStartTLS(_ slot: Int, _ offering: StartTLSOffering) {
    guard dialogues[slot].answers.isEmpty, dialogues[slot].tagged.isEmpty, offering.serverLine.isEmpty else { return }
    let out = FlowIndex(slot, .out)
    let answer = offering.answer
    offerings[slot] = nil
    answer.withUnsafeBytes { takeCopied(out, $0, on: .front) }
    beginTLS(slot, .client, clearUntil: sessions[flow: out].received)
    beginDialogueBehindStartTLS(slot)
    if configuration.mailProtocol == .sieve {
      // Its list of capabilities comes again under TLS (RFC 5804 section 2.2): the server is asked for it.
      let command: StaticString = "CAPABILITY\r\n"
      takeCopied(
        FlowIndex(slot, .in),
        UnsafeRawBufferPointer(start: command.utf8Start, count: command.utf8CodeUnitCount), on: .back)
      // To the client that answer is the greeting behind STARTTLS.
      beginDialogueBehindStartTLS(slot)
    }
  }

  // MARK: The server

  private mutating func takeServerLines(
    _ flow: FlowIndex, _ offering: StartTLSOffering, _ bytes: UnsafeRawBufferPointer
  ) {
    let slot = flow.slot
    var rest = bytes
    while !rest.isEmpty {
      let isComplete = Self.takeLine(&rest, &offering.serverLine)
      guard isComplete || offering.serverLine.count > StartTLSOffer.lineBytes else { return }
      let line = offering.serverLine
      offering.serverLine = []
      let expected = dialogues[slot].answers.front
      let edited = line.withUnsafeBytes {
        offering.offer.edited(
          $0, answersHello: expected == .hello, answersCapabilities: expected == .capabilities)
      }
      if let edited {
        line.withUnsafeBytes { recordUnrelayed(flow, $0, on: .back) }
        edited.withUnsafeBytes { takeCopied(flow, $0, on: .front) }
      } else {
        line.withUnsafeBytes { takeCopied(flow, $0) }
      }
      guard !offering.answer.isEmpty else { continue }
      answerStartTLS(slot, offering)
      guard offerings[slot] != nil else {
        if !rest.isEmpty { takeCopied(flow, rest) }
        return
      }
    }
  }

  // MARK: The end

  /// TLS is not offered any more: what was kept back goes on its way.
  private mutating func endOffering(_ slot: Int, _ offering: StartTLSOffering) {
    offerings[slot] = nil
    if sessions[slot].sealing == .offered { sessions[slot].sealing = .none }
    flush(FlowIndex(slot, .in), offering)
    flush(FlowIndex(slot, .out), offering)
  }

  /// A side's stream ended in the middle of a line.
  mutating func flushOffered(_ flow: FlowIndex) {
    guard !offerings.isEmpty, let offering = offerings[flow.slot] else { return }
    flush(flow, offering)
  }

  private mutating func flush(_ flow: FlowIndex, _ offering: StartTLSOffering) {
    let line: [UInt8]
    switch flow.direction {
    case .in:
      line = offering.takeClientLine(endsLine: false)
    case .out:
      line = offering.serverLine
      offering.serverLine = []
    }
    if !line.isEmpty { line.withUnsafeBytes { takeCopied(flow, $0) } }
  }
}

/// What the relay keeps while it offers TLS in a server's place.
final class StartTLSOffering {
  var offer: StartTLSOffer
  /// The beginnings of lines whose ends have not come.
  var clientLine: [UInt8] = []
  var serverLine: [UInt8] = []
  /// Whether the client's line may be a command; nil before its first byte.
  var mayBeCommand: Bool?
  /// The answer to the client's STARTTLS, while older commands are not answered; empty before it.
  var answer: [UInt8] = []

  init(_ offer: StartTLSOffer) {
    self.offer = offer
  }

  /// What there is of the client's line, which is passed on.
  func takeClientLine(endsLine: Bool) -> [UInt8] {
    // The rest of a line that is passed on in pieces is no command.
    mayBeCommand = endsLine ? nil : false
    defer { clientLine = [] }
    return clientLine
  }
}
