import Glibc

/// Staging memory for recordings: blocks of a few sizes, bounded all together by `--log-memory`.
struct BlockPool: ~Copyable {
  /// What a block says of itself; its bytes follow in the same piece of memory.
  struct Header {
    var next: Block?
    /// The relayed bytes that its encoded bytes record, or stand for: a credential may be of any length.
    var relayed = 0
    /// Encoded bytes in it.
    var used: Int32 = 0
    /// How many of both are of the direction from the server, where both directions share a file.
    var usedOut: Int32 = 0
    var relayedOut = 0
    /// Bytes that fit.
    var capacity: Int32
    var sizeClass: UInt8
    /// The first byte of the block begins a line of the data.
    var startsAtLineStart = true
    /// Encoded bytes at the front that are on disk already, after a short write.
    var written: Int32 = 0
  }

  struct Block: Equatable {
    let header: UnsafeMutablePointer<Header>

    @inline(__always) var bytes: UnsafeMutableRawPointer {
      UnsafeMutableRawPointer(header) + MemoryLayout<Header>.stride
    }
    /// What is used and not yet on disk.
    var unwritten: UnsafeRawBufferPointer {
      UnsafeRawBufferPointer(
        start: bytes + Int(header.pointee.written), count: Int(header.pointee.used - header.pointee.written))
    }
    @inline(__always) var room: UnsafeMutableRawBufferPointer {
      UnsafeMutableRawBufferPointer(
        start: bytes + Int(header.pointee.used), count: Int(header.pointee.capacity - header.pointee.used))
    }
    func deallocate() { UnsafeMutableRawPointer(header).deallocate() }

    var memoryBytes: Int { Limits.blockBytes[Int(header.pointee.sizeClass)] }
  }

  static let classes = Limits.blockBytes.count

  let limit: Int
  /// Memory of the blocks in use.
  private(set) var usedBytes = 0
  /// The most that was in use at once.
  private(set) var peakBytes = 0
  /// Memory that is kept for the next blocks.
  private(set) var idleBytes = 0
  /// Blocks handed out so far.
  private(set) var takenBlocks = 0
  private var idle = InlineArray<4, Block?>(repeating: nil)

  /// - Parameter limit: the most memory of all blocks in use, in bytes.
  init(limit: Int) {
    self.limit = limit
  }

  deinit { freeIdle() }

  private func freeIdle() {
    for sizeClass in 0..<Self.classes {
      var block = idle[sizeClass]
      while let current = block {
        block = current.header.pointee.next
        current.deallocate()
      }
    }
  }

  /// Gives the memory that is kept for the next blocks back to the system.
  mutating func trim() {
    freeIdle()
    idle = InlineArray(repeating: nil)
    idleBytes = 0
    releaseFreeMemory()
  }

  /// The smallest class whose blocks take so many bytes, or else the largest.
  static func sizeClass(holding bytes: Int) -> Int {
    var sizeClass = 0
    while sizeClass < classes - 1, Limits.blockBytes[sizeClass] - MemoryLayout<Header>.stride < bytes { sizeClass += 1 }
    return sizeClass
  }

  /// A block of the wanted class, or of the largest smaller one that both the pool and `share` still allow; nil when not
  /// even the smallest fits.
  mutating func take(_ wanted: Int, share: Int) -> Block? {
    let allowed = min(share, limit - usedBytes)
    var sizeClass = wanted
    while Limits.blockBytes[sizeClass] > allowed {
      guard sizeClass > 0 else { return nil }
      sizeClass -= 1
    }
    let bytes = Limits.blockBytes[sizeClass]
    let block: Block
    if let kept = idle[sizeClass] {
      idle[sizeClass] = kept.header.pointee.next
      idleBytes -= bytes
      block = kept
    } else {
      let memory = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
      block = Block(header: memory.bindMemory(to: Header.self, capacity: 1))
    }
    block.header.initialize(
      to: Header(
        next: nil, capacity: Int32(bytes - MemoryLayout<Header>.stride), sizeClass: UInt8(sizeClass)))
    takenBlocks &+= 1
    usedBytes += bytes
    peakBytes = max(peakBytes, usedBytes)
    return block
  }

  mutating func giveBack(_ block: Block) {
    let bytes = block.memoryBytes
    let sizeClass = Int(block.header.pointee.sizeClass)
    usedBytes -= bytes
    guard idleBytes + bytes <= Limits.idleBlockBytes else {
      block.deallocate()
      return
    }
    block.header.pointee.next = idle[sizeClass]
    idle[sizeClass] = block
    idleBytes += bytes
  }
}
