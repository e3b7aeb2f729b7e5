import Foundation

@testable import UringRawlog

/// The loop over the simulated ring, with mail connections whose every byte is known, and what came of them.
struct DialogueRun {
  let world: SimulatedWorld
  var configuration: RelayConfiguration
  /// The connections are there at once, and not one after the other.
  var areTogether = false
  /// What was said on each connection, in the order of the clients' numbers.
  private(set) var conversations: [MailConversation] = []
  private var clients: [SimulatedWorld.Peer] = []
  private(set) var servers: [SimulatedWorld.Peer] = []

  /// - Parameter text: as `MailConversation` reads it.
  static func one(
    _ mailProtocol: MailProtocol, _ text: String, seed: UInt64 = 1, bufferBytes: Int = 1000,
    configure: (inout RelayConfiguration, SimulatedWorld) -> Void = { _, _ in }
  ) throws -> DialogueRun {
    var run = DialogueRun(mailProtocol, seed: seed, bufferBytes: bufferBytes, configure: configure)
    run.add(MailConversation(mailProtocol, text))
    try run.finish()
    return run
  }

  init(
    _ mailProtocol: MailProtocol?, seed: UInt64 = 1, bufferBytes: Int = 1000,
    configure: (inout RelayConfiguration, SimulatedWorld) -> Void = { _, _ in }
  ) {
    world = SimulatedWorld(seed: seed, bufferCount: 8, bufferBytes: bufferBytes, hasBundles: seed % 2 == 0)
    world.mayOverwrite = true
    configuration = RelayConfiguration(
      listen: [try! Address(listening: ":143")], connect: try! Address(connecting: "127.0.0.1:1143"),
      directory: try! DirectoryTemplate("recordings"))
    configuration.mailProtocol = mailProtocol
    configuration.flushNanoseconds = 5_000_000
    configuration.idleNanoseconds = 0
    configure(&configuration, world)
  }

  /// Another connection, which takes its turn when those before it are over.
  mutating func add(_ conversation: MailConversation) {
    let (client, server) = conversation.peers()
    client.number = clients.count + 1
    conversations.append(conversation)
    clients.append(client)
    servers.append(server)
  }

  /// Lets all of them happen.
  ///
  /// - Parameter look: called after each turn.
  mutating func finish(look: (inout RelayLoop<SimulatedRing>) -> Void = { _ in }) throws {
    let listener = Listener(descriptor: 3, given: ":143", bound: "[::]:143", path: "", pathIdentity: nil, port: 143)
    let environment = RelayLoop<SimulatedRing>.Environment(
      listeners: [listener], targets: [SocketAddress()], directory: configuration.directory.hasVariables ? -1 : 5,
      index: 4, processID: 77, maxSessions: 10, maxSlots: 10, maxPipes: 4, leastPipeBytes: 1)
    var unused = servers
    world.makeServer = { unused.removeFirst() }
    var loop = try RelayLoop.make(
      configuration: configuration, environment: environment, ring: SimulatedRing(world: world))
    loop.start()
    for client in clients {
      world.backlog.append(client)
      if areTogether, client !== clients.last { continue }
      var turns = 0
      repeat {
        try loop.turn()
        look(&loop)
        turns += 1
        if turns > 20_000 { throw Errno(ETIMEDOUT) }
      } while !world.backlog.isEmpty || loop.sessions.count > 0 || !world.hasDelivered
    }
    loop.endRequested()
    loop.endRequested()
    while !loop.isFinished { try loop.turn() }
  }

  // MARK: What came of it

  /// The end record of a client's session.
  func end(_ client: Int = 1) -> [String: Any] { record("end", client) }

  func record(_ event: String, _ client: Int = 1) -> [String: Any] {
    for line in world.indexText.split(separator: "\n") {
      guard let fields = try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any],
        fields["event"] as? String == event, (fields["client"] as? String)?.hasSuffix(":\(client)") == true
      else { continue }
      return fields
    }
    return [:]
  }

  /// What the recording of a direction holds, without what the layout adds.
  func recorded(_ direction: Direction, client: Int = 1, directory: String = "") -> [UInt8] {
    let stem = "\(directory)\(end(client)["id"] ?? "")"
    switch configuration.layout {
    case .pair: return world.file("\(stem).\(direction)") ?? []
    case .merged: return Self.lines(of: direction, in: world.file("\(stem).rawlog") ?? [])
    case .pcapng:
      let run = try? ScenarioCaptures.session(end(client)["id"] as? String ?? "", in: world)
      return run?.streams[direction.rawValue] ?? []
    }
  }

  private static func lines(of direction: Direction, in file: [UInt8]) -> [UInt8] {
    file.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).flatMap { line -> [UInt8] in
      // 1700000000.000000, a space, the letter, the kind, and a space.
      guard line.count >= 21, line[line.startIndex + 18] == UInt8(ascii: direction == .in ? "I" : "O") else {
        return []
      }
      switch line[line.startIndex + 19] {
      case UInt8(ascii: ":"): return line.dropFirst(21) + [UInt8(ascii: "\n")]
      case UInt8(ascii: ">"): return Array(line.dropFirst(21))
      default: return []
      }
    }
  }

  func gaps(_ direction: Direction, client: Int = 1) -> [Range<Int>] {
    (end(client)["gaps"] as? [[String: Any]] ?? []).compactMap { gap in
      guard gap["direction"] as? String == "\(direction)", let offset = gap["offset"] as? Int,
        let bytes = gap["bytes"] as? Int
      else { return nil }
      return offset..<offset + bytes
    }
  }

  /// Everything that was written anywhere.
  var everything: String {
    world.files.map { "\($0.key)\n\(String(decoding: $0.value.bytes, as: UTF8.self))" }.joined(separator: "\n")
      + world.indexText
  }

  /// What is wrong with what arrived, or was left behind.
  var faults: [String] {
    var faults = world.violations
    if world.freeBuffers.count != world.bufferCount { faults.append("receive buffers did not come home") }
    if world.openDescriptors != 0 { faults.append("descriptors are left open") }
    for (place, conversation) in conversations.enumerated() {
      if servers[place].received != conversation.traffic(.client) { faults.append("client \(place + 1) was altered") }
      if clients[place].received != conversation.traffic(.server) { faults.append("server \(place + 1) was altered") }
    }
    return faults
  }
}

extension MailConversation {
  /// Two peers that say it, each waiting for what comes before.
  func peers() -> (client: SimulatedWorld.Peer, server: SimulatedWorld.Peer) {
    let client = SimulatedWorld.Peer(script: traffic(.client))
    let server = SimulatedWorld.Peer(script: traffic(.server))
    var (fromClient, fromServer) = (0, 0)
    for piece in pieces {
      switch piece.speaker {
      case .client:
        client.pauses.append((fromClient, fromServer))
        fromClient += piece.bytes.count
      case .server:
        server.pauses.append((fromServer, fromClient))
        fromServer += piece.bytes.count
      }
    }
    client.waitsForEnd = pieces.last?.speaker == .server
    server.waitsForEnd = !client.waitsForEnd
    return (client, server)
  }
}
