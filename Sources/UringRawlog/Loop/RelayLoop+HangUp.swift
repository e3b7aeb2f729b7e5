/// Resets that a multishot receive does not tell of.
///
/// When bytes and a reset close behind them wake a multishot receive once, the kernel takes the bytes, finds nothing more
/// to receive, and waits for another wake-up, which never comes. (An end of the stream is told of: tcp_inq_hint counts it.
/// On unix sockets it is not, see axboe/liburing issue 1549.) A receive that is armed anew hears of the reset at once. So
/// whoever sent something is looked at once, a moment later.
extension RelayLoop where R: ~Copyable {
  @inline(never)
  mutating func becomeUnsure(_ flow: FlowIndex) {
    sessions[flow: flow].isUnsure = true
    if unsure.isEmpty { unsureAt = clock.now.nanoseconds + Limits.hangUpNanoseconds }
    unsure.append(entry(flow))
  }

  /// Looks at those that sent something before the last round was over, some of them in a turn.
  mutating func workUnsure() {
    if unsureDue == 0 {
      guard clock.now.nanoseconds >= unsureAt else { return }
      unsureDue = unsure.count
    }
    let count = min(unsureDue, Limits.hangUpsPerTurn)
    unsureDue -= count
    for _ in 0..<count {
      guard let flow = flow(unsure.removeFirst()) else { continue }
      sessions[flow: flow].isUnsure = false
      guard sessions[flow: flow].receive == .armed, sessions[flow: flow].source == .open,
        sessions[flow.slot].phase != .terminating, sessions[flow.slot].phase != .closing,
        ring.isHungUp(socket(flow.slot, flow.source))
      else { continue }
      cancelReceive(flow)
    }
    if unsureDue == 0 { unsureAt = clock.now.nanoseconds + Limits.hangUpNanoseconds }
  }
}
