/// A first-in-first-out queue of numbers that keeps its memory.
struct SlotQueue: ~Copyable {
  private var entries: UnsafeMutablePointer<UInt64>
  private var capacity: Int
  private var head = 0
  private(set) var count = 0

  /// - Parameter capacity: a power of two; it grows when that is not enough.
  init(capacity: Int = 64) {
    self.capacity = capacity
    entries = .allocate(capacity: capacity)
  }

  deinit { entries.deallocate() }

  var isEmpty: Bool { count == 0 }
  /// The oldest entry, of a queue that is not empty.
  var first: UInt64 { entries[head] }

  @inline(__always)
  mutating func append(_ value: UInt64) {
    if count == capacity { grow() }
    entries[(head &+ count) & (capacity &- 1)] = value
    count &+= 1
  }

  @inline(__always)
  mutating func removeFirst() -> UInt64 {
    let value = entries[head]
    head = (head &+ 1) & (capacity &- 1)
    count &-= 1
    return value
  }

  @inline(never)
  private mutating func grow() {
    let larger = UnsafeMutablePointer<UInt64>.allocate(capacity: capacity * 2)
    for index in 0..<count { larger[index] = entries[(head + index) & (capacity - 1)] }
    entries.deallocate()
    entries = larger
    head = 0
    capacity *= 2
  }
}
