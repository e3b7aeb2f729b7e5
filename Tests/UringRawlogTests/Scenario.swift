import Foundation
import Glibc

@testable import UringRawlog

/// One run of the whole loop over a simulated ring, with everything about it drawn from a seed, and its oracles.
struct Scenario {
  /// What was wrong; empty when all oracles hold.
  private(set) var failures: [String] = []

  private static let shortIdleNanoseconds: UInt64 = 2_000_000_000
  private(set) var turns = 0
  let world: SimulatedWorld
  let configuration: RelayConfiguration
  private let collectorAddresses: Int
  /// The slot and generation of each client's session, by the client's number.
  private(set) var slots: [Int: UInt64] = [:]
  private let maxSessions: Int
  private var clients: [SimulatedWorld.Peer] = []
  /// The server's side of each client's session, by the client's number.
  private var servers: [Int: SimulatedWorld.Peer] = [:]
  /// Some writes of files fail.
  private let areWritesFailing: Bool
  private let maxPipes: Int
  private let splicing: SpliceThresholds
  /// What is said where the protocol is known.
  private let dialogues: ScenarioDialogues?
  /// Sessions whose recording ended at a login, and credentials that were left out.
  private(set) var loginEnds = 0
  private(set) var redactions = 0
  /// Clients that were one too many of their address.
  private(set) var refusals = 0
  /// Flows that were seen spliced, and how often one came to be, or was no more, while its receiver was there.
  private var splicedFlows: Set<Int> = []
  private(set) var promotions = 0
  private(set) var demotions = 0

