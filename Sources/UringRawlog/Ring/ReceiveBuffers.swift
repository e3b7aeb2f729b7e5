import Glibc

/// Receive buffers of a ring that fills them itself: which are free, and in which order a bundle filled several.
struct ReceiveBuffers: ~Copyable {
  let count: Int
  let bytes: Int
  private let memory: UnsafeMutableRawPointer
  /// The free ones; the last that came back is the first that is taken, since the cache still has it.
  private let free: UnsafeMutablePointer<Int32>
  private(set) var freeCount = 0
  /// The buffer that a bundle filled after this one.
  private let next: UnsafeMutablePointer<Int32>

  /// - Throws: ENOMEM when there is no address space for them.
  static func make(count: Int, bytes: Int) throws(Errno) -> ReceiveBuffers {
    guard let memory = mapMemory(count * bytes) else { throw Errno(ENOMEM) }
    return ReceiveBuffers(memory: memory, count: count, bytes: bytes)
  }

  private init(memory: UnsafeMutableRawPointer, count: Int, bytes: Int) {
    self.memory = memory
    self.count = count
    self.bytes = bytes
    free = .allocate(capacity: count)
    next = .allocate(capacity: count)
    next.initialize(repeating: -1, count: count)
    for buffer in (0..<count).reversed() { giveBack(buffer) }
  }

  deinit {
    munmap(memory, count * bytes)
    free.deallocate()
    next.deallocate()
  }

  @inline(__always) func address(_ buffer: Int) -> UnsafeMutableRawPointer { memory + buffer &* bytes }
  @inline(__always) func after(_ buffer: Int) -> Int { Int(next[buffer]) }

  @inline(__always)
  mutating func giveBack(_ buffer: Int) {
    precondition(freeCount < count, "a buffer was given back twice")
    free[freeCount] = Int32(truncatingIfNeeded: buffer)
    freeCount += 1
  }

  /// One of those that would be taken next; 0 is the first.
  @inline(__always) func candidate(_ place: Int) -> Int { Int(free[freeCount - 1 - place]) }

  /// Takes the first candidates, which follow one another in a bundle.
  mutating func take(_ taken: Int) {
    for place in 1..<max(1, taken) { next[candidate(place - 1)] = Int32(truncatingIfNeeded: candidate(place)) }
    freeCount -= taken
  }
}
