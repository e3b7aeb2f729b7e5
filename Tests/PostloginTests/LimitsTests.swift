import Testing

@testable import rawlog

@Suite struct LimitsTests {
  @Test func hangTogether() { Limits.checkRelations() }
}