  init(seed: UInt64) {
    var random = SeededGenerator(seed: seed &* 0x2545_F491_4F6C_DD1D &+ 1)
    world = SimulatedWorld(
      seed: seed, bufferCount: 1 << (1 + random.below(4)),
      bufferBytes: [16, 100, 1000, 4096].randomElement(using: &random)!,
      hasBundles: random.once(in: 2))
    var configuration = RelayConfiguration(
      listen: [try! Address(listening: ":143")], connect: try! Address(connecting: "127.0.0.1:1143"),
      directory: try! DirectoryTemplate("recordings"))
    configuration.timestamps = random.once(in: 2)
    configuration.boundaries = random.once(in: 3)
    configuration.filter = [nil, nil, nil, .in, .out].randomElement(using: &random)!
    configuration.flushNanoseconds = UInt64(random.below(60)) * 1_000_000
    configuration.logMemoryBytes = random.once(in: 2) ? Limits.logMemoryMinimum : 1 << 20
    configuration.logFull = random.once(in: 2) ? .wait : .drop
    configuration.logWaitNanoseconds = UInt64(random.below(100)) * 1_000_000
    configuration.logError = random.once(in: 5) ? .close : .continue
    if random.once(in: 5) { configuration.maxRecordingBytes = UInt64(random.below(20_000)) }
    // Without a timeout nothing hides that a peer waits for an end that never comes.
    configuration.idleNanoseconds = random.once(in: 6) ? Self.shortIdleNanoseconds : 0
    configuration.connectNanoseconds = 1_000_000_000
    configuration.relay = [.auto, .auto, .splice, .copy].randomElement(using: &random)!
    switch random.below(4) {
    case 0: configuration.only = [try! CIDR("127.0.0.1/32")]
    case 1: configuration.only = [try! CIDR("192.0.2.1")]
    default: break
    }
    maxPipes = [0, 1, 2, Limits.pipes].randomElement(using: &random)!
    splicing = SpliceThresholds(
      bulkBytes: 1 + random.below(5000), bulkReceiveBytes: 1 + random.below(300), thinWakeBytes: 1 + random.below(300),
      thinWakes: 1 + random.below(4), bytesPerFlow: 1 + random.below(10_000))
    // Drawn apart, so that seeds of old still mean what they meant.
    var layouts = SeededGenerator(seed: seed &+ 0x6D65_7267)
    if layouts.once(in: 3) {
      configuration.layout = .merged
      configuration.boundaries = false
      world.mayOverwrite = true
      if layouts.once(in: 3) { configuration.collector = try! Address(connecting: "127.0.0.1:9000") }
    }
    var captures = SeededGenerator(seed: seed &+ 0x7063_6170)
    if configuration.layout == .pair, captures.once(in: 3) {
      configuration.layout = .pcapng
      configuration.boundaries = false
      configuration.timestamps = false
      configuration.rotateBytes = [0, 1000, 20_000].randomElement(using: &captures)!
      configuration.rotateNanoseconds = [0, 0, 300_000_000].randomElement(using: &captures)!
    }
    world.faults.collectorSilent = [0, 0, 2].randomElement(using: &layouts)!
    world.faults.collectorRefused = [0, 0, 2, 10].randomElement(using: &layouts)!
    world.faults.collectorStalls = [0, 0, 1, 3].randomElement(using: &layouts)!
    world.faults.collectorShuts = [0, 0, 1, 3].randomElement(using: &layouts)!
    collectorAddresses = 1 + layouts.below(2)
    let isLongLined = layouts.once(in: 2)
    maxSessions = random.once(in: 3) ? 1 + random.below(4) : 3 * Limits.backlog

    world.faults.enterFails = random.once(in: 2) ? 20 : 0
    world.faults.multishotEnds = 1 + random.below(10)
    if random.once(in: 4) { world.faults.acceptError = 10 }
    if random.once(in: 4) { world.faults.connectRefused = 4 }
    if random.once(in: 6) { world.faults.connectSilent = 3 }
    if random.once(in: 4) { world.faults.openError = 5 }
    if random.once(in: 4) { world.faults.nameTaken = 3 }
    if random.once(in: 4) { world.faults.writeError = 15 }
    world.faults.fileSlow = [0, 1, 3].randomElement(using: &random)!
    if random.once(in: 4) { world.faults.sendShortage = 10 }
    if random.once(in: 4) { world.faults.peerReset = 100 }
    if random.once(in: 3) { world.faults.peerStall = 30 }
    if random.once(in: 3) { world.faults.resetMissed = 2 }
    world.pipeBytes = [16, 1000, 1 << 16].randomElement(using: &random)!
    if random.once(in: 4) { world.faults.pipeRefused = 2 }
    if random.once(in: 10) { world.faults.spliceRefused = 40 }
    if random.once(in: 3) { world.faults.spliceShortage = 10 }
    if random.once(in: 3) { world.faults.pollForNothing = 10 }
    if random.once(in: 5) { world.faults.diskBytes = random.below(100_000) }

    areWritesFailing = world.faults.writeError > 0 || world.faults.diskBytes < .max

    for number in 1...(1 + random.below(8)) {
      let client = Self.peer(&random)
      client.number = number
      client.address = 0x7F00_0001 + UInt32(random.below(2))
      if isLongLined { client.script = Self.longLines(client.script) }
      clients.append(client)
    }
    let serverSeed = random.next()
    var serverRandom = SeededGenerator(seed: serverSeed)
    // Drawn apart again.
    var tls = SeededGenerator(seed: seed &+ 0x746C_73)
    if tls.once(in: 4) {
      if tls.once(in: 2) {
        configuration.frontTLS = .implicit
        for client in clients { client.tls = try! SimulatedTLS.client(isClean: !tls.once(in: 4)) }
      }
      if configuration.frontTLS == nil || tls.once(in: 2) { configuration.backTLS = .implicit }
    }
    let hasServerTLS = configuration.backTLS != nil
    let serverEndsCleanly = !tls.once(in: 4)
    var limits = SeededGenerator(seed: seed &+ 0x6C_696D_6974)
    if limits.once(in: 5) {
      configuration.maxSessionsPerClient = limits.below(3)
      if configuration.maxSessionsPerClient == 0 || limits.once(in: 2) {
        configuration.maxRatePerClient = ClientLimits.Rate(count: 1 + limits.below(3), perNanoseconds: 1_000_000_000)
      }
    }
    // The collector's stream has oracles of its own.
    dialogues =
      configuration.collector == nil ? ScenarioDialogues(seed: seed, clients: clients, &configuration, world) : nil
    self.configuration = configuration
    let isTaught = dialogues != nil
    world.makeServer = {
      let server = Self.peer(&serverRandom)
      if hasServerTLS { server.tls = try! SimulatedTLS.server(isClean: serverEndsCleanly) }
      if isTaught {
        // Whose server it is, and so what it has to say, is known when it is linked.
        server.script = []
        server.waitsForEnd = true
      } else if isLongLined {
        server.script = Self.longLines(server.script)
      }
      return server
    }
  }

