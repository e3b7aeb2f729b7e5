import Glibc

/// The whole loop over a `RehearsalRing`: messages through long sessions, or short sessions one wave after the other.
struct LoopRehearsal: ~Copyable {
  /// Sessions that messages go through, and how many of them get one in a turn. Their sends complete in the next turn,
  /// with the messages of the other half, and hold their receive buffers until then.
  static let sessions = 100
  static let perTurn = 50
  /// Sessions of a wave: all are accepted in one turn.
  static let waveSessions = 50
  /// 10 us for each message of a turn: a busy relay, with a flush of the recordings every 150 turns.
  private static let turnNanoseconds: UInt64 = 500_000
  /// Turns in which whatever is under way must have come to its end.
  private static let turnsMaximum = 20

  private var loop: RelayLoop<RehearsalRing>
  private let isRecorded: Bool
  private let timestamps: Bool
  private var sessionsBrought = 0
  private var messagesBrought = 0

  static func make(isRecorded: Bool, timestamps: Bool) throws(ValueError) -> LoopRehearsal {
    var configuration = RelayConfiguration(
      listen: [try Address(listening: ":1143")], connect: try Address(connecting: "127.0.0.1:143"),
      directory: try DirectoryTemplate("recordings"))
    configuration.timestamps = timestamps
    // Its clients come from 127.0.0.1.
    if !isRecorded { configuration.only = [try CIDR("192.0.2.0/24")] }
    var target = SocketAddress()
    target.storage.ss_family = sa_family_t(AF_INET)
    let maxSessions = 2 * Limits.backlog
    let environment = RelayLoop<RehearsalRing>.Environment(
      listeners: [
        Listener(
          descriptor: RehearsalRing.listener, given: ":1143", bound: "[::]:1143", path: "", pathIdentity: nil,
          port: 1143)
      ], targets: [target], directory: RehearsalRing.directory, index: RehearsalRing.index, processID: 4711,
      maxSessions: maxSessions, maxSlots: maxSessions)
    do throws(Errno) {
      let loop = try RelayLoop.make(
        configuration: configuration, environment: environment,
        ring: try RehearsalRing.make(turnNanoseconds: turnNanoseconds))
      return LoopRehearsal(loop: loop, isRecorded: isRecorded, timestamps: timestamps)
    } catch {
      throw ValueError("cannot make the loop: \(error.text)")
    }
  }

  private init(loop: consuming RelayLoop<RehearsalRing>, isRecorded: Bool, timestamps: Bool) {
    self.loop = loop
    self.isRecorded = isRecorded
    self.timestamps = timestamps
  }

  // MARK: What is rehearsed

  /// Messages from the clients of one half of the sessions, then of the other, then from the servers likewise.
  mutating func relayMessages(_ count: Int) throws(ValueError) -> String {
    loop.start()
    try begin(Self.sessions)
    var left = count
    var round = 0
    while left > 0 {
      let first = round & 1 == 0 ? 0 : Self.perTurn
      let messages = min(left, Self.perTurn)
      for session in first..<first + messages {
        loop.ring.bringMessage(on: round & 2 == 0 ? loop.ring.client(session) : loop.ring.server(session))
      }
      messagesBrought += messages
      try turn()
      left -= messages
      round += 1
    }
    try turn()
    for session in 0..<Self.sessions { loop.ring.bringEnd(on: loop.ring.client(session)) }
    try turn()
    for session in 0..<Self.sessions { loop.ring.bringEnd(on: loop.ring.server(session)) }
    return try finish()
  }

  /// Sessions of five lines: greeting, request, answer, farewell, and the server's, which then ends its stream.
  mutating func relaySessions(_ count: Int) throws(ValueError) -> String {
    loop.start()
    var left = count
    while left > 0 {
      let wave = min(left, Self.waveSessions)
      try begin(wave)
      for line in 0..<5 {
        for session in 0..<wave {
          loop.ring.bringMessage(on: line & 1 == 0 ? loop.ring.server(session) : loop.ring.client(session))
        }
        messagesBrought += wave
        if line == 4 { for session in 0..<wave { loop.ring.bringEnd(on: loop.ring.server(session)) } }
        try turn()
      }
      for session in 0..<wave { loop.ring.bringEnd(on: loop.ring.client(session)) }
      try settle()
      left -= wave
    }
    return try finish()
  }

  // MARK: Steps

  private mutating func turn() throws(ValueError) {
    do throws(Errno) {
      try loop.turn()
    } catch {
      throw ValueError("the loop failed: \(error.text)")
    }
  }

  /// Clients come; after this all of them relay.
  private mutating func begin(_ sessions: Int) throws(ValueError) {
    loop.ring.forgetSessions()
    loop.ring.bringClients(sessions)
    sessionsBrought += sessions
    // They are accepted in the first turn, and connected in the second.
    try turn()
    try turn()
    try Rehearsal.check("connections", loop.ring.serverCount, sessions)
  }

  /// Turns until no session is left.
  private mutating func settle() throws(ValueError) {
    var turns = 0
    while loop.sessions.count > 0 {
      turns += 1
      guard turns <= Self.turnsMaximum else { throw ValueError("\(loop.sessions.count) sessions do not end") }
      try turn()
    }
  }

  /// Ends the loop and compares what it did with what it was given.
  private mutating func finish() throws(ValueError) -> String {
    try settle()
    loop.endRequested()
    loop.endRequested()
    var turns = 0
    while !loop.isFinished {
      turns += 1
      guard turns <= Self.turnsMaximum else { throw ValueError("the loop does not end") }
      try turn()
    }
    let bytes = messagesBrought * RehearsalRing.messageBytes
    // Each message is a line: with -t it has a stamp of 18 bytes.
    let recorded = isRecorded ? bytes + (timestamps ? messagesBrought * 18 : 0) : 0
    try Rehearsal.check("bytes relayed", loop.ring.sentBytes, bytes)
    try Rehearsal.check("bytes recorded", loop.ring.recordedBytes, recorded)
    try Rehearsal.check("files made", loop.ring.filesMade, isRecorded ? 2 * sessionsBrought : 0)
    try Rehearsal.check("lines in the index", loop.ring.indexLines, 2 * sessionsBrought)
    try Rehearsal.check("connections to the server", loop.ring.connections, sessionsBrought)
    try Rehearsal.check("descriptors left open", loop.ring.openDescriptors, 0)
    try Rehearsal.check("receive buffers at home", loop.ring.freeBufferCount, loop.ring.bufferCount)
    try Rehearsal.check("staging memory left", loop.pool.usedBytes, 0)
    return "\(sessionsBrought) sessions, \(messagesBrought) messages, \(bytes) bytes relayed, \(recorded) recorded, "
      + "\(loop.ring.indexLines) lines in the index"
  }
}
