import Glibc

/// The other way of a byte, for directions that are not recorded: spliced from socket to socket through a pipe.
///
/// The ring says when a socket has bytes or room (a poll), and splice(2) is called in the loop: as an operation of the
/// ring it would be handed to a worker thread. A flow has a pipe only while bytes are in it.
extension RelayLoop where R: ~Copyable {
  // MARK: Which way

  /// Looks whether a flow that is not recorded changes its way, and if it is spliced, moves what can be moved.
  @inline(never)
  mutating func chooseWay(_ flow: FlowIndex) {
    switch sessions[flow: flow].way {
    case .copy:
      guard wantsSplice(flow), mayTakePipe else { return }
      sessions[flow: flow].turning()
      turn(flow)
    case .turning:
      turn(flow)
    case .splice:
      break
    }
    if sessions[flow: flow].way == .splice { pumpSpliced(flow) }
  }

  private mutating func wantsSplice(_ flow: FlowIndex) -> Bool {
    sessions[flow: flow].weigh(environment.splicing)
    guard sessions[flow: flow].source == .open, sessions[flow: flow].sink == .open, !sessions[flow: flow].isHeld else {
      return false
    }
    switch configuration.relay {
    case .copy: return false
    case .auto: return sessions[flow: flow].isBulk(environment.splicing)
    // One that could not be spliced is copied until it has moved something again.
    case .splice: return sessions[flow: flow].receive == .off || sessions[flow: flow].bulk > 0
    }
  }

  /// Changes to splicing as soon as nothing is on the way through memory.
  private mutating func turn(_ flow: FlowIndex) {
    guard sessions[flow: flow].source == .open, sessions[flow: flow].sink == .open else {
      sessions[flow: flow].copying()
      return
    }
    guard sessions[flow: flow].mayTurn else { return }
    // splice(2) waits for a socket, whatever it is told itself, unless the socket says otherwise. Receives and sends of
    // the ring are not changed by that.
    if ring.makeNonblocking(socket(flow.slot, flow.source)), ring.makeNonblocking(socket(flow.slot, flow.sink)) {
      sessions[flow: flow].turned()
    } else {
      sessions[flow: flow].copying()
    }
  }

  /// Back to receives and sends. What is queued is delivered or lost.
  private mutating func copyAgain(_ flow: FlowIndex) {
    giveUpPipe(flow)
    sessions[flow: flow].copying()
    assert(sessions[queue: flow].head < 0, "a spliced flow holds spans")
    sessions[queue: flow].base = sessions[flow: flow].received
  }

  // MARK: Pipes

  private var mayTakePipe: Bool {
    !isSpliceRefused
      && (pipes.idleCount > 0 || pipes.hasRoom && clock.now.nanoseconds >= pipesRefusedUntil)
  }

  /// Gives a flow an empty pipe; false when none can be had.
  private mutating func takePipe(_ flow: FlowIndex) -> Bool {
    if let number = pipes.takeIdle() {
      sessions[flow: flow].pipe = number
      return true
    }
    guard mayTakePipe else { return false }
    do throws(Errno) {
      let pipe = try ring.makePipe(bytes: Limits.pipeBytes)
      guard pipe.bytes >= environment.leastPipeBytes else {
        ring.close(pipe)
        throw Errno(EPERM)
      }
      sessions[flow: flow].pipe = pipes.add(pipe)
      return true
    } catch {
      // No descriptors, or no pages for this user: bytes travel all the same, and nobody needs to know.
      pipesRefusedUntil = clock.now.nanoseconds + Limits.pipeRetryNanoseconds
      return false
    }
  }

  /// Takes a flow's pipe away. One with bytes in it is closed, so that nobody else gets them.
  mutating func giveUpPipe(_ flow: FlowIndex) {
    let number = sessions[flow: flow].pipe
    guard number >= 0 else { return }
    sessions[flow: flow].pipe = -1
    if sessions[flow: flow].queued > 0 {
      ring.close(pipes.remove(number))
    } else if let pipe = pipes.giveBack(number) {
      ring.close(pipe)
    }
  }

  /// The loop has ended: pipes that were kept are closed.
  mutating func closePipes() {
    while let number = pipes.takeIdle() { ring.close(pipes.remove(number)) }
  }

  // MARK: Moving

  mutating func polled(_ flow: FlowIndex, _ completion: Completion) {
    sessions[flow.slot].socketOperations -= 1
    sessions[flow: flow].pollEnded(isReady: completion.result >= 0)
    guard let error = completion.error else {
      readyFlows += 1
      return
    }
    // The kernel had no memory for it.
    if error.code != ECANCELED && error.code != EINTR { rest(flow) }
  }

