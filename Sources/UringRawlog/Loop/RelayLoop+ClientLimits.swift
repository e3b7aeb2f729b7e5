import Glibc

/// Clients that want too much: refused as early as they are known, counted, and said in one line for many.
extension RelayLoop where R: ~Copyable {
  /// Whether a connection is one too many of its client; if so it was counted as refused.
  mutating func isTooMany(_ client: PeerAddress) -> Bool {
    guard clientLimits.isLimited, let refusal = clientLimits.begin(client, at: clock.now.nanoseconds) else {
      return false
    }
    refusals.count += 1
    refusals.client = client
    refusals.refusal = refusal
    if refusals.sayAt == 0 { refusals.sayAt = max(clock.now.nanoseconds, refusals.restUntil) }
    return true
  }

  /// The client of a session that a PROXY header names; false when it may have none more, and the session ends.
  mutating func admitProxied(_ slot: Int) -> Bool {
    guard isTooMany(sessions[slot].client) else {
      sessions[slot].isLimited = clientLimits.isLimited
      return true
    }
    if sessions[slot].isRecorded == false { writeStart(slot) }
    terminate(slot, .limit)
    return false
  }

  /// Says how many were refused since the last time, when a second is over since then.
  mutating func sayRefusals() {
    let now = clock.now.nanoseconds
    guard refusals.sayAt > 0, now >= refusals.sayAt else { return }
    path.removeAll()
    refusals.client.appendHost(to: &path)
    let client = String(decoding: path.span, as: UTF8.self)
    let option = refusals.refusal == .sessions ? "--max-sessions-per-ip" : "--max-rate-per-ip"
    report.say(
      refusals.count == 1
        ? "refused a connection of '\(client)': more than \(option) allows"
        : "refused \(refusals.count) connections, the last of '\(client)': more than \(option) allows")
    refusals = ClientRefusals(restUntil: now + Limits.refusalsNanoseconds)
  }
}

/// Connections that were refused and not said yet.
struct ClientRefusals {
  var count: UInt64 = 0
  /// The last of them.
  var client = PeerAddress.unknown
  var refusal = ClientLimits.Refusal.sessions
  /// When they are said (monotonic nanoseconds); 0 when there are none.
  var sayAt: UInt64 = 0
  /// Until when nothing is said, since something was.
  var restUntil: UInt64 = 0
}
