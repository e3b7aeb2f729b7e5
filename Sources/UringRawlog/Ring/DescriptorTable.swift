/// What is known of each descriptor that was worked with, by its number.
struct DescriptorTable: ~Copyable {
  struct Flags: OptionSet {
    let rawValue: UInt8
    /// epoll(7) tells when it becomes ready.
    static let isRegistered = Flags(rawValue: 1)
    /// It may be readable, or writable: nothing has said otherwise since it became so.
    static let mayRead = Flags(rawValue: 2)
    static let mayWrite = Flags(rawValue: 4)
    /// Closing it never waits: a socket, or a file in memory.
    static let closesAtOnce = Flags(rawValue: 8)
    /// A TCP socket, or one that listens for them: a receive that brought less than it was offered has taken all.
    static let isTCP = Flags(rawValue: 16)
    /// Not even then: there was urgent data, or the stream has ended behind it.
    static let mustDrain = Flags(rawValue: 32)
    static let listens = Flags(rawValue: 64)
  }

  struct Entry {
    /// Grows with each closing, so that an event that is late is told from one of a descriptor with the same number.
    var generation: UInt32 = 0
    /// The first operation that waits; the others are behind it in their order. -1 without.
    var first: Int32 = -1
    var flags: Flags = .mayWrite
  }

  private var entries: UnsafeMutablePointer<Entry>
  private var capacity = 256

  init() {
    entries = .allocate(capacity: capacity)
    entries.initialize(repeating: Entry(), count: capacity)
  }

  deinit { entries.deallocate() }

  /// Of a descriptor that `reserve` was called for.
  subscript(_ descriptor: Int32) -> Entry {
    @inline(__always) unsafeAddress { UnsafePointer(entries + Int(descriptor)) }
    @inline(__always) unsafeMutableAddress { entries + Int(descriptor) }
  }

  /// Makes place for a descriptor: false when it is none.
  @inline(__always)
  mutating func reserve(_ descriptor: Int32) -> Bool {
    guard descriptor >= 0 else { return false }
    if Int(descriptor) >= capacity { grow(for: Int(descriptor)) }
    return true
  }

  @inline(never)
  private mutating func grow(for descriptor: Int) {
    var larger = capacity
    while larger <= descriptor { larger *= 2 }
    let moved = UnsafeMutablePointer<Entry>.allocate(capacity: larger)
    moved.moveInitialize(from: entries, count: capacity)
    (moved + capacity).initialize(repeating: Entry(), count: larger - capacity)
    entries.deallocate()
    entries = moved
    capacity = larger
  }

  /// It is closed: the next one by its number is another.
  mutating func forget(_ descriptor: Int32) {
    let generation = self[descriptor].generation
    self[descriptor] = Entry(generation: generation &+ 1)
  }
}
