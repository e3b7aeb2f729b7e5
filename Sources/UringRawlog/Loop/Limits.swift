/// Every maximum that is not an option, in one place; `checkRelations` asserts how they hang together.
enum Limits {
  // MARK: The ring

  /// Operations prepared in a turn before the queue is handed over early.
  static let submissionEntries = 4096
  /// Completions that the kernel keeps per submission entry before it must queue them aside: multishot operations
  /// complete many times for one submission.
  static let completionsPerSubmission = 4
  /// Completions copied out at a time, before they are acted on.
  static let completionsTaken = 1024
  /// Addresses, paths and vectors of one turn; when it is full the turn is submitted early.
  static let submissionArenaBytes = 512 << 10

  /// Threads of the engine without io_uring that write and create files, and those that write what is appended: the
  /// index must not wait for recordings on a disk that hangs.
  static let fileThreads = 8
  static let appendThreads = 1

  // MARK: Receiving

  /// The shared receive buffers: 8 MiB. Fewer starve mail sessions, more fall out of the cache.
  static let receiveBuffers = 128
  static let receiveBufferBytes = 64 << 10
  /// What one direction may have queued for a slow peer before its sender is no longer read from.
  static let queuedBytesPause = 256 << 10
  /// The same while `parkedBytesScarce` is exceeded: many peers are slow at once.
  static let queuedBytesPauseScarce = 16 << 10
  /// Memory of slow directions, all together, above which each may keep only little, and above which a recording that
  /// waits for memory gives up waiting.
  static let parkedBytesScarce = 32 << 20
  static let parkedBytesMaximum = 64 << 20
  /// What a multishot receive may bring before it must be armed anew (kernel 6.17), so that a sender cannot deliver much
  /// more than `queuedBytesPause` before it is paused.
  static let receiveBytesPerArming = 256 << 10
  /// Bytes parked together, so that many small messages do not take many pieces of memory.
  static let parkedPieceBytes = 16 << 10
  /// How long a send or receive for which the kernel had no memory rests.
  static let restNanoseconds: UInt64 = 10_000_000
  /// A send that has not moved for this long has a slow peer: its receive buffers may be taken back.
  static let stalledSendNanoseconds: UInt64 = 10_000_000

  // MARK: Sending

  /// Pieces gathered into one send; far below IOV_MAX (1024).
  static let sendVectors = 64

  // MARK: Splicing

  /// A pipe's size: fewer bytes cost more system calls for each, more is refused to users without privilege
  /// (fs.pipe-max-size).
  static let pipeBytes = 1 << 20
  /// A pipe that is smaller, since the user has used up fs.pipe-user-pages-soft, is no gain over copying.
  static let pipeBytesLeast = 64 << 10
  /// Pipes at once. A flow has one only while bytes are in it, so these are flows with a slow receiver, and all together
  /// hold no more than may be parked. It is also what a user without privilege may have at that size.
  static let pipes = 64
  /// Empty pipes that are kept for the next flow.
  static let pipesIdle = 16
  /// A pipe takes two descriptors; one is allowed for so many free ones, so that sessions get most of them.
  static let descriptorsPerPipe = 16
  /// How long none is asked for when a pipe could not be had.
  static let pipeRetryNanoseconds: UInt64 = 1_000_000_000
  /// What a flow moves in bulk before it is spliced, turns in which less than `bulkReceiveBytes` came making it half:
  /// a mail of ordinary size is not worth the change.
  static let bulkBytes = 1 << 20
  static let bulkReceiveBytes = 32 << 10
  /// A spliced flow that moved less than this in so many wake-ups in a row is copied again.
  static let thinWakeBytes = 16 << 10
  static let thinWakes = 8
  /// What all spliced flows together move in a turn, and the least and the most for one of them, so that none keeps the
  /// others waiting.
  static let splicedBytesPerTurn = 8 << 20
  static let splicedBytesPerFlowLeast = 64 << 10
  static let splicedBytesPerFlow = 1 << 20

  // MARK: Sessions

