import Foundation
import Glibc

@testable import UringRawlog

/// One run of the whole loop in which clients, servers or both begin in the clear and go on with TLS, and its oracles.
struct StartTLSScenario {
  /// Who agrees with whom.
  enum Kind: CaseIterable {
    /// Client and server do, and the relay goes along.
    case through
    /// The client with the relay.
    case answered
    /// The relay with the server.
    case asked
    /// A client puts a command behind its STARTTLS, for the server to obey under the protection of TLS (CVE-2011-0411).
    case injecting
  }

  /// What is said in the clear.
  private struct Lines {
    var greeting: String
    var command: String
    var agreed: String
    /// What the relay asks, each with what the server answers.
    var questions: [(asked: String, answer: String)]

    init(_ mailProtocol: MailProtocol) {
      switch mailProtocol {
      case .imap:
        (greeting, command, agreed) = ("* OK hello\r\n", "a STARTTLS\r\n", "a OK begin\r\n")
        questions = [("rawlog STARTTLS\r\n", "rawlog OK begin\r\n")]
      case .pop3:
        (greeting, command, agreed) = ("+OK hello\r\n", "STLS\r\n", "+OK begin\r\n")
        questions = [(command, agreed)]
      case .smtp, .lmtp:
        (greeting, command, agreed) = ("220 hello\r\n", "STARTTLS\r\n", "220 begin\r\n")
        questions = [
          (mailProtocol == .smtp ? "EHLO localhost\r\n" : "LHLO localhost\r\n", "250-host\r\n250 STARTTLS\r\n"),
          (command, agreed),
        ]
      case .sieve:
        (greeting, command, agreed) = ("\"STARTTLS\"\r\nOK\r\n", "STARTTLS\r\n", "OK\r\n")
        questions = [(command, agreed)]
      }
    }
  }

  private static let injected = "INJECTED\r\n"

  private(set) var failures: [String] = []
  let kind: Kind
  private let world: SimulatedWorld
  private let configuration: RelayConfiguration
  /// Nobody resets, stalls or is refused: everything arrives.
  private let isCalm: Bool
  private let clients: [SimulatedWorld.Peer]
  /// What clients and servers should have received in the end, and what was recorded of the client's.
  private let toClient: [UInt8]
  private let toServer: [UInt8]
  private let recordedIn: [UInt8]
  /// Sessions in which all of it arrived.
  private(set) var completions = 0
  private(set) var turns = 0

  init(seed: UInt64) {
    var random = SeededGenerator(seed: seed &+ 0x7374_6172)
    let kind = Kind.allCases.randomElement(using: &random)!
    self.kind = kind
    let isInjecting = kind == .injecting
    // ManageSieve is asked for its capabilities behind STARTTLS: end-to-end tests have that.
    let mailProtocol = [MailProtocol.imap, .pop3, .smtp, .lmtp].randomElement(using: &random)!
    let lines = Lines(mailProtocol)
    world = SimulatedWorld(
      seed: seed, bufferCount: 1 << (1 + random.below(4)), bufferBytes: [16, 100, 4096].randomElement(using: &random)!,
      hasBundles: random.once(in: 2))
    isCalm = random.once(in: 2)
    world.faults.multishotEnds = 1 + random.below(10)
    world.faults.enterFails = random.once(in: 2) ? 20 : 0
    if random.once(in: 4) { world.faults.sendShortage = 10 }
    if !isCalm {
      if random.once(in: 2) { world.faults.peerReset = 50 }
      if random.once(in: 2) { world.faults.peerStall = 20 }
      if random.once(in: 4) { world.faults.connectRefused = 3 }
    }
    var configuration = RelayConfiguration(
      listen: [try! Address(listening: ":143")], connect: try! Address(connecting: "127.0.0.1:1143"),
      directory: try! DirectoryTemplate("recordings"))
    configuration.mailProtocol = mailProtocol
    configuration.keepsSecrets = true
    configuration.logFull = .wait
    configuration.logWaitNanoseconds = 10_000_000_000
    configuration.connectNanoseconds = 5_000_000_000
    if kind != .asked { configuration.frontTLS = .startTLS }
    switch kind {
    case .through, .asked: configuration.backTLS = .startTLS
    case .answered, .injecting: configuration.backTLS = random.once(in: 2) ? .implicit : nil
    }
    let isFrontImplicit = kind == .asked && random.once(in: 2)
    if isFrontImplicit { configuration.frontTLS = .implicit }
    self.configuration = configuration

    func payload() -> [UInt8] { (0..<1 + random.below(5000)).map { _ in UInt8(truncatingIfNeeded: random.next()) } }
    let (fromClient, fromServer) = (payload(), payload())
    let (greeting, command) = (Array(lines.greeting.utf8), Array(lines.command.utf8))
    let answer =
      kind == .answered
      ? command.withUnsafeBytes { [offer = StartTLSOffer(mailProtocol)] in offer.answer(to: $0)! }
      : Array(lines.agreed.utf8)
    clients = (1...(1 + random.below(4))).map { number in
      let client = SimulatedWorld.Peer(script: fromClient)
      client.number = number
      client.waitsForEnd = true
      let tls = try! SimulatedTLS.client(isClean: true)
      switch kind {
      case .asked:
        if isFrontImplicit { client.tls = tls }
      case .through, .answered:
        client.script = command + fromClient
        client.pauses = [(place: 0, received: greeting.count)]
        client.startTLS = (tls, command.count, greeting.count + answer.count)
      case .injecting:
        client.script = command + Array(Self.injected.utf8)
        client.pauses = [(place: 0, received: greeting.count)]
      }
      return client
    }
    let isBackImplicit = configuration.backTLS == .implicit
    world.makeServer = {
      let server = SimulatedWorld.Peer(script: greeting)
      let tls = try! SimulatedTLS.server(isClean: true)
      switch kind {
      case .through:
        server.pauses = [(place: greeting.count, received: command.count)]
        server.script += answer + fromServer
        server.startTLS = (tls, greeting.count + answer.count, command.count)
      case .answered, .injecting:
        if isBackImplicit { server.tls = tls }
        // What it says before the client's STARTTLS is answered would be in the clear.
        server.pauses = [(place: greeting.count, received: 1)]
        server.script += fromServer
      case .asked:
        var received = 0
        for question in lines.questions {
          received += question.asked.utf8.count
          server.pauses.append((place: server.script.count, received: received))
          server.script += Array(question.answer.utf8)
        }
        server.startTLS = (tls, server.script.count, received)
        server.script += fromServer
      }
      return server
    }
    let asked = lines.questions.flatMap { Array($0.asked.utf8) }
    recordedIn = isInjecting ? command : clients[0].script
    toClient = isInjecting ? greeting : greeting + (kind == .asked ? [] : answer) + fromServer
    switch kind {
    case .through: toServer = command + fromClient
    case .answered: toServer = fromClient
    case .asked: toServer = asked + fromClient
    case .injecting: toServer = []
    }
  }

