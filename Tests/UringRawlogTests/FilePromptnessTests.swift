import Testing

@testable import UringRawlog

@Suite struct FilePromptnessTests {
  private static let prompt = Limits.promptRingNanoseconds
  private static let slow = Limits.promptRingNanoseconds + 1

  /// One operation on the ring that took so long.
  private static func time(_ promptness: inout FilePromptness, _ nanoseconds: UInt64, at now: UInt64 = 5_000) {
    promptness.handedOver(Token(.writeIn, slot: 3, generation: 9)) { now }
    promptness.timedEnded(at: now + nanoseconds)
  }

  /// How many prompt operations it takes until the loop may do them itself.
  private static func count(_ promptness: inout FilePromptness) -> Int {
    for number in 1...2 * Limits.promptFileOperationsMaximum {
      time(&promptness, prompt)
      if promptness.isShown { return number }
    }
    return .max
  }

  @Test func aRunOfPromptOperationsShowsIt() {
    var promptness = FilePromptness()
    let isShown = promptness.isShown
    #expect(!isShown)
    #expect(Self.count(&promptness) == Limits.promptFileOperations)
  }

  @Test func aSlowOneBeginsTheRunAnew() {
    var promptness = FilePromptness()
    for _ in 1..<Limits.promptFileOperations { Self.time(&promptness, Self.prompt) }
    Self.time(&promptness, Self.slow)
    #expect(!promptness.isShown)
    #expect(Self.count(&promptness) == Limits.promptFileOperations)
  }

  @Test func oneIsTimedAtATime() {
    var promptness = FilePromptness()
    let first = Token(.openIn, slot: 1, generation: 1)
    promptness.handedOver(first) { 100 }
    promptness.handedOver(Token(.openOut, slot: 1, generation: 1)) {
      Issue.record("the clock is read for nothing")
      return 200
    }
    #expect(promptness.timedToken == first.rawValue)
    promptness.timedEnded(at: 300)
    #expect(promptness.timedToken == 0)
  }

  /// Once it is shown, nothing is timed on the ring any more.
  @Test func whatIsShownIsNotTimed() {
    var promptness = FilePromptness()
    _ = Self.count(&promptness)
    promptness.handedOver(Token(.writeOut)) { 1 }
    #expect(promptness.timedToken == 0)
  }

  @Test func aSlowOneInTheLoopSendsThemBackForMuchLonger() {
    var promptness = FilePromptness()
    _ = Self.count(&promptness)
    promptness.took(Limits.promptLoopNanoseconds)
    #expect(promptness.isShown)
    var expected = Limits.promptFileOperations
    var rounds = 0
    while expected < Limits.promptFileOperationsMaximum {
      promptness.took(Limits.promptLoopNanoseconds + 1)
      #expect(!promptness.isShown)
      expected = min(expected * Limits.promptFileOperationsFactor, Limits.promptFileOperationsMaximum)
      rounds += 1
      #expect(Self.count(&promptness) == expected)
    }
    #expect(rounds > 1)
    // And no longer than the most.
    promptness.took(.max)
    #expect(Self.count(&promptness) == Limits.promptFileOperationsMaximum)
  }
}