  /// The most that `--max-sessions` takes: the token has 24 bits for the slot.
  static let sessionsMaximum = 1 << 20
  /// Clients of which `--max-rate-per-ip` remembers when they came, some 3 MiB; how often those are forgotten that may
  /// begin as many sessions as anybody; and the time between two lines about refused clients.
  static let ratedClients = 65536
  static let ratedClientsSweepNanoseconds: UInt64 = 1_000_000_000
  static let refusalsNanoseconds: UInt64 = 1_000_000_000
  /// Connections that wait to be accepted (listen(2)); the kernel caps it at net.core.somaxconn. A multishot accept takes
  /// all of them in one turn, so it is used only while there is room for that many from each listener.
  static let backlog = 4096
  /// Descriptors beyond those open at start that are left for resolving, reopening and the like.
  static let descriptorReserve = 16
  /// How long accepting rests when the system is out of descriptors and no session ends.
  static let descriptorRetryNanoseconds: UInt64 = 100_000_000
  /// How long a leg is still read from when its bytes cannot be delivered any more, so that what was sent to it is not
  /// lost to a reset.
  static let lingerNanoseconds: UInt64 = 5_000_000_000

  /// How often it is looked whether the last bytes for such a leg were confirmed.
  static let lingerCheckNanoseconds: UInt64 = 20_000_000
  /// How long after bytes came it is looked whether a multishot receive missed a reset behind them.
  static let hangUpNanoseconds: UInt64 = 1_000_000_000
  /// How many flows are looked at for that in a turn: 0.2 us each.
  static let hangUpsPerTurn = 64
  /// How soon a unix socket whose backlog was full is tried again.
  static let connectRetryNanoseconds: UInt64 = 10_000_000
  /// How long the end waits for recordings after the last session was ended.
  static let exitNanoseconds: UInt64 = 3_000_000_000
  /// How long it then waits for the index to tell of those that it gave up.
  static let lastWordsNanoseconds: UInt64 = 1_000_000_000

  // MARK: Recording

  /// Staging blocks by class: small at first, larger while one fills between two flushes.
  static let blockBytes: InlineArray<4, Int> = [4 << 10, 16 << 10, 64 << 10, 256 << 10]
  /// The block class that a recording starts with.
  static let firstBlockClass = 1
  /// Staged bytes of one file that are written at once, without waiting for the flush interval.
  static let writeBytes = 256 << 10
  /// Receive buffers that one file, and all together, may keep for writing them as they are; beyond it their bytes are
  /// copied into staging memory.
  static let gatheredBuffersPerFile = 32
  static let gatheredBuffers = 64
  /// From so many bytes, or well filled buffers, on they are written without waiting for the flush interval.
  static let gatheredWriteBytes = 512 << 10
  static let gatheredWriteBuffers = 8
  /// Above so much staging memory in use, what is staged falls out of the processor's cache before it is written, and
  /// touching new memory costs more than large writes save: blocks do not grow any more, and a file is written from
  /// `writeBytesCrowded` on.
  static let cachedBlockBytes = 8 << 20
  static let writeBytesCrowded = 48 << 10
  /// Blocks gathered into one write.
  static let writeVectors = 64
  /// Files whose flush interval is nearly over that are written in one turn.
  static let flushesPerTurn = 16
  /// What is written in the loop, where the file system is in memory, is at most so large.
  static let writeNowBytes = 64 << 10
  /// One session's share of `--log-memory`.
  static let sessionShareOfLogMemory = 8
  /// The share of `--log-memory` that lines may take whose end has not come; beyond it they come in pieces.
  static let heldLinesShareOfLogMemory = 4

  /// What all sessions together may hold whose directory is not known before somebody logs in: clients that never do must
  /// not keep others from being recorded.
  static let awaitingShareOfLogMemory = 2
  /// The least `--log-memory`: one session's share must hold a block for each direction.
  static let logMemoryMinimum = 64 << 10
  /// Unused staging memory that is kept for the next block instead of being given back.
  static let idleBlockBytes = 32 << 20
  /// How long nothing is staged until that is given back too.
  static let idleBlockNanoseconds: UInt64 = 5_000_000_000
  /// Memory of logins that is kept for the next ones, of 768 bytes each: a login rarely takes longer than an answer.
  static let idleLoginMemories = 256
  /// Gaps listed for one session; a recording with more is ended, its last gap reaching to the end.
  static let gapsPerSession = 1000
  /// How often a directory that was removed is looked for again.
  static let directoryRetryNanoseconds: UInt64 = 1_000_000_000
  /// Index lines that wait for a full disk; beyond it lines are lost, counted and reported.
  static let indexPendingBytes = 8 << 20
  /// How long a failed write of the index rests before it is tried again.
  static let indexRetryNanoseconds: UInt64 = 500_000_000