  /// Moves what can be moved of a spliced flow, and waits for more.
  private mutating func pumpSpliced(_ flow: FlowIndex) {
    if sessions[flow: flow].sink == .failed {
      sinkIsGone(flow)
      return
    }
    if sessions[flow: flow].isReady {
      sessions[flow: flow].readinessTaken()
      move(flow)
    }
    let (leg, events): (Leg, Int32)
    if sessions[flow: flow].mayPollSource {
      (leg, events) = (flow.source, POLLIN)
    } else if sessions[flow: flow].mayPollSink {
      (leg, events) = (flow.sink, POLLOUT)
    } else {
      return
    }
    sessions[flow: flow].polling()
    sessions[flow.slot].socketOperations += 1
    ring.poll(
      socket(flow.slot, leg), events: UInt32(events),
      token: token(flow.direction == .in ? .pollIn : .pollOut, flow.slot))
  }

  /// What is in the pipe has nobody to go to. What comes is received, and thrown away there.
  private mutating func sinkIsGone(_ flow: FlowIndex) {
    let isLost = sessions[flow: flow].queued > 0
    giveUpPipe(flow)
    if isLost {
      sessions[flow.slot].hasUndeliverable = true
      sessions[flow: flow].discardQueued()
    }
    copyAgain(flow)
  }

  /// What one flow may move in this turn: less when many have something to move.
  private var splicedBytes: Int {
    min(
      environment.splicing.bytesPerFlow,
      max(Limits.splicedBytesPerFlowLeast, Limits.splicedBytesPerTurn / max(1, readyFlows)))
  }

  private mutating func move(_ flow: FlowIndex) {
    guard sessions[flow: flow].pipe >= 0 || takePipe(flow) else {
      copyAgain(flow)
      return
    }
    let pipe = pipes[sessions[flow: flow].pipe]
    let before = (received: sessions[flow: flow].received, sent: sessions[flow: flow].sent)
    let end = before.received + UInt64(splicedBytes)
    var step: Step
    repeat {
      let room = pipe.bytes - Int(sessions[flow: flow].queued)
      step = fill(flow, pipe, atMost: min(room, Int(end - sessions[flow: flow].received)))
    } while drain(flow, pipe) && step == .more && sessions[flow: flow].received < end
    let moved = max(sessions[flow: flow].received - before.received, sessions[flow: flow].sent - before.sent)
    if moved > 0 {
      sessions[flow.slot].activeNanoseconds = clock.now.nanoseconds
    } else if step == .nothing || sessions[flow: flow].queued > 0 {
      // Awake for nothing, or the kernel has no memory: do not ask again at once.
      rest(flow)
    }
    guard sessions[flow: flow].sink == .open else {
      sinkIsGone(flow)
      return
    }
    if step == .refused { isSpliceRefused = true }
    guard sessions[flow: flow].queued == 0 else { return }
    if isSpliceRefused {
      copyAgain(flow)
      return
    }
    giveUpPipe(flow)
    guard sessions[flow: flow].source == .open else { return }
    sessions[flow: flow].woke(Int(clamping: moved), environment.splicing)
    switch configuration.relay {
    case .auto where sessions[flow: flow].isThin(environment.splicing): copyAgain(flow)
    case .auto, .copy, .splice: break
    }
  }

  /// What came of trying to fill a pipe.
  private enum Step {
    /// It took all that it was offered: there may be more.
    case more
    /// The sender has no more for now, or the pipe is full.
    case nothing
    /// The sender's stream has ended, or is not read from.
    case ended
    /// splice(2) is not allowed here (seccomp), or cannot read from this kind of socket.
    case refused
  }

  private mutating func fill(_ flow: FlowIndex, _ pipe: Pipe, atMost bytes: Int) -> Step {
    guard sessions[flow: flow].source == .open else { return .ended }
    guard bytes > 0 else { return .nothing }
    let result = ring.splice(from: socket(flow.slot, flow.source), to: pipe.writing, bytes: bytes)
    if result > 0 {
      sessions[flow: flow].splicedIn(result)
      return result == bytes ? .more : .nothing
    }
    if result == 0 {
      sessions[flow: flow].sourceEnded()
      noteEnd(flow.slot, of: flow.source, .clean)
      return .ended
    }
    switch Int32(-result) {
    case EAGAIN, EINTR, ENOMEM, ENOBUFS:
      return .nothing
    case EINVAL, ENOSYS, EPERM:
      return .refused
    default:
      sessions[flow: flow].sourceFailed()
      legFailed(flow.slot, flow.source)
      // The other direction, which may have been looked at already, has lost its receiver.
      touch(flow.slot)
      return .ended
    }
  }

  /// Moves what is in the pipe to the receiver; false when not all of it went.
  private mutating func drain(_ flow: FlowIndex, _ pipe: Pipe) -> Bool {
    let queued = Int(sessions[flow: flow].queued)
    guard queued > 0 else { return true }
    let result = ring.splice(from: pipe.reading, to: socket(flow.slot, flow.sink), bytes: queued)
    if result > 0 {
      sessions[flow: flow].splicedOut(result)
      return result == queued
    }
    switch Int32(-result) {
    case 0, EAGAIN, EINTR, ENOMEM, ENOBUFS:
      break
    default:
      sessions[flow: flow].sinkFailed()
      legFailed(flow.slot, flow.sink)
      touch(flow.slot)
    }
    return false
  }
}
