import Glibc
import Testing

@testable import UringRawlog

/// The queue of received bytes against a model that keeps them in plain arrays.
@Suite struct SpanTableTests {
  /// The kernel's side: the memory of the receive buffers and who has them.
  private final class Buffers {
    let count: Int
    let bytes: Int
    let memory: UnsafeMutableRawPointer
    private(set) var free: [Int]
    private(set) var faults: [String] = []

    init(count: Int, bytes: Int) {
      self.count = count
      self.bytes = bytes
      memory = .allocate(byteCount: count * bytes, alignment: 16)
      memory.initializeMemory(as: UInt8.self, repeating: 0, count: count * bytes)
      free = Array(0..<count)
    }

    deinit { memory.deallocate() }

    func address(_ buffer: Int) -> UnsafeMutableRawPointer { memory + buffer * bytes }

    /// Fills any free buffer.
    func fill(_ content: ArraySlice<UInt8>, _ random: inout SeededGenerator) -> Int {
      let buffer = free.remove(at: random.below(free.count))
      address(buffer).copyMemory(from: Array(content), byteCount: content.count)
      return buffer
    }

    /// Takes one back and spoils it: nobody may read it any more.
    func giveBack(_ buffer: Int) {
      if buffer < 0 || buffer >= count || free.contains(buffer) { faults.append("buffer \(buffer) came back twice") }
      free.append(buffer)
      address(buffer).initializeMemory(as: UInt8.self, repeating: 0xDB, count: bytes)
    }
  }

  /// One direction: its whole stream, and the reads that brought it.
  private struct Model {
    var queue = SpanTable.Queue()
    var bytes: [UInt8] = []
    var reads: [(range: Range<Int>, stamp: Int64)] = []
    var sent = 0
    var recorded = 0
    /// Without a recording nothing is needed for it.
    var isRecorded = true
    var isParked = false

    var recordedPlace: UInt64 { isRecorded ? UInt64(recorded) : .max }
    var needed: UInt64 { min(UInt64(sent), recordedPlace) }

    mutating func add(_ content: ArraySlice<UInt8>, stamp: Int64) {
      reads.append((bytes.count..<bytes.count + content.count, stamp))
      bytes += content
    }
  }

  /// Walks a queue as the send and the recording do.
  private func difference(_ spans: borrowing SpanTable, _ model: Model, owner: FlowIndex) -> String? {
    var span = model.queue.head
    var place = Int(model.queue.base)
    var read = 0
    if place > min(model.sent, model.isRecorded ? model.recorded : .max) { return "bytes that are needed were let go" }
    var last: Int32 = -1
    while span >= 0 {
      let entry = spans[span]
      let count = Int(entry.count)
      guard count > 0, place + count <= model.bytes.count else { return "a span reaches beyond the stream" }
      let isSame = model.bytes.withUnsafeBytes { memcmp($0.baseAddress! + place, entry.memory, count) == 0 }
      if !isSame { return "other bytes at \(place)" }
      if entry.owner != Int32(owner.rawValue) { return "owner is \(entry.owner)" }
      // What is still to be recorded keeps its stamp and its chunk: it is of one read.
      let unrecorded = max(place, model.isRecorded ? model.recorded : .max)
      if unrecorded < place + count {
        while model.reads[read].range.upperBound <= unrecorded { read += 1 }
        let (range, stamp) = model.reads[read]
        if place + count > range.upperBound { return "a span of two reads at \(place)" }
        if entry.stamp != stamp { return "the stamp at \(place)" }
        if entry.endsChunk != (place + count == range.upperBound) { return "the end of a chunk at \(place + count)" }
        if unrecorded == place, entry.startsChunk != (place == range.lowerBound) {
          return "a chunk's start at \(place)"
        }
      }
      place += count
      last = span
      span = entry.next
    }
    if place != model.bytes.count { return "the queue ends at \(place) of \(model.bytes.count)" }
    if model.queue.tail != last { return "the tail is not the last span" }
    return nil
  }