  /// The same without most of its line feeds: lines that do not fit a block.
  private static func longLines(_ script: [UInt8]) -> [UInt8] {
    var count = 0
    return script.map { byte in
      guard byte == UInt8(ascii: "\n") else { return byte }
      count += 1
      return count % 200 == 0 ? byte : UInt8(ascii: "-")
    }
  }

  private static func peer(_ random: inout SeededGenerator) -> SimulatedWorld.Peer {
    let count = [0, random.below(10), random.below(1000), random.below(60_000)].randomElement(using: &random)!
    // No '<' and '>', so that the markers of -b can be told from the data; many line feeds.
    let script = (0..<count).map { _ -> UInt8 in
      let byte = UInt8(truncatingIfNeeded: random.next())
      return byte == UInt8(ascii: "<") || byte == UInt8(ascii: ">") || byte < 10 ? UInt8(ascii: "\n") : byte
    }
    let peer = SimulatedWorld.Peer(script: script)
    peer.resetsAtEnd = random.once(in: 10)
    peer.waitsForEnd = random.once(in: 3)
    return peer
  }

  // MARK: Running

  mutating func run() {
    let listener = Listener(descriptor: 3, given: ":143", bound: "[::]:143", path: "", pathIdentity: nil, port: 143)
    let environment = RelayLoop<SimulatedRing>.Environment(
      listeners: [listener], targets: [SocketAddress()],
      collectors: Array(repeating: SocketAddress(), count: configuration.collector == nil ? 0 : collectorAddresses),
      directory: configuration.collector != nil || configuration.directory.hasVariables ? -1 : 5, index: 4,
      processID: 77,
      maxSessions: maxSessions, maxSlots: maxSessions * 2, maxPipes: maxPipes,
      leastPipeBytes: world.faults.pipeRefused > 0 ? 17 : 1, splicing: splicing,
      front: configuration.frontTLS == nil ? nil : TLSFront(try! TestCertificates.shared.identity("rsa")),
      back: configuration.backTLS == nil ? nil : TLSBack(try! TestCertificates.shared.trust()))
    do {
      var loop = try RelayLoop.make(
        configuration: configuration, environment: environment, ring: SimulatedRing(world: world))
      loop.start()
      var arriving = clients
      while true {
        if !arriving.isEmpty, turns % 3 == 0 { world.backlog.append(arriving.removeFirst()) }
        try loop.turn()
        turns += 1
        link(loop.sessions)
        judgeLimits(loop.sessions)
        breakDeadlocks()
        if turns == 3000 { world.freeDisk() }
        if loop.sessions.count == 0, arriving.isEmpty, world.backlog.isEmpty, world.hasDelivered { break }
        if turns > 100_000 {
          if getenv("SIMULATION_TRACE") != nil {
            for slot in 0..<loop.sessions.usedSlots where loop.sessions[slot].phase != .free {
              print(
                loop.sessions[slot], loop.sessions[file: FlowIndex(slot, .in)],
                loop.sessions[file: FlowIndex(slot, .out)], world.operations)
            }
            print(configuration)
          }
          fail("no end after \(turns) turns: \(loop.sessions.count) sessions, \(world.operations.count) operations")
          return
        }
      }
      world.freeDisk()
      world.faults = SimulatedWorld.Faults()
      failures += try loop.end(&turns)
    } catch {
      if getenv("SIMULATION_TRACE") != nil {
        print(world.operations, configuration)
        for client in clients { print(client.number, client.summary, servers[client.number]?.summary ?? "no server") }
      }
      fail("the loop failed: \(error)")
    }
    if getenv("SIMULATION_TRACE") != nil { print(world.indexText, world.faults) }
    judge()
  }

