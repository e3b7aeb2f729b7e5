import Glibc

/// The loop: one thread, one ring. The only place that knows rings, sessions and recordings all together.
///
/// A turn submits what the last one prepared and waits, copies the completions out, lets each change the state of its
/// session, and then goes once over the sessions that changed (`advance`), which decides what is done next. State is
/// plain data in tables; the extensions of this type are the control flow that changes it.
struct RelayLoop<R: Ring & ~Copyable>: ~Copyable {
  /// What the loop was given at its start and does not look up itself.
  struct Environment {
    var listeners: [Listener]
    var targets: [SocketAddress]
    /// The addresses of the collector; empty without one.
    var collectors: [SocketAddress] = []
    /// The directory of the recordings; -1 when it is a template.
    var directory: Int32 = -1
    /// The session index, opened for appending.
    var index: Int32
    var indexPath = ""
    var indexEndsTorn = false
    var processID: Int32
    /// The most sessions that relay at once, and the most for which there are descriptors, those included that only
    /// finish their recording.
    var maxSessions: Int
    var maxSlots: Int
    /// A signalfd(2), and an eventfd(2) that says that names were resolved again; -1 without.
    var signals: Int32 = -1
    var wake: Int32 = -1
    /// The most pipes that there are descriptors for; 0 when nothing is spliced.
    var maxPipes = 0
    /// A pipe that holds less is of no use.
    var leastPipeBytes = Limits.pipeBytesLeast
    var splicing = SpliceThresholds()
    var messages: Int32 = -1
    /// A capture has its final name.
    var captureEnded: () -> Void = {}
    /// What was deleted, and what is to be said about that, since the last time.
    var swept: () -> [Sweeper.News] = { [] }
    /// Nothing more is to be deleted; true while something still is, and then `wake` becomes readable when that is over.
    var endSweeping: () -> Bool = { false }
    /// Names the index of a day that is over after it, and that day.
    var endIndexDay: (LocalTimeText) -> Void = { _ in }
    /// Who we are to clients, and whom we trust as the server; nil on a leg without TLS.
    var front: TLSFront?
    var back: TLSBack?
    /// Whoever wants to hear when the relay serves, and that it lives.
    var supervisor = Supervisor()
    /// Opens the index again, by its path: the descriptor, and whether the file ends in a torn line.
    var reopenIndex: () throws(StartError) -> (descriptor: Int32, endsTorn: Bool) = { () throws(StartError) in
      throw StartError(.cannotCreate, "the index cannot be opened again")
    }
    /// Begins to resolve the server's name again, without waiting; `wake` becomes readable when it is done.
    var resolve: () -> Void = {}
    /// The addresses that were resolved last, or why there are none.
    var resolved: () -> Result<[SocketAddress], ValueError>? = { nil }
    /// Begins to read certificates and keys again, without waiting; `wake` becomes readable when that is done.
    var reloadTLS: () -> Void = {}
    /// What was read, or why the files cannot be used.
    var reloadedTLS: () -> Result<TLSFilesRead, ValueError>? = { nil }
    /// Something is still being resolved or read; `wake` becomes readable when it is not any more.
    var isRenewing: () -> Bool = { false }
  }

  /// What a listener's accept is doing.
  enum Accepting: UInt8 {
    case off
    case one
    case many
    case cancelling
    /// The listening socket is closed, or gave an error that no retry helps.
    case closed
  }