  @Test func agreesWithPlainArrays() throws {
    var noiseRandom = SeededGenerator(seed: 0)
    let noise = (0..<64 << 10).map { _ in UInt8(truncatingIfNeeded: noiseRandom.next()) }
    var parkings = 0
    for seed in 1...UInt64(500) {
      var random = SeededGenerator(seed: seed)
      let buffers = Buffers(count: 1 << (2 + random.below(5)), bytes: [1, 7, 64, 4000].randomElement(using: &random)!)
      var spans = SpanTable(receiveBuffers: buffers.count, address: buffers.address)
      var models = (0..<1 + random.below(4)).map { _ in Model() }
      for index in models.indices { models[index].isRecorded = !random.once(in: 3) }
      var time: Int64 = 1

      func complain(_ text: String) { Issue.record("seed \(seed): \(text)") }

      for step in 0..<250 {
        let index = random.below(models.count)
        let owner = FlowIndex(rawValue: index)
        switch random.below(10) {
        case 0, 1, 2, 3:
          // One receive of one or several buffers.
          guard !buffers.free.isEmpty else { continue }
          time += 1
          let parts = 1 + random.below(min(4, buffers.free.count))
          let total = (parts - 1) * buffers.bytes + 1 + random.below(buffers.bytes)
          let from = random.below(noise.count - total)
          var part = 0
          while part < total {
            let end = min(part + buffers.bytes, total)
            let buffer = buffers.fill(noise[from + part..<from + end], &random)
            spans.append(
              buffer: buffer, count: end - part, stamp: time, startsChunk: part == 0, endsChunk: end == total,
              owner: owner, to: &models[index].queue)
            part = end
          }
          models[index].add(noise[from..<from + total], stamp: time)
        case 4, 5:
          models[index].sent += random.below(models[index].bytes.count - models[index].sent + 1)
        case 6, 7:
          models[index].recorded += random.below(models[index].bytes.count - models[index].recorded + 1)
        case 8:
          release(&models[index], &spans, buffers)
        default:
          let base = models[index].queue.base
          let (needed, recorded) = (models[index].needed, models[index].recordedPlace)
          spans.park(&models[index].queue, needed: needed, recorded: recorded) { buffers.giveBack($0) }
          parkings += 1
          if models[index].queue.base < base { complain("parking went back in the stream") }
          var span = models[index].queue.head
          while span >= 0 {
            if spans.isReceiveBuffer(span) { complain("a receive buffer stayed behind") }
            span = spans[span].next
          }
        }
        for (index, model) in models.enumerated() {
          if let difference = difference(spans, model, owner: FlowIndex(rawValue: index)) {
            complain("step \(step), flow \(index): \(difference)")
            return
          }
        }
        let held = spans.buffersHeld
        if held + buffers.free.count != buffers.count { complain("step \(step): \(held) buffers held") }
      }
      for index in models.indices {
        models[index].sent = models[index].bytes.count
        models[index].recorded = models[index].bytes.count
        release(&models[index], &spans, buffers)
        let queue = models[index].queue
        if queue.head >= 0 || queue.tail >= 0 || queue.base != UInt64(models[index].bytes.count) {
          complain("flow \(index) is not empty at the end")
        }
      }
      let (held, parked) = (spans.buffersHeld, spans.parkedBytes)
      try #require(held == 0 && parked == 0, "seed \(seed)")
      try #require(buffers.free.sorted() == Array(0..<buffers.count), "seed \(seed)")
      try #require(buffers.faults.isEmpty, "seed \(seed)")
    }
    try #require(parkings > 5000)
  }

  /// Gives back what was sent and recorded, as the loop does.
  private func release(_ model: inout Model, _ spans: inout SpanTable, _ buffers: Buffers) {
    while model.queue.head >= 0, model.queue.base + UInt64(spans[model.queue.head].count) <= model.needed {
      let buffer = spans.removeFirst(from: &model.queue)
      if buffer >= 0 { buffers.giveBack(buffer) }
    }
  }