  // MARK: Captures

  /// The longest text in front of a capture: what listeners are called, all together.
  static let captureTextBytes = 4096
  /// Staged packets that are written without waiting for the flush interval, and lines of a side file.
  static let captureWriteBytes = 512 << 10
  static let captureLinesBytes = 64 << 10
  /// A packet that is cut because its block is full has at least so many bytes.
  static let capturePieceBytes = 2048
  /// A capture is not ended before it has so many bytes, unless it is old.
  static let captureLeastBytes = 64 << 10
  /// How long no other capture is tried when one could not be created or written.
  static let captureRetryNanoseconds: UInt64 = 1_000_000_000
  /// The longest block of a capture that is read; the longest that is written is one of a packet with an end record.
  static let captureBlockBytes = 256 << 10
  /// What is in memory of a capture that is being read.
  static let captureWindowBytes = 1 << 20
  /// Places of a session's blocks that are kept, 8 MiB; a capture with more of one session is read block by block.
  static let capturePlaces: UInt64 = 1 << 20
  /// What a frame of a compressed capture holds, and the most frames that one may have: 16 TiB.
  static let captureFrameBytes = 1 << 20
  static let captureFrames = 1 << 24
  /// Sessions that are exported to a capture side by side, so that their packets are in the order of time. Each has its
  /// files open, and a window of each.
  static let exportedSessions = 256
  /// What is wrong with a capture is listed up to so much of it, and counted beyond.
  static let captureDamages = 100
  /// How often a directory is looked at for what is to be deleted from it.
  static let sweepMilliseconds: Int32 = 5000
  /// A file that was written to so short a time ago is taken as being written, and not deleted: its recorder may not have
  /// locked it yet.
  static let retentionGraceNanoseconds: Int64 = 5_000_000_000

  // MARK: Reading recordings

  /// The longest piece of a line that is shown at once; a longer line is shown in pieces.
  static let pieceBytes = 64 << 10
  /// What is in memory of a recording that is being read: a piece, and what must be seen behind it.
  static let windowBytes = 128 << 10
  /// The longest line of an index. One with `gapsPerSession` gaps has about 70 KiB.
  static let indexLineBytes = 1 << 20
  /// Values within values of an index line; the lines that there are have three.
  static let jsonDepth = 16
  /// Directories below the one that is named, as a template makes them.
  static let directoryDepth = 8
  /// Text of a transcript that is written at once.
  static let outputBytes = 64 << 10
  /// How long a line that was just recorded waits for an earlier one of the other direction, and a line without an end
  /// for its end, while recordings are followed. More than the default of `--flush`.
  static let followNanoseconds: UInt64 = 250_000_000
  /// Sessions without an end that are followed at once, of some 3 KiB each; beyond, those that were silent for longest
  /// are not.
  static let followedSessions = 10_000

  // MARK: The collector

  /// How long connecting to it may take, and after a session's end the rest of its recording.
  static let collectorConnectNanoseconds: UInt64 = 5_000_000_000
  static let collectorEndNanoseconds: UInt64 = 2_000_000_000
  /// The pause after an attempt that failed; it doubles with each, up to the maximum.
  static let collectorPauseNanoseconds: UInt64 = 100_000_000
  static let collectorPauseMaximumNanoseconds: UInt64 = 10_000_000_000
  /// A connection that breaks sooner counts as an attempt that failed.
  static let collectorStableNanoseconds: UInt64 = 1_000_000_000
  /// Sessions that are over, and wait for the collector, may take one of so many slots; beyond it they do not wait.
  static let collectorWaitingShareOfSlots = 4
  /// A collector that ends its own side so soon, so many times in a row, only never sends.
  static let collectorEarlyNanoseconds: UInt64 = 100_000_000
  static let collectorEarlyEnds = 3

  // MARK: PROXY headers

