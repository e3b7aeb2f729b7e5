/// How many sessions one client may have at once, and how many it may begin in what time (`--max-sessions-per-ip`,
/// `--max-rate-per-ip`).
///
/// A client is an IPv4 address or an IPv6 network of 64 bits, since whoever has one address of such a network has all.
/// Clients on unix sockets have no address and are not limited.
struct ClientLimits {
  /// How often something may happen: so many times at once, and then as often as time goes on.
  struct Rate: Equatable, Sendable {
    var count: Int
    var perNanoseconds: UInt64
  }

  enum Refusal {
    case sessions
    case rate
  }

  private struct Client: Hashable {
    let high: UInt64
    let low: UInt64

    init?(_ address: PeerAddress) {
      switch address.family {
      case .ipv4:
        high = 0
        low = address.low
      case .ipv6:
        // An IPv4 address has nothing in the upper half; ::/64 has, but for loopback, nobody in it.
        high = address.high == 0 ? .max : address.high
        low = 0
      case .unix, .unknown:
        return nil
      }
    }
  }

  private let mostSessions: Int
  private let rate: Rate?
  /// The nanoseconds in which a client earns one more session.
  private let interval: UInt64
  private let mostClients: Int
  /// Sessions of each client that has any: no more entries than there are sessions.
  private var sessions: [Client: Int] = [:]
  /// When each client will have earned all that it may begin at once; nothing of those that have.
  private var debts: [Client: UInt64] = [:]
  private var sweepAt: UInt64 = 0

  /// - Parameters:
  ///   - mostSessions: of each client at once; 0 without limit.
  ///   - mostClients: clients of which the rate is kept at most.
  init(mostSessions: Int, rate: Rate?, mostClients: Int = Limits.ratedClients) {
    self.mostSessions = mostSessions
    self.rate = rate
    self.mostClients = mostClients
    interval = rate.map { $0.perNanoseconds / UInt64($0.count) } ?? 0
  }

  var isLimited: Bool { mostSessions > 0 || rate != nil }
  var ratedClients: Int { debts.count }
  var clientsWithSessions: Int { sessions.count }

  /// A client begins a session, unless that is refused; one that is refused owes nothing for it.
  mutating func begin(_ address: PeerAddress, at now: UInt64) -> Refusal? {
    guard let client = Client(address) else { return nil }
    if mostSessions > 0, sessions[client, default: 0] >= mostSessions { return .sessions }
    if let rate, !take(client, rate, at: now) { return .rate }
    if mostSessions > 0 { sessions[client, default: 0] += 1 }
    return nil
  }

  /// A session ended that `begin` allowed.
  mutating func end(_ address: PeerAddress) {
    guard mostSessions > 0, let client = Client(address), let count = sessions[client] else { return }
    sessions[client] = count > 1 ? count - 1 : nil
  }

  /// The generic cell rate algorithm (ITU-T I.371): one number a client, and no timers.
  private mutating func take(_ client: Client, _ rate: Rate, at now: UInt64) -> Bool {
    let debt = max(debts[client] ?? 0, now)
    guard debt - now <= interval * UInt64(rate.count - 1) else { return false }
    if debts.count >= mostClients, debts[client] == nil { sweep(at: now) }
    // The table is full of clients that came a moment ago. One more is let in and not remembered: who has so many
    // addresses is not stopped by a limit for each.
    if debts.count < mostClients || debts[client] != nil { debts[client] = debt + interval }
    return true
  }

  /// Forgets the clients that owe nothing, and looks for them again only after a while: it takes long.
  private mutating func sweep(at now: UInt64) {
    guard now >= sweepAt else { return }
    sweepAt = now + Limits.ratedClientsSweepNanoseconds
    debts = debts.filter { $0.value > now }
  }
}
