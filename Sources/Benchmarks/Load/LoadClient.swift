import CBench
import Glibc

/// The clients' side of the load, in a process of its own.
///
/// On `run PORT UNITS` on standard input it does so many units and answers
/// `done UNITS NANOSECONDS SENT RECEIVED P50 P99 CPU`, or `failed` and why. `hold PORT COUNT` opens connections and keeps
/// them (`held`) until `release`.
public struct LoadClient: ~Copyable {
  private let workload: Workload
  private let messageBytes: Int
  /// A relay that moves nothing for so long has lost something.
  private static let stallMilliseconds: Int32 = 20_000
  private let poller: Poller
  private let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 4096)
  private var slots: [Conversation?] = []
  private var held: [Int32] = []

  private var port: UInt16 = 0
  private var usesTLS = false
  private var started = 0
  private var open = 0
  private var sent = StreamTotals()
  private var received = StreamTotals()
  private var latencies: [UInt32] = []
  private var failure: String?

  public static func run(_ workload: Workload, messageBytes: Int) throws(BenchError) {
    signal(SIGPIPE, SIG_IGN)
    raiseDescriptorLimit()
    var client = try LoadClient(workload, messageBytes)
    var commands = LineReader(STDIN_FILENO)
    LoadServer.say("ready")
    while let line = try commands.next() {
      let words = line.split(separator: " ")
      switch words.first {
      case "run" where words.count == 3:
        try client.load(port: UInt16(words[1]) ?? 0, units: Int(words[2]) ?? 0, isClear: false)
      case "run-clear" where words.count == 3:
        try client.load(port: UInt16(words[1]) ?? 0, units: Int(words[2]) ?? 0, isClear: true)
      case "hold" where words.count == 3:
        try client.hold(port: UInt16(words[1]) ?? 0, count: Int(words[2]) ?? 0)
      case "release":
        client.release()
      default:
        LoadServer.say("failed unknown command '\(line)'")
      }
    }
  }

  private init(_ workload: Workload, _ messageBytes: Int) throws(BenchError) {
    self.workload = workload
    self.messageBytes = messageBytes
    poller = try Poller()
  }

  deinit { scratch.deallocate() }

  private mutating func load(port: UInt16, units: Int, isClear: Bool) throws(BenchError) {
    self.port = port
    usesTLS = workload.usesTLS && !isClear
    sent = StreamTotals()
    received = StreamTotals()
    failure = nil
    latencies.removeAll(keepingCapacity: true)
    latencies.reserveCapacity(units)
    started = 0
    open = 0
    let sessions: Int
    let done: Int
    let script: Script
    switch workload {
    case .bulk, .bulk16, .pingpong, .sizes, .tlsBulk:
      sessions = workload.connections
      let share = units / sessions
      script = Script.make(workload, unitsPerConnection: share, messageBytes: messageBytes)
      done = workload == .pingpong || workload == .sizes ? max(share / 2, 1) * 2 * sessions : share * sessions
    case .mail, .churn, .idle, .postlogin, .tlsChurn:
      sessions = units
      script = Script.make(workload, unitsPerConnection: 1)
      done = units
    }
    slots = Array(repeating: nil, count: min(workload.connections, sessions))
    let cpu = ownCPUNanoseconds()
    let begin = monotonicNanoseconds()
    for slot in slots.indices { try start(slot, script) }
    while open > 0, failure == nil {
      var ready: [Int] = []
      ready.reserveCapacity(256)
      try poller.wait(Self.stallMilliseconds) { (key) throws(BenchError) in ready.append(key) }
      if ready.isEmpty {
        failure = "nothing moved for \(Self.stallMilliseconds / 1000) s with \(open) connections open"
      }
      for slot in ready { try proceed(slot, script, sessions) }
    }
    let nanoseconds = monotonicNanoseconds() - begin
    if let failure {
      for slot in slots.indices {
        if let conversation = slots[slot] { conversation.end() }
        slots[slot] = nil
      }
      LoadServer.say("failed \(failure)")
      return
    }
    latencies.sort()
    let median = percentile(0.5)
    let high = percentile(0.99)
    LoadServer.say(
      "done \(done) \(nanoseconds) \(sent.text) \(received.text) \(median) \(high) \(ownCPUNanoseconds() - cpu)")
  }

  private func percentile(_ share: Double) -> UInt32 {
    latencies.isEmpty ? 0 : latencies[min(latencies.count - 1, Int(Double(latencies.count) * share))]
  }

  private mutating func start(_ slot: Int, _ script: borrowing Script) throws(BenchError) {
    let socket = try Loopback.connect(port)
    var tls: OpaquePointer?
    if usesTLS {
      tls = bench_tls_new(socket)
      guard tls != nil else { throw BenchError("OpenSSL cannot be used") }
    }
    slots[slot] = Conversation(socket: socket, tls: tls, number: started, began: monotonicNanoseconds())
    started += 1
    open += 1
    poller.add(socket, key: slot, events: Poller.edges)
  }

  private mutating func proceed(_ slot: Int, _ script: borrowing Script, _ sessions: Int) throws(BenchError) {
    guard var conversation = slots[slot] else { return }
    slots[slot] = nil
    let isPingpong = workload == .pingpong || workload == .sizes
    var answers = 0
    var last: UInt64 = 0
    let outcome = conversation.advance(.client, script, scratch: scratch) {
      answers += 1
      last = $0.asked
    }
    if isPingpong, answers == 1, last > 0 { note(since: last) }
    switch outcome {
    case .waitsToRead, .waitsToWrite:
      slots[slot] = conversation
    case .finished:
      if !isPingpong { note(since: conversation.began) }
      sent.add(conversation.sent)
      received.add(conversation.received)
      conversation.end()
      open -= 1
      if started < sessions { try start(slot, script) }
    case .failed(let reason):
      conversation.end()
      open -= 1
      failure = reason
    }
  }

  private mutating func note(since begin: UInt64) {
    latencies.append(UInt32(clamping: (monotonicNanoseconds() - begin) / 1000))
  }

  // MARK: Idle connections

  private mutating func hold(port: UInt16, count: Int) throws(BenchError) {
    let greetingBytes = Script.make(.idle, unitsPerConnection: 1).part(0).count
    while held.count < count {
      let socket = try Loopback.connect(port)
      held.append(socket)
      // One after the other, so that no backlog overflows.
      var watched = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
      guard poll(&watched, 1, 10_000) == 1, recv(socket, scratch.baseAddress, scratch.count, 0) == greetingBytes
      else {
        LoadServer.say("failed connection \(held.count) got no greeting")
        return
      }
    }
    LoadServer.say("held \(held.count)")
  }

  private mutating func release() {
    for socket in held { close(socket) }
    held.removeAll()
    LoadServer.say("released")
  }
}