  /// The longest that is accepted or sent. The standard wants them to fit 536 bytes; one with a certificate of the client
  /// does not. nginx has the same limit.
  static let proxyHeaderBytes = 4096

  // MARK: TLS

  /// The largest file of certificates, keys or a password: a system's whole list of authorities is a quarter of a
  /// megabyte.
  static let tlsFileBytes = 4 << 20
  /// What a peer may send in a handshake that we have not looked at: a chain of certificates of OpenSSL's maximum (100
  /// KB), and what surrounds it.
  static let handshakeBytes = 128 << 10
  /// How long the loop computes handshakes in a turn before it relays again, and the most that it looks at. One takes
  /// 0.1 to 2 ms, by the kind of the key.
  static let handshakeNanosecondsPerTurn: UInt64 = 300_000
  static let handshakesPerTurn = 64
  /// Plaintext that is made records of for one send; four full ones.
  static let sealedBytes = 64 << 10
  /// Memory of ciphertext for slow peers, all together, above which each gets one record at a time.
  static let sealedBytesScarce = 32 << 20
  /// Memory for the plaintext of one receive.
  static let openedBytes = 256 << 10
  /// How long tickets are sealed with the same keys.
  static let ticketKeyNanoseconds: UInt64 = 4 * 3600 * 1_000_000_000

  // MARK: Messages

  /// Lines a second about sessions; those beyond are counted and summed up in one line.
  static let messagesPerSecond = 100

  static func checkRelations() {
    precondition(receiveBuffers & (receiveBuffers - 1) == 0, "the kernel takes rings of a power of two")
    precondition(queuedBytesPause >= receiveBufferBytes, "one full receive must not pause its sender")
    precondition(queuedBytesPauseScarce < queuedBytesPause)
    precondition(parkedBytesScarce < parkedBytesMaximum)
    precondition(pipes * pipeBytes <= parkedBytesMaximum, "slow receivers cost no more than when they are copied to")
    precondition(pipesIdle <= pipes && descriptorsPerPipe > 2 && pipeBytesLeast <= pipeBytes)
    precondition(thinWakeBytes < bulkReceiveBytes, "a flow between the two must not go back and forth")
    precondition(splicedBytesPerFlowLeast <= splicedBytesPerFlow && splicedBytesPerFlow <= splicedBytesPerTurn)
    precondition(sessionsMaximum <= 1 << 24, "the token has 24 bits for the slot")
    precondition(sendVectors <= 1024 && writeVectors <= 1024, "IOV_MAX")
    precondition(fileThreads > 0 && appendThreads > 0, "somebody works on files")
    precondition(MemoryLayout<Completion>.stride == 16, "the size of the kernel's completion entry")
    precondition(
      submissionArenaBytes >= 4 * (writeVectors + sendVectors) * 16, "an operation's vectors fit the arena")
    precondition(logMemoryMinimum / sessionShareOfLogMemory >= 2 * blockBytes[0])
    precondition(gatheredBuffersPerFile <= writeVectors, "a file's receive buffers go into one write")
    precondition(gatheredBuffers <= receiveBuffers / 2, "recordings must not starve receiving")
    precondition(writeBytesCrowded < writeBytes)
    precondition(collectorEndNanoseconds < exitNanoseconds, "the end waits for the collector like for a disk")

    precondition(openedBytes >= 2 * TLSEngine.recordBytes && sealedBytes >= TLSEngine.recordBytes)
    precondition(writeBytes <= blockBytes[blockBytes.count - 1])
    precondition(
      CapturedConversation.mostEndBytes <= captureBlockBytes && captureBlockBytes <= captureWindowBytes,
      "every block that is written can be read")
    precondition(
      CapturedConversation.mostEndBytes <= blockBytes[blockBytes.count - 1] - MemoryLayout<BlockPool.Header>.stride,
      "the last packet of a session fits a block of staging memory")
    precondition(pieceBytes + 4096 <= windowBytes, "what must be seen behind a piece fits the window")
    precondition(indexLineBytes >= 128 * gapsPerSession, "an index line with all gaps can be read")
    precondition(ProxyHeader.tlsBytesMaximum >= 2048, "a certificate of a client fits a PROXY header")
  }
}