  private mutating func fail(_ text: String) { failures.append(text) }

  private mutating func link(_ sessions: borrowing SessionTable) {
    for slot in 0..<sessions.usedSlots where sessions[slot].phase != .free {
      guard let client = world.peer(sessions[slot].clientSocket) else { continue }
      slots[client.number] = UInt64(slot) << 32 | UInt64(sessions.generation(slot))
    }
    for slot in 0..<sessions.usedSlots where sessions[slot].phase != .free && sessions[slot].serverSocket >= 0 {
      guard let client = world.peer(sessions[slot].clientSocket), let server = world.peer(sessions[slot].serverSocket)
      else { continue }
      if servers[client.number] !== server {
        servers[client.number] = server
        dialogues?.teach(server, for: client)
      }
      for direction in 0..<2 {
        let flow = FlowIndex(rawValue: slot << 1 | direction)
        let key = client.number << 1 | direction
        if sessions[flow: flow].way == .splice {
          if sessions[slot].sealing != .none { fail("client \(client.number) has TLS and is spliced") }
          if sessions[file: flow].isRecording { fail("client \(client.number) is recorded and spliced") }
          if splicedFlows.insert(key).inserted { promotions += 1 }
        } else if splicedFlows.remove(key) != nil, sessions[flow: flow].sink == .open {
          demotions += 1
        }
      }
    }
  }

  private mutating func judgeLimits(_ sessions: borrowing SessionTable) {
    guard configuration.maxSessionsPerClient > 0 else { return }
    var counts: [UInt64: Int] = [:]
    for slot in 0..<sessions.usedSlots {
      switch sessions[slot].phase {
      case .handshaking, .connecting, .securing, .relaying: counts[sessions[slot].client.low, default: 0] += 1
      case .free, .terminating, .closing: break
      }
    }
    for (address, count) in counts where count > configuration.maxSessionsPerClient {
      fail("\(address) has \(count) sessions")
    }
  }

  /// Two peers that both wait for the other's end would wait for ever.
  private func breakDeadlocks() {
    for client in clients {
      guard let server = servers[client.number] else { continue }
      if client.waitsForEnd && server.waitsForEnd { client.waitsForEnd = false }
      if client.hasReset { server.waitsForEnd = false }
      if server.hasReset { client.waitsForEnd = false }
    }
  }

  // MARK: Oracles

  struct End {
    var fields: [String: Any]
    func number(_ name: String) -> Int { fields[name] as? Int ?? -1 }
    func text(_ name: String) -> String { fields[name] as? String ?? "" }
  }