  let configuration: RelayConfiguration
  var environment: Environment
  var ring: R
  var sessions: SessionTable
  var spans: SpanTable
  var pool: BlockPool
  var heap: DeadlineHeap
  var index: SessionIndex
  var clock = Clock()
  var report: Report
  let encoder: Encoder
  let fileName: FileName
  let names: [SessionIndex.Names]
  /// Both directions of a session go to one file, which is kept where the client's direction has its own otherwise.
  let sharesFile: Bool
  /// All sessions go to one capture.
  let isCaptured: Bool
  let captureSection: CaptureSection
  var captures = OpenCaptures()
  var captureRotation: CaptureRotation
  var conversations: ConversationTable
  var captureEnds = CaptureEnds()
  /// Bytes of packets that were staged so far.
  var captureStagedTotal: UInt64 = 0
  /// How many captures there were, and the last number that one had in its name.
  var lastCapture: UInt64 = 0
  var lastCaptureName: UInt64 = 0
  /// The name that the capture for packets will have, as JSON.
  var captureName: [UInt8] = []
  /// What is recorded of a span with edits is gathered for one packet, and what there is of it.
  var isCaptureGathering = false
  var captureScratch = Bytes()
  /// An id, and an end record, under construction.
  var captureID = Bytes()
  var captureRecord = Bytes()
  /// PROXY headers to the server that its conversation begins with.
  var captureHeaders: [Int: ProxyOutgoing] = [:]
  // What of the configuration is asked for each session, since asking it copies it.
  let isBackLegRecorded: Bool
  let looksForProxy: Bool
  let redacts: Bool
  let needsUser: Bool
  let directoryHasVariables: Bool
  let recordsEverybody: Bool
  let recordedDirections: (in: Bool, out: Bool)
  let frontTLS: RelayConfiguration.TLSBeginning?
  let backTLS: RelayConfiguration.TLSBeginning?
  /// Recordings are the relayed bytes themselves, and may be written from the receive buffers; from so many on at once.
  let writesReceiveBuffers: Bool
  let gatheredWriteBytes: Int
  /// Receive buffers that recordings keep beyond their sending.
  var gatheredBuffers = 0
  /// Staging memory that one session may hold.
  let sessionShare: Int
  /// A file's age, in nanoseconds, at which a turn is woken for it, and the age from which it then goes along.
  let flushAge: UInt64
  let flushAlongAge: UInt64
  /// The age from which on all are written in one turn.
  let flushLateAge: UInt64

  var accepting: [Accepting]
  /// Accepted connections for which there was no room any more: descriptor, and listener in the low 16 bits.
  var acceptedWaiting = SlotQueue()
  /// Until when accepting rests for lack of descriptors (monotonic nanoseconds); 0 when it does not.
  var acceptPausedUntil: UInt64 = 0
  var isDescriptorShortageSaid = false
  var clientLimits: ClientLimits
  var refusals = ClientRefusals()
  /// Something happened since accepts were last armed that may change which are.
  var mustArmAccepts = true
  /// Sessions that still relay or connect; those that only finish their recording are not among them.
  var activeSessions = 0
  var lastNumber: UInt64 = 0

