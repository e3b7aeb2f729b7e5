import Testing

@testable import UringRawlog

/// The state machine of one direction, alone: by hand for both half-closes, and against a model under any legal order
/// of events.
@Suite struct FlowTests {
  private static let pause = Limits.queuedBytesPause

  /// A flow whose receive is armed and brought `bytes`.
  private func flow(received bytes: Int) -> Flow {
    var flow = Flow()
    flow.receiveArmed()
    if bytes > 0 { flow.received(bytes, pauseAbove: Self.pause) }
    return flow
  }

  // MARK: By hand

  @Test func aFreshFlowWantsOnlyToReceive() {
    let flow = Flow()
    #expect(flow.mayReceive && !flow.maySend && !flow.mayShut && !flow.isFinished && !flow.mustCancelReceive)
    #expect(flow.queued == 0 && !flow.isSending)
  }

  /// The sender ends its stream while bytes wait: they are sent first, then the end is passed on.
  @Test func theEndOfTheSourceFollowsItsBytes() {
    var flow = flow(received: 10)
    #expect(flow.maySend && !flow.mayReceive)
    flow.sendStarted(10, at: 5)
    flow.receiveEnded()
    flow.sourceEnded()
    #expect(!flow.mayReceive && !flow.maySend && !flow.mayShut && !flow.isFinished)
    // The socket took only a part.
    flow.sendEnded(4)
    #expect(flow.queued == 6 && flow.maySend && !flow.mayShut && !flow.isFinished)
    flow.sendStarted(6, at: 6)
    #expect(flow.sendingSince == 6 && flow.isSending)
    flow.sendEnded(6)
    #expect(flow.mayShut && !flow.maySend && !flow.isFinished)
    flow.sinkShut()
    #expect(flow.isFinished && !flow.mayShut && flow.sent == 10)
  }

  /// One direction has ended; the other goes on as if nothing had happened, and ends for itself.
  @Test func halfClosesOfBothSides() {
    var (one, other) = (flow(received: 0), flow(received: 0))
    one.receiveEnded()
    one.sourceEnded()
    #expect(one.mayShut)
    one.sinkShut()
    #expect(one.isFinished && !other.isFinished)
    other.received(3, pauseAbove: Self.pause)
    #expect(other.maySend)
    other.sendStarted(3, at: 1)
    other.sendEnded(3)
    #expect(!other.mayShut && !other.isFinished)
    other.receiveEnded()
    #expect(other.mayReceive)
    other.receiveArmed()
    other.receiveEnded()
    other.sourceEnded()
    #expect(other.mayShut)
    other.sinkShut()
    #expect(one.isFinished && other.isFinished)
  }

  @Test func aBrokenSourceStillDeliversWhatItSent() {
    var flow = flow(received: 5)
    flow.receiveEnded()
    flow.sourceFailed()
    #expect(flow.maySend && !flow.mayReceive && !flow.mayShut)
    flow.sendStarted(5, at: 1)
    flow.sendEnded(5)
    #expect(flow.mayShut)
    flow.sinkShut()
    #expect(flow.isFinished && flow.source == .failed)
  }

  /// An end behind a failure does not make it a clean one; a failure behind an end is a failure.
  @Test func aFailureIsTheStrongerEnd() {
    var failedFirst = flow(received: 0)
    failedFirst.sourceFailed()
    failedFirst.sourceEnded()
    #expect(failedFirst.source == .failed)
    var endedFirst = flow(received: 0)
    endedFirst.sourceEnded()
    endedFirst.sourceFailed()
    #expect(endedFirst.source == .failed)
  }

  /// The receiver is gone: what waits is lost and counted, the sender is still read from.
  @Test func aBrokenSinkDiscards() {
    var flow = flow(received: 8)
    flow.sendStarted(8, at: 1)
    flow.sendEnded(3)
    flow.sinkFailed()
    #expect(!flow.maySend && !flow.mayShut && !flow.isFinished)
    flow.discardQueued()
    #expect(flow.queued == 0 && flow.received == 8)
    flow.receiveEnded()
    #expect(flow.mayReceive)
    flow.receiveArmed()
    flow.received(2, pauseAbove: Self.pause)
    flow.discardQueued()
    #expect(flow.queued == 0 && flow.received == 10)
    flow.receiveEnded()
    flow.sourceEnded()
    #expect(flow.isFinished && !flow.mayShut)
  }

