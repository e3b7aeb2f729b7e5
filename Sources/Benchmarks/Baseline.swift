/// An earlier result that a run must not be much worse than.
///
/// Only ratios are compared: they hold on another day, and where the machine is a little faster or slower. What may be
/// worse by how much is here.
struct Baseline {
  let path: String
  let result: BenchResult

  /// How much larger a figure may be than in the baseline.
  static let tolerance = 0.10
  /// Sessions and their tails are noisier than bytes.
  static let sessionTolerance = 0.20
  static let tailTolerance = 0.30

  static func tolerance(_ workload: String) -> Double {
    switch Workload(rawValue: workload) {
    case .mail, .churn, .idle, .postlogin, .tlsChurn: sessionTolerance
    case .bulk, .bulk16, .pingpong, .sizes, .tlsBulk, nil: tolerance
    }
  }

  /// - Throws: `BenchError` (65) for a baseline of another version or kind of machine: its figures say nothing here.
  func check(comparableWith machine: BenchResult.Machine) throws(BenchError) {
    guard result.version == 1 else {
      throw BenchError(
        "--baseline: '\(path)' has version \(result.version), this program reads 1; make a new one with --output",
        status: 65)
    }
    for (name, theirs, ours) in [
      ("processor", result.machine.cpu, machine.cpu), ("cores", "\(result.machine.cores)", "\(machine.cores)"),
      ("architecture", result.machine.architecture, machine.architecture),
      ("file system", result.machine.fileSystem, machine.fileSystem),
      ("kernel", release(result.machine.kernel), release(machine.kernel)),
    ] where theirs != ours {
      throw BenchError(
        "--baseline: '\(path)' is of another kind of machine (\(name): '\(theirs)' there, '\(ours)' here); make one here "
          + "with --output", status: 65)
    }
  }

  /// Major and minor version: patches do not change what things cost.
  private func release(_ text: String) -> String { text.split(separator: ".").prefix(2).joined(separator: ".") }

  /// What got worse by more than it may, one line each.
  func regressions(in new: BenchResult) -> [String] {
    var lines: [String] = []
    func compare(_ name: String, _ old: Double?, _ new: Double?, _ tolerance: Double) {
      guard let old, old.isFinite, old > 0 else { return }
      guard let new, new.isFinite else {
        lines.append("\(name) has no stable figure; the baseline has \(Table.ratio(old))")
        return
      }
      if new > old * (1 + tolerance) {
        lines.append(
          "\(name) is \(Table.ratio(new)), was \(Table.ratio(old)): more than \(Int(tolerance * 100)) % worse")
      }
    }
    for figure in new.workloads {
      guard let old = result.workloads.first(where: { $0.name == figure.name }) else { continue }
      let tolerance = Self.tolerance(figure.name)
      compare("\(figure.name): recorded over plain", old.ratio, figure.ratio, tolerance)
      compare("\(figure.name): p99 recorded over plain", old.p99Ratio, figure.p99Ratio, Self.tailTolerance)
      for variant in figure.variants ?? [] {
        guard let was = old.variants?.first(where: { $0.name == variant.name }) else { continue }
        compare("\(figure.name): \(variant.name) over plain", was.ratio, variant.ratio, tolerance)
      }
    }
    for peer in new.peers {
      guard let old = result.peers.first(where: { $0.name == peer.name && $0.workload == peer.workload }) else {
        continue
      }
      compare(
        "\(peer.workload): plain over \(peer.name)", old.plainRatio, peer.plainRatio, Self.tolerance(peer.workload))
      compare(
        "\(peer.workload): recorded over \(peer.name)", old.recordedRatio, peer.recordedRatio,
        Self.tolerance(peer.workload))
    }
    for row in new.idle ?? [] {
      guard let old = result.idle?.first(where: { $0.name == row.name }) else { continue }
      compare("idle: \(row.name), bytes a session", old.bytes, row.bytes, Self.sessionTolerance)
    }
    for row in new.postlogin ?? [] {
      guard let old = result.postlogin?.first(where: { $0.name == row.name }) else { continue }
      if old.ratio != nil || row.ratio != nil {
        compare("postlogin: \(row.name) over Dovecot's", old.ratio, row.ratio, Self.sessionTolerance)
      }
      compare(
        "postlogin: \(row.name), private memory", old.privateBytes, row.privateBytes, Self.sessionTolerance)
    }
    return lines
  }
}
