import Glibc

/// The dialogues of the sessions whose protocol is known, by the session's slot, and memory for those in which somebody
/// logs in.
///
/// The dialogues' memory is reserved for all slots at once and touched only as they are used.
struct DialogueTable: ~Copyable {
  private let dialogues: UnsafeMutablePointer<Dialogue>
  /// nil for a session that holds nothing in its memory.
  private let memories: UnsafeMutablePointer<UnsafeMutablePointer<LoginMemory>?>
  /// For a session without its own.
  private let scratch: UnsafeMutablePointer<LoginMemory>
  /// Memory that is kept for the next logins.
  private var idle: [UnsafeMutablePointer<LoginMemory>] = []
  private let capacity: Int

  /// - Parameter capacity: how many sessions there can be at once; 0 where no protocol is known.
  static func make(capacity: Int) throws(Errno) -> DialogueTable {
    guard capacity > 0 else { return DialogueTable(nil, nil, 0) }
    guard let dialogues = mapMemory(capacity * MemoryLayout<Dialogue>.stride),
      let memories = mapMemory(capacity * MemoryLayout<UnsafeMutablePointer<LoginMemory>?>.stride)
    else { throw Errno(ENOMEM) }
    return DialogueTable(dialogues, memories, capacity)
  }

  private init(_ dialogues: UnsafeMutableRawPointer?, _ memories: UnsafeMutableRawPointer?, _ capacity: Int) {
    self.dialogues = (dialogues ?? UnsafeMutableRawPointer.allocate(byteCount: 1, alignment: 16))
      .bindMemory(to: Dialogue.self, capacity: capacity)
    // Memory that was mapped is all zeros: no pointer yet.
    self.memories = (memories ?? UnsafeMutableRawPointer.allocate(byteCount: 1, alignment: 16))
      .bindMemory(to: UnsafeMutablePointer<LoginMemory>?.self, capacity: capacity)
    scratch = .allocate(capacity: 1)
    scratch.initialize(to: LoginMemory())
    idle.reserveCapacity(Limits.idleLoginMemories)
    self.capacity = capacity
  }

  deinit {
    for slot in 0..<capacity { memories[slot]?.deallocate() }
    for memory in idle { memory.deallocate() }
    scratch.deallocate()
    if capacity > 0 {
      munmap(dialogues, capacity * MemoryLayout<Dialogue>.stride)
      munmap(memories, capacity * MemoryLayout<UnsafeMutablePointer<LoginMemory>?>.stride)
    } else {
      UnsafeMutableRawPointer(dialogues).deallocate()
      UnsafeMutableRawPointer(memories).deallocate()
    }
  }

  mutating func begin(_ slot: Int, _ dialogue: Dialogue) {
    giveMemoryBack(slot)
    (dialogues + slot).initialize(to: dialogue)
  }

  /// The session has ended.
  mutating func end(_ slot: Int) {
    if capacity > 0 { giveMemoryBack(slot) }
  }

  /// Valid until `settleMemory` or `end`.
  @inline(__always)
  func memory(_ slot: Int) -> UnsafeMutablePointer<LoginMemory> { memories[slot] ?? scratch }

  /// To be called behind each scan: what the dialogue holds in memory gets its own, and who holds nothing has none.
  @inline(__always)
  mutating func settleMemory(_ slot: Int) {
    if dialogues[slot].usesMemory != (memories[slot] != nil) { exchangeMemory(slot) }
  }

  private mutating func exchangeMemory(_ slot: Int) {
    guard memories[slot] == nil else {
      dialogues[slot].forgetNames()
      giveMemoryBack(slot)
      return
    }
    let memory = idle.popLast() ?? .allocate(capacity: 1)
    memory.initialize(to: scratch.pointee)
    memories[slot] = memory
  }

  private mutating func giveMemoryBack(_ slot: Int) {
    guard let memory = memories[slot] else { return }
    memories[slot] = nil
    if idle.count < Limits.idleLoginMemories { idle.append(memory) } else { memory.deallocate() }
  }

  subscript(slot: Int) -> Dialogue {
    @inline(__always) unsafeAddress { UnsafePointer(dialogues + slot) }
    @inline(__always) unsafeMutableAddress { dialogues + slot }
  }
}