  /// Slots to be looked at at the end of the turn.
  var touched = SlotQueue(capacity: 1024)
  /// Flows without a receive buffer, and files that wait for staging memory; each with its slot's generation above.
  var starved = SlotQueue()
  /// Flows whose multishot receive may have missed a reset, how many of them are looked at now, and when the next are
  /// (monotonic nanoseconds).
  var unsure = SlotQueue()
  var unsureDue = 0
  var unsureAt: UInt64 = 0
  /// Flows for which the kernel had no memory, and until when they rest (monotonic nanoseconds).
  var resting = SlotQueue()
  var restUntil: UInt64 = 0
  var memoryWaiting = SlotQueue()
  /// Bytes that are not recorded may be spliced.
  let maySplice: Bool
  var pipes: PipePool
  /// Until when no pipe is asked for, since none could be had (monotonic nanoseconds).
  var pipesRefusedUntil: UInt64 = 0
  /// splice(2) does not work here.
  var isSpliceRefused = false
  /// Spliced flows of which a poll completed in this turn.
  var readyFlows = 0
  var hasMemoryReturned = false
  /// Memory of the lines whose end has not come, where both directions share a file; and the age, in nanoseconds, from
  /// which on such a line goes along with any write.
  var heldLineBytes = 0
  let lineAge: UInt64
  /// When unused staging memory is given back, unless blocks are taken until then; 0 when there is none.
  var trimAt: UInt64 = 0
  var trimTakenBlocks = 0
  var collector = CollectorState()
  /// The legs with TLS, two for each slot; as many as were needed yet. What they agreed on, as JSON.
  var tlsLegs: [TLSLeg?] = []
  var tlsFacts: [Int: [UInt8]] = [:]
  /// Sessions in which the relay asks the server for TLS, or offers it in the server's place.
  var askings: [Int: StartTLSAsking] = [:]
  var offerings: [Int: StartTLSOffering] = [:]
  /// Handshakes that wait for their turn.
  var handshakes = SlotQueue()
  /// Plaintext that was opened and is not queued yet.
  let opened: OpenedBytes
  var openedBytes = 0
  /// Memory of ciphertext on its way to peers.
  var sealedBytes = 0
  /// Until when tickets are sealed with the keys that there are (monotonic nanoseconds); 0 before the first.
  var ticketKeysUntil: UInt64 = 0
  /// The server offers what cannot work where TLS is terminated, and nobody was told yet.
  var warnsOfMechanisms: Bool
  /// Clients of which it is not known whether they send a PROXY header, and memory for the next one.
  var proxies: [Int: ProxyMemory] = [:]
  var proxyScratch = ProxyMemory()
  /// What PROXY headers said, and those on their way to the server.
  var proxied: [Int: ProxiedClient] = [:]
  var proxyHeaders: [Int: ProxyOutgoing] = [:]
  var firstDirty: Int32 = -1
  var lastDirty: Int32 = -1
  var dialogues: DialogueTable
  /// Staging memory of sessions whose directory is known only when somebody has logged in.
  var awaitingBytes = 0
  /// Who the last login of a session was for, as JSON, and whose mailbox it is where directories go by that.
  var users: [Int: [UInt8]] = [:]
  var mailboxes: [Int: [UInt8]] = [:]
  /// Where the recording of the span that is being looked at differs from it, and the same of directions whose recording
  /// waits for memory.
  var edits = RecordingEdits()
  var waitingEdits: [Int: WaitingEdits] = [:]
  /// Gaps of the sessions that have any.
  var gaps: [Int: [RecordingGap]] = [:]
  /// The addresses, as JSON, of clients that bound their unix socket to a path.
  var unixClients: [Int: [UInt8]] = [:]
  /// The recordings' directory is in memory: its files are made and written in the loop. Elsewhere the kernel's workers
  /// do it, since a disk that hangs must not hold up the loop, however prompt it was before.
  var isDirectoryInMemory = false
  /// The directory was gone when a file was to be made: open it again before the next.
  var isDirectoryGone = false
  var directoryRetryAt: UInt64 = 0
  /// How many recordings were deleted to keep within limits, and how much they took on disk.
  var deletedRecordings = 0
  var deletedBytes: UInt64 = 0
  /// When the day of the index is over (microseconds since the epoch), and a time in it.
  var indexDayEnd: Int64 = .max
  var indexDay = LocalTimeText()
  var indexRetryAt: UInt64 = 0
  var isIndexReopenWanted = false
  var isIndexFailureSaid = false
  var indexLostSaid: UInt64 = 0

  var isDraining = false
  var drainDeadline: UInt64 = 0
  /// When the loop ends even though recordings are not written yet; 0 while that is not decided.
  var exitDeadline: UInt64 = 0
  /// Sessions that still wait for their disk were given up.
  var isAbandoning = false
  private(set) var isFinished = false
  /// The supervisor was told that much is read again, and not yet that it is.
  private var isReloading = false

