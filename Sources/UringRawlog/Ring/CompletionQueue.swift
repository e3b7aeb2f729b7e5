/// Completions in the order in which they came, as many as there are.
struct CompletionQueue: ~Copyable {
  private var entries: UnsafeMutablePointer<Completion>
  private var capacity = 1024
  private var first = 0
  private(set) var count = 0

  init() { entries = .allocate(capacity: capacity) }

  deinit { entries.deallocate() }

  @inline(__always) var isEmpty: Bool { count == 0 }

  @inline(__always)
  mutating func append(_ completion: Completion) {
    if count == capacity { grow() }
    entries[(first &+ count) & (capacity - 1)] = completion
    count += 1
  }

  /// Copies out as many as fit, and returns how many.
  mutating func take(into taken: UnsafeMutableBufferPointer<Completion>) -> Int {
    let number = min(count, taken.count)
    for place in 0..<number { taken[place] = entries[(first &+ place) & (capacity - 1)] }
    first = (first &+ number) & (capacity - 1)
    count -= number
    return number
  }

  @inline(never)
  private mutating func grow() {
    let larger = UnsafeMutablePointer<Completion>.allocate(capacity: capacity * 2)
    for place in 0..<count { larger[place] = entries[(first &+ place) & (capacity - 1)] }
    entries.deallocate()
    entries = larger
    first = 0
    capacity *= 2
  }
}
