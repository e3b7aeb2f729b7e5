import Glibc

/// A capture and its side file while they are written, and what waits to be written to them.
///
/// A capture is its first blocks (`head`), packets in blocks of staging memory, and its last block (`tail`), which need
/// no staging memory: a capture can be ended however full that is.
struct OpenCapture: ~Copyable {
  enum State: UInt8 {
    case none
    /// Its files are being created; packets are staged meanwhile.
    case creating
    case open
    /// All is written: the files are getting their final names.
    case renaming
    /// It could not be created or written: what is under way is waited for.
    case failed
  }

  var state = State.none
  var writer = Capture()
  var name = CaptureName(time: LocalTimeText(), processID: 0, number: 0)
  var descriptor: Int32 = -1
  var sideDescriptor: Int32 = -1
  /// Why a file could not be created or renamed (errno(3)); 0 when nothing failed.
  var error: Int32 = 0
  /// Operations that have not come home.
  var operations = 0
  /// No more packets come.
  var isEnding = false

  var head = Bytes()
  var tail = Bytes()
  /// Bytes of each that are on disk.
  var headWritten = 0
  var tailWritten = 0
  /// The staged blocks, oldest first, and the bytes in them that are not on disk.
  var first: BlockPool.Block?
  var last: BlockPool.Block?
  var stagedBytes = 0
  var sizeClass = UInt8(Limits.firstBlockClass)
  /// The last block is being written, and takes no more bytes.
  var isTailSealed = false
  var isWriting = false
  /// What is staged should be written as soon as the write under way is over.
  var mustFlush = false
  /// When the oldest byte came that no write has (monotonic nanoseconds); 0 when there is none.
  var dirtySince: UInt64 = 0
  /// Bytes on disk.
  var fileBytes: UInt64 = 0

  /// Lines of the side file that wait, and those that are being written.
  var lines = Bytes()
  var writingLines = Bytes()
  var writtenLines = 0
  var lineCount: UInt64 = 0
  var sideBytes: UInt64 = 0
  var isSideWriting = false
  /// The side file could not be written: the capture will have none.
  private(set) var isSideLost = false

  /// Makes it ready for the next capture; its memory stays.
  mutating func reset() {
    assert(operations == 0 && first == nil && descriptor < 0 && sideDescriptor < 0)
    state = .none
    error = 0
    isEnding = false
    isSideLost = false
    head.removeAll()
    tail.removeAll()
    (headWritten, tailWritten, stagedBytes) = (0, 0, 0)
    sizeClass = UInt8(Limits.firstBlockClass)
    (isTailSealed, isWriting, mustFlush, isSideWriting) = (false, false, false, false)
    dirtySince = 0
    fileBytes = 0
    lines.removeAll()
    writingLines.removeAll()
    writtenLines = 0
    lineCount = 0
    sideBytes = 0
  }

  /// Something of the capture is not with the kernel yet. A block may be there for what then was left out.
  var hasUnwritten: Bool { headWritten < head.count || stagedBytes > 0 || isEnding && tailWritten < tail.count }
  var hasUnwrittenLines: Bool { lines.count > 0 || writtenLines < writingLines.count }

  mutating func append(_ block: BlockPool.Block) {
    if let last { last.header.pointee.next = block } else { first = block }
    last = block
    isTailSealed = false
  }

  /// What the next write takes, in its order.
  ///
  /// - Returns: how many of `vectors` were filled.
  mutating func gather(into vectors: UnsafeMutableBufferPointer<iovec>) -> Int {
    var count = 0
    func add(_ bytes: UnsafeRawBufferPointer) {
      vectors[count] = iovec(iov_base: UnsafeMutableRawPointer(mutating: bytes.baseAddress), iov_len: bytes.count)
      count += 1
    }
    if headWritten < head.count { add(UnsafeRawBufferPointer(rebasing: head.span[headWritten...])) }
    var block = first
    while let current = block, count < Limits.writeVectors {
      add(current.unwritten)
      block = current.header.pointee.next
    }
    if block == nil {
      isTailSealed = true
      dirtySince = 0
      mustFlush = false
      if isEnding, tailWritten < tail.count, count < Limits.writeVectors {
        add(UnsafeRawBufferPointer(rebasing: tail.span[tailWritten...]))
      }
    }
    return count
  }

