import Foundation
import Testing

@testable import Benchmarks

extension BenchResult {
  static func cost(_ nanoseconds: Double) -> Cost {
    Cost(cpuNanoseconds: nanoseconds, perSecond: 1e9, p50Microseconds: nil, p99Microseconds: nil)
  }

  static func figure(_ name: String, _ unit: String, ratio: Double?) -> Figure {
    Figure(
      name: name, unit: unit, plain: cost(1), recorded: cost(1.5), ratio: ratio,
      overheadNanoseconds: ratio.map { $0 - 1 }, floorNanoseconds: 0.25, spread: [1, 2], p99Ratio: nil, repetitions: 5,
      units: 100, checksum: "abc", loadPerSecond: 1e9, loadCPUNanoseconds: 0.5, variants: nil)
  }

  static let sampleMachine = Machine(
    cpu: "Processor", cores: 4, memoryBytes: 1 << 30, kernel: "6.12.3-generic", fileSystem: "ext4",
    architecture: "x86_64")

  /// Two workloads, of which the second has no stable figure.
  static let sample = BenchResult(
    program: "uring-rawlog 0", commit: nil, date: "2026-11-22", command: "uring-rawlog bench", machine: sampleMachine,
    workloads: [figure("bulk", "byte", ratio: 1.5), figure("mail", "session", ratio: nil)], idle: nil, peers: [])
}

extension BenchResult.Peer {
  static func sample(of workload: String, plain: Double, recorded: Double) -> Self {
    Self(
      name: "a peer", version: "1", configuration: "as it comes", workload: workload, unit: "byte", cpuNanoseconds: 2,
      perSecond: 9, p50Microseconds: nil, p99Microseconds: nil, plainRatio: plain, recordedRatio: recorded,
      recordedInMemoryRatio: nil, spread: [1, 1])
  }
}

@Suite struct BaselineTests {
  private static func regressions(_ old: BenchResult, _ new: BenchResult) -> [String] {
    Baseline(path: "old.json", result: old).regressions(in: new)
  }

  private static func result(_ change: (inout BenchResult) -> Void) -> BenchResult {
    var result = BenchResult.sample
    result.workloads[1].ratio = 2
    change(&result)
    return result
  }

  @Test func theSameIsNotWorse() {
    let result = Self.result { _ in }
    #expect(Self.regressions(result, result) == [])
    #expect(Self.regressions(result, Self.result { $0.workloads[0].ratio = 0.5 }) == [])
  }

