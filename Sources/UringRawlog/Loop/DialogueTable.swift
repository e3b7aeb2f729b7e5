import Glibc

/// The dialogues of the sessions whose protocol is known, and their memory, by the session's slot.
///
/// The memory is reserved for all slots at once and touched only as they are used.
struct DialogueTable: ~Copyable {
  private let dialogues: UnsafeMutablePointer<Dialogue>
  private let memories: UnsafeMutablePointer<LoginMemory>
  private let capacity: Int

  /// - Parameter capacity: how many sessions there can be at once; 0 where no protocol is known.
  static func make(capacity: Int) throws(Errno) -> DialogueTable {
    guard capacity > 0 else { return DialogueTable(nil, nil, 0) }
    guard let dialogues = mapMemory(capacity * MemoryLayout<Dialogue>.stride),
      let memories = mapMemory(capacity * MemoryLayout<LoginMemory>.stride)
    else { throw Errno(ENOMEM) }
    return DialogueTable(dialogues, memories, capacity)
  }

  private init(_ dialogues: UnsafeMutableRawPointer?, _ memories: UnsafeMutableRawPointer?, _ capacity: Int) {
    self.dialogues = (dialogues ?? UnsafeMutableRawPointer.allocate(byteCount: 1, alignment: 16))
      .bindMemory(to: Dialogue.self, capacity: capacity)
    self.memories = (memories ?? UnsafeMutableRawPointer.allocate(byteCount: 1, alignment: 16))
      .bindMemory(to: LoginMemory.self, capacity: capacity)
    self.capacity = capacity
  }

  deinit {
    if capacity > 0 {
      munmap(dialogues, capacity * MemoryLayout<Dialogue>.stride)
      munmap(memories, capacity * MemoryLayout<LoginMemory>.stride)
    } else {
      UnsafeMutableRawPointer(dialogues).deallocate()
      UnsafeMutableRawPointer(memories).deallocate()
    }
  }

  func begin(_ slot: Int, _ dialogue: Dialogue) { (dialogues + slot).initialize(to: dialogue) }

  func memory(_ slot: Int) -> UnsafeMutablePointer<LoginMemory> { memories + slot }

  subscript(slot: Int) -> Dialogue {
    @inline(__always) unsafeAddress { UnsafePointer(dialogues + slot) }
    @inline(__always) unsafeMutableAddress { dialogues + slot }
  }
}
