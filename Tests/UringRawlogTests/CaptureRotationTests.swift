import Testing

@testable import UringRawlog

@Suite struct CaptureRotationTests {
  private let second: UInt64 = 1_000_000_000

  @Test func aCaptureIsBegunWhenThereIsSomethingToRecord() {
    var rotation = CaptureRotation()
    #expect(rotation.want(100, position: 0, packets: 0, now: 5) == .create)
    #expect(rotation.phase == .creating)
    #expect(rotation.want(100, position: 0, packets: 0, now: 5) == .compose)
    rotation.created()
    #expect(rotation.want(1 << 30, position: 1 << 40, packets: 9, now: .max) == .compose, "without limits never")
    #expect(rotation.deadline(packets: 9) == nil)
  }

  private func opened(mostBytes: UInt64? = nil, mostNanoseconds: UInt64? = nil) -> CaptureRotation {
    var rotation = CaptureRotation(mostBytes: mostBytes, mostNanoseconds: mostNanoseconds)
    _ = rotation.want(0, position: 0, packets: 0, now: 10 * second)
    rotation.created()
    return rotation
  }

  @Test func size() {
    var rotation = opened(mostBytes: 1000)
    #expect(rotation.want(100, position: 900, packets: 1, now: 0) == .compose)
    #expect(rotation.want(101, position: 900, packets: 0, now: 0) == .compose, "one without packets is kept")
    #expect(rotation.want(101, position: 900, packets: 1, now: 0) == .end)
    #expect(rotation.phase == .none && rotation.isEnding)
    #expect(rotation.want(101, position: 0, packets: 0, now: 0) == .create)
  }

  @Test func age() {
    var rotation = opened(mostNanoseconds: 60 * second)
    #expect(rotation.deadline(packets: 0) == nil)
    #expect(rotation.deadline(packets: 1) == 70 * second)
    #expect(rotation.tick(position: 500, packets: 1, now: 70 * second - 1) == nil)
    #expect(rotation.tick(position: 100, packets: 0, now: 70 * second) == nil)
    #expect(rotation.want(1, position: 500, packets: 1, now: 70 * second - 1) == .compose)
    var other = rotation
    #expect(rotation.tick(position: 500, packets: 1, now: 70 * second) == .end)
    #expect(rotation.phase == .none, "the next is begun when it is needed")
    #expect(other.want(1, position: 500, packets: 1, now: 70 * second) == .end)
  }

  @Test func oneIsEndedAtATime() {
    var rotation = opened(mostBytes: 1000, mostNanoseconds: second)
    #expect(rotation.want(1001, position: 500, packets: 1, now: 10 * second) == .end)
    #expect(rotation.want(1, position: 0, packets: 0, now: 10 * second) == .create)
    rotation.created()
    // The next has become too large and too old, and the one before is not done.
    #expect(rotation.want(1, position: 2000, packets: 5, now: 90 * second) == .compose)
    #expect(rotation.tick(position: 2000, packets: 5, now: 90 * second) == nil)
    #expect(rotation.deadline(packets: 5) == nil)
    rotation.ended()
    #expect(rotation.want(1, position: 2000, packets: 5, now: 90 * second) == .end)
  }

  @Test func failures() {
    var rotation = CaptureRotation()
    #expect(rotation.want(1, position: 0, packets: 0, now: 0) == .create)
    rotation.failed(now: 5)
    let again = 5 + Limits.captureRetryNanoseconds
    #expect(rotation.want(1, position: 0, packets: 0, now: again - 1) == .refuse)
    #expect(rotation.want(1, position: 0, packets: 0, now: again) == .create)
    rotation.created()
    rotation.failed(now: 2 * again)
    rotation.created()
    #expect(rotation.phase == .failed(until: 2 * again + Limits.captureRetryNanoseconds), "a late answer is none")
    #expect(rotation.tick(position: 0, packets: 9, now: .max) == nil)
  }

  @Test func shutDown() {
    var none = CaptureRotation()
    #expect(none.shutDown() == nil)
    var rotation = opened()
    #expect(rotation.shutDown() == .end)
    #expect(rotation.shutDown() == nil)
  }
}
