import Glibc

/// The relay asks the server for TLS itself, before a client that knows nothing of it is relayed.
extension RelayLoop where R: ~Copyable {
  mutating func askForTLS(_ slot: Int) {
    guard let mailProtocol = configuration.mailProtocol else { return }
    sessions[slot].phase = .securing
    sessions[slot].sealing = .asking
    askings[slot] = StartTLSAsking(StartTLSExchange(mailProtocol))
    awaitHandshake(slot)
    touch(slot)
  }

  /// What the server says before TLS.
  mutating func takeAnswer(_ flow: FlowIndex, _ completion: Completion) {
    let slot = flow.slot
    guard sessions[slot].phase == .securing, let asking = askings[slot] else {
      returnBuffers(completion)
      return
    }
    // Such a receive fills one buffer at the most.
    let buffer = Int(completion.buffer)
    let bytes = UnsafeRawBufferPointer(start: ring.bufferAddress(buffer), count: Int(completion.result))
    asking.line.append(contentsOf: bytes)
    recordUnrelayed(flow, bytes, on: .back)
    ring.returnBuffer(buffer)
    workAnswer(slot, asking)
  }

  private mutating func workAnswer(_ slot: Int, _ asking: StartTLSAsking) {
    // An answer may be there before the completion of what was asked.
    while !asking.isSending, asking.unsent.isEmpty, let end = asking.line.firstIndex(of: UInt8(ascii: "\n")) {
      let step = asking.line[...end].withUnsafeBytes { asking.exchange.take($0) }
      asking.line.removeFirst(end + 1)
      switch step {
      case .wait: break
      case .send(let command):
        guard asking.line.isEmpty else {
          clearBytesFound(slot, .server)
          return
        }
        send(slot, asking, command)
      case .granted:
        guard asking.line.isEmpty else {
          clearBytesFound(slot, .server)
          return
        }
        tlsGranted(slot, asking)
        return
      case .refused(let reason):
        tlsFailed(slot, .server, reason)
        return
      }
    }
    if asking.line.count > StartTLSExchange.lineBytes { tlsFailed(slot, .server, "a line of the server is too long") }
  }

  private mutating func send(_ slot: Int, _ asking: StartTLSAsking, _ command: StaticString) {
    asking.unsent = UnsafeRawBufferPointer(start: command.utf8Start, count: command.utf8CodeUnitCount)
    recordUnrelayed(FlowIndex(slot, .in), asking.unsent, on: .back)
    sendCommand(slot, asking)
  }

  private mutating func sendCommand(_ slot: Int, _ asking: StartTLSAsking) {
    asking.isSending = true
    sessions[slot].socketOperations += 1
    ring.send(sessions[slot].serverSocket, asking.unsent, token: token(.sendServer, slot))
  }

  /// A send of a command ended; false when it was another.
  mutating func commandSent(_ slot: Int, _ completion: Completion) -> Bool {
    guard let asking = askings[slot], asking.isSending else { return false }
    sessions[slot].socketOperations -= 1
    asking.isSending = false
    guard sessions[slot].phase == .securing else { return true }
    if let error = completion.error {
      switch error.code {
      case EINTR, EAGAIN: break
      case ENOBUFS, ENOMEM:
        rest(FlowIndex(slot, .in))
        return true
      default:
        legFailed(slot, .server)
        return true
      }
    } else {
      asking.unsent = UnsafeRawBufferPointer(rebasing: asking.unsent[Int(completion.result)...])
    }
    if asking.unsent.isEmpty {
      workAnswer(slot, asking)
    } else {
      sendCommand(slot, asking)
    }
    return true
  }

  /// The kernel had no memory for a command a little while ago.
  mutating func askOn(_ slot: Int) {
    guard let asking = askings[slot], sessions[slot].phase == .securing, !asking.isSending, !asking.unsent.isEmpty
    else { return }
    sendCommand(slot, asking)
  }

  /// The server begins TLS; the client gets the greeting when that stands.
  private mutating func tlsGranted(_ slot: Int, _ asking: StartTLSAsking) {
    let greeting = asking.exchange.greeting
    askings[slot] = nil
    beginTLS(slot, .server)
    greeting.withUnsafeBytes {
      if !$0.isEmpty { takeCopied(FlowIndex(slot, .out), $0, on: .front) }
    }
  }
}

/// What the relay keeps while it asks a server for TLS.
final class StartTLSAsking {
  var exchange: StartTLSExchange
  /// What the server sent and is not looked at: less than a line, usually.
  var line: [UInt8] = []
  var unsent = UnsafeRawBufferPointer(start: nil, count: 0)
  var isSending = false

  init(_ exchange: StartTLSExchange) {
    self.exchange = exchange
  }
}