  /// Bytes may cost 10 % more, sessions 20 %.
  @Test(
    arguments: [
      (0, 1.64, false), (0, 1.66, true), (1, 2.39, false), (1, 2.41, true), (0, .nan, true), (1, .infinity, true),
    ] as [(Int, Double, Bool)])
  func tolerance(place: Int, ratio: Double, isWorse: Bool) {
    let old = Self.result { _ in }
    let lines = Self.regressions(old, Self.result { $0.workloads[place].ratio = ratio })
    #expect(lines.count == (isWorse ? 1 : 0))
    if isWorse { #expect(lines[0].hasPrefix(place == 0 ? "bulk: recorded over plain" : "mail: recorded over plain")) }
  }

  @Test func aFigureThatIsNoneAnyMoreIsWorse() {
    let old = Self.result { _ in }
    let lines = Self.regressions(old, Self.result { $0.workloads[0].ratio = nil })
    #expect(lines == ["bulk: recorded over plain has no stable figure; the baseline has 1.50"])
    // What the baseline has no figure for cannot be worse.
    #expect(Self.regressions(Self.result { $0.workloads[0].ratio = nil }, old) == [])
    #expect(Self.regressions(Self.result { $0.workloads[0].ratio = 0 }, old) == [])
    #expect(Self.regressions(Self.result { $0.workloads.removeFirst() }, old) == [])
    #expect(Self.regressions(old, Self.result { $0.workloads.removeFirst() }) == [])
    // A baseline may say anything.
    let wild = Self.regressions(
      Self.result { $0.workloads[0].ratio = 1e300 }, Self.result { $0.workloads[0].ratio = nil })
    #expect(wild.count == 1)
  }

  @Test func everyKindOfFigureIsCompared() {
    func full(_ factor: Double) -> BenchResult {
      Self.result {
        $0.workloads[0].p99Ratio = factor
        $0.workloads[0].variants = [
          BenchResult.Variant(
            name: "recorded -t", cpuNanoseconds: 1, perSecond: 1, p50Microseconds: nil, p99Microseconds: nil,
            ratio: factor, spread: [1, 1])
        ]
        $0.peers = [.sample(of: "bulk", plain: factor, recorded: factor)]
        $0.idle = [BenchResult.Idle(name: "recorded", bytes: 1000 * factor, connections: 10)]
      }
    }
    let lines = Self.regressions(full(1), full(1.5))
    #expect(lines.count == 5)
    for name in [
      "bulk: p99 recorded over plain", "bulk: recorded -t over plain", "bulk: plain over a peer",
      "bulk: recorded over a peer", "idle: recorded, bytes a session",
    ] {
      #expect(lines.count { $0.hasPrefix(name) } == 1, "\(name)")
    }
    #expect(Self.regressions(full(1), full(1.05)) == [])
    // Tails may be 30 % worse.
    #expect(Self.regressions(full(1), full(1.25)).count { $0.contains("p99") } == 0)
  }

  @Test func onlyTheSameKindOfMachineIsCompared() throws {
    func check(_ change: (inout BenchResult.Machine) -> Void) -> BenchError? {
      var machine = BenchResult.sampleMachine
      change(&machine)
      do throws(BenchError) {
        try Baseline(path: "old.json", result: .sample).check(comparableWith: machine)
        return nil
      } catch {
        return error
      }
    }
    #expect(check { _ in } == nil)
    // Patches of the kernel and a module of memory more do not change what things cost.
    #expect(check { $0.kernel = "6.12.99" } == nil)
    #expect(check { $0.memoryBytes = 1 << 31 } == nil)
    let changes: [(String, (inout BenchResult.Machine) -> Void)] = [
      ("processor", { $0.cpu = "Another" }), ("cores", { $0.cores = 2 }), ("architecture", { $0.architecture = "arm" }),
      ("file system", { $0.fileSystem = "xfs" }), ("kernel", { $0.kernel = "6.13.3" }),
      ("kernel", { $0.kernel = "7.12.3" }),
    ]
    for (name, change) in changes {
      let error = try #require(check(change), "\(name)")
      #expect(error.status == 65 && error.description.contains("(\(name): ") && error.description.contains("old.json"))
    }
    var other = BenchResult.sample
    other.version = 2
    #expect(throws: BenchError.self) {
      try Baseline(path: "old.json", result: other).check(comparableWith: BenchResult.sampleMachine)
    }
  }

  /// A result that was written is read back, and has every field of the contract also where there is no number.
  @Test func resultsComeBack() throws {
    let data = try JSONEncoder().encode(BenchResult.sample)
    let top = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    let figures = try #require(top["workloads"] as? [[String: Any]])
    for figure in figures {
      for name in ["name", "unit", "plain", "recorded", "ratio", "overhead_ns", "floor_ns", "spread"] {
        #expect(figure[name] != nil, "\(name)")
      }
      for side in ["plain", "recorded"] {
        let cost = try #require(figure[side] as? [String: Any])
        #expect(Set(cost.keys) == ["cpu_ns", "per_second", "p50_us", "p99_us"])
        #expect(cost["p50_us"] is NSNull)
      }
    }
    #expect(figures[0]["ratio"] as? Double == 1.5 && figures[1]["ratio"] is NSNull)
    let back = try JSONDecoder().decode(BenchResult.self, from: data)
    #expect(
      back.workloads[0].ratio == 1.5 && back.workloads[1].ratio == nil && back.machine == BenchResult.sampleMachine)
    // Results in which such a field is left out are read too.
    let shorter = String(decoding: data, as: UTF8.self).replacing("\"ratio\":null,", with: "")
      .replacing(",\"ratio\":null", with: "")
    #expect(shorter.utf8.count < data.count)
    #expect(try JSONDecoder().decode(BenchResult.self, from: Data(shorter.utf8)).workloads[1].ratio == nil)
  }
}
