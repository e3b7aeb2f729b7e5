import Glibc

/// The conversations of the sessions that are recorded to captures, by the session's slot.
///
/// The memory is reserved for all slots at once and touched only as they are used.
struct ConversationTable: ~Copyable {
  /// How far a session's conversation has come.
  enum Phase: UInt8 {
    /// It has no packet yet.
    case none
    case open
    /// Its last packet was composed, and is not on disk yet.
    case ended
    /// All of it is on disk, and its end record in the index.
    case settled
    /// Some of it could not be written: the rest is not recorded.
    case failed
  }

  struct Entry {
    var conversation = CapturedConversation()
    var phase = Phase.none
    /// What of it waits to be written.
    var staged = StagedPart()
  }

  private let entries: UnsafeMutablePointer<Entry>
  private let capacity: Int

  /// - Parameter capacity: how many sessions there can be at once; 0 where none is recorded to captures.
  static func make(capacity: Int) throws(Errno) -> ConversationTable {
    let bytes = max(capacity, 1) * MemoryLayout<Entry>.stride
    guard let memory = mapMemory(bytes) else { throw Errno(ENOMEM) }
    return ConversationTable(memory.bindMemory(to: Entry.self, capacity: max(capacity, 1)), max(capacity, 1))
  }

  private init(_ entries: UnsafeMutablePointer<Entry>, _ capacity: Int) {
    self.entries = entries
    self.capacity = capacity
  }

  deinit { munmap(entries, capacity * MemoryLayout<Entry>.stride) }

  func begin(_ slot: Int) { (entries + slot).initialize(to: Entry()) }

  subscript(slot: Int) -> Entry {
    @inline(__always) unsafeAddress { UnsafePointer(entries + slot) }
    @inline(__always) unsafeMutableAddress { entries + slot }
  }
}
