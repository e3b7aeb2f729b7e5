import Testing

@testable import rawlog

@Suite struct FlowTests {
  private let full = Limits.chunkBytes

  @Test func oneChunk() throws {
    var flow = Flow(source: 0, sink: 1)
    #expect(flow.readPlace == 0)
    #expect(flow.sendable == nil && flow.recordable == nil && !flow.isDelivered)
    flow.received(10, at: 7)
    let toSend = try #require(flow.sendable)
    #expect(toSend.place == 0 && toSend.bytes == 0..<10)
    let toRecord = try #require(flow.recordable)
    #expect(toRecord.place == 0 && toRecord.bytes == 0..<10 && toRecord.time == 7)
    flow.sent(4)
    #expect(flow.sendable?.bytes == 4..<10)
    #expect(flow.queuedBytes == 6)
    flow.sent(6)
    #expect(flow.sendable == nil)
    flow.recorded(10, isDone: false)
    // The marker behind it is still to come.
    #expect(flow.recordable?.bytes == 10..<10)
    flow.recorded(0, isDone: true)
    #expect(flow.recordable == nil)
  }

  @Test func aPlaceIsFreeWhenItIsSentAndRecorded() {
    var flow = Flow(source: 0, sink: 1)
    for number in 0..<Flow.places {
      #expect(flow.readPlace == number)
      flow.received(1, at: 0)
    }
    #expect(flow.readPlace == nil)
    flow.sent(1)
    #expect(flow.readPlace == nil)
    flow.recorded(1, isDone: true)
    #expect(flow.readPlace == 0)
  }

  @Test func aSlowSinkPausesItsSource() {
    var flow = Flow(source: 0, sink: 1)
    flow.received(full, at: 0)
    #expect(flow.readPlace == 1)
    flow.received(1, at: 0)
    #expect(flow.queuedBytes == full + 1 && flow.readPlace == nil)
    flow.sent(1)
    #expect(flow.readPlace == 2)
  }

  @Test func placesBeginAnewWhenAllAreFree() {
    var flow = Flow(source: 0, sink: 1)
    flow.received(1, at: 0)
    flow.sent(1)
    flow.rewind()
    #expect(flow.readPlace == 1)
    flow.recorded(1, isDone: true)
    flow.isReading = true
    flow.rewind()
    flow.isReading = false
    #expect(flow.readPlace == 1)
    flow.rewind()
    #expect(flow.readPlace == 0)
  }

  @Test func theEndComesAfterTheLastByte() {
    var flow = Flow(source: 0, sink: 1)
    flow.received(2, at: 0)
    flow.hasEnded = true
    #expect(flow.readPlace == nil && !flow.isDelivered)
    flow.isSending = true
    flow.sent(2)
    #expect(!flow.isDelivered)
    flow.isSending = false
    #expect(flow.isDelivered)
    flow.finish()
    #expect(flow.isOver && !flow.isDelivered)
    // It is recorded all the same.
    #expect(flow.recordable?.bytes == 0..<2)
  }

  @Test func whatCannotBeDeliveredIsOnlyRecorded() {
    var flow = Flow(source: 0, sink: 1)
    flow.received(2, at: 0)
    flow.finish()
    #expect(flow.sendable == nil && flow.queuedBytes == 0 && flow.readPlace == nil)
    flow.received(3, at: 0)
    #expect(flow.sendable == nil && flow.queuedBytes == 0)
    flow.sent(2)
    #expect(flow.queuedBytes == 0)
    flow.recorded(2, isDone: true)
    #expect(flow.recordable?.bytes == 0..<3)
  }

  @Test func withoutARecordingOnlySendingCounts() {
    var flow = Flow(source: 0, sink: 1)
    for _ in 0..<Flow.places { flow.received(1, at: 0) }
    flow.skipRecording()
    #expect(flow.recordable == nil)
    for _ in 0..<Flow.places { flow.sent(1) }
    #expect(flow.readPlace == 0)
  }
}
