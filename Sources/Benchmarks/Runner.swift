import CBench
import Glibc
import UringRawlog

/// A run: each workload with each of its subjects, one after the other in every repetition, so that whatever else the
/// machine does meets all of them alike.
final class Runner {
  private let configuration: BenchConfiguration
  let extent: Extent
  /// Where recordings go; removed at the end.
  private let directory: String
  /// The same on a tmpfs, when `directory` is on none and there is one.
  private let memoryDirectory: String?
  let peers: [Peer]
  private var directoryCount = 0
  private var wantedCount = 1
  /// The recordings are other bytes than were relayed: whoever looks into that needs them.
  var mustKeep = false
  /// Peers that could not be measured with this workload.
  private var failed: Set<String> = []
  let machine: BenchResult.Machine

  /// One repetition of one subject.
  private struct Sample {
    var cpu: Double
    var perSecond: Double
    var p50: Double?
    var p99: Double?
    var checksum: UInt64 = 0
    var sizes: [Int] = []
    var units: Int
  }

  init(_ configuration: BenchConfiguration) throws(BenchError) {
    self.configuration = configuration
    extent = configuration.extent
    peers = configuration.peers ? Peer.installed() : []
    let parent = configuration.directory ?? getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
    directory = try Self.makeDirectory(in: parent)
    _ = bench_spread_directories(directory)
    machine = .here(directory: directory)
    let isInMemory = machine.fileSystem == "tmpfs"
    memoryDirectory =
      !isInMemory && FileSystem.name(of: "/dev/shm") == "tmpfs" ? try? Self.makeDirectory(in: "/dev/shm") : nil
  }

  deinit {
    guard !mustKeep else { return }
    FileSystem.remove(directory)
    if let memoryDirectory { FileSystem.remove(memoryDirectory) }
  }