  // MARK: By hand

  @Test func aBufferGoesRoundAndKnowsItsOwner() {
    let buffers = Buffers(count: 2, bytes: 10)
    var spans = SpanTable(receiveBuffers: 2, address: buffers.address)
    var queue = SpanTable.Queue()
    let free = (0..<2).map { spans[Int32($0)].owner }
    #expect(free == [-1, -1])
    for round in 0..<3 {
      for buffer in [1, 0] {
        spans.append(
          buffer: buffer, count: 10, stamp: 1, startsChunk: true, endsChunk: true, owner: FlowIndex(3, .out), to: &queue
        )
      }
      let (head, tail, base, held) = (queue.head, queue.tail, queue.base, spans.buffersHeld)
      #expect(head == 1 && tail == 0 && base == UInt64(round * 20) && held == 2)
      let owner = FlowIndex(rawValue: Int(spans[0].owner))
      #expect(owner == FlowIndex(3, .out))
      let first = spans.removeFirst(from: &queue)
      let second = spans.removeFirst(from: &queue)
      let owners = (0..<2).map { spans[Int32($0)].owner }
      #expect(first == 1 && second == 0 && owners == [-1, -1])
      let end = spans.buffersHeld
      #expect(end == 0)
    }
  }

  /// Many small messages to a slow peer take few pieces of memory, when they are recorded already.
  @Test func smallPiecesAreGathered() {
    let buffers = Buffers(count: 64, bytes: 1000)
    var spans = SpanTable(receiveBuffers: 64, address: buffers.address)
    var queue = SpanTable.Queue()
    var stream: [UInt8] = []
    var random = SeededGenerator(seed: 1)
    let total = Limits.parkedPieceBytes + 100
    // Parked each at once, as the bytes of a parked flow are.
    while stream.count < total {
      let count = min(1 + random.below(9), total - stream.count)
      let bytes = (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
      let buffer = buffers.fill(bytes[...], &random)
      spans.append(
        buffer: buffer, count: count, stamp: 1, startsChunk: true, endsChunk: true, owner: FlowIndex(0, .in), to: &queue
      )
      stream += bytes
      spans.park(&queue, needed: 0, recorded: .max) { buffers.giveBack($0) }
    }
    var pieces: [Int] = []
    var content: [UInt8] = []
    var span = queue.head
    while span >= 0 {
      let entry = spans[span]
      pieces.append(Int(entry.count))
      content += UnsafeRawBufferPointer(start: entry.memory, count: Int(entry.count))
      span = entry.next
    }
    #expect(firstDifference(content, stream) == nil)
    // No message is split, so a few bytes at the end of the first piece may stay unused.
    #expect(pieces.count == 2 && pieces[0] > Limits.parkedPieceBytes - 9)
    let (parked, held) = (spans.parkedBytes, spans.buffersHeld)
    #expect(parked == 2 * Limits.parkedPieceBytes && held == 0 && buffers.faults.isEmpty)
    for _ in pieces {
      let buffer = spans.removeFirst(from: &queue)
      #expect(buffer == -1)
    }
    let end = spans.parkedBytes
    #expect(end == 0)
  }

  /// What is still to be recorded is never gathered: its stamps and chunks would be lost.
  @Test func unrecordedPiecesStayApart() {
    let buffers = Buffers(count: 8, bytes: 10)
    var spans = SpanTable(receiveBuffers: 8, address: buffers.address)
    var queue = SpanTable.Queue()
    for buffer in 0..<8 {
      spans.append(
        buffer: buffer, count: 10, stamp: Int64(buffer), startsChunk: buffer % 2 == 0, endsChunk: buffer % 2 == 1,
        owner: FlowIndex(0, .in), to: &queue)
    }
    // The first three are recorded, and five bytes of the fourth.
    spans.park(&queue, needed: 5, recorded: 35) { buffers.giveBack($0) }
    var seen: [[Int64]] = []
    var span = queue.head
    while span >= 0 {
      let entry = spans[span]
      seen.append([Int64(entry.count), entry.stamp, entry.startsChunk ? 1 : 0, entry.endsChunk ? 1 : 0])
      span = entry.next
    }
    let base = queue.base
    #expect(base == 5)
    #expect(seen.count == 6 && seen[0][0] == 25)
    #expect(
      Array(seen.dropFirst()) == [[10, 3, 0, 1], [10, 4, 1, 0], [10, 5, 0, 1], [10, 6, 1, 0], [10, 7, 0, 1]])
    let parked = spans.parkedBytes
    #expect(parked == Limits.parkedPieceBytes + 50)
    while queue.head >= 0 { _ = spans.removeFirst(from: &queue) }
    let end = spans.parkedBytes
    #expect(end == 0)
  }