  @Test func nothingIsFinishedWhileASendIsInFlight() {
    var flow = flow(received: 8)
    flow.sendStarted(8, at: 1)
    flow.receiveEnded()
    flow.sourceFailed()
    flow.sinkFailed()
    #expect(!flow.isFinished)
    flow.sendEnded(0)
    #expect(flow.isFinished)
    flow.discardQueued()
    #expect(flow.queued == 0 && flow.received == 8)
  }

  /// Backpressure begins above the limit and ends when half of it is left.
  @Test func pausesAboveTheLimitAndResumesAtHalf() {
    var flow = flow(received: Self.pause)
    #expect(!flow.isPaused && !flow.mustCancelReceive)
    flow.received(1, pauseAbove: Self.pause)
    #expect(flow.isPaused && flow.mustCancelReceive)
    flow.receiveCancelling()
    #expect(!flow.mustCancelReceive)
    flow.receiveEnded()
    #expect(!flow.mayReceive)
    flow.sendStarted(Self.pause + 1, at: 1)
    flow.sendEnded(Self.pause / 2)
    #expect(flow.isPaused && !flow.mayReceive)
    flow.sendStarted(Self.pause / 2 + 1, at: 2)
    flow.sendEnded(1)
    #expect(!flow.isPaused && flow.mayReceive && flow.queued == UInt64(Self.pause / 2))
  }

  /// While memory is scarce less may wait; it is half of that which must be gone.
  @Test func pausesEarlierWhileMemoryIsScarce() {
    let scarce = Limits.queuedBytesPauseScarce
    var flow = Flow()
    flow.receiveArmed()
    flow.received(scarce + 2, pauseAbove: scarce)
    flow.receiveEnded()
    #expect(flow.isPaused && flow.isCautious)
    flow.sendStarted(scarce + 2, at: 1)
    flow.sendEnded(scarce / 2 + 1)
    #expect(flow.isPaused)
    flow.sendStarted(1, at: 1)
    flow.sendEnded(1)
    #expect(!flow.isPaused && flow.isCautious && flow.mayReceive)
    // It is read with caution until all is gone.
    flow.sendStarted(scarce / 2, at: 1)
    flow.sendEnded(scarce / 2)
    #expect(!flow.isCautious)
    // With no memory at all nothing may wait.
    flow.receiveArmed()
    flow.received(1, pauseAbove: 0)
    #expect(flow.isPaused)
    flow.sendStarted(1, at: 1)
    flow.sendEnded(1)
    #expect(!flow.isPaused)
  }

  @Test func aRestingFlowStartsNothing() {
    var flow = flow(received: 5)
    flow.receiveEnded()
    flow.isResting = true
    #expect(!flow.mayReceive && !flow.maySend)
    flow.isResting = false
    #expect(flow.mayReceive && flow.maySend)
  }

  @Test func aMissedCancelLeavesTheReceiveArmed() {
    var flow = flow(received: Self.pause + 1)
    flow.receiveCancelling()
    flow.receiveCancelMissed()
    #expect(flow.receive == .armed && flow.mustCancelReceive)
    flow.receiveCancelling()
    flow.receiveEnded()
    // The receive had ended by itself: its state must not come back.
    flow.receiveCancelMissed()
    #expect(flow.receive == .off)
  }

  @Test func aHeldFlowDoesNotReceiveButSends() {
    var flow = flow(received: 5)
    flow.isHeld = true
    #expect(flow.mustCancelReceive && flow.maySend)
    flow.receiveCancelling()
    flow.receiveEnded()
    #expect(!flow.mayReceive)
    flow.isHeld = false
    #expect(flow.mayReceive)
    flow.receiveArmed()
    flow.receiveStarved()
    #expect(flow.receive == .starved && !flow.mayReceive)
    flow.receiveEnded()
    #expect(flow.mayReceive)
  }

  @Test func aParkedFlowIsNoLongerParkedWhenAllIsSent() {
    var flow = flow(received: 5)
    flow.isParked = true
    flow.sendStarted(5, at: 1)
    flow.sendEnded(4)
    #expect(flow.isParked)
    flow.sendStarted(1, at: 1)
    flow.sendEnded(1)
    #expect(!flow.isParked)
    flow.received(5, pauseAbove: Self.pause)
    flow.isParked = true
    flow.sinkFailed()
    flow.discardQueued()
    #expect(!flow.isParked)
  }

