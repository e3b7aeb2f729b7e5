/// An operation on a descriptor that is not ready for it yet.
struct WaitingOperation {
  enum Kind: UInt8 {
    case accept
    case connect
    case receive
    /// `memory` are the bytes of the caller.
    case send
    /// `memory` is an array of iovec of our own.
    case sendVectors
    /// Of a descriptor that is ready when it can be read at once, and never more than once: an eventfd, a signalfd.
    case read
    case poll
  }

  var kind: Kind
  var token: Token
  var memory: UnsafeMutableRawPointer?
  /// Bytes, or vectors, in `memory`.
  var count = 0
  /// What a poll waits for.
  var events: UInt32 = 0
  var isMultishot = false
  var isBundle = false
  /// The operation behind it on the same descriptor, by its place in the table; -1 without.
  var next: Int32 = -1

  /// Gives back what belongs to it alone.
  func free() {
    switch kind {
    case .sendVectors: memory?.deallocate()
    case .accept, .connect, .receive, .send, .read, .poll: break
    }
  }
}

/// The operations that wait, in a slab.
struct WaitingOperations: ~Copyable {
  private var entries: UnsafeMutablePointer<WaitingOperation>
  private var capacity = 256
  private var used = 0
  private var firstFree: Int32 = -1

  init() { entries = .allocate(capacity: capacity) }

  deinit { entries.deallocate() }

  subscript(_ place: Int32) -> WaitingOperation {
    @inline(__always) unsafeAddress { UnsafePointer(entries + Int(place)) }
    @inline(__always) unsafeMutableAddress { entries + Int(place) }
  }

  mutating func add(_ operation: WaitingOperation) -> Int32 {
    if firstFree >= 0 {
      let place = firstFree
      firstFree = entries[Int(place)].next
      entries[Int(place)] = operation
      return place
    }
    if used == capacity {
      let larger = UnsafeMutablePointer<WaitingOperation>.allocate(capacity: capacity * 2)
      larger.moveInitialize(from: entries, count: used)
      entries.deallocate()
      entries = larger
      capacity *= 2
    }
    (entries + used).initialize(to: operation)
    used += 1
    return Int32(truncatingIfNeeded: used - 1)
  }

  mutating func remove(_ place: Int32) {
    entries[Int(place)].next = firstFree
    firstFree = place
  }
}