  /// Parking what is not needed any more copies nothing.
  @Test func parkingLetsGoOfWhatIsNotNeeded() {
    let buffers = Buffers(count: 4, bytes: 10)
    var spans = SpanTable(receiveBuffers: 4, address: buffers.address)
    var queue = SpanTable.Queue()
    for buffer in 0..<4 {
      spans.append(
        buffer: buffer, count: 10, stamp: 1, startsChunk: true, endsChunk: true, owner: FlowIndex(0, .in), to: &queue)
    }
    var returned: [Int] = []
    spans.park(&queue, needed: 20, recorded: 20) { returned.append($0) }
    let (base, parked) = (queue.base, spans.parkedBytes)
    #expect(returned == [0, 1, 2, 3] && base == 20 && parked == 20)
    for _ in 0..<2 { _ = spans.removeFirst(from: &queue) }
    let (endBase, endParked, head) = (queue.base, spans.parkedBytes, queue.head)
    #expect(endBase == 40 && endParked == 0 && head == -1)
    spans.append(
      buffer: 0, count: 10, stamp: 1, startsChunk: true, endsChunk: true, owner: FlowIndex(0, .in), to: &queue)
    spans.park(&queue, needed: 50, recorded: .max) { returned.append($0) }
    let (emptyBase, emptyHead, emptyParked) = (queue.base, queue.head, spans.parkedBytes)
    #expect(emptyBase == 50 && emptyHead == -1 && emptyParked == 0 && returned.last == 0)
  }

  /// A piece of our own stands in front of receive buffers, and one send took all of the piece and of the first buffer:
  /// the piece must not stay where the buffer goes, or the places behind it are wrong.
  @Test func parkingLeavesNoHoleBehindAPieceOfOurOwn() {
    let buffers = Buffers(count: 2, bytes: 10)
    var random = SeededGenerator(seed: 1)
    var spans = SpanTable(receiveBuffers: 2, address: buffers.address)
    var model = Model()
    for part in 0..<3 { model.add(Array(UInt8(part * 10)..<UInt8(part * 10 + 10))[...], stamp: 1) }
    model.recorded = 30
    for part in 0..<3 {
      let buffer = buffers.fill(model.bytes[part * 10..<part * 10 + 10], &random)
      spans.append(
        buffer: buffer, count: 10, stamp: 1, startsChunk: true, endsChunk: true, owner: FlowIndex(0, .in),
        to: &model.queue)
      if part == 0 { spans.park(&model.queue, needed: 0, recorded: 30) { buffers.giveBack($0) } }
    }
    model.sent = 20
    spans.park(&model.queue, needed: 20, recorded: 30) { buffers.giveBack($0) }
    let before = difference(spans, model, owner: FlowIndex(0, .in))
    release(&model, &spans, buffers)
    let after = difference(spans, model, owner: FlowIndex(0, .in))
    #expect(before == nil)
    #expect(after == nil)
    while model.queue.head >= 0 { _ = spans.removeFirst(from: &model.queue) }
  }
}
