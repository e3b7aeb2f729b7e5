/// STARTTLS in the dialogue of the two sides: the relay watches them agree, and becomes TLS for each.
extension RelayLoop where R: ~Copyable {
  /// The client may still ask for TLS, and the relay must hear it.
  mutating func awaitsStartTLS(_ slot: Int) -> Bool {
    guard frontTLS == .startTLS, tls(slot, .client) == nil else { return false }
    switch configuration.mailProtocol {
    // Only in the state before a login (RFC 9051 section 6.2, RFC 2595 section 4, RFC 5804 section 2.2).
    case .imap, .pop3, .sieve: return sessions[slot].login != .ok
    case .smtp, .lmtp: return true
    case nil: return false
    }
  }

  /// The client has asked for TLS with the line that ends at a place in its stream.
  mutating func startTLSRequested(_ flow: FlowIndex, at end: UInt64) {
    let slot = flow.slot
    guard awaitsStartTLS(slot), backTLS == .startTLS, sessions[slot].sealing == .none else { return }
    sessions[slot].sealing = .requested
    guard end < sessions[flow: flow].received else { return }
    clearBytesFound(slot, .client)
    leaveOutInjected(flow, from: end)
  }

  /// The server has agreed with the line that ends at a place in its stream: whatever follows on either leg is TLS.
  mutating func startTLSAccepted(_ flow: FlowIndex, at end: UInt64) {
    let slot = flow.slot
    guard sessions[slot].sealing == .requested, sessions[slot].phase == .relaying else { return }
    guard end == sessions[flow: flow].received else {
      clearBytesFound(slot, .server)
      leaveOutInjected(flow, from: end)
      return
    }
    let clientPlace = sessions[flow: flow.reverse].received
    beginTLS(slot, .server, clearUntil: clientPlace)
    beginTLS(slot, .client, clearUntil: end)
    beginDialogueBehindStartTLS(slot)
  }

  /// What somebody put behind the line that starts TLS was neither relayed nor protected, and is not recorded.
  private mutating func leaveOutInjected(_ flow: FlowIndex, from place: UInt64) {
    if place < sessions[file: flow].limit { sessions[file: flow].limit = place }
  }

  /// It has refused: the session stays in the clear.
  mutating func startTLSRefused(_ slot: Int) {
    if sessions[slot].sealing == .requested { sessions[slot].sealing = .none }
  }

  mutating func beginDialogueBehindStartTLS(_ slot: Int) {
    guard let mailProtocol = configuration.mailProtocol else { return }
    dialogues.begin(slot, Dialogue(mailProtocol, isBehindStartTLS: true))
  }

  // MARK: What cannot work

  /// A server that offers to bind a login to its TLS, or to take a client's certificate for one, offers what clients of a
  /// relay that terminates TLS cannot use: said once.
  mutating func warnOfMechanisms(_ slot: Int) {
    let offered = dialogues[slot].offered
    guard offered.channelBinding || offered.external else { return }
    warnsOfMechanisms = false
    let what = offered.channelBinding ? "channel binding (mechanisms ending in -PLUS)" : "the mechanism EXTERNAL"
    report.say(
      "the server offers \(what), which cannot work where TLS is terminated; clients that insist on it fail: "
        + "have the server not offer it")
  }
}
