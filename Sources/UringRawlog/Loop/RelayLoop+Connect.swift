import Glibc

/// The server's leg: its addresses in order, within `--connect-timeout`.
extension RelayLoop where R: ~Copyable {
  /// Tries the session's next address; after the last one the session ends.
  ///
  /// - Parameter last: why the address before failed; nil when none was tried.
  mutating func connectNext(_ slot: Int, after last: Errno?) {
    var last = last
    let now = clock.now.nanoseconds
    while Int(sessions[slot].target) < environment.targets.count {
      let place = Int(sessions[slot].target)
      let left = UInt64(environment.targets.count - place)
      var rest = UInt64.max
      if configuration.connectNanoseconds > 0 {
        let end = sessions[slot].connectingSince + configuration.connectNanoseconds
        guard end > now else {
          last = Errno(sessions[slot].lacksDescriptor ? EMFILE : ETIMEDOUT)
          break
        }
        // Addresses that do not answer share the time, so that the last one gets its turn.
        rest = (end - now) / left
      }
      sessions[slot].server = environment.targets[place].peer
      let socket: Int32
      do throws(Errno) {
        socket = try ring.makeSocket(family: environment.targets[place].family)
      } catch  where error.isOutOfDescriptors {
        // A session that ends will leave some; until then this one waits.
        sessions[slot].lacksDescriptor = true
        sessions[slot].connectDeadline = now + min(rest, Limits.descriptorRetryNanoseconds)
        heap.tighten(slot, to: sessions[slot].connectDeadline, in: &sessions)
        return
      } catch {
        last = error
        sessions[slot].target += 1
        continue
      }
      sessions[slot].lacksDescriptor = false
      sessions[slot].serverSocket = socket
      sessions[slot].isServerUnix = environment.targets[place].family == AF_UNIX
      sessions[slot].socketOperations += 1
      let token = Token(.connect, slot: slot, generation: sessions.generation(slot))
      withUnsafePointer(to: environment.targets[place]) { ring.connect(socket, to: $0, token: token) }
      sessions[slot].connectDeadline = rest == .max ? .max : now + rest
      if rest < .max { heap.tighten(slot, to: sessions[slot].connectDeadline, in: &sessions) }
      return
    }
    if last?.code == ECONNRESET {
      // It was there, accepted, and broke off before the ring looked.
      sessions[slot].serverClose = .reset
      terminate(slot, .serverReset)
      return
    }
    report.say(at: now, Self.connectFailure(configuration.connect, last))
    terminate(slot, .connectFailed)
  }

  private static func connectFailure(_ server: Address, _ error: Errno?) -> String {
    guard let error else {
      return "cannot connect to '\(server.text)': none of its addresses is left to try; is its name still right?"
    }
    let advice =
      switch error.code {
      case ECONNREFUSED, ENOENT: "is the server running and listening there?"
      case EADDRNOTAVAIL: "are all local ports taken? see net.ipv4.ip_local_port_range"
      case EMFILE, ENFILE: "raise the limit of open files"
      default: "is the server reachable?"
      }
    return "cannot connect to '\(server.text)': \(error.text); \(advice)"
  }

  mutating func connected(_ slot: Int, _ completion: Completion) {
    sessions[slot].socketOperations -= 1
    guard sessions[slot].phase == .connecting else { return }
    if let error = completion.error {
      if error.isRetry && clock.now.nanoseconds < sessions[slot].connectDeadline {
        retryConnect(slot)
        return
      }
      connectionFailed(slot, error)
      return
    }
    if let header = proxyHeaders[slot] {
      sendProxyHeader(slot, header)
    } else {
      serverReached(slot)
    }
  }

  /// The server is there, and knows who the client is if it is to know.
  mutating func serverReached(_ slot: Int) {
    switch backTLS {
    case .implicit?:
      sessions[slot].phase = .securing
      beginTLS(slot, .server)
    case .startTLS? where frontTLS != .startTLS:
      askForTLS(slot)
    case .startTLS?, nil:
      relayFromNowOn(slot)
    }
  }

