import Glibc

/// The files of captures: created when there is something to record, written in large batches, ended and renamed.
extension RelayLoop where R: ~Copyable {
  /// Begins the next capture, in the place of the current one, of which there is none.
  mutating func beginCapture() {
    let place = captures.current
    guard captures[place].state == .none else {
      // The one that failed is not done yet.
      captureRotation.failed(now: clock.now.nanoseconds)
      return
    }
    if isDirectoryGone { reopenDirectory() }
    captures[place].reset()
    lastCapture += 1
    captures[place].writer = Capture(
      number: lastCapture, section: captureSection, at: clock.now.epochMicroseconds, to: &captures[place].head)
    captures[place].lines.append(CaptureIndex.heading)
    createCapture(place)
  }

  private mutating func createCapture(_ place: Int) {
    lastCaptureName += 1
    captures[place].name = CaptureName(
      time: clock.localName(), processID: environment.processID, number: lastCaptureName)
    makeCapturePath(place, .capture, isPartial: false)
    captureName = jsonString(String(decoding: path.span.dropLast(), as: UTF8.self))
    captures[place].state = .creating
    captures[place].error = 0
    captures[place].operations = 2
    // Never follow a link, never touch a file that exists.
    let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
    for (file, kind) in [(CaptureName.File.capture, Token.Kind.captureOpen), (.index, .captureSideOpen)] {
      makeCapturePath(place, file, isPartial: true)
      ring.open(openDirectory, path.cString, flags: flags, mode: 0o600, token: captureToken(kind, place))
    }
  }

  private mutating func makeCapturePath(_ place: Int, _ file: CaptureName.File, isPartial: Bool) {
    path.removeAll()
    captures[place].name.append(file, isPartial: isPartial, to: &path)
    path.append(0)
  }

  /// The capture's name for a message.
  private mutating func shownCapture(_ place: Int) -> String {
    makeCapturePath(place, .capture, isPartial: true)
    return configuration.directory.text + "/" + String(decoding: path.span.dropLast(), as: UTF8.self)
  }

  private func captureToken(_ kind: Token.Kind, _ place: Int) -> Token {
    Token(kind, slot: place, generation: UInt32(truncatingIfNeeded: captures[place].writer.number))
  }

  /// An operation on a capture's files ended, and what comes of it was done.
  private mutating func captureOperationEnded(_ place: Int) {
    if captures[place].state == .failed, captures[place].operations == 0 { forgetCapture(place) }
    workEndedCapture()
  }

  mutating func captureOpened(_ completion: Completion, isSide: Bool) {
    let place = completion.token.slot
    let result = completion.result
    captures[place].operations -= 1
    defer { captureOperationEnded(place) }
    if result < 0 {
      captures[place].error = -result
    } else if isSide {
      captures[place].sideDescriptor = result
    } else {
      captures[place].descriptor = result
    }
    if result >= 0 { ring.lock(result) }
    guard captures[place].operations == 0 else { return }
    guard captures[place].error != 0 else {
      captures[place].state = .open
      captureRotation.created()
      if captures[place].mustFlush || captures[place].isEnding { writeCapture(place) }
      return
    }
    takeBackCapture(place)
    if captures[place].error == EEXIST {
      createCapture(place)
    } else {
      if captures[place].error == ENOENT { isDirectoryGone = true }
      captureFailed(place, "create", Errno(captures[place].error))
    }
  }

  /// Removes the one of two files that could be made.
  private mutating func takeBackCapture(_ place: Int) {
    if captures[place].descriptor >= 0 {
      makeCapturePath(place, .capture, isPartial: true)
      ring.unlink(openDirectory, path.cString, token: Token(.unlink))
    }
    if captures[place].sideDescriptor >= 0 {
      makeCapturePath(place, .index, isPartial: true)
      ring.unlink(openDirectory, path.cString, token: Token(.unlink))
    }
    closeCapture(place)
  }

  private mutating func closeCapture(_ place: Int) {
    if captures[place].descriptor >= 0 { ring.close(captures[place].descriptor, token: Token(.close)) }
    if captures[place].sideDescriptor >= 0 { ring.close(captures[place].sideDescriptor, token: Token(.close)) }
    captures[place].descriptor = -1
    captures[place].sideDescriptor = -1
  }

  // MARK: Writing

