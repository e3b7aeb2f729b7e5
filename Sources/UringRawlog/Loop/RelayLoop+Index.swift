import Glibc

/// The session index: a record when a session starts and one when it ends.
extension RelayLoop where R: ~Copyable {
  mutating func writeStart(_ slot: Int) {
    guard !sessions[slot].isStartWritten else { return }
    sessions[slot].isStartWritten = true
    index.start(sessions[slot], names: indexNames(slot), fileName: fileName, clock: &clock)
  }

  private mutating func indexNames(_ slot: Int) -> SessionIndex.Names {
    var names = names[Int(sessions[slot].listener)]
    if !unixClients.isEmpty, let name = unixClients[slot] { names.unixClient = name }
    if !users.isEmpty, let user = users[slot] { names.user = user }
    if !tlsFacts.isEmpty {
      if let facts = tlsFacts[slot << 1] { names.tls = facts }
      if let facts = tlsFacts[slot << 1 | 1] { names.serverTLS = facts }
    }
    return names
  }

  mutating func writeEnd(_ slot: Int) {
    writeStart(slot)
    if !sessions[slot].isEndWritten { makeEnd(slot) }
    if !gaps.isEmpty { gaps[slot] = nil }
    if !unixClients.isEmpty { unixClients[slot] = nil }
    if !users.isEmpty { users[slot] = nil }
    if !mailboxes.isEmpty { mailboxes[slot] = nil }
    dialogues.end(slot)
    if !tlsFacts.isEmpty {
      tlsFacts[slot << 1] = nil
      tlsFacts[slot << 1 | 1] = nil
    }
  }

  /// Makes the record of a session's end.
  mutating func makeEnd(_ slot: Int) {
    let inFlow = FlowIndex(slot, recorded(.in))
    let outFlow = inFlow.reverse
    var gaps = gaps.isEmpty ? [] : gaps[slot] ?? []
    for place in gaps.indices { gaps[place].direction = recorded(gaps[place].direction) }
    // What is asked of the loop while the session is lent to the index would have it copied.
    let names = indexNames(slot)
    let capture = isCaptured ? captureName : []
    index.end(
      sessions[slot], in: sessions[flow: inFlow], out: sessions[flow: outFlow], inFile: sessions[file: inFlow],
      outFile: sessions[file: outFlow], gaps: gaps, names: names, fileName: fileName, clock: &clock, capture: capture)
  }

  mutating func writeIndex() {
    guard clock.now.nanoseconds >= indexRetryAt, let bytes = index.nextWrite() else { return }
    // The file is open for appending: the kernel chooses the place.
    ring.write(environment.index, bytes, offset: -1, token: Token(.indexWrite))
  }

  /// From now on the index is that of today.
  mutating func beginIndexDay() {
    indexDay = clock.localName()
    indexDayEnd = clock.endOfLocalDay()
  }

  /// The file by the index's path may be another one now: moved away for rotation, or gone with its directory.
  mutating func reopenIndex() {
    isIndexReopenWanted = false
    if clock.now.epochMicroseconds >= indexDayEnd {
      environment.endIndexDay(indexDay)
      beginIndexDay()
    }
    do throws(StartError) {
      let opened = try environment.reopenIndex()
      ring.close(environment.index, token: Token(.close))
      environment.index = opened.descriptor
      index.startsAnew(endsTorn: opened.endsTorn)
    } catch {
      report.say("\(error.message); its lines go on into the file that was open")
    }
  }

  mutating func indexWritten(_ completion: Completion) {
    let now = clock.now.nanoseconds
    guard let error = completion.error else {
      index.written(Int(completion.result), at: now)
      let lost = index.lostLines - indexLostSaid
      if isIndexFailureSaid || lost > 0 {
        isIndexFailureSaid = false
        indexLostSaid = index.lostLines
        report.say(
          "'\(environment.indexPath)' is written again\(lost > 0 ? "; \(lost) lines of it are lost" : "")", .info)
      }
      return
    }
    index.failed(at: now)
    if error.isRetry { return }
    indexRetryAt = now + Limits.indexRetryNanoseconds
    if !isIndexFailureSaid {
      isIndexFailureSaid = true
      report.say(
        "cannot write '\(environment.indexPath)': \(error.text); its lines wait in memory; \(Self.advice(error))")
    }
  }
}
