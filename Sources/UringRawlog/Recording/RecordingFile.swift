import Glibc

/// One file of a recording, and the encoded bytes that wait to be written to it.
struct RecordingFile {
  enum State: UInt8 {
    /// This direction is not recorded.
    case none
    /// It is being opened; bytes gather meanwhile.
    case opening
    case open
    /// What was recorded so far stays, nothing more is added (`--max-recording`, too many gaps).
    case ended
    /// It could not be opened or written.
    case failed
  }

  var state: State = .none
  var descriptor: Int32 = -1
  /// The descriptor may be written to: every file of the session was created.
  var isOpen = false
  /// Why it could not be created (errno(3)); 0 when nothing failed.
  var openError: Int32 = 0
  var encoder = Encoder.State()
  /// The block class for the next block: grows while blocks fill between flushes, shrinks when they stay empty.
  var sizeClass = UInt8(Limits.firstBlockClass)
  /// A write is with the kernel.
  var isWriting = false
  /// What is staged should be written now: the interval is over, there is enough, or the session ends.
  var mustFlush = false
  /// It waits for staging memory.
  var isWaiting = false
  /// Relayed bytes are lost until there is memory again.
  var isDropping = false
  /// And until the credential is over of which some was lost.
  var isDroppingCredential = false
  /// Nothing more is added to it: `--max-recording` is reached, or with `--pre-login` somebody has logged in.
  var isOver = false
  /// The reason was `--max-recording`.
  var isTruncated = false
  /// The place in the stream where its recording ends at the latest.
  var limit = UInt64.max
  /// The limit is where somebody has logged in (`--pre-login`), and not `--max-recording`.
  var isLimitLogin = false
  /// The last block is being written, or has receive buffers behind it, and takes no more bytes.
  var isTailSealed = false

  /// The place in the stream up to which bytes were recorded, or given up.
  var position: UInt64 = 0
  /// The last bytes before that are neither: it is not known yet whether they are of a credential.
  var withheld: Int32 = 0
  /// Relayed bytes that the bytes on disk hold, and these bytes.
  var recorded: UInt64 = 0
  var fileBytes: UInt64 = 0
  /// Its last gap, by its place in the session's list; -1 when it has none.
  var lastGap: Int32 = -1
  /// Relayed bytes that are lost to gaps.
  var dropped: UInt64 = 0

  /// The staged blocks, oldest first, and the encoded bytes in them.
  var first: BlockPool.Block?
  var last: BlockPool.Block?
  var stagedBytes = 0

  /// Receive buffers that are to be written as they are, behind all that is staged; and those that are being written.
  var gathered: UInt16 = 0
  /// Where in the stream the last of them ends.
  var gatheredEnd: UInt64 = 0
  var gatheredInFlight: UInt16 = 0
  /// The place in the stream from which on bytes are being written out of receive buffers, and where these end; while
  /// none are, both are the largest number.
  var writingFrom = UInt64.max
  var writingTo = UInt64.max
  /// Spans that are being written and were sent meanwhile: they left the flow's queue, so that nothing behind them is
  /// kept. `base` is the place in the stream of the first.
  var writingSent = SpanTable.Queue()

  /// Where both directions share a file: the line of this direction whose end has not come yet.
  var line: BlockPool.Block?
  /// What the file holds of it already; see `RelayLoop.showLines`.
  var lineBytesShown: Int32 = 0
  /// When the line began (monotonic nanoseconds).
  var lineSince: UInt64 = 0
  /// Bytes on disk of this direction's lines.
  var lineBytes: UInt64 = 0
  /// The file tells of every gap before this place in the stream.
  var gapsTold: UInt64 = 0
  /// Lines without an end, as they are being written.
  var tentative: BlockPool.Block?
  /// Staged bytes that the same write has in front of them.
  var tentativeAfter = 0
  var isTentativeDue = false
  /// The file may hold tentative bytes behind those that count.
  var hasTentativeBytes = false

  /// When the oldest staged byte came (monotonic nanoseconds), and the neighbours in the list of files to be flushed.
  var dirtySince: UInt64 = 0
  var previousDirty: Int32 = -1
  var nextDirty: Int32 = -1
  var isDirty = false
  /// When waiting for memory began (monotonic nanoseconds).
  var waitingSince: UInt64 = 0

  /// Bytes of this direction that come are recorded.
  @inline(__always) var isRecording: Bool { (state == .opening || state == .open) && !isOver }
  /// Something of it is not with the kernel yet.
  @inline(__always) var hasUnwritten: Bool { first != nil || gathered > 0 }

  mutating func append(_ block: BlockPool.Block) {
    block.header.pointee.startsAtLineStart = encoder.atLineStart
    if let last { last.header.pointee.next = block } else { first = block }
    last = block
  }
}

/// Relayed bytes that a recording lacks.
struct RecordingGap: Equatable {
  var direction: Direction
  /// Where in the stream of its direction, and how many.
  var offset: UInt64
  var bytes: UInt64

  /// The place in the stream behind it.
  var end: UInt64 { offset + bytes }
}
