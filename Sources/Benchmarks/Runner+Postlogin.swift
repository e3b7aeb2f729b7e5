import Glibc

/// What recorders after a login cost: ours, and with `--peers` the one that it stands in for.
extension Runner {
  /// One repetition with one recorder.
  private struct Sample {
    /// Nanoseconds a session of all processes, the program that is recorded included.
    var cpu: Double
    var perSecond: Double
    var p50: Double
    var p99: Double
  }

  func measurePostlogin() throws(BenchError) -> [BenchResult.Postlogin]? {
    do throws(BenchError) {
      try PostloginRecorder.checkInstalled()
    } catch {
      Progress.say("no figure for postlogin: \(error)")
      return nil
    }
    var recorders = [
      PostloginRecorder(name: "rawlog", version: "", program: PostloginRecorder.ours)
    ]
    if let peer = peers.first(where: { $0.name == PostloginRecorder.originalName }) {
      recorders.append(
        PostloginRecorder(name: peer.name, version: peer.version, program: PostloginRecorder.original))
    }
    let alone = PostloginRecorder(name: "bench-server", version: "", program: nil)
    let load = try Load(.postlogin)
    let subjects = recorders + [alone]
    var samples = [[Sample]](repeating: [], count: subjects.count)
    for repetition in 0..<extent.repetitions {
      for offset in subjects.indices {
        let place = (offset + repetition) % subjects.count
        Progress.show("postlogin: repetition \(repetition + 1) of \(extent.repetitions), \(subjects[place].name)")
        samples[place].append(try measure(subjects[place], load))
      }
    }
    let base = samples.removeLast()
    let added = samples.map { zip($0, base).map { $0.cpu - $1.cpu } }
    var rows: [BenchResult.Postlogin] = []
    for (place, recorder) in recorders.enumerated() {
      let memory = try memory(of: recorder)
      rows.append(
        BenchResult.Postlogin(
          name: recorder.name, version: recorder.version, configuration: recorder.configuration,
          cpuNanoseconds: Statistics.median(added[place]),
          perSecond: Statistics.median(samples[place].map(\.perSecond)),
          p50Microseconds: Statistics.median(samples[place].map(\.p50)),
          p99Microseconds: Statistics.median(samples[place].map(\.p99)),
          privateBytes: memory.ownBytes, proportionalBytes: memory.proportionalBytes))
    }
    if recorders.count > 1 {
      let ratios = zip(added[0], added[1]).map { $0 / $1 }
      rows[0].ratio = Statistics.median(ratios)
      rows[0].spread = Statistics.spread(ratios)
    }
    Progress.say("postlogin: rawlog / Dovecot's \(rows[0].ratio.map(Table.ratio) ?? "not measured")")
    return rows
  }

  private func measure(_ recorder: PostloginRecorder, _ load: Load) throws(BenchError) -> Sample {
    try Interrupt.check()
    let files = try freshDirectory("postlogin")
    let running = try recorder.start(in: files, answers: Script.answers(.postlogin))
    defer { running.process.end() }
    _ = try load.run(port: running.port, units: Workload.postlogin.warmUpUnits(extent))
    // It waits for all that was started: recorders too, which outlive what they record.
    let begin = try running.used()
    let before = Set(running.recordings?.files() ?? [])
    try warmMemory(.postlogin, near: files)
    let outcome = try load.run(port: running.port, units: Workload.postlogin.units(extent))
    let end = try running.used()
    if let found = try running.recordings?.read(ignoring: before), found.in != outcome.in || found.out != outcome.out {
      mustKeep = true
      throw BenchError(
        "postlogin, \(recorder.name): the recordings are not what was relayed: in \(found.in.text) of "
          + "\(outcome.in.text), out \(found.out.text) of \(outcome.out.text) (streams, bytes, checksum); kept in "
          + "'\(files)'", status: 70)
    }
    return Sample(
      cpu: Double(end - begin) / Double(outcome.units), perSecond: Double(outcome.units) / outcome.nanoseconds * 1e9,
      p50: outcome.p50 ?? 0, p99: outcome.p99 ?? 0)
  }

  /// Memory of one of several recorders whose sessions say nothing after the greeting, in bytes.
  private func memory(of recorder: PostloginRecorder) throws(BenchError) -> (
    ownBytes: Double, proportionalBytes: Double
  ) {
    let load = try Load(.idle)
    let greeting = Script.answers(.idle)
    let running = try recorder.start(in: try freshDirectory("postlogin-idle"), answers: greeting)
    defer { running.process.end() }
    try load.hold(port: running.port, count: Workload.heldRecorders)
    // What they hold of the greeting is written after a second.
    sleep(2)
    var own: [Double] = []
    var proportional: [Double] = []
    for pid in ProcessUse.tree(running.process.pid) where ProcessUse.program(pid) == realPath(recorder.program) {
      guard let memory = ProcessUse.memory(pid) else { continue }
      own.append(Double(memory.ownBytes))
      proportional.append(Double(memory.proportionalBytes))
    }
    guard own.count == Workload.heldRecorders else {
      throw BenchError("postlogin, \(recorder.name): \(own.count) of \(Workload.heldRecorders) recorders are there")
    }
    try load.release()
    return (Statistics.median(own), Statistics.median(proportional))
  }

  private func realPath(_ path: String?) -> String? {
    guard let path, let resolved = realpath(path, nil) else { return nil }
    defer { free(resolved) }
    return String(cString: resolved)
  }
}