  /// A write took so many bytes.
  ///
  /// - Returns: whether blocks came back.
  mutating func written(_ count: Int, _ pool: inout BlockPool) -> Bool {
    fileBytes += UInt64(count)
    var rest = count
    let fromHead = min(rest, head.count - headWritten)
    headWritten += fromHead
    rest -= fromHead
    var isReturned = false
    while let block = first, rest > 0 || block.unwritten.isEmpty {
      let unwritten = block.unwritten.count
      guard rest >= unwritten else {
        block.header.pointee.written += Int32(rest)
        stagedBytes -= rest
        return isReturned
      }
      rest -= unwritten
      stagedBytes -= unwritten
      first = block.header.pointee.next
      pool.giveBack(block)
      isReturned = true
    }
    if first == nil {
      last = nil
      isTailSealed = false
    }
    tailWritten += rest
    return isReturned
  }

  /// The next lines of the side file; nil when there are none.
  mutating func nextLines() -> UnsafeRawBufferPointer? {
    if writtenLines >= writingLines.count {
      guard lines.count > 0 else { return nil }
      writtenLines = 0
      writingLines.removeAll()
      swap(&writingLines, &lines)
    }
    return UnsafeRawBufferPointer(rebasing: writingLines.span[writtenLines...])
  }

  /// No more packets come: the last block, and the last line of the side file.
  mutating func end(at microseconds: Int64) {
    writer.appendStatistics(at: microseconds, to: &tail)
    if !isSideLost { CaptureIndex.appendTotal(lines: lineCount, captureBytes: writer.position, to: &lines) }
    isEnding = true
  }

  /// There will be no side file.
  mutating func loseSide() {
    isSideLost = true
    lines.removeAll()
    writingLines.removeAll()
    writtenLines = 0
  }

  /// Gives all staged memory back.
  mutating func forget(_ pool: inout BlockPool) {
    while let block = first {
      first = block.header.pointee.next
      pool.giveBack(block)
    }
    last = nil
    stagedBytes = 0
    dirtySince = 0
  }
}

/// The capture for packets and the one before it, which is being ended.
struct OpenCaptures: ~Copyable {
  static let count = 2
  private let memory: UnsafeMutablePointer<OpenCapture>
  /// Where the one for packets is.
  private(set) var current = 0

  init() {
    memory = .allocate(capacity: Self.count)
    for place in 0..<Self.count { (memory + place).initialize(to: OpenCapture()) }
  }

  deinit {
    for place in 0..<Self.count {
      // Of a recorder that was made to end at once.
      while let block = memory[place].first {
        memory[place].first = block.header.pointee.next
        block.deallocate()
      }
    }
    memory.deinitialize(count: Self.count)
    memory.deallocate()
  }

  subscript(place: Int) -> OpenCapture {
    @inline(__always) unsafeAddress { UnsafePointer(memory + place) }
    @inline(__always) unsafeMutableAddress { memory + place }
  }

  /// What waits to be written of both.
  @inline(__always) var stagedBytes: Int { memory[0].stagedBytes &+ memory[1].stagedBytes }

  /// The capture for packets is being ended; the other takes its place.
  mutating func exchange() { current = 1 - current }
}

extension OpenCapture {
  /// What the sessions had in packets that are not on disk as a whole, by their numbers.
  func lostPackets() -> [UInt64: CapturedSession.Counts] {
    var lost: [UInt64: CapturedSession.Counts] = [:]
    var block = first
    while let current = block {
      let header = current.header.pointee
      var place = 0
      while place < Int(header.used) {
        let packet = UnsafeRawPointer(current.bytes) + place
        let length = Int(packet.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
        place += length
        guard place > Int(header.written),
          let captured = CapturedPacket(
            UnsafeRawBufferPointer(start: packet, count: length), at: 0, section: 0)
        else { continue }
        lost[captured.session, default: CapturedSession.Counts()][captured.direction] += UInt64(captured.payload.count)
      }
      block = header.next
    }
    return lost
  }
}