  private mutating func judge() {
    failures += world.violations + world.leftovers
    if configuration.layout == .pcapng {
      failures += ScenarioCaptures.faults(world, mayLackSideFiles: areWritesFailing)
    }
    if let dialogues, !configuration.keepsSecrets {
      for leak in dialogues.leaks(in: world).prefix(3) { fail("'\(leak)' was written") }
    }
    var starts: [String: Int] = [:]
    var ends: [Int: End] = [:]
    for line in world.indexText.split(separator: "\n") {
      guard let fields = try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any],
        let event = fields["event"] as? String, let client = fields["client"] as? String,
        let number = client.split(separator: ":").last.flatMap({ Int($0) })
      else {
        // A line that a short write tore stands again behind it.
        continue
      }
      if event == "start" {
        starts[client, default: 0] += 1
      } else {
        if ends[number] != nil { fail("client \(number) has two end records") }
        ends[number] = End(fields: fields)
      }
    }
    for client in clients {
      let name = "127.0.0.\(client.address & 0xFF):\(client.number)"
      guard let end = ends[client.number], starts[name] == 1 else {
        if ends[client.number] == nil, starts[name] == nil, isRefused(client) {
          refusals += 1
          continue
        }
        fail("client \(client.number) has no start and end record")
        continue
      }
      judge(client, end)
    }
  }

  /// It was turned away, and not the first of its address: so it has heard nothing, and no server of it.
  private func isRefused(_ client: SimulatedWorld.Peer) -> Bool {
    (configuration.maxSessionsPerClient > 0 || configuration.maxRatePerClient != nil) && client.isClosedByRelay
      && client.received.isEmpty && servers[client.number] == nil
      && clients.contains { $0.address == client.address && $0.number < client.number }
  }

  private mutating func judge(_ client: SimulatedWorld.Peer, _ end: End) {
    let reason = end.text("reason")
    let server = servers[client.number]
    judgeRecording(client, .in, client.script, end)
    judgeRecording(client, .out, server?.script ?? [], end)
    guard let server else {
      // A client under TLS may have said all, and its end, with the last of its handshake.
      let isKnown = ["connect-failed", "log-error", "tls-error"].contains(reason)
      if !isKnown, client.tls == nil || !reason.hasPrefix("client-") {
        fail("client \(client.number): no server, but \(reason)")
      }
      return
    }
    // The relay may have cut a session that one side had ended already: then the reason is that first end.
    let isCut =
      ["idle", "drain", "log-error", "tls-error"].contains(reason)
      || configuration.idleNanoseconds == Self.shortIdleNanoseconds
      || configuration.logError == .close && end.text("recording") == "failed"
    judgeFlow("in", from: client, to: server, taken: end.number("in_bytes"), isCut: isCut)
    judgeFlow("out", from: server, to: client, taken: end.number("out_bytes"), isCut: isCut)
  }

  private mutating func judgeFlow(
    _ name: String, from source: SimulatedWorld.Peer, to sink: SimulatedWorld.Peer, taken: Int, isCut: Bool
  ) {
    let number = max(source.number, sink.number)
    func complain(_ text: String) { failures.append("client \(number), \(name): \(text)") }
    if !source.script.starts(with: sink.received) { complain("other bytes arrived than were sent") }
    if taken > source.sentCount || sink.received.count > taken { complain("counts are wrong") }
    if isCut || sink.hasReset { return }
    // What was taken from a sender arrives, also when that sender broke off behind it.
    if sink.received.count != taken { complain("\(taken) bytes were taken and \(sink.received.count) arrived") }
    if !source.hasReset {
      if sink.received.count != source.script.count { complain("only a part arrived") }
      if source.hasEnded && !sink.sawEnd && !sink.sawReset { complain("the end did not arrive") }
      if let tls = sink.tls, source.hasEnded, tls.sawEnd != source.endsCleanly {
        complain(source.endsCleanly ? "a clean end arrived as a cut" : "a cut arrived as a clean end")
      }
    }
  }

  /// A session is not recorded whose client never got as far as TLS.
  func isNeverBegun(_ client: SimulatedWorld.Peer, _ end: End) -> Bool {
    servers[client.number] == nil && end.text("reason") == "tls-error"
  }

  private mutating func judgeRecording(
    _ client: SimulatedWorld.Peer, _ direction: Direction, _ script: [UInt8], _ end: End
  ) {
    let name = direction == .in ? "in" : "out"
    let recording = end.text("recording")
    func complain(_ text: String) { failures.append("client \(client.number), \(name), \(recording): \(text)") }
    let recorded = end.number("\(name)_recorded")
    let taken = end.number("\(name)_bytes")
    if configuration.collector != nil, configuration.isRecorded(PeerAddress(ipv4: client.address, port: 0)) {
      for fault in faultsOfCollected(client, direction, script, end) { complain(fault) }
      return
    }
    let isMerged = configuration.layout == .merged
    let isCaptured = configuration.layout == .pcapng
    let captured = isCaptured ? captured(client, end) : nil
    let file = captured?.streams[direction.rawValue] ?? file("\(end.text("id")).\(isMerged ? "rawlog" : name)")
    let written = isMerged ? end.number("in_file") + end.number("out_file") : end.number("\(name)_file")
    if let file, file.count != written, !isCaptured {
      complain("the file has \(file.count) bytes, the index says \(written)")
    }
    let isWanted = configuration.isRecorded(PeerAddress(ipv4: client.address, port: 0))
    // With a directory for each user it also depends on who logs in.
    let isRecorded =
      isWanted && (!configuration.directory.needsUser || recording != "none")
      && !(isNeverBegun(client, end) && recording == "none")
    if isWanted == (recording == "none"), servers[client.number] != nil, !configuration.directory.needsUser {
      complain("the index is wrong about whether it was recorded")
    }
    guard isRecorded, configuration.isRecorded(direction) else {
      let isFileWanted = isMerged && isRecorded
      if file != nil && !isFileWanted && file != [] || recorded != 0 { complain("was recorded") }
      return
    }
    let decoded = isMerged ? decodeMerged(file ?? [], direction) : decode(file ?? [])
    var expected: [UInt8] = []
    var place = 0
    let gaps = (end.fields["gaps"] as? [[String: Any]] ?? []).filter { $0["direction"] as? String == name }
    var lost = 0
    for gap in gaps {
      guard let offset = gap["offset"] as? Int, let bytes = gap["bytes"] as? Int, offset >= place,
        offset + bytes <= taken
      else {
        complain("a gap is out of place")
        return
      }
      expected += script[place..<offset]
      place = offset + bytes
      lost += bytes
    }
    if let dialogues, direction == .in, !configuration.keepsSecrets {
      // Of captures the first may be what could not be written.
      if recording == "failed", let captured, !captured.damages.isEmpty || captured.continues[0] { return }
      judgeRedacted(client, dialogues, decoded, end)
      return
    }
    expected += script[place..<taken]
    if isMerged, recording == "lossy" || recording == "complete" {
      for fault in Self.faultsOfGaps(file ?? [], direction, gaps) { complain(fault) }
    }
    switch recording {
    case "pre-login":
      if decoded != Array(script[..<recorded]) { complain("the file does not hold what was relayed") }
    case "complete":
      if decoded != Array(script[..<taken]) { complain("the file does not hold what was relayed") }
      if recorded != taken { complain("recorded is \(recorded) of \(taken)") }
    case "lossy":
      let isLimited = configuration.maxRecordingBytes < .max || configuration.preLogin
      if !expected.starts(with: decoded) || !isLimited && decoded.count != expected.count {
        complain("the file is not what was relayed without the gaps")
      }
      if recorded != decoded.count { complain("recorded is \(recorded), the file holds \(decoded.count)") }
    case "truncated":
      if !script[..<taken].starts(with: decoded) { complain("the file is no prefix") }
      if recorded != decoded.count || decoded.count > configuration.maxRecordingBytes { complain("wrong length") }
    case "failed":
      // Of captures an earlier one may be what could not be written; then packets are missing, or the beginning.
      if !expected.starts(with: decoded), captured.map({ $0.damages.isEmpty && !$0.continues[0] }) ?? true {
        complain("the file is no prefix")
      }
      if recorded > decoded.count { complain("recorded is \(recorded), the file holds \(decoded.count)") }
      if !configuration.boundaries, !isCaptured, recorded != decoded.count {
        complain("recorded is \(recorded), the file holds \(decoded.count)")
      }
    default:
      complain("unexpected")
    }
    if recording != "lossy" && recording != "failed" && !gaps.isEmpty { complain("has gaps") }
  }

  /// What the captures hold of a client's session.
  private mutating func captured(_ client: SimulatedWorld.Peer, _ end: End) -> CapturedRun? {
    do {
      let run = try ScenarioCaptures.session(end.text("id"), in: world)
      if let run {
        if !run.damages.isEmpty, end.text("recording") != "failed" {
          failures.append("client \(client.number): \(run.damages[0].text)")
        }
        let record = String(decoding: run.record, as: UTF8.self)
        if end.text("recording") != "failed", !world.indexText.contains(record + "\n") || record.isEmpty {
          failures.append("client \(client.number): the capture has another end record than the index")
        }
      }
      return run
    } catch {
      failures.append("client \(client.number): \(error)")
      return nil
    }
  }

  /// A file by its name, in whatever directory.
  private func file(_ name: String) -> [UInt8]? {
    world.file(name) ?? world.files.first { $0.key.hasSuffix("/" + name) }?.value.bytes
  }

  /// The client's recording, with marks in the place of credentials.
  private mutating func judgeRedacted(
    _ client: SimulatedWorld.Peer, _ dialogues: ScenarioDialogues, _ decoded: [UInt8], _ end: End
  ) {
    let recording = end.text("recording")
    func complain(_ text: String) { failures.append("client \(client.number), redacted, \(recording): \(text)") }
    let gaps = (end.fields["gaps"] as? [[String: Any]] ?? []).compactMap { gap -> Range<Int>? in
      guard gap["direction"] as? String == "in", let offset = gap["offset"] as? Int, let bytes = gap["bytes"] as? Int
      else { return nil }
      return offset..<offset + bytes
    }
    let taken = end.number("in_bytes")
    let covered = end.number("in_recorded") + gaps.reduce(0) { $0 + $1.count }
    let marks = decoded.indices.count { decoded[$0...].starts(with: MailConversation.mark) }
    switch recording {
    case "failed":
      if !dialogues.isBeginning(client.number, decoded, upTo: taken, without: gaps) { complain("it is no beginning") }
      if covered > taken { complain("\(covered) of \(taken) bytes are recorded") }
      return
    case "complete":
      if covered != taken { complain("\(covered) of \(taken) bytes are recorded") }
      let (login, failed) = dialogues.logins(client.number)
      if taken == client.script.count, end.number("out_bytes") == servers[client.number]?.script.count,
        end.text("login") != login || end.number("failed_logins") != failed
      {
        complain("login is \(end.text("login")) and not \(login), or not \(failed) failed")
      }
    case "pre-login":
      loginEnds += 1
    default:
      break
    }
    redactions += marks
    if marks != end.number("redacted") { complain("\(marks) marks, the index says \(end.number("redacted"))") }
    if let fault = dialogues.fault(client.number, in: decoded, upTo: covered, without: gaps) { complain(fault) }
  }

  /// Whether the file of both directions tells of the same gaps of one of them as the index, each at its place.
  private static func faultsOfGaps(_ file: [UInt8], _ direction: Direction, _ listed: [[String: Any]]) -> [String] {
    var faults: [String] = []
    var told: [(offset: Int, bytes: Int)] = []
    var place = 0
    for line in MergedText.lines(file) where line.direction == direction {
      place += line.text.count
      guard let gap = line.gap else { continue }
      if gap.offset != place { faults.append("a gap at \(gap.offset) is told of at \(place)") }
      place += gap.bytes
      if let last = told.last, last.offset + last.bytes == gap.offset {
        told[told.count - 1].bytes += gap.bytes
      } else {
        told.append(gap)
      }
    }
    if told.map(\.offset) != listed.map({ $0["offset"] as? Int })
      || told.map(\.bytes) != listed.map({ $0["bytes"] as? Int })
    {
      faults.append("the file tells of other gaps than the index")
    }
    return faults
  }

  /// The relayed bytes of one direction that a file of both holds; a line's header that the end cuts off holds none.
  private func decodeMerged(_ file: [UInt8], _ direction: Direction) -> [UInt8] {
    MergedText.lines(file).filter { $0.direction == direction }.flatMap(\.text)
  }

  /// The relayed bytes that a file holds; a marker or stamp that the end cuts off holds none.
  private func decode(_ file: [UInt8]) -> [UInt8] {
    var data = file
    if configuration.boundaries {
      // Markers hold bytes that the data does not.
      var kept: [UInt8] = []
      var place = 0
      while place < data.count {
        if data[place] == UInt8(ascii: "<") || data[place] == UInt8(ascii: ">") {
          place += 4
        } else {
          kept.append(data[place])
          place += 1
        }
      }
      data = kept
    }
    guard configuration.timestamps else { return data }
    var decoded: [UInt8] = []
    var place = 0
    var atLineStart = true
    while place < data.count {
      if atLineStart {
        // 1700000000.000000 and a space.
        place += 18
        atLineStart = false
      } else {
        decoded.append(data[place])
        atLineStart = data[place] == UInt8(ascii: "\n")
        place += 1
      }
    }
    return decoded
  }
}
