import Glibc

/// Clients come in: accepting, and pausing it when there is no room or no descriptor.
extension RelayLoop where R: ~Copyable {
  mutating func accepted(_ completion: Completion) {
    let listener = completion.token.slot
    if !completion.more, accepting[listener] != .closed { accepting[listener] = .off }
    guard let error = completion.error else {
      let socket = completion.result
      if isDraining {
        ring.close(socket, token: Token(.close))
      } else if roomForSessions <= 0 {
        acceptedWaiting.append(UInt64(socket) << 16 | UInt64(listener))
      } else {
        startSession(socket, listener: listener)
      }
      return
    }
    switch error.code {
    case ECANCELED, EINTR, EAGAIN, ECONNABORTED, EPROTO, EPERM, ENETDOWN, ENOPROTOOPT, EHOSTDOWN, ENONET, EHOSTUNREACH,
      EOPNOTSUPP, ENETUNREACH:
      // accept(2): errors of the connection that was to come, not of the listener.
      break
    case EMFILE, ENFILE, ENOBUFS, ENOMEM:
      acceptPausedUntil = clock.now.nanoseconds + Limits.descriptorRetryNanoseconds
      if !isDescriptorShortageSaid {
        isDescriptorShortageSaid = true
        report.say(
          "cannot accept: \(error.text); clients wait until sessions end; raise the limit (LimitNOFILE=, ulimit -n, "
            + "fs.file-max)")
      }
    default:
      accepting[listener] = .closed
      report.say("listening on \(environment.listeners[listener].bound) ended: \(error.text); start the program again")
    }
  }

  /// How many sessions more there may be. Those that only wait for their disk take no place of `--max-sessions`, but
  /// they hold descriptors.
  private var roomForSessions: Int {
    min(environment.maxSessions - activeSessions, environment.maxSlots - sessions.count)
  }

  /// Keeps an accept going on each listener while there is room; many at a time only while that cannot overfill it.
  mutating func armAccepts() {
    guard !isDraining else { return }
    while !acceptedWaiting.isEmpty, roomForSessions > 0 {
      let entry = acceptedWaiting.removeFirst()
      startSession(Int32(truncatingIfNeeded: entry >> 16), listener: Int(entry & 0xFFFF))
    }
    if acceptPausedUntil > 0 {
      guard clock.now.nanoseconds >= acceptPausedUntil else { return }
      acceptPausedUntil = 0
    }
    let room = roomForSessions - acceptedWaiting.count
    let isRoomy = room > Limits.acceptsAtOnce
    // Single accepts that are under way take a place each.
    var single = 0
    for state in accepting where state == .one { single += 1 }
    for listener in 0..<accepting.count {
      let token = Token(.accept, slot: listener)
      switch accepting[listener] {
      case .off:
        if isRoomy {
          accepting[listener] = .many
        } else if room > single {
          accepting[listener] = .one
          single += 1
        } else {
          continue
        }
        ring.accept(environment.listeners[listener].descriptor, multishot: isRoomy, token: token)
      case .many where !isRoomy:
        accepting[listener] = .cancelling
        ring.cancel(token, token: Token(.cancelAccept))
      case .many, .one, .cancelling, .closed:
        break
      }
    }
  }

  /// Ends listening: clients that come now are refused.
  mutating func closeListeners() {
    for listener in 0..<accepting.count where accepting[listener] != .closed {
      let descriptor = environment.listeners[listener].descriptor
      if accepting[listener] != .off { ring.cancelAll(on: descriptor, token: Token(.cancelAccept)) }
      accepting[listener] = .closed
      ring.close(descriptor, token: Token(.close))
      environment.listeners[listener].removePath()
    }
    while !acceptedWaiting.isEmpty {
      ring.close(Int32(truncatingIfNeeded: acceptedWaiting.removeFirst() >> 16), token: Token(.close))
    }
  }

  private mutating func startSession(_ socket: Int32, listener: Int) {
    // There is room: a slot is free.
    let slot = sessions.add()!
    activeSessions += 1
    isDescriptorShortageSaid = false
    let now = clock.now
    lastNumber += 1
    // A client that reset before its accept was handled has no address any more.
    let client = ring.peerAddress(of: socket) ?? .unspecified
    if client.family == .unix, let name = ring.peerPath(of: socket) { unixClients[slot] = jsonString("unix:" + name) }
    sessions[slot].phase = .connecting
    sessions[slot].clientSocket = socket
    sessions[slot].listener = UInt16(truncatingIfNeeded: listener)
    sessions[slot].client = client
    sessions[slot].isClientUnix = client.family == .unix
    sessions[slot].number = lastNumber
    sessions[slot].nameTime = clock.localName()
    sessions[slot].acceptedMicroseconds = now.epochMicroseconds
    sessions[slot].acceptedNanoseconds = now.nanoseconds
    sessions[slot].activeNanoseconds = now.nanoseconds
    if configuration.directory.hasVariables { sessions[slot].localPort = ring.localPort(of: socket) ?? 0 }
    if let first = environment.targets.first { sessions[slot].server = first.peer }
    if configuration.isRecorded(client) { openRecording(slot) } else { writeStart(slot) }
    connectNext(slot, after: Errno(EADDRNOTAVAIL))
    touch(slot)
  }
}
