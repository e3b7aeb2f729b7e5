import Glibc

/// The slab of sessions: slots that never move, a free list, and a generation for each slot.
///
/// The memory is reserved for all slots at once and touched only as they are used, the last freed first.
struct SessionTable: ~Copyable {
  let capacity: Int
  private(set) var count = 0
  private let sessions: UnsafeMutablePointer<Session>
  private let flows: UnsafeMutablePointer<Flow>
  private let queues: UnsafeMutablePointer<SpanTable.Queue>
  private let files: UnsafeMutablePointer<RecordingFile>
  private let generations: UnsafeMutablePointer<UInt32>
  private let freeSlots: UnsafeMutablePointer<Int32>
  private var freeCount = 0
  /// Slots below were used at least once.
  private(set) var usedSlots = 0

  /// Reserves the memory; it is touched only as slots are used.
  ///
  /// - Parameter capacity: how many sessions there can be at once.
  static func make(capacity: Int) throws(Errno) -> SessionTable {
    guard let sessions = reserve(Session.self, capacity), let flows = reserve(Flow.self, capacity * 2),
      let queues = reserve(SpanTable.Queue.self, capacity * 2), let files = reserve(RecordingFile.self, capacity * 2),
      let generations = reserve(UInt32.self, capacity), let freeSlots = reserve(Int32.self, capacity)
    else { throw Errno(ENOMEM) }
    return SessionTable(
      capacity: capacity, sessions: sessions, flows: flows, queues: queues, files: files, generations: generations,
      freeSlots: freeSlots)
  }

  private static func reserve<Element>(_ type: Element.Type, _ count: Int) -> UnsafeMutablePointer<Element>? {
    mapMemory(count * MemoryLayout<Element>.stride)?.bindMemory(to: type, capacity: count)
  }

  private init(
    capacity: Int, sessions: UnsafeMutablePointer<Session>, flows: UnsafeMutablePointer<Flow>,
    queues: UnsafeMutablePointer<SpanTable.Queue>, files: UnsafeMutablePointer<RecordingFile>,
    generations: UnsafeMutablePointer<UInt32>, freeSlots: UnsafeMutablePointer<Int32>
  ) {
    self.capacity = capacity
    self.sessions = sessions
    self.flows = flows
    self.queues = queues
    self.files = files
    self.generations = generations
    self.freeSlots = freeSlots
  }

  deinit {
    munmap(sessions, capacity * MemoryLayout<Session>.stride)
    munmap(flows, capacity * 2 * MemoryLayout<Flow>.stride)
    munmap(queues, capacity * 2 * MemoryLayout<SpanTable.Queue>.stride)
    munmap(files, capacity * 2 * MemoryLayout<RecordingFile>.stride)
    munmap(generations, capacity * MemoryLayout<UInt32>.stride)
    munmap(freeSlots, capacity * MemoryLayout<Int32>.stride)
  }

  subscript(slot: Int) -> Session {
    @inline(__always) unsafeAddress { UnsafePointer(sessions + slot) }
    @inline(__always) unsafeMutableAddress { sessions + slot }
  }

  subscript(flow index: FlowIndex) -> Flow {
    @inline(__always) unsafeAddress { UnsafePointer(flows + index.rawValue) }
    @inline(__always) unsafeMutableAddress { flows + index.rawValue }
  }

  subscript(queue index: FlowIndex) -> SpanTable.Queue {
    @inline(__always) unsafeAddress { UnsafePointer(queues + index.rawValue) }
    @inline(__always) unsafeMutableAddress { queues + index.rawValue }
  }

  subscript(file index: FlowIndex) -> RecordingFile {
    @inline(__always) unsafeAddress { UnsafePointer(files + index.rawValue) }
    @inline(__always) unsafeMutableAddress { files + index.rawValue }
  }

  @inline(__always)
  func generation(_ slot: Int) -> UInt32 { generations[slot] }

  /// The token's session is still the one that it was made for.
  @inline(__always)
  func isCurrent(_ token: Token) -> Bool {
    token.slot < usedSlots && generations[token.slot] == token.generation && sessions[token.slot].phase != .free
  }

  /// A fresh session in a free slot; nil when all are taken.
  mutating func add() -> Int? {
    let slot: Int
    if freeCount > 0 {
      freeCount -= 1
      slot = Int(freeSlots[freeCount])
    } else {
      guard usedSlots < capacity else { return nil }
      slot = usedSlots
      usedSlots += 1
    }
    (sessions + slot).initialize(to: Session())
    for direction in 0..<2 {
      (flows + slot * 2 + direction).initialize(to: Flow())
      (queues + slot * 2 + direction).initialize(to: SpanTable.Queue())
      (files + slot * 2 + direction).initialize(to: RecordingFile())
    }
    count += 1
    return slot
  }

  /// Gives a slot back; tokens that were made for it are stale from now on.
  mutating func remove(_ slot: Int) {
    sessions[slot].phase = .free
    (generations + slot).pointee &+= 1
    freeSlots[freeCount] = Int32(slot)
    freeCount += 1
    count -= 1
  }
}