  mutating func run() {
    let listener = Listener(descriptor: 3, given: ":143", bound: "[::]:143", path: "", pathIdentity: nil, port: 143)
    let environment = RelayLoop<SimulatedRing>.Environment(
      listeners: [listener], targets: [SocketAddress()], directory: 5, index: 4, processID: 77, maxSessions: 10,
      maxSlots: 20, maxPipes: 2, leastPipeBytes: 1,
      front: configuration.frontTLS == nil ? nil : TLSFront(try! TestCertificates.shared.identity("rsa")),
      back: configuration.backTLS == nil ? nil : TLSBack(try! TestCertificates.shared.trust()))
    do {
      var loop = try RelayLoop.make(
        configuration: configuration, environment: environment, ring: SimulatedRing(world: world))
      loop.start()
      var arriving = clients
      repeat {
        if !arriving.isEmpty, turns % 3 == 0 { world.backlog.append(arriving.removeFirst()) }
        try loop.turn()
        turns += 1
        // The server has nobody else to wait for.
        for server in world.servers where server.sawEnd { server.waitsForEnd = false }
      } while turns < 100_000
        && (loop.sessions.count > 0 || !arriving.isEmpty || !world.backlog.isEmpty || !world.hasDelivered)
      if turns >= 100_000 {
        failures.append("no end: \(loop.sessions.count) sessions, \(world.operations.count) operations")
        return
      }
      failures += try loop.end(&turns)
    } catch {
      failures.append("the loop failed: \(error)")
    }
    if getenv("SIMULATION_TRACE") != nil { print(world.indexText) }
    judge()
  }

  // MARK: Oracles

  private mutating func judge() {
    failures += world.violations + world.leftovers
    for server in world.servers {
      if server.received.count > toServer.count || !toServer.starts(with: server.received) {
        failures.append("a server received other bytes than were meant for it")
      }
    }
    for client in clients where kind != .injecting && !toClient.starts(with: client.received) {
      failures.append("client \(client.number) received other bytes than were meant for it")
    }
    guard isCalm else { return }
    for client in clients {
      if kind == .injecting {
        if !client.sawEnd, !client.sawReset, !client.isClosedByRelay { failures.append("an injection was not ended") }
      } else if client.received != toClient || !client.sawEnd {
        failures.append("\(kind): client \(client.number) has \(client.received.count) of \(toClient.count) bytes")
      }
    }
    if kind != .injecting {
      for server in world.servers where server.received != toServer || !server.sawEnd {
        failures.append("\(kind): a server has \(server.received.count) of \(toServer.count) bytes")
      }
      if world.servers.count != clients.count { failures.append("\(world.servers.count) servers were connected") }
    }
    judgeRecordings()
  }

  private mutating func judgeRecordings() {
    let ends = world.indexText.split(separator: "\n").compactMap { line in
      try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
    }.filter { $0["event"] as? String == "end" }
    if ends.count != clients.count { failures.append("\(ends.count) end records") }
    for end in ends {
      guard let id = end["id"] as? String, let recordedIn = world.file("\(id).in"), let out = world.file("\(id).out")
      else {
        failures.append("a recording is missing")
        continue
      }
      if kind == .injecting {
        // What came too late to be seen behind the command was no TLS when it came.
        let reason = end["reason"] as? String
        if reason != "tls-error" { failures.append("an injection ended with \(reason ?? "nothing")") }
        let said = self.recordedIn + Array(Self.injected.utf8)
        if !recordedIn.starts(with: self.recordedIn) || !said.starts(with: recordedIn) || !out.starts(with: toClient) {
          failures.append("of an injection \(recordedIn.count) and \(out.count) bytes are recorded")
        }
      } else {
        if recordedIn != self.recordedIn {
          failures.append("\(kind): \(id).in holds \(recordedIn.count) bytes of \(self.recordedIn.count)")
        }
        if out != toClient { failures.append("\(kind): \(id).out holds \(out.count) bytes of \(toClient.count)") }
      }
      completions += 1
    }
  }
}
