import Glibc

/// Clients come in: accepting, and pausing it when there is no room or no descriptor.
extension RelayLoop where R: ~Copyable {
  mutating func accepted(_ completion: Completion) {
    let listener = completion.token.slot
    mustArmAccepts = true
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
          at: clock.now.nanoseconds,
          "cannot accept: \(error.text); clients wait until sessions end; raise the limit (LimitNOFILE=, ulimit -n, "
            + "fs.file-max)")
      }
    default:
      report.say(
        "listening on \(environment.listeners[listener].bound) ended: \(error.text); start the program again", .error)
      closeListener(listener)
    }
  }

  /// How many sessions more there may be. Those that only wait for their disk take no place of `--max-sessions`, but
  /// they hold descriptors.
  private var roomForSessions: Int {
    min(environment.maxSessions - activeSessions, environment.maxSlots - sessions.count)
  }

  /// Keeps an accept going on each listener while there is room: many at a time only while a full backlog of each would
  /// find room too.
  mutating func armAccepts() {
    guard !isDraining else { return }
    if acceptPausedUntil > 0 {
      guard clock.now.nanoseconds >= acceptPausedUntil else { return }
      acceptPausedUntil = 0
      mustArmAccepts = true
    }
    guard mustArmAccepts else { return }
    mustArmAccepts = false
    while !acceptedWaiting.isEmpty, roomForSessions > 0 {
      let entry = acceptedWaiting.removeFirst()
      startSession(Int32(truncatingIfNeeded: entry >> 16), listener: Int(entry & 0xFFFF))
    }
    let room = roomForSessions - acceptedWaiting.count
    let isRoomy = ring.hasMultishotAccept && room > Limits.backlog * accepting.count
    for listener in 0..<accepting.count {
      let token = Token(.accept, slot: listener)
      switch accepting[listener] {
      case .off where room > 0:
        // Each listener gets its turn, even where there are fewer places than listeners: what comes too many waits.
        accepting[listener] = isRoomy ? .many : .one
        ring.accept(environment.listeners[listener].descriptor, multishot: isRoomy, token: token)
      case .many where !isRoomy:
        accepting[listener] = .cancelling
        ring.cancel(token, on: environment.listeners[listener].descriptor, token: Token(.cancelAccept))
      case .off, .many, .one, .cancelling, .closed:
        break
      }
    }
  }

  /// Ends listening: clients that come now are refused.
  mutating func closeListeners() {
    for listener in 0..<accepting.count { closeListener(listener) }
    while !acceptedWaiting.isEmpty {
      ring.close(Int32(truncatingIfNeeded: acceptedWaiting.removeFirst() >> 16), token: Token(.close))
    }
  }

  private mutating func closeListener(_ listener: Int) {
    guard accepting[listener] != .closed else { return }
    let descriptor = environment.listeners[listener].descriptor
    if accepting[listener] != .off { ring.cancelAll(on: descriptor, token: Token(.cancelAccept)) }
    accepting[listener] = .closed
    ring.close(descriptor, token: Token(.close))
    environment.listeners[listener].removePath()
  }

  private mutating func startSession(_ socket: Int32, listener: Int) {
    // A client that reset before its accept was handled has no address any more.
    let client = ring.peerAddress(of: socket) ?? .unspecified
    let policy = proxyPolicy(client)
    guard policy == .required || !isTooMany(client) else {
      ring.close(socket, token: Token(.close))
      mustArmAccepts = true
      return
    }
    // There is room: a slot is free.
    let slot = sessions.add()!
    activeSessions += 1
    isDescriptorShortageSaid = false
    let now = clock.now
    lastNumber += 1
    if client.family == .unix, let name = ring.peerPath(of: socket) { unixClients[slot] = jsonString("unix:" + name) }
    sessions[slot].phase = .connecting
    sessions[slot].clientSocket = socket
    sessions[slot].listener = UInt16(truncatingIfNeeded: listener)
    sessions[slot].client = client
    sessions[slot].isClientUnix = client.family == .unix
    sessions[slot].isLimited = policy != .required && clientLimits.isLimited
    sessions[slot].number = lastNumber
    sessions[slot].nameTime = clock.localName()
    sessions[slot].acceptedMicroseconds = now.epochMicroseconds
    sessions[slot].acceptedNanoseconds = now.nanoseconds
    sessions[slot].activeNanoseconds = now.nanoseconds
    if directoryHasVariables { sessions[slot].localPort = ring.localPort(of: socket) ?? 0 }
    // Its record may be written before the first address is tried.
    if let first = environment.targets.first { sessions[slot].server = first.peer }
    if let policy { awaitProxyHeader(slot, policy) }
    if sessions[slot].phase == .connecting { meetClient(slot) }
    touch(slot)
  }

  /// It is known who the client is, but for its TLS.
  mutating func meetClient(_ slot: Int) {
    guard frontTLS == .implicit else {
      beginRelaying(slot)
      return
    }
    sessions[slot].phase = .handshaking
    beginTLS(slot, .client)
  }

  /// It is known whom the session is for.
  mutating func beginRelaying(_ slot: Int) {
    sessions[slot].phase = .connecting
    sessions[slot].connectingSince = clock.now.nanoseconds
    beginDialogue(slot)
    if frontTLS == .startTLS { offerTLS(slot) }
    if recordsEverybody || configuration.isRecorded(sessions[slot].client) {
      openRecording(slot)
    } else {
      writeStart(slot)
    }
    makeProxyHeader(slot)
    // With --log-error close it may have ended already.
    if sessions[slot].phase == .connecting { connectNext(slot, after: nil) }
  }
}