  /// An address is given up: the next one is tried.
  mutating func connectionFailed(_ slot: Int, _ error: Errno) {
    ring.close(sessions[slot].serverSocket, token: Token(.close))
    sessions[slot].serverSocket = -1
    sessions[slot].target += 1
    connectNext(slot, after: error.code == ECANCELED ? Errno(ETIMEDOUT) : error)
  }

  mutating func relayFromNowOn(_ slot: Int) {
    sessions[slot].phase = .relaying
    if isCaptured { openCapturedBack(slot) }
    sessions[slot].activeNanoseconds = clock.now.nanoseconds
    if let deadline = nextDeadline(slot) { heap.tighten(slot, to: deadline, in: &sessions) }
  }

  /// A unix server whose backlog is full answers EAGAIN (unix(7)): the address is tried again from the beginning.
  private mutating func retryConnect(_ slot: Int) {
    ring.close(sessions[slot].serverSocket, token: Token(.close))
    sessions[slot].serverSocket = -1
    let now = clock.now.nanoseconds
    sessions[slot].connectDeadline = min(sessions[slot].connectDeadline, now + Limits.connectRetryNanoseconds)
    heap.tighten(slot, to: sessions[slot].connectDeadline, in: &sessions)
  }

  // MARK: Deadlines

  /// The next moment at which the session must be looked at; nil when nothing of it can run out.
  mutating func nextDeadline(_ slot: Int) -> UInt64? {
    var next = UInt64.max
    switch sessions[slot].phase {
    case .connecting:
      next = sessions[slot].connectDeadline
    case .relaying:
      if configuration.idleNanoseconds > 0 {
        next = sessions[slot].activeNanoseconds &+ configuration.idleNanoseconds
      }
      if sessions[slot].lingerEnd > 0 { next = min(next, sessions[slot].lingerCheck) }
    case .free, .handshaking, .securing, .terminating, .closing:
      break
    }
    if sessions[slot].handshakeDeadline > 0 { next = min(next, sessions[slot].handshakeDeadline) }
    if sessions[slot].collectorDeadline > 0 { next = min(next, sessions[slot].collectorDeadline) }
    for direction in 0..<2 {
      let file = FlowIndex(rawValue: slot << 1 | direction)
      if sessions[file: file].isWaiting {
        next = min(next, sessions[file: file].waitingSince + configuration.logWaitNanoseconds)
      }
    }
    return next == .max ? nil : next
  }

  /// Looks at every session whose deadline has come.
  mutating func workDeadlines() {
    let now = clock.now.nanoseconds
    while let deadline = heap.earliest, deadline <= now {
      let slot = heap.earliestSlot
      switch sessions[slot].phase {
      case .connecting where now >= sessions[slot].connectDeadline:
        if sessions[slot].serverSocket < 0 {
          connectNext(slot, after: nil)
        } else {
          // Its completion, ECANCELED, tries the next address.
          sessions[slot].connectDeadline = .max
          cancelAll(slot, on: sessions[slot].serverSocket)
        }
      case .relaying:
        workRelayingDeadline(slot)
      case .connecting, .free, .handshaking, .securing, .terminating, .closing:
        break
      }
      workCollectorDeadline(slot)
      workHandshakeDeadline(slot)
      for direction in 0..<2 { giveUpWaiting(FlowIndex(rawValue: slot << 1 | direction)) }
      touch(slot)
      if let next = nextDeadline(slot) {
        heap.set(slot, to: max(next, now + 1), in: &sessions)
      } else {
        heap.remove(slot, in: &sessions)
      }
    }
  }

  private mutating func workRelayingDeadline(_ slot: Int) {
    let now = clock.now.nanoseconds
    if configuration.idleNanoseconds > 0,
      now >= sessions[slot].activeNanoseconds &+ configuration.idleNanoseconds
    {
      terminate(slot, .idle)
      return
    }
    if sessions[slot].lingerEnd > 0, now >= sessions[slot].lingerCheck { checkLinger(slot) }
  }
}