  let batch: UnsafeMutableBufferPointer<Completion>
  let vectors: UnsafeMutableBufferPointer<iovec>
  let signalBytes = UnsafeMutableRawBufferPointer.allocate(
    byteCount: SignalDescriptor.recordBytes, alignment: 16)
  let wakeBytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 8, alignment: 8)
  /// A name or path under construction.
  var path = Bytes()

  /// - Throws: ENOMEM when there is not even address space for the tables.
  static func make(configuration: RelayConfiguration, environment: Environment, ring: consuming R) throws(Errno)
    -> RelayLoop
  {
    Limits.checkRelations()
    let slots = environment.maxSlots
    let sessions = try SessionTable.make(capacity: slots)
    let heap = try DeadlineHeap.make(capacity: slots)
    let dialogues = try DialogueTable.make(capacity: configuration.mailProtocol == nil ? 0 : slots)
    let conversations = try ConversationTable.make(capacity: configuration.layout == .pcapng ? slots : 0)
    return RelayLoop(
      configuration: configuration, environment: environment, ring: ring, sessions: sessions, heap: heap,
      dialogues: dialogues, conversations: conversations)
  }

  private init(
    configuration: RelayConfiguration, environment: Environment, ring: consuming R, sessions: consuming SessionTable,
    heap: consuming DeadlineHeap, dialogues: consuming DialogueTable, conversations: consuming ConversationTable
  ) {
    self.configuration = configuration
    self.environment = environment
    self.sessions = sessions
    self.heap = heap
    self.dialogues = dialogues
    self.conversations = conversations
    isCaptured = configuration.layout == .pcapng
    captureSection = CaptureSection(
      leg: configuration.leg, listeners: environment.listeners.map(\.given), processID: environment.processID)
    captureRotation = CaptureRotation(
      mostBytes: configuration.rotateBytes > 0 ? configuration.rotateBytes : nil,
      mostNanoseconds: configuration.rotateNanoseconds > 0 ? configuration.rotateNanoseconds : nil)
    let buffers = ring.bufferCount
    let bufferBytes = ring.bufferBytes
    spans = SpanTable(
      receiveBuffers: buffers,
      address: { [memory = ring.bufferAddress(0), bytes = ring.bufferBytes] in
        memory + $0 * bytes
      })
    self.ring = ring
    maySplice = configuration.relay != .copy && environment.maxPipes > 0
    pipes = PipePool(limit: maySplice ? min(environment.maxPipes, Limits.pipes) : 0)
    clientLimits = ClientLimits(
      mostSessions: configuration.maxSessionsPerClient, rate: configuration.maxRatePerClient)
    pool = BlockPool(limit: configuration.logMemoryBytes)
    index = SessionIndex(endsTorn: environment.indexEndsTorn)
    report = Report(descriptor: environment.messages)
    encoder = Encoder(timestamps: configuration.timestamps, boundaries: configuration.boundaries)
    writesReceiveBuffers =
      configuration.layout == .pair && !configuration.timestamps && !configuration.boundaries
      && configuration.maxRecordingBytes == .max
    gatheredWriteBytes = min(Limits.gatheredWriteBytes, Limits.gatheredWriteBuffers * bufferBytes)
    fileName = FileName(
      processID: environment.processID, addressInName: configuration.addressInName, layout: configuration.layout)
    sharesFile = configuration.layout == .merged
    isBackLegRecorded = configuration.leg == .back
    looksForProxy = configuration.looksForProxy
    redacts = configuration.redacts
    needsUser = configuration.directory.needsUser
    directoryHasVariables = configuration.directory.hasVariables
    recordsEverybody = configuration.only.isEmpty
    recordedDirections = (in: configuration.isRecorded(.in), out: configuration.isRecorded(.out))
    frontTLS = configuration.frontTLS
    backTLS = configuration.backTLS
    let hasTLS = configuration.frontTLS != nil || configuration.backTLS != nil
    opened = OpenedBytes(hasTLS ? Limits.openedBytes : 0)
    warnsOfMechanisms = configuration.frontTLS != nil && configuration.mailProtocol != nil
    var serverPath = ""
    if case .unix(let path) = configuration.connect.target { serverPath = path }
    names = environment.listeners.map {
      SessionIndex.Names(
        listener: $0.bound, listenerPath: $0.bound.dropPrefix("unix:") ?? $0.path, serverPath: serverPath,
        mailProtocol: configuration.mailProtocol)
    }
    sessionShare = configuration.logMemoryBytes / Limits.sessionShareOfLogMemory
    flushAge = configuration.flushNanoseconds / 4 * 3
    flushLateAge = configuration.flushNanoseconds / 8 * 7
    lineAge = configuration.flushNanoseconds / 4
    flushAlongAge = configuration.flushNanoseconds / 2
    accepting = Array(repeating: .off, count: environment.listeners.count)
    batch = .allocate(capacity: Limits.completionsTaken)
    // A write has the lines without an end behind its blocks.
    vectors = .allocate(capacity: max(Limits.sendVectors, Limits.writeVectors + 1))
  }

  /// What a direction of the relay is called in recordings.
  @inline(__always)
  func recorded(_ direction: Direction) -> Direction { isBackLegRecorded ? direction.reverse : direction }

  @inline(__always)
  func isRecorded(_ direction: Direction) -> Bool {
    direction == .in ? recordedDirections.in : recordedDirections.out
  }

  deinit {
    // Sessions that were given up at a forced end still hold their blocks.
    for slot in 0..<sessions.usedSlots where sessions[slot].phase != .free {
      for direction in 0..<2 {
        var block = sessions[file: FlowIndex(rawValue: slot << 1 | direction)].first
        while let current = block {
          block = current.header.pointee.next
          current.deallocate()
        }
        let file = FlowIndex(rawValue: slot << 1 | direction)
        sessions[file: file].line?.deallocate()
        sessions[file: file].tentative?.deallocate()
      }
    }
    batch.deallocate()
    vectors.deallocate()
    signalBytes.deallocate()
    wakeBytes.deallocate()
  }

  // MARK: Turns

  /// Works until a signal ended it and everything is written.
  ///
  /// - Throws: an error of io_uring_enter(2) that no retry helps.
  mutating func run() throws(Errno) {
    start()
    while !isFinished { try turn() }
    refusals.sayAt = min(refusals.sayAt, clock.now.nanoseconds)
    sayRefusals()
    sayUnlistedDeletions()
    if deletedRecordings > 0 { report.say("deleted \(deletedRecordings) recordings, \(deletedBytes) bytes") }
    report.sumUp()
  }

  /// Prepares the first operations.
  mutating func start() {
    clock.set(ring.now())
    if configuration.endsIndexDaily { beginIndexDay() }
    if environment.directory >= 0 { isDirectoryInMemory = ring.answersAtOnce(environment.directory) }
    if environment.signals >= 0 { ring.read(environment.signals, signalBytes, token: Token(.signal)) }
    if environment.wake >= 0 { ring.read(environment.wake, wakeBytes, token: Token(.wake)) }
    armAccepts()
    environment.supervisor.ready(at: clock.now.nanoseconds)
  }

  /// One turn: submit and wait, take completions, act, decide what comes next.
  mutating func turn() throws(Errno) {
    try ring.submitAndWait(nanoseconds: waitNanoseconds())
    clock.set(ring.now())
    environment.supervisor.beat(at: clock.now.nanoseconds)
    while true {
      let count = ring.takeCompletions(into: batch)
      for place in 0..<count { handle(batch[place]) }
      if count < batch.count { break }
    }
    workDeadlines()
    if refusals.sayAt > 0 { sayRefusals() }
    if !resting.isEmpty { endRest() }
    if !unsure.isEmpty { workUnsure() }
    if !handshakes.isEmpty { workHandshakes() }
    advanceTouched()
    readyFlows = 0
    if hasMemoryReturned { retryMemoryWaiting() }
    if !collector.waiting.isEmpty { workCollector() }
    if !starved.isEmpty { feedStarved() }
    // Memory and buffers that came back may have moved further sessions on.
    advanceTouched()
    flushDue()
    if isCaptured { workCaptures() }
    if pool.idleBytes > 0 { trimIdle() }
    armAccepts()
    if isDraining { workDrain() }
    if isFinished { closePipes() }
  }

  @inline(__always)
  private mutating func handle(_ completion: Completion) {
    guard let kind = completion.token.kind else { return }
    switch kind {
    case .accept: accepted(completion)
    case .cancelAccept, .close, .unlink: break
    case .indexWrite: indexWritten(completion)
    case .signal: signalled(completion)
    case .wake: woken()
    case .captureOpen: captureOpened(completion, isSide: false)
    case .captureSideOpen: captureOpened(completion, isSide: true)
    case .captureWrite: captureWritten(completion)
    case .captureSideWrite: sideWritten(completion)
    case .captureRename, .captureSideRename: captureRenamed(completion)
    case .connect, .receiveClient, .receiveServer, .sendClient, .sendServer, .openIn, .openOut, .writeIn, .writeOut,
      .pollIn, .pollOut, .truncate, .connectCollector, .pollCollector, .cancel:
      guard sessions.isCurrent(completion.token) else {
        giveBack(completion, kind)
        return
      }
      let slot = completion.token.slot
      switch kind {
      case .connect: connected(slot, completion)
      case .receiveClient: received(FlowIndex(slot, .in), completion)
      case .receiveServer: received(FlowIndex(slot, .out), completion)
      case .sendServer:
        sent(FlowIndex(slot, .in), completion)
        if isIdle(FlowIndex(slot, .in)) { return }
      case .sendClient:
        sent(FlowIndex(slot, .out), completion)
        if isIdle(FlowIndex(slot, .out)) { return }
      case .openIn: opened(FlowIndex(slot, .in), completion)
      case .openOut: opened(FlowIndex(slot, .out), completion)
      case .writeIn: written(FlowIndex(slot, .in), completion)
      case .writeOut: written(FlowIndex(slot, .out), completion)
      case .pollIn: polled(FlowIndex(slot, .in), completion)
      case .pollOut: polled(FlowIndex(slot, .out), completion)
      case .truncate: truncated(FlowIndex(slot, .in))
      case .connectCollector: collectorConnected(slot, completion)
      case .pollCollector: collectorPolled(slot, completion)
      case .cancel: cancelled(slot, completion)
      case .accept, .cancelAccept, .close, .unlink, .indexWrite, .signal, .wake, .captureOpen, .captureSideOpen,
        .captureWrite, .captureSideWrite, .captureRename, .captureSideRename:
        break
      }
      touch(slot)
    }
  }

  /// A send that took all there was leaves nothing to be looked at.
  @inline(__always)
  private func isIdle(_ flow: FlowIndex) -> Bool {
    sessions[flow: flow].isIdle && sessions[flow.slot].phase == .relaying && !sessions[flow.slot].hasUndeliverable
  }

  /// A completion for a session that is gone: what it brought goes back. A session stays until all its operations came
  /// home, so this is a second line of defence.
  private mutating func giveBack(_ completion: Completion, _ kind: Token.Kind) {
    assertionFailure("a completion for a session that is gone: \(kind)")
    if kind == .openIn || kind == .openOut, completion.result >= 0 {
      ring.close(completion.result, token: Token(.close))
    }
    if completion.buffer >= 0 { returnBuffers(completion) }
  }

  /// Gives back every buffer that a receive filled.
  mutating func returnBuffers(_ completion: Completion) {
    var rest = Int(completion.result)
    var buffer = Int(completion.buffer)
    repeat {
      let next = rest > ring.bufferBytes ? ring.bufferAfter(buffer) : -1
      ring.returnBuffer(buffer)
      rest -= ring.bufferBytes
      buffer = next
    } while buffer >= 0
  }

  /// Puts a session on the list of those that are looked at at the end of the turn.
  @inline(__always)
  mutating func touch(_ slot: Int) {
    guard !sessions[slot].isTouched else { return }
    sessions[slot].isTouched = true
    touched.append(UInt64(truncatingIfNeeded: slot))
  }

  private mutating func advanceTouched() {
    while !touched.isEmpty {
      let slot = Int(touched.removeFirst())
      sessions[slot].isTouched = false
      advance(slot)
    }
  }

  /// A list entry for a flow: stale when the slot was given away since.
  @inline(__always)
  func entry(_ flow: FlowIndex) -> UInt64 {
    UInt64(sessions.generation(flow.slot)) << 32 | UInt64(truncatingIfNeeded: flow.rawValue)
  }

  /// The flow of a list entry; nil when its session is gone.
  mutating func flow(_ entry: UInt64) -> FlowIndex? {
    let flow = FlowIndex(rawValue: Int(truncatingIfNeeded: entry & 0xFFFF_FFFF))
    guard sessions.generation(flow.slot) == UInt32(truncatingIfNeeded: entry >> 32),
      sessions[flow.slot].phase != .free
    else { return nil }
    return flow
  }

  // MARK: Waiting

  /// How long the next turn may wait; nil without end.
  private mutating func waitNanoseconds() -> UInt64? {
    let now = clock.now.nanoseconds
    var next = environment.supervisor.nextBeat
    if let deadline = heap.earliest { next = min(next, deadline) }
    if firstDirty >= 0 { next = min(next, sessions[file: FlowIndex(rawValue: Int(firstDirty))].dirtySince + flushAge) }
    if index.waitingSince > 0 { next = min(next, max(index.waitingSince + flushAge, indexRetryAt)) }
    if acceptPausedUntil > 0, !isDraining { next = min(next, acceptPausedUntil) }
    if !resting.isEmpty { next = min(next, restUntil) }
    if !unsure.isEmpty { next = min(next, unsureDue > 0 ? now : unsureAt) }
    if refusals.sayAt > 0 { next = min(next, refusals.sayAt) }
    if trimAt > 0 { next = min(next, trimAt) }
    if !handshakes.isEmpty { return 0 }
    if !collector.waiting.isEmpty, collector.prober == nil { next = min(next, collector.retryAt) }
    if !starved.isEmpty { next = min(next, now + Limits.stalledSendNanoseconds) }
    if isDraining { next = min(next, exitDeadline > 0 ? exitDeadline : drainDeadline) }
    if isCaptured { next = min(next, captureDeadline) }
    guard next < .max else { return nil }
    return next > now ? next - now : 0
  }

  // MARK: Signals

  private mutating func signalled(_ completion: Completion) {
    if let number = SignalDescriptor.number(in: signalBytes, count: Int(completion.result)) {
      if number == SIGHUP {
        environment.supervisor.reloading(at: clock.now.nanoseconds)
        isReloading = true
        environment.resolve()
        environment.reloadTLS()
        // Whoever moved the index away for rotation tells so with this signal.
        isIndexReopenWanted = true
      } else {
        endRequested()
      }
    }
    ring.read(environment.signals, signalBytes, token: Token(.signal))
  }

  /// Names were resolved again. Sessions that are connecting go on with the new list.
  private mutating func woken() {
    switch environment.resolved() {
    case .success(let targets)?:
      environment.targets = targets
      report.say(
        "resolved '\(configuration.connect.text)' again: \(targets.count) address\(targets.count == 1 ? "" : "es")",
        .info)
    case .failure(let error)?:
      report.say("\(error); still using the addresses found before")
    case nil:
      break
    }
    noteSwept()
    switch environment.reloadedTLS() {
    case .success(let read)?:
      environment.front = read.front
      environment.back = read.back
      ticketKeysUntil = 0
      report.say("certificates and keys were read again; new connections use them", .info)
    case .failure(let error)?:
      report.say("\(error); still using what was read before")
    case nil:
      break
    }
    if isReloading, !environment.isRenewing() {
      isReloading = false
      environment.supervisor.ready(at: clock.now.nanoseconds)
    }
    ring.read(environment.wake, wakeBytes, token: Token(.wake))
  }

  /// Lists what was deleted.
  private mutating func noteSwept() {
    for news in environment.swept() {
      switch news {
      case .said(let text): report.say(text)
      case .deleted(let deleted):
        if deletedRecordings == 0 {
          report.say("deleting recordings that are too many or too old; the index lists each, as event 'delete'")
        }
        deletedRecordings += 1
        deletedBytes += deleted.bytes
        index.delete(deleted, clock: &clock)
      }
    }
  }

  /// The loop was made to end at once: what was deleted since the index was written is said instead.
  private mutating func sayUnlistedDeletions() {
    _ = environment.endSweeping()
    for case .deleted(let deleted) in environment.swept() {
      deletedRecordings += 1
      deletedBytes += deleted.bytes
      report.say("deleted, and not listed in the index: \(deleted.paths.joined(separator: ", "))")
    }
  }

  /// The first request to end lets sessions go on for the drain time; the second ends them, the third does not wait for
  /// recordings either.
  mutating func endRequested() {
    let now = clock.now.nanoseconds
    if !isDraining {
      isDraining = true
      drainDeadline = now &+ configuration.drainNanoseconds
      let most = configuration.drainNanoseconds
      report.say(
        "ending: no new sessions, \(activeSessions) going on for at most "
          + (most % 1_000_000_000 == 0 ? "\(most / 1_000_000_000) s" : "\(most / 1_000_000) ms"),
        .info)
      environment.supervisor.stopping()
      closeListeners()
    } else if now < drainDeadline {
      drainDeadline = now
    } else {
      isFinished = true
    }
  }

  private mutating func workDrain() {
    let now = clock.now.nanoseconds
    if now >= drainDeadline && exitDeadline == 0 {
      exitDeadline = now + Limits.exitNanoseconds
      for slot in 0..<sessions.usedSlots {
        terminate(slot, .drain)
        touch(slot)
      }
      advanceTouched()
    }
    let isRecording = sessions.count > 0 && !isAbandoning || isCaptured && isCaptureBusy
    var isSweeping = false
    if !isRecording {
      // In this order: what was deleted before the end of that is there to be listed.
      isSweeping = environment.endSweeping()
      noteSwept()
    }
    guard isRecording || isSweeping || index.hasLines || index.isWriting else {
      isFinished = true
      return
    }
    // Nobody is left to wait for but the disk.
    if sessions.count == 0 && exitDeadline == 0 { exitDeadline = now + Limits.exitNanoseconds }
    guard exitDeadline > 0 && now >= exitDeadline else { return }
    guard !isAbandoning else {
      report.say(
        isSweeping
          ? "ended before the last deletion was over: the directory does not answer"
          : "ended before the index was written: \(sessions.count) sessions were waiting for the disk", .error)
      isFinished = true
      return
    }
    // The disk of the recordings hangs. The index, perhaps on another, tells of what is given up.
    isAbandoning = true
    exitDeadline = now + Limits.lastWordsNanoseconds
    for slot in 0..<sessions.usedSlots where sessions[slot].phase != .free { abandon(slot) }
  }

  /// Staging memory that a burst left unused is given back when no more was needed for a while.
  private mutating func trimIdle() {
    let now = clock.now.nanoseconds
    if trimAt == 0 || (now >= trimAt && trimTakenBlocks != pool.takenBlocks) {
      trimAt = now + Limits.idleBlockNanoseconds
      trimTakenBlocks = pool.takenBlocks
    } else if now >= trimAt {
      trimAt = 0
      pool.trim()
    }
  }

  /// Flows that rested for lack of memory go on.
  private mutating func endRest() {
    guard clock.now.nanoseconds >= restUntil else { return }
    for _ in 0..<resting.count {
      guard let flow = flow(resting.removeFirst()) else { continue }
      sessions[flow: flow].isResting = false
      if !askings.isEmpty { askOn(flow.slot) }
      touch(flow.slot)
    }
  }

  /// The kernel had no memory for an operation of a flow: it rests a little instead of asking at once.
  mutating func rest(_ flow: FlowIndex) {
    guard !sessions[flow: flow].isResting else { return }
    sessions[flow: flow].isResting = true
    if resting.isEmpty { restUntil = clock.now.nanoseconds + Limits.restNanoseconds }
    resting.append(entry(flow))
  }
}
