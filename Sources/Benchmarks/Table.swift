/// Figures as a person reads them.
enum Table {
  static func ratio(_ value: Double) -> String { decimal(value, 2) }

  /// Nanoseconds a byte, or microseconds for what is larger.
  static func cost(_ nanoseconds: Double, _ unit: String) -> String {
    unit == "byte" ? "\(decimal(nanoseconds, 3)) ns" : "\(decimal(nanoseconds / 1000, 2)) µs"
  }

  static func rate(_ perSecond: Double, _ unit: String) -> String {
    unit == "byte" ? "\(decimal(perSecond / 1_048_576, 0)) MiB/s" : "\(decimal(perSecond, 0))/s"
  }

  static func decimal(_ value: Double, _ places: Int) -> String {
    var scale = 1.0
    for _ in 0..<places { scale *= 10 }
    // A baseline may say anything.
    guard value.isFinite, value.magnitude * scale < 1e18 else { return "-" }
    let whole = Int((value.magnitude * scale).rounded())
    let sign = value < 0 && whole > 0 ? "-" : ""
    guard places > 0 else { return "\(sign)\(whole)" }
    let digits = String(whole % Int(scale))
    return "\(sign)\(whole / Int(scale)).\(String(repeating: "0", count: places - digits.count))\(digits)"
  }

  static func print(_ result: BenchResult) {
    for line in lines(result) { Progress.say(line) }
  }

  static func lines(_ result: BenchResult) -> [String] {
    var rows: [[String]] = []
    for figure in result.workloads {
      rows.append([])
      rows.append([figure.name, "CPU a \(figure.unit)", "to plain", "rate", "p50", "p99"])
      rows.append(row("plain relaying", figure.unit, figure.plain, ratio: "1.00"))
      rows.append(row("recorded", figure.unit, figure.recorded, ratio: figure.ratio.map(ratio) ?? "unstable"))
      for variant in figure.variants ?? [] {
        let cost = BenchResult.Cost(
          cpuNanoseconds: variant.cpuNanoseconds, perSecond: variant.perSecond,
          p50Microseconds: variant.p50Microseconds, p99Microseconds: variant.p99Microseconds)
        rows.append(row(variant.name, figure.unit, cost, ratio: ratio(variant.ratio)))
      }
      for peer in result.peers where peer.workload == figure.name {
        let cost = BenchResult.Cost(
          cpuNanoseconds: peer.cpuNanoseconds, perSecond: peer.perSecond, p50Microseconds: peer.p50Microseconds,
          p99Microseconds: peer.p99Microseconds)
        rows.append(row(peer.name, figure.unit, cost, ratio: ratio(1 / peer.plainRatio)))
      }
      let overhead = figure.overheadNanoseconds.map { cost($0, figure.unit) } ?? "no stable figure"
      rows.append([
        "  recording adds \(overhead) a \(figure.unit); bare files of the same bytes: \(cost(figure.floorNanoseconds, figure.unit))"
      ])
      rows.append([
        "  recorded/plain from \(ratio(figure.spread[0])) to \(ratio(figure.spread[1])) in \(figure.repetitions) repetitions; "
          + "the load alone: \(rate(figure.loadPerSecond, figure.unit)); checksum \(figure.checksum)"
      ])
    }
    if let sizes = result.messageSizes {
      rows.append([])
      rows.append(["message size", "plain", "recorded", "to plain", "adds", "bare files"])
      for row in sizes {
        rows.append([
          "\(row.bytes) bytes", cost(row.plainNanoseconds, "message"), cost(row.recordedNanoseconds, "message"),
          ratio(row.ratio),
          cost(row.recordedNanoseconds - row.plainNanoseconds, "message"), cost(row.floorNanoseconds, "message"),
        ])
      }
    }
    if let idle = result.idle {
      rows.append([])
      rows.append(["idle", "private memory a session"])
      for row in idle { rows.append([row.name, "\(decimal(row.bytes, 0)) bytes"]) }
    }
    rows += postlogin(result.postlogin ?? [])
    let widths = (0..<6).map { column in
      rows.filter { $0.count > 1 }.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0
    }
    return rows.map { row in
      guard row.count > 1 else { return row.first ?? "" }
      var line = ""
      for (column, text) in row.enumerated() {
        let padding = String(repeating: " ", count: widths[column] - text.count)
        line += column == 0 ? text + padding : "  " + padding + text
      }
      while line.last == " " { line.removeLast() }
      return line
    }
  }

  private static func postlogin(_ rows: [BenchResult.Postlogin]) -> [[String]] {
    guard !rows.isEmpty else { return [] }
    var lines = [[], ["postlogin", "adds a session", "to Dovecot's", "rate", "private", "with shared"]]
    for row in rows {
      lines.append([
        row.name, cost(row.cpuNanoseconds, "session"), row.ratio.map(ratio) ?? "", rate(row.perSecond, "session"),
        "\(decimal(row.privateBytes / 1024, 0)) KiB", "\(decimal(row.proportionalBytes / 1024, 0)) KiB",
      ])
    }
    return lines
  }

  private static func row(_ name: String, _ unit: String, _ cost: BenchResult.Cost, ratio: String) -> [String] {
    [
      name, self.cost(cost.cpuNanoseconds, unit), ratio, rate(cost.perSecond, unit),
      cost.p50Microseconds.map { "\(decimal($0, 0)) µs" } ?? "",
      cost.p99Microseconds.map { "\(decimal($0, 0)) µs" } ?? "",
    ]
  }
}