  /// Writes all that is staged, unless a write is under way or the file is not open yet: then it follows by itself.
  mutating func writeCapture(_ place: Int) {
    guard captures[place].state == .open, !captures[place].isWriting, captures[place].hasUnwritten else { return }
    let isLittle = captures[place].stagedBytes <= Limits.writeNowBytes
    let count = captures[place].gather(into: vectors)
    let pieces = UnsafeMutableBufferPointer(rebasing: vectors[..<count])
    let offset = Int64(captures[place].fileBytes)
    if isLittle, isDirectoryInMemory,
      let result = ring.writeNow(captures[place].descriptor, pieces, offset: offset)
    {
      noteCaptureWritten(place, result)
      return
    }
    captures[place].isWriting = true
    captures[place].operations += 1
    ring.write(captures[place].descriptor, pieces, offset: offset, token: captureToken(.captureWrite, place))
  }

  mutating func captureWritten(_ completion: Completion) {
    let place = completion.token.slot
    captures[place].operations -= 1
    captures[place].isWriting = false
    if captures[place].state == .open { noteCaptureWritten(place, completion.result) }
    captureOperationEnded(place)
  }

  private mutating func noteCaptureWritten(_ place: Int, _ result: Int32) {
    guard result > 0 else {
      if result < 0, Errno(-result).isRetry {
        captures[place].mustFlush = true
        return
      }
      // A regular file never takes nothing without saying why; do not ask for ever.
      captureFailed(place, "write", Errno(result == 0 ? EIO : -result))
      return
    }
    let isTailSealed = captures[place].isTailSealed
    if captures[place].written(Int(result), &pool) { hasMemoryReturned = true }
    settleCaptureEnds()
    // What a short write left has no time of its own any more.
    if isTailSealed, captures[place].first != nil, captures[place].dirtySince == 0 { captures[place].mustFlush = true }
    let isMuch = captures[place].stagedBytes >= Limits.captureWriteBytes
    if captures[place].mustFlush || isMuch || captures[place].isEnding { writeCapture(place) }
  }

  /// Writes lines of the side file, when they are many or the last.
  private mutating func writeSide(_ place: Int) {
    guard captures[place].state == .open, !captures[place].isSideWriting, !captures[place].isSideLost,
      captures[place].isEnding || captures[place].lines.count >= Limits.captureLinesBytes
        || captures[place].writtenLines < captures[place].writingLines.count,
      let bytes = captures[place].nextLines()
    else { return }
    captures[place].isSideWriting = true
    captures[place].operations += 1
    ring.write(
      captures[place].sideDescriptor, bytes, offset: Int64(captures[place].sideBytes),
      token: captureToken(.captureSideWrite, place))
  }

  mutating func sideWritten(_ completion: Completion) {
    let place = completion.token.slot
    let result = completion.result
    captures[place].operations -= 1
    captures[place].isSideWriting = false
    defer { captureOperationEnded(place) }
    guard captures[place].state == .open else { return }
    guard result > 0 || result < 0 && Errno(-result).isRetry else {
      // The capture can be read without it.
      captures[place].loseSide()
      let error = Errno(result == 0 ? EIO : -result)
      report.say("cannot write the .idx of '\(shownCapture(place))': \(error.text); the capture will be without one")
      return
    }
    captures[place].sideBytes += UInt64(max(0, result))
    captures[place].writtenLines += Int(max(0, result))
    writeSide(place)
  }

  /// A line of the side file for a session whose last packet in this capture was composed.
  mutating func addSideLine(_ slot: Int, _ place: Int, goesOn: Bool) {
    guard !captures[place].isSideLost else { return }
    captureID.removeAll()
    fileName.appendStem(of: sessions[slot], to: &captureID)
    CaptureIndex.appendLine(
      conversations[slot].conversation, id: captureID.span, goesOn: goesOn, to: &captures[place].lines)
    captures[place].lineCount += 1
    if !goesOn { writeSide(place) }
  }

  /// What is due in a turn: captures whose oldest bytes are old enough, and those that are full or old themselves.
  mutating func workCaptures() {
    let now = clock.now.nanoseconds
    for place in 0..<OpenCaptures.count {
      let since = captures[place].dirtySince
      if captures[place].mustFlush || since > 0 && (now >= since + flushAge || isDraining && activeSessions == 0) {
        captures[place].mustFlush = true
        writeCapture(place)
      }
    }
    let place = captures.current
    let step = captureRotation.tick(
      position: captures[place].writer.position, packets: captures[place].writer.packets, now: now)
    if step == .end { endCapture() }
    if isDraining, sessions.count == 0, captureRotation.shutDown() == .end { endCapture() }
    workEndedCapture()
  }

  /// The next moment at which a capture must be looked at.
  var captureDeadline: UInt64 {
    var next = UInt64.max
    for place in 0..<OpenCaptures.count where captures[place].state == .open && !captures[place].isWriting {
      if captures[place].mustFlush { return 0 }
      if captures[place].dirtySince > 0 { next = min(next, captures[place].dirtySince + flushAge) }
    }
    let packets = captures[captures.current].writer.packets
    return min(next, captureRotation.deadline(packets: packets) ?? .max)
  }

