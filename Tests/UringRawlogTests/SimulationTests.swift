import Glibc
import Testing

@testable import UringRawlog

/// The whole loop over the simulated ring. A failure names its seed: `SIMULATION_SEED=N SIMULATION_SEEDS=1` runs it
/// alone.
@Suite struct SimulationTests {
  private static func number(_ name: String) -> UInt64? { getenv(name).flatMap { UInt64(String(cString: $0)) } }

  /// What the seeds came by.
  private struct Reached {
    var (promotions, demotions) = (0, 0)
    var (redactions, loginEnds) = (0, 0)
    var refusals = 0
  }

  /// Two processors have half of the seeds each.
  @Test(arguments: [0, 1] as [UInt64])
  func everySeedKeepsTheOracles(half: UInt64) {
    let first = Self.number("SIMULATION_SEED") ?? 1
    let count = Self.number("SIMULATION_SEEDS") ?? 400
    let showsProgress = Self.number("SIMULATION_PROGRESS") != nil
    var reached = Reached()
    for seed in stride(from: first + half, to: first + count, by: 2) {
      var scenario = Scenario(seed: seed)
      scenario.run()
      if showsProgress { print("seed \(seed): \(scenario.turns) turns") }
      #expect(scenario.failures.isEmpty, "seed \(seed): \(scenario.failures.prefix(5).joined(separator: "; "))")
      if !scenario.failures.isEmpty { return }
      reached.promotions += scenario.promotions
      reached.demotions += scenario.demotions
      reached.redactions += scenario.redactions
      reached.loginEnds += scenario.loginEnds
      reached.refusals += scenario.refusals
    }
    // The seeds reach what they are for.
    if count >= 400 {
      let seeds = Int(count / 2)
      #expect(reached.promotions > seeds / 2 && reached.demotions > seeds / 10)
      #expect(reached.redactions > seeds / 4 && reached.loginEnds > seeds / 40)
      #expect(reached.refusals > seeds / 10)
    }
    if showsProgress { print(reached) }
  }
  @Test(arguments: [0, 1] as [UInt64])
  func everySeedKeepsTheOraclesOfStartTLS(half: UInt64) {
    let first = Self.number("SIMULATION_SEED") ?? 1
    let count = (Self.number("SIMULATION_SEEDS") ?? 400) / 5
    var completions: [StartTLSScenario.Kind: Int] = [:]
    for seed in stride(from: first + half, to: first + max(count, 2), by: 2) {
      var scenario = StartTLSScenario(seed: seed)
      scenario.run()
      #expect(scenario.failures.isEmpty, "seed \(seed): \(scenario.failures.prefix(5).joined(separator: "; "))")
      if !scenario.failures.isEmpty { return }
      completions[scenario.kind, default: 0] += scenario.completions
    }
    if count >= 80 {
      for kind in StartTLSScenario.Kind.allCases { #expect(completions[kind, default: 0] >= count / 32, "\(kind)") }
    }
  }
}