  // MARK: Splicing

  private static let thresholds = SpliceThresholds(
    bulkBytes: 1000, bulkReceiveBytes: 100, thinWakeBytes: 10, thinWakes: 3)

  /// A flow that is spliced, after having received `bytes` into memory.
  private func spliced(after bytes: Int = 0) -> Flow {
    var flow = flow(received: bytes)
    flow.receiveEnded()
    if bytes > 0 {
      flow.sendStarted(bytes, at: 1)
      flow.sendEnded(bytes)
    }
    flow.turning()
    flow.turned()
    return flow
  }

  /// An idle session must not cost much; docs/DESIGN.md says how much.
  @Test func aFlowIsSmall() {
    #expect(MemoryLayout<Flow>.stride <= 64)
  }

  @Test func bulkIsWhatMovedInLargePieces() {
    var flow = flow(received: 500)
    flow.weigh(Self.thresholds)
    #expect(!flow.isBulk(Self.thresholds))
    // Nothing new is no news.
    flow.weigh(Self.thresholds)
    flow.received(499, pauseAbove: Self.pause)
    flow.weigh(Self.thresholds)
    #expect(flow.bulk == 999 && !flow.isBulk(Self.thresholds))
    flow.received(1000, pauseAbove: Self.pause)
    flow.weigh(Self.thresholds)
    #expect(flow.isBulk(Self.thresholds))
    // Small pieces are forgotten, and make what came before them less.
    flow.received(10, pauseAbove: Self.pause)
    flow.weigh(Self.thresholds)
    #expect(flow.bulk == 1004)
    flow.received(10, pauseAbove: Self.pause)
    flow.weigh(Self.thresholds)
    #expect(!flow.isBulk(Self.thresholds))
    for _ in 0..<100 {
      flow.received(99, pauseAbove: Self.pause)
      flow.weigh(Self.thresholds)
    }
    #expect(!flow.isBulk(Self.thresholds))
  }

  /// What was received into memory is sent before anything is spliced behind it.
  @Test func turningWaitsForWhatIsOnTheWay() {
    var flow = flow(received: 10)
    flow.turning()
    #expect(!flow.mayTurn && flow.mustCancelReceive && flow.maySend)
    flow.receiveCancelling()
    flow.received(5, pauseAbove: Self.pause)
    flow.receiveEnded()
    #expect(!flow.mayTurn && !flow.mayReceive)
    flow.sendStarted(15, at: 1)
    flow.sendEnded(10)
    #expect(!flow.mayTurn && flow.maySend)
    flow.sendStarted(5, at: 1)
    #expect(!flow.mayTurn)
    flow.sendEnded(5)
    #expect(flow.mayTurn && !flow.mayReceive)
    flow.turned()
    #expect(flow.mayPollSource && !flow.mayPollSink && !flow.mayReceive && !flow.maySend)
  }

  @Test func aSplicedFlowWaitsForBytesOrForRoom() {
    var flow = spliced(after: 10)
    flow.polling()
    #expect(!flow.mayPollSource)
    flow.pollEnded(isReady: true)
    #expect(flow.isReady && !flow.mayPollSource)
    flow.readinessTaken()
    flow.splicedIn(100)
    #expect(flow.queued == 100 && flow.received == 110 && !flow.mayPollSource && flow.mayPollSink && !flow.maySend)
    flow.splicedOut(60)
    #expect(flow.mayPollSink && flow.sent == 70)
    flow.isResting = true
    #expect(!flow.mayPollSink)
    flow.isResting = false
    flow.splicedOut(40)
    #expect(flow.mayPollSource && !flow.mayPollSink)
    flow.polling()
    flow.pollEnded(isReady: false)
    #expect(!flow.isReady && flow.mayPollSource)
  }

  /// The end is passed on behind what is in the pipe.
  @Test func theEndOfASplicedStream() {
    var flow = spliced()
    flow.splicedIn(9)
    flow.sourceEnded()
    #expect(!flow.mayShut && flow.mayPollSink && !flow.mayPollSource)
    flow.splicedOut(9)
    #expect(flow.mayShut && !flow.mayPollSink)
    flow.sinkShut()
    #expect(flow.isFinished)
  }

