/// One direction of the drop-in's session: reads that are on their way from their source to their sink, and into a file.
///
/// A pure state machine. Each read has a place of its own until it is both sent and recorded; places are used in turn,
/// so three counters say everything. It holds little, as Dovecot's does: a sender whose receiver is slow waits.
struct Flow {
  /// What one read returned.
  struct Chunk {
    var count = 0
    /// Bytes of it that were sent, and that are encoded.
    var sent = 0
    var encoded = 0
    /// When it came, in microseconds since the epoch.
    var time: Int64 = 0
  }

  static let places = 4

  let source: Int32
  let sink: Int32
  private var chunks = [4 of Chunk](repeating: Chunk())
  /// Chunks that were read, sent and recorded since the places were last used from the first one on.
  private(set) var readCount = 0
  private(set) var sentCount = 0
  private(set) var recordedCount = 0
  private(set) var queuedBytes = 0
  var isReading = false
  var isSending = false
  /// The source has ended its stream: nothing comes any more.
  var hasEnded = false
  /// The end was passed on, or the sink takes nothing any more: nothing is sent.
  private(set) var isOver = false

  init(source: Int32, sink: Int32) {
    self.source = source
    self.sink = sink
  }

  // MARK: Reading

  /// The place of the next read, if there is one and the sink keeps up.
  var readPlace: Int? {
    guard !isReading, !hasEnded, !isOver, queuedBytes <= Limits.pauseBytes,
      readCount - min(sentCount, recordedCount) < Self.places
    else { return nil }
    return readCount % Self.places
  }

  /// Begins anew with the first place when all are free: a session of small messages then touches no more memory.
  mutating func rewind() {
    guard readCount > 0, sentCount == readCount, recordedCount == readCount, !isReading else { return }
    readCount = 0
    sentCount = 0
    recordedCount = 0
  }

  mutating func received(_ count: Int, at time: Int64) {
    chunks[readCount % Self.places] = Chunk(count: count, time: time)
    readCount += 1
    // What cannot be delivered is only recorded.
    if isOver { sentCount = readCount } else { queuedBytes += count }
  }

  // MARK: Sending

  /// The rest of the oldest chunk that is not sent: its place, and the bytes in it.
  var sendable: (place: Int, bytes: Range<Int>)? {
    guard !isSending, !isOver, sentCount < readCount else { return nil }
    let place = sentCount % Self.places
    return (place, chunks[place].sent..<chunks[place].count)
  }

  mutating func sent(_ count: Int) {
    guard !isOver else { return }
    let place = sentCount % Self.places
    chunks[place].sent += count
    queuedBytes -= count
    if chunks[place].sent == chunks[place].count { sentCount += 1 }
  }

  /// Everything that will ever come is sent: the end is to be passed on.
  var isDelivered: Bool { hasEnded && !isOver && !isSending && sentCount == readCount }

  /// Nothing is sent from here on.
  mutating func finish() {
    isOver = true
    sentCount = readCount
    queuedBytes = 0
  }

  // MARK: Recording

  /// The rest of the oldest chunk that is not recorded.
  var recordable: (place: Int, bytes: Range<Int>, time: Int64)? {
    guard recordedCount < readCount else { return nil }
    let place = recordedCount % Self.places
    return (place, chunks[place].encoded..<chunks[place].count, chunks[place].time)
  }

  /// - Parameter isDone: the chunk is recorded entirely, the marker behind it included.
  mutating func recorded(_ count: Int, isDone: Bool) {
    chunks[recordedCount % Self.places].encoded += count
    if isDone { recordedCount += 1 }
  }

  /// Nobody records: chunks wait for their sending alone.
  mutating func skipRecording() { recordedCount = readCount }
}
