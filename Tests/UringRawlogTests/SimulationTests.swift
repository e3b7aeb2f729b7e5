import Glibc
import Testing

@testable import UringRawlog

/// The whole loop over the simulated ring. A failure names its seed: `SIMULATION_SEED=N SIMULATION_SEEDS=1` runs it
/// alone.
@Suite struct SimulationTests {
  private static func number(_ name: String) -> UInt64? { getenv(name).flatMap { UInt64(String(cString: $0)) } }

  /// Seeds that failed once. 4854: a recording failed while it was losing a credential.
  @Test(arguments: [4854]) func seedsThatFailedOnce(_ seed: UInt64) {
    var scenario = Scenario(seed: seed)
    scenario.run()
    #expect(scenario.failures.isEmpty, "\(scenario.failures.prefix(5).joined(separator: "; "))")
  }

  @Test func everySeedKeepsTheOracles() {
    let first = Self.number("SIMULATION_SEED") ?? 1
    let count = Self.number("SIMULATION_SEEDS") ?? 400
    var (promotions, demotions) = (0, 0)
    var (redactions, loginEnds) = (0, 0)
    for seed in first..<first + count {
      var scenario = Scenario(seed: seed)
      scenario.run()
      if Self.number("SIMULATION_PROGRESS") != nil { print("seed \(seed): \(scenario.turns) turns") }
      #expect(scenario.failures.isEmpty, "seed \(seed): \(scenario.failures.prefix(5).joined(separator: "; "))")
      if !scenario.failures.isEmpty { break }
      promotions += scenario.promotions
      demotions += scenario.demotions
      redactions += scenario.redactions
      loginEnds += scenario.loginEnds
    }
    // The seeds reach what they are for.
    if count >= 400 {
      #expect(promotions > Int(count) / 2 && demotions > Int(count) / 10)
      #expect(redactions > Int(count) / 4 && loginEnds > Int(count) / 20)
    }
    if Self.number("SIMULATION_PROGRESS") != nil {
      print("\(promotions) promotions, \(demotions) demotions, \(redactions) redactions, \(loginEnds) ends at a login")
    }
  }
}
