import Glibc

/// The next moment at which each session must be looked at: a binary heap that knows where each session stands in it.
///
/// Deadlines that only move away (idleness) are left where they are and looked at again when they come up, so that
/// traffic costs nothing here.
struct DeadlineHeap: ~Copyable {
  private struct Entry {
    var deadline: UInt64
    var slot: Int32
  }

  private let entries: UnsafeMutablePointer<Entry>
  private let capacity: Int
  private(set) var count = 0

  /// - Parameter capacity: how many sessions there can be at once.
  static func make(capacity: Int) throws(Errno) -> DeadlineHeap {
    guard let memory = mapMemory(capacity * MemoryLayout<Entry>.stride) else { throw Errno(ENOMEM) }
    return DeadlineHeap(entries: memory.bindMemory(to: Entry.self, capacity: capacity), capacity: capacity)
  }

  private init(entries: UnsafeMutablePointer<Entry>, capacity: Int) {
    self.entries = entries
    self.capacity = capacity
  }

  deinit { munmap(entries, capacity * MemoryLayout<Entry>.stride) }

  /// The earliest deadline, in monotonic nanoseconds.
  var earliest: UInt64? { count > 0 ? entries[0].deadline : nil }
  var earliestSlot: Int { Int(entries[0].slot) }

  /// Sets a session's deadline, whether or not it had one.
  mutating func set(_ slot: Int, to deadline: UInt64, in sessions: inout SessionTable) {
    var place = Int(sessions[slot].heapPlace)
    if place < 0 {
      place = count
      count += 1
      entries[place] = Entry(deadline: deadline, slot: Int32(slot))
      sessions[slot].heapPlace = Int32(place)
    } else {
      entries[place].deadline = deadline
    }
    settle(place, in: &sessions)
  }

  /// The same, but only when it is earlier than what is set.
  mutating func tighten(_ slot: Int, to deadline: UInt64, in sessions: inout SessionTable) {
    let place = Int(sessions[slot].heapPlace)
    if place >= 0 && entries[place].deadline <= deadline { return }
    set(slot, to: deadline, in: &sessions)
  }

  mutating func remove(_ slot: Int, in sessions: inout SessionTable) {
    let place = Int(sessions[slot].heapPlace)
    guard place >= 0 else { return }
    sessions[slot].heapPlace = -1
    count -= 1
    guard place < count else { return }
    entries[place] = entries[count]
    sessions[Int(entries[place].slot)].heapPlace = Int32(place)
    settle(place, in: &sessions)
  }

  private mutating func settle(_ start: Int, in sessions: inout SessionTable) {
    var place = start
    while place > 0 {
      let parent = (place - 1) / 2
      guard entries[place].deadline < entries[parent].deadline else { break }
      swap(place, parent, in: &sessions)
      place = parent
    }
    while true {
      var least = place
      for child in 2 * place + 1...2 * place + 2
      where child < count && entries[child].deadline < entries[least].deadline {
        least = child
      }
      guard least != place else { return }
      swap(place, least, in: &sessions)
      place = least
    }
  }

  private mutating func swap(_ one: Int, _ other: Int, in sessions: inout SessionTable) {
    let entry = entries[one]
    entries[one] = entries[other]
    entries[other] = entry
    sessions[Int(entries[one].slot)].heapPlace = Int32(one)
    sessions[Int(entries[other].slot)].heapPlace = Int32(other)
  }
}