  @Test func aBrokenSinkOfASplicedFlow() {
    var flow = spliced()
    flow.splicedIn(9)
    flow.polling()
    flow.sinkFailed()
    #expect(!flow.mayPollSink && !flow.mayPollSource && !flow.mayReceive)
    flow.discardQueued()
    flow.copying()
    #expect(flow.mayReceive && flow.received == 9 && flow.queued == 0)
    // The poll that is still out there is no news any more.
    flow.pollEnded(isReady: true)
    #expect(!flow.isReady && !flow.isPolling)
  }

  @Test func fewBytesInARowAreThin() {
    var flow = spliced()
    for bytes in [9, 9, 10, 0, 9] { flow.woke(bytes, Self.thresholds) }
    #expect(!flow.isThin(Self.thresholds))
    flow.woke(1, Self.thresholds)
    #expect(flow.isThin(Self.thresholds))
    flow.splicedIn(3)
    #expect(!flow.isThin(Self.thresholds))
    flow.splicedOut(3)
    flow.copying()
    #expect(flow.mayReceive && flow.way == .copy && flow.bulk == 0)
    // What was spliced does not count for the next time.
    flow.weigh(Self.thresholds)
    #expect(flow.bulk == 0)
  }

  // MARK: Against a model

  /// The same direction as accounts of where its bytes are, with every question answered from them.
  private struct Model {
    enum Receive { case none, armed, cancelling, starved }
    enum End { case open, ended, failed }

    /// Bytes that were received and neither sent nor lost, and those that were.
    var waiting = 0
    var delivered = 0
    var lost = 0
    /// Bytes of the send in flight.
    var offered = 0
    var offeredAt: UInt64 = 0
    var receive = Receive.none
    var source = End.open
    var isShut = false
    var isSinkBroken = false
    var isPaused = false
    /// How much may wait for the pause to end.
    var resumeAt = 0
    var isCautious = false
    var isHeld = false
    var isResting = false
    var isParked = false

    var mayReceive: Bool { receive == .none && source == .open && !isPaused && !isHeld && !isResting }
    var mustCancel: Bool { receive == .armed && source == .open && (isPaused || isHeld) }
    var isSinkOpen: Bool { !isShut && !isSinkBroken }
    var maySend: Bool { offered == 0 && waiting > 0 && isSinkOpen && !isResting }
    var mayShut: Bool { source != .open && waiting == 0 && isSinkOpen }
    var isFinished: Bool { source != .open && !isSinkOpen && offered == 0 }

    mutating func take(_ count: Int, pauseAbove: Int) {
      waiting += count
      if waiting > pauseAbove {
        isPaused = true
        isCautious = true
        resumeAt = pauseAbove / 2
      }
    }

    mutating func sent(_ count: Int) {
      delivered += count
      waiting -= count
      offered = 0
      if waiting <= resumeAt { isPaused = false }
      if waiting == 0 {
        isParked = false
        isCautious = false
      }
    }

    mutating func discard() {
      lost += waiting
      waiting = 0
      isPaused = false
      isCautious = false
      isParked = false
    }
  }

  private func difference(_ flow: Flow, _ model: Model) -> String? {
    let receive: Flow.Receive =
      switch model.receive {
      case .none: .off
      case .armed: .armed
      case .cancelling: .cancelling
      case .starved: .starved
      }
    if flow.receive != receive { return "receive is \(flow.receive)" }
    if flow.received != UInt64(model.delivered + model.lost + model.waiting) { return "received is \(flow.received)" }
    if flow.queued != UInt64(model.waiting) { return "queued is \(flow.queued)" }
    if flow.sending != model.offered { return "sending is \(flow.sending)" }
    if flow.isSending != (model.offered > 0) { return "isSending" }
    if model.offered > 0, flow.sendingSince != model.offeredAt { return "sendingSince" }
    if flow.isPaused != model.isPaused { return "isPaused" }
    if flow.isCautious != model.isCautious { return "isCautious" }
    if flow.isParked != model.isParked { return "isParked" }
    if flow.mayReceive != model.mayReceive { return "mayReceive" }
    if flow.mustCancelReceive != model.mustCancel { return "mustCancelReceive" }
    if flow.maySend != model.maySend { return "maySend" }
    if flow.mayShut != model.mayShut { return "mayShut" }
    if flow.isFinished != model.isFinished { return "isFinished" }
    return nil
  }