  private static func makeDirectory(in parent: String) throws(BenchError) -> String {
    var template = Array("\(parent)/uring-rawlog-bench-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else {
      let code = errno
      let status: Int32 = code == EACCES || code == EROFS || code == EPERM ? 77 : 73
      throw BenchError(
        "--dir: cannot make a directory in '\(parent)': \(String(cString: strerror(code))); name one that exists and is "
          + "writable", status: status)
    }
    return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  func freshDirectory(_ kind: String, in parent: String? = nil) throws(BenchError) -> String {
    var best = (path: "", nanoseconds: UInt64.max)
    for attempt in 1... {
      directoryCount += 1
      let path = "\(parent ?? directory)/\(directoryCount)-\(kind)"
      guard mkdir(path, 0o700) == 0 else { throw BenchError("cannot make '\(path)'", errno) }
      let nanoseconds = try Floor.creation(in: path)
      if nanoseconds < best.nanoseconds { best = (path, nanoseconds) }
      if best.nanoseconds <= Floor.quickNanoseconds || attempt >= Floor.attempts { break }
      if best.nanoseconds <= Floor.slowNanoseconds, attempt >= Floor.attempts / 3 { break }
    }
    return best.path
  }

  // MARK: The run

  func run() throws(BenchError) -> BenchResult {
    var result = BenchResult(
      program: "uring-rawlog \(programVersion)", commit: getenv("URING_RAWLOG_COMMIT").map { String(cString: $0) },
      date: Self.today, command: configuration.command,
      machine: machine, workloads: [], peers: [])
    let wanted =
      configuration.workloads.isEmpty
      ? Workload.allCases.filter { ![.idle, .sizes, .postlogin, .tlsBulk, .tlsChurn].contains($0) || extent == .full }
      : configuration.workloads
    for peer in peers { Progress.say("peer: \(peer.name) (\(peer.version))") }
    wantedCount = wanted.count
    for workload in wanted {
      if workload == .idle {
        result.idle = try measureIdle()
      } else if workload == .sizes {
        result.messageSizes = try measureSizes()
      } else if workload == .postlogin {
        result.postlogin = try measurePostlogin()
      } else {
        let (figure, rows) = try measure(workload)
        result.workloads.append(figure)
        result.peers += rows
      }
    }
    Progress.end()
    return result
  }

  private static var today: String {
    var now = time(nil)
    var parts = tm()
    gmtime_r(&now, &parts)
    func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
    return "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))"
  }

  private func subjects(of workload: Workload) -> [Subject] {
    if workload.usesTLS {
      return [OwnRelay.plain(tls: true), OwnRelay.recorded(tls: true)] + peers.flatMap { $0.subjects(for: workload) }
    }
    var subjects = [OwnRelay.plain(), OwnRelay.recorded()]
    let isThorough = extent != .quick
    switch workload {
    case .bulk where isThorough, .bulk16 where isThorough:
      subjects += [OwnRelay.stamped(), OwnRelay.captured()]
      subjects += ["splice", "auto"].map(OwnRelay.relaying)
      if workload == .bulk { subjects += OwnRelay.onEpoll() }
      if workload == .bulk { subjects.append(SpliceRelay.subject()) }
    case .mail where isThorough, .churn where isThorough:
      subjects.append(OwnRelay.captured())
      if memoryDirectory != nil { subjects.append(OwnRelay.recordedInMemory()) }
      if workload == .mail { subjects.append(OwnRelay.listening()) }
      if workload == .churn { subjects += OwnRelay.onEpoll() }
    case .pingpong where isThorough: subjects += OwnRelay.onEpoll()
    default: break
    }
    return subjects + peers.flatMap { $0.subjects(for: workload) }
  }

  private func measure(_ workload: Workload) throws(BenchError) -> (BenchResult.Figure, [BenchResult.Peer]) {
    let load = try Load(workload)
    failed = []
    let subjects = subjects(of: workload)
    var samples = [[Sample]](repeating: [], count: subjects.count)
    var floors: [Double] = []
    let alone = try measureLoad(load)
    var time = Allowance(extent, workloads: wantedCount)
    for repetition in 0..<extent.repetitions where time.allowsAnother() {
      // Who goes first changes, so that nobody always finds the machine as the same one left it.
      for offset in subjects.indices {
        let place = (offset + repetition) % subjects.count
        let subject = subjects[place]
        Progress.show("\(workload.rawValue): repetition \(repetition + 1) of \(extent.repetitions), \(subject.name)")
        if subject.role == .peer || subject.role == .control {
          // Somebody else's failure costs its own row, and nothing else.
          guard !failed.contains(subject.name) else { continue }
          do {
            samples[place].append(try measure(subject, load))
          } catch {
            try Interrupt.check()
            failed.insert(subject.name)
            Progress.say("\(workload.rawValue): no row for \(subject.name): \(error)")
          }
          continue
        }
        let sample = try measure(subject, load)
        samples[place].append(sample)
        if subject.role == .recorded {
          let files = try freshDirectory("floor")
          try warmMemory(workload, near: files)
          floors.append(Double(try Floor.measure(sample.sizes, in: files)) / Double(sample.units))
          if areLarge(sample.sizes) { FileSystem.remove(files) }
        }
      }
    }
    let plain = samples[0]
    let recorded = samples[1]
    let ratios = zip(recorded, plain).map { $0.cpu / $1.cpu }
    let isStable = Statistics.isStable(ratios, allowed: Workload.spreadAllowed)
    var figure = BenchResult.Figure(
      name: workload.rawValue, unit: workload.unit, plain: cost(plain), recorded: cost(recorded),
      ratio: isStable ? Statistics.median(ratios) : nil,
      overheadNanoseconds: isStable ? Statistics.median(zip(recorded, plain).map { $0.cpu - $1.cpu }) : nil,
      floorNanoseconds: Statistics.median(floors), spread: Statistics.spread(ratios), repetitions: recorded.count,
      units: plain[0].units, checksum: String(recorded[0].checksum, radix: 16), loadPerSecond: alone.perSecond,
      loadCPUNanoseconds: alone.cpu)
    if plain.allSatisfy({ $0.p99 != nil }) {
      figure.p99Ratio = Statistics.median(zip(recorded, plain).map { $0.p99! / $1.p99! })
    }
    var rows: [BenchResult.Peer] = []
    let inMemory = subjects.firstIndex { $0.name == OwnRelay.inMemoryName }.map { samples[$0] }
    takeOffControls(subjects, &samples)
    for (place, subject) in subjects.enumerated() where !failed.contains(subject.name) {
      let cost = cost(samples[place])
      switch subject.role {
      case .plain, .recorded, .control: break
      case .variant:
        let ratios = zip(samples[place], plain).map { $0.cpu / $1.cpu }
        figure.variants =
          (figure.variants ?? []) + [
            BenchResult.Variant(
              name: subject.name, cpuNanoseconds: cost.cpuNanoseconds, perSecond: cost.perSecond,
              p50Microseconds: cost.p50Microseconds,
              p99Microseconds: cost.p99Microseconds, ratio: Statistics.median(ratios),
              spread: Statistics.spread(ratios),
              recordedRatio: Statistics.median(zip(samples[place], recorded).map { $0.cpu / $1.cpu }))
          ]
      case .peer:
        let ratios = zip(recorded, samples[place]).map { $0.cpu / $1.cpu }
        rows.append(
          BenchResult.Peer(
            name: subject.name, version: subject.version, configuration: subject.configuration,
            workload: workload.rawValue, unit: workload.unit, cpuNanoseconds: cost.cpuNanoseconds,
            perSecond: cost.perSecond,
            p50Microseconds: cost.p50Microseconds, p99Microseconds: cost.p99Microseconds,
            plainRatio: Statistics.median(zip(plain, samples[place]).map { $0.cpu / $1.cpu }),
            recordedRatio: Statistics.median(ratios),
            recordedInMemoryRatio: inMemory.map { Statistics.median(zip($0, samples[place]).map { $0.cpu / $1.cpu }) },
            spread: Statistics.spread(ratios)))
      }
    }
    let verdict = figure.ratio.map { "recorded / plain \(Table.ratio($0))" } ?? "no figure: the machine is not quiet"
    Progress.say("\(workload.rawValue): \(verdict), checksum \(figure.checksum)")
    return (figure, rows)
  }

  private func takeOffControls(_ subjects: [Subject], _ samples: inout [[Sample]]) {
    for (place, subject) in subjects.enumerated() {
      guard let name = subject.control, let control = subjects.firstIndex(where: { $0.name == name }),
        !failed.contains(name)
      else {
        // Without its control a peer has no figure.
        if subject.control != nil { failed.insert(subject.name) }
        continue
      }
      for (repetition, other) in samples[control].enumerated() where repetition < samples[place].count {
        samples[place][repetition].cpu -= other.cpu
      }
    }
  }

  private func cost(_ samples: [Sample]) -> BenchResult.Cost {
    BenchResult.Cost(
      cpuNanoseconds: Statistics.median(samples.map(\.cpu)), perSecond: Statistics.median(samples.map(\.perSecond)),
      p50Microseconds: samples[0].p50 == nil ? nil : Statistics.median(samples.map { $0.p50! }),
      p99Microseconds: samples[0].p99 == nil ? nil : Statistics.median(samples.map { $0.p99! }))
  }

  /// The load without a relay: client and server face to face.
  private func measureLoad(_ load: Load) throws(BenchError) -> (perSecond: Double, cpu: Double) {
    _ = try load.checked(port: load.serverPort, units: load.workload.warmUpUnits(extent), isClear: true)
    let outcome = try load.checked(port: load.serverPort, units: load.workload.units(extent), isClear: true)
    return (
      Double(outcome.units) / outcome.nanoseconds * 1e9, outcome.cpuNanoseconds / Double(outcome.units)
    )
  }

  // MARK: One repetition

  /// - Parameter units: how many, when not as many as the workload has.
  private func measure(_ subject: Subject, _ load: Load, units wanted: Int? = nil) throws(BenchError) -> Sample {
    try Interrupt.check()
    let workload = load.workload
    let files = try freshDirectory(
      subject.name.replacing(" ", with: "-"),
      in: subject.name == OwnRelay.inMemoryName ? memoryDirectory : nil)
    let running = try subject.start(load.serverPort, files)
    defer { running.process.end() }
    let share = { (units: Int) in max(1, Int(Double(units) * subject.share)) }
    // A subject that forks is measured from its start, children and all.
    let atStart = subject.forks ? try running.used() : 0
    let round = { (units: Int) throws(BenchError) -> Load.Outcome in
      subject.isServer
        ? try load.run(port: running.port, units: share(units))
        : try load.checked(port: running.port, units: share(units))
    }
    let warm = try round(wanted.map { max(1, $0 / 4) } ?? workload.warmUpUnits(extent))
    var sessions = warm.in.streams
    try waitUntilQuiet(running, sessions: sessions)
    try warmMemory(workload, near: files)
    let before = Set(running.recordings?.files() ?? [])
    let begin = subject.forks ? atStart : try running.used()
    let outcome = try round(wanted ?? workload.units(extent))
    sessions += outcome.in.streams
    try waitUntilQuiet(running, sessions: sessions)
    let end: UInt64
    if subject.forks && running.meter == nil {
      running.process.end()
      end = running.process.usedNanoseconds
    } else {
      end = try running.used()
    }
    running.process.end()
    let units = subject.forks ? outcome.units + warm.units : outcome.units
    var sample = Sample(
      cpu: Double(end - begin) / Double(units), perSecond: Double(outcome.units) / outcome.nanoseconds * 1e9,
      p50: outcome.p50, p99: outcome.p99, units: outcome.units)
    sample.checksum = outcome.in.sum &+ outcome.out.sum
    if let recordings = running.recordings {
      let found = try recordings.read(ignoring: before)
      let relayed = recordings.areCaptures ? (warm.in + outcome.in, warm.out + outcome.out) : (outcome.in, outcome.out)
      try compare(found, relayed, "\(workload.rawValue), \(subject.name)", in: files)
      sample.sizes = found.sizes
    }
    // Large files give their memory back to the next repetition; of many small ones nothing is removed before the end,
    // since ext4 is slow to create files where many were removed.
    if areLarge(sample.sizes) || subject.name == OwnRelay.capturedName { FileSystem.remove(files) }
    return sample
  }

  private func compare(
    _ found: Recordings.Found, _ relayed: (in: StreamTotals, out: StreamTotals), _ what: String, in files: String
  ) throws(BenchError) {
    guard found.in != relayed.in || found.out != relayed.out else { return }
    mustKeep = true
    throw BenchError(
      "\(what): the recordings are not what was relayed: in \(found.in.text) of \(relayed.in.text), out "
        + "\(found.out.text) of \(relayed.out.text) (streams, bytes, checksum); kept in '\(files)'", status: 70)
  }

  private func areLarge(_ sizes: [Int]) -> Bool { sizes.reduce(0, +) >= sizes.count * (256 << 10) && !sizes.isEmpty }

  /// Makes the system touch as much memory as a repetition's files will need, and gives it back: a page that a virtual
  /// machine's host must supply first costs several times as much as filling it.
  func warmMemory(_ workload: Workload, near files: String) throws(BenchError) {
    let scratch = files + "-scratch"
    guard mkdir(scratch, 0o700) == 0 else { throw BenchError("cannot make '\(scratch)'", errno) }
    defer { FileSystem.remove(scratch) }
    _ = try Floor.measure([workload.recordedBytes(extent) / 4 * 5], in: scratch)
  }

  /// Waits until all that belongs to so many sessions is done: recordings written, index lines too.
  private func waitUntilQuiet(_ running: RunningSubject, sessions: Int) throws(BenchError) {
    guard let index = running.index else {
      usleep(30_000)
      return
    }
    let deadline = monotonicNanoseconds() + 20_000_000_000
    var tail = IndexTail(path: index)
    while tail.ends < sessions {
      guard monotonicNanoseconds() < deadline else {
        throw BenchError("the relay ended \(tail.ends) of \(sessions) sessions; see '\(index)'")
      }
      try Interrupt.check()
      usleep(5_000)
      tail.read()
    }
  }

  // MARK: Messages of several sizes

  private func measureSizes() throws(BenchError) -> [BenchResult.MessageSize] {
    var rows: [BenchResult.MessageSize] = []
    for bytes in Workload.messageSizes {
      let load = try Load(.sizes, messageBytes: bytes)
      let units = Workload.sizes.units(extent, messageBytes: bytes)
      var plain: [Double] = []
      var recorded: [Double] = []
      var floors: [Double] = []
      for repetition in 0..<min(extent.repetitions, 7) {
        Progress.show("messages of \(bytes) bytes: repetition \(repetition + 1)")
        // Who goes first changes here too.
        if repetition % 2 == 0 { plain.append(try measure(OwnRelay.plain(), load, units: units).cpu) }
        let sample = try measure(OwnRelay.recorded(), load, units: units)
        recorded.append(sample.cpu)
        if repetition % 2 == 1 { plain.append(try measure(OwnRelay.plain(), load, units: units).cpu) }
        let files = try freshDirectory("floor")
        try warmMemory(.sizes, near: files)
        floors.append(Double(try Floor.measure(sample.sizes, in: files)) / Double(sample.units))
        if areLarge(sample.sizes) { FileSystem.remove(files) }
      }
      let row = BenchResult.MessageSize(
        bytes: bytes, plainNanoseconds: Statistics.median(plain), recordedNanoseconds: Statistics.median(recorded),
        ratio: Statistics.median(zip(recorded, plain).map { $0 / $1 }), floorNanoseconds: Statistics.median(floors))
      Progress.say("messages of \(bytes) bytes: recorded / plain \(Table.ratio(row.ratio))")
      rows.append(row)
    }
    return rows
  }

  // MARK: Idle connections

  private func measureIdle() throws(BenchError) -> [BenchResult.Idle] {
    let load = try Load(.idle)
    let count = Workload.idle.units(extent)
    var rows: [BenchResult.Idle] = []
    for subject in [OwnRelay.plain(), OwnRelay.recorded(), OwnRelay.listening()]
      + peers.flatMap({ $0.subjects(for: .idle) })
    {
      Progress.show("idle: \(subject.name)")
      let running = try subject.start(load.serverPort, try freshDirectory(subject.name.replacing(" ", with: "-")))
      // What the first connections need once and for all is no part of it.
      try load.hold(port: running.port, count: Workload.idle.warmUpUnits(extent))
      let before = try settledBytes(running)
      try load.hold(port: running.port, count: Workload.idle.warmUpUnits(extent) + count)
      let bytes = try settledBytes(running)
      try load.release()
      running.process.end()
      rows.append(
        BenchResult.Idle(name: subject.name, bytes: Double(max(0, bytes - before)) / Double(count), connections: count))
    }
    return rows
  }

  /// What a subject keeps: memory that a moment of work needed is given back after some seconds.
  private func settledBytes(_ running: RunningSubject) throws(BenchError) -> Int {
    var bytes = Int.max
    for _ in 0..<(extent == .tiny || running.index == nil ? 1 : 12) {
      try Interrupt.check()
      sleep(1)
      bytes = min(bytes, running.privateBytes)
    }
    return bytes
  }
}
