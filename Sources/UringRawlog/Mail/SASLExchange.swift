/// A SASL exchange under way (RFC 4422): whose turn it is.
struct SASLExchange {
  private(set) var isActive = false
  private(set) var mechanism = Mechanism.unknown
  /// Responses that the client sent, an initial one included; and those that were lines of their own.
  private(set) var responses: UInt32 = 0
  private(set) var lines: UInt32 = 0
  private(set) var challenges: UInt32 = 0
  private var isCancelled = false

  mutating func begin(_ mechanism: Mechanism, hasInitialResponse: Bool) {
    self = SASLExchange()
    isActive = true
    self.mechanism = mechanism
    responses = hasInitialResponse ? 1 : 0
  }

  mutating func challenged() { challenges &+= 1 }

  mutating func responded(isCancel: Bool) {
    responses &+= 1
    lines &+= 1
    if isCancel { isCancelled = true }
  }

  mutating func end() { isActive = false }

  /// The client's next line is a response: the server waits for it, or the mechanism wants one that an impatient client
  /// sends without waiting.
  var owesResponse: Bool { isActive && mayOwe && (wantsMore || challenges > lines) }

  /// The server waits for a response.
  var isClientsTurn: Bool { isActive && mayOwe && challenges > lines }

  /// The client does not wait for challenges.
  var isImpatient: Bool { lines > challenges }

  /// Responses may still be on their way from a client that did not wait for the server, even when it is over.
  var mayLeaveResponses: Bool { mayOwe && wantsMore }

  private var mayOwe: Bool { !isCancelled }
  private var wantsMore: Bool { mechanism.responses.map { responses < $0 } ?? true }
}
