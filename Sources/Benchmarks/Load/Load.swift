/// One process that serves and one that drives the load, for one workload.
final class Load {
  let workload: Workload
  private let server: ChildProcess
  private let client: ChildProcess
  let serverPort: UInt16
  private var serverCPU = 0.0

  init(_ workload: Workload, messageBytes: Int = 64) throws(BenchError) {
    self.workload = workload
    let arguments = [workload.rawValue, "\(messageBytes)"]
    server = try ChildProcess([ownProgram, "bench-load", "serve"] + arguments, reads: .standardOutput)
    client = try ChildProcess([ownProgram, "bench-load", "drive"] + arguments, reads: .standardOutput)
    guard let line = try server.line(), line.hasPrefix("port "), let port = UInt16(line.dropFirst(5)),
      try client.line() == "ready"
    else { throw BenchError("the load does not start") }
    serverPort = port
  }

  /// What one round of load was like.
  struct Outcome {
    var units = 0
    var nanoseconds = 0.0
    var p50: Double?
    var p99: Double?
    /// What the clients sent and the server received; they are the same.
    var `in` = StreamTotals()
    var out = StreamTotals()
    /// Both load processes.
    var cpuNanoseconds = 0.0
  }

  /// Loads whoever listens on `port`, and checks that every byte arrived, both ways.
  ///
  /// - Parameter isClear: without TLS, whatever the workload is.
  func run(port: UInt16, units: Int, isClear: Bool = false) throws(BenchError) -> Outcome {
    try client.tell("\(isClear ? "run-clear" : "run") \(port) \(units)")
    let done = try answer(client, "done", fields: 11)
    guard let units = Int(done[0]), let time = Double(done[1]), let sent = StreamTotals(done[2...4]),
      let received = StreamTotals(done[5...7]), let p50 = Double(done[8]), let p99 = Double(done[9]),
      let cpu = Double(done[10])
    else { throw BenchError("the load's answer makes no sense: \(done.joined(separator: " "))") }
    var outcome = Outcome(units: units, nanoseconds: time, in: sent, out: received, cpuNanoseconds: cpu)
    if workload.unit != "byte" { (outcome.p50, outcome.p99) = (p50, p99) }
    return outcome
  }

  /// What the server saw since it was asked last.
  private func serverTotals() throws(BenchError) -> (received: StreamTotals, sent: StreamTotals, cpu: Double) {
    try server.tell("report")
    let fields = try answer(server, "report", fields: 7)
    guard let received = StreamTotals(fields[0...2]), let sent = StreamTotals(fields[3...5]),
      let cpu = Double(fields[6])
    else { throw BenchError("the load's answer makes no sense: \(fields.joined(separator: " "))") }
    defer { serverCPU = cpu }
    return (received, sent, cpu - serverCPU)
  }

  /// One round, checked against what the server saw.
  func checked(port: UInt16, units: Int, isClear: Bool = false) throws(BenchError) -> Outcome {
    var outcome = try run(port: port, units: units, isClear: isClear)
    let seen = try serverTotals()
    guard seen.received == outcome.in, seen.sent == outcome.out else {
      throw BenchError(
        "\(workload.rawValue): the bytes that arrived are not those that were sent: clients sent \(outcome.in.text), the "
          + "server received \(seen.received.text); the server sent \(seen.sent.text), clients received "
          + "\(outcome.out.text) (streams, bytes, checksum)", status: 70)
    }
    outcome.cpuNanoseconds += seen.cpu
    return outcome
  }

  func hold(port: UInt16, count: Int) throws(BenchError) {
    try client.tell("hold \(port) \(count)")
    _ = try answer(client, "held", fields: 1)
  }

  func release() throws(BenchError) {
    try client.tell("release")
    _ = try answer(client, "released", fields: 0)
  }

  private func answer(_ process: ChildProcess, _ word: String, fields: Int) throws(BenchError) -> [Substring] {
    guard let line = try process.line() else { throw BenchError("\(workload.rawValue): the load died") }
    let words = line.split(separator: " ")
    guard words.first == word[...], words.count == fields + 1 else {
      throw BenchError("\(workload.rawValue): the load \(line)")
    }
    return Array(words.dropFirst())
  }
}