  /// Captures are still being written or ended.
  var isCaptureBusy: Bool { captures[0].state != .none || captures[1].state != .none }

  // MARK: Ending

  /// The capture takes no more packets; sessions that go on are carried on in the next.
  mutating func endCapture() {
    let place = captures.current
    let number = captures[place].writer.number
    for slot in 0..<sessions.usedSlots
    where sessions[slot].phase != .free && conversations[slot].phase == .open
      && conversations[slot].conversation.capture == number
    {
      addSideLine(slot, place, goesOn: true)
    }
    captures[place].end(at: clock.now.epochMicroseconds)
    captures.exchange()
    writeCapture(place)
    writeSide(place)
  }

  /// When all of an ended capture is on disk, its files get their final names.
  private mutating func workEndedCapture() {
    for place in 0..<OpenCaptures.count where captures[place].state == .open && captures[place].isEnding {
      guard captures[place].operations == 0 else { continue }
      writeCapture(place)
      writeSide(place)
      guard captures[place].operations == 0, captures[place].state == .open else { continue }
      captures[place].state = .renaming
      // The side file first: who finds a capture by its name finds it too.
      if captures[place].isSideLost {
        makeCapturePath(place, .index, isPartial: true)
        ring.unlink(openDirectory, path.cString, token: Token(.unlink))
      } else {
        renameCapture(place, .index, .captureSideRename)
      }
      renameCapture(place, .capture, .captureRename)
    }
  }

  private mutating func renameCapture(_ place: Int, _ file: CaptureName.File, _ kind: Token.Kind) {
    captures[place].operations += 1
    makeCapturePath(place, file, isPartial: false)
    captureID.removeAll()
    captureID.append(path)
    makeCapturePath(place, file, isPartial: true)
    ring.rename(openDirectory, from: path.cString, to: captureID.cString, token: captureToken(kind, place))
  }

  mutating func captureRenamed(_ completion: Completion) {
    let place = completion.token.slot
    captures[place].operations -= 1
    if let error = completion.error { captures[place].error = error.code }
    guard captures[place].operations == 0 else { return }
    if captures[place].error != 0 {
      report.say(
        "cannot rename '\(shownCapture(place))': \(Errno(captures[place].error).text); it is complete, and keeps that name"
      )
    }
    closeCapture(place)
    captures[place].reset()
    captureRotation.ended()
    environment.captureEnded()
  }

  // MARK: Failing

  /// A capture could not be created or written: sessions of which it lacks something go on unrecorded.
  private mutating func captureFailed(_ place: Int, _ what: String, _ error: Errno) {
    captures[place].state = .failed
    if place == captures.current {
      captureRotation.failed(now: clock.now.nanoseconds)
    } else {
      captureRotation.ended()
    }
    let lost = captures[place].lostPackets()
    let staged = captures[1 - place].lostPackets()
    captures[place].forget(&pool)
    hasMemoryReturned = true
    var failed = 0
    for slot in 0..<sessions.usedSlots where sessions[slot].phase != .free && sessions[slot].isRecorded {
      // A session may have been carried on in the next capture meanwhile.
      guard conversations[slot].phase != .none, conversations[slot].phase != .settled,
        let bytes = lost[sessions[slot].number]
      else { continue }
      failed += 1
      takeBack(bytes, of: slot)
      // Whether these will be written is not waited for.
      if let bytes = staged[sessions[slot].number] { takeBack(bytes, of: slot) }
      failCaptured(slot)
    }
    let consequence = configuration.logError == .close ? "are closed" : "go on unrecorded"
    report.say(
      "cannot \(what) '\(shownCapture(place))': \(error.text); \(failed) sessions \(consequence); \(Self.advice(error))"
    )
    settleCaptureEnds()
    if captures[place].operations == 0 { forgetCapture(place) }
  }

  /// What was composed and not written is not recorded. Where a text stands for other bytes, it cannot be told for how
  /// many.
  private mutating func takeBack(_ bytes: CapturedSession.Counts, of slot: Int) {
    for direction in 0..<2 {
      let flow = FlowIndex(rawValue: slot << 1 | direction)
      let isEdited = flow.direction == .in && sessions[slot].redacted > 0
      let lost = isEdited ? .max : bytes[recorded(flow.direction)]
      sessions[file: flow].recorded -= min(lost, sessions[file: flow].recorded)
    }
  }

  private mutating func forgetCapture(_ place: Int) {
    closeCapture(place)
    captures[place].reset()
  }
}