  @Test func agreesWithAModelUnderAnyLegalOrder() {
    var finished = 0
    var paused = 0
    for seed in 1...UInt64(3000) {
      var random = SeededGenerator(seed: seed)
      var flow = Flow()
      var model = Model()
      var time: UInt64 = 0
      // Small messages, and pieces of which a few go over the limit.
      let piece = random.once(in: 2) ? 1 + random.below(50) : Self.pause / 3
      let wantsEnd = 50 + random.below(100)
      for step in 0..<400 {
        time += UInt64(random.below(5))
        let isReceiving = model.receive == .armed || model.receive == .cancelling
        switch random.below(16) {
        case 0, 1:
          guard model.mayReceive else { continue }
          flow.receiveArmed()
          model.receive = .armed
        case 2, 3, 4:
          guard isReceiving, !model.isPaused || model.receive == .cancelling else { continue }
          if random.once(in: 3) {
            flow.receiveEnded()
            model.receive = .none
          }
          let count = 1 + random.below(piece)
          // Less may wait while memory is scarce, and nothing while there is none.
          let limit =
            random.once(in: 4) ? [Limits.queuedBytesPauseScarce, 0].randomElement(using: &random)! : Self.pause
          flow.received(count, pauseAbove: limit)
          model.take(count, pauseAbove: limit)
        case 5:
          guard model.mustCancel else { continue }
          flow.receiveCancelling()
          model.receive = .cancelling
        case 6:
          // The cancelled receive ended, or was not found.
          guard model.receive == .cancelling else { continue }
          if random.once(in: 3) {
            flow.receiveCancelMissed()
            model.receive = .armed
          } else {
            flow.receiveEnded()
            model.receive = .none
          }
        case 7:
          if model.receive == .starved {
            flow.receiveEnded()
            model.receive = .none
          } else if isReceiving {
            flow.receiveEnded()
            flow.receiveStarved()
            model.receive = .starved
          }
        case 8:
          guard model.maySend else { continue }
          let count = 1 + random.below(model.waiting)
          flow.sendStarted(count, at: time)
          model.offered = count
          model.offeredAt = time
        case 9, 10:
          guard model.offered > 0 else { continue }
          let count = random.once(in: 5) ? 0 : 1 + random.below(model.offered)
          flow.sendEnded(count)
          model.sent(count)
          if count > 0 { break }
          if random.once(in: 4) {
            flow.sinkFailed()
            model.isSinkBroken = true
          }
        default:
          switch random.below(7) {
          case 0:
            flow.isHeld.toggle()
            model.isHeld.toggle()
          case 5:
            flow.isResting.toggle()
            model.isResting.toggle()
          case 1:
            guard model.waiting > 0 else { continue }
            flow.isParked = true
            model.isParked = true
          case 2:
            guard isReceiving, step > wantsEnd else { continue }
            flow.receiveEnded()
            model.receive = .none
            if random.once(in: 2) {
              flow.sourceEnded()
              if model.source == .open { model.source = .ended }
            } else {
              flow.sourceFailed()
              model.source = .failed
            }
          case 3:
            guard model.mayShut else { continue }
            flow.sinkShut()
            model.isShut = true
          case 4:
            guard random.once(in: 10), !model.isShut else { continue }
            flow.sinkFailed()
            model.isSinkBroken = true
          default:
            guard model.isSinkBroken, model.offered == 0 else { continue }
            flow.discardQueued()
            model.discard()
          }
        }
        if model.isPaused { paused += 1 }
        if let difference = difference(flow, model) {
          Issue.record("seed \(seed), step \(step): \(difference), \(model)")
          return
        }
      }
      // What is lost is not sent, but out of the queue.
      #expect(flow.sent == UInt64(model.delivered + model.lost), "seed \(seed)")
      if model.isFinished { finished += 1 }
    }
    // The sequences reach what they are for.
    #expect(finished > 500 && paused > 1000, "\(finished) finished, \(paused) pauses")
  }
}
