import CLibUring
import Glibc

/// A provided-buffer ring (io_uring_register_buf_ring(3)) and the memory behind it.
///
/// A bundle's completion names only the first buffer that it filled; the others follow in the order in which they were
/// provided. `order` and `position` keep that order: an entry is not overwritten before its buffer came back, since
/// there are as many places as buffers.
struct BufferRing: ~Copyable {
  static let group: UInt16 = 0

  let count: Int
  let bytes: Int
  private let ring: UnsafeMutablePointer<io_uring_buf_ring>
  private let ringBytes: Int
  private let memory: UnsafeMutableRawPointer
  private let order: UnsafeMutablePointer<UInt16>
  private let position: UnsafeMutablePointer<UInt16>
  private let mask: UInt16
  private var tail: UInt16 = 0
  private var unpublished: UInt16 = 0

  /// Maps and registers a ring of buffers and hands all of them to the kernel.
  ///
  /// - Parameters:
  ///   - count: a power of two, at most 32768.
  ///   - bytes: the size of each buffer.
  static func make(for owner: UnsafeMutablePointer<io_uring>, count: Int, bytes: Int) throws(Errno) -> BufferRing {
    precondition(count > 0 && count & (count - 1) == 0 && count <= 32768)
    let ringBytes = count * MemoryLayout<io_uring_buf>.stride
    guard let ring = mapMemory(ringBytes) else { throw Errno(ENOMEM) }
    guard let memory = mapMemory(count * bytes) else {
      munmap(ring, ringBytes)
      throw Errno(ENOMEM)
    }
    let result = uring_register_buffers(owner, ring, UInt32(count), group)
    guard result == 0 else {
      munmap(ring, ringBytes)
      munmap(memory, count * bytes)
      throw Errno(-result)
    }
    return BufferRing(
      ring: ring.bindMemory(to: io_uring_buf_ring.self, capacity: 1), memory: memory, count: count, bytes: bytes)
  }

  private init(
    ring: UnsafeMutablePointer<io_uring_buf_ring>, memory: UnsafeMutableRawPointer, count: Int, bytes: Int
  ) {
    self.ring = ring
    self.memory = memory
    self.count = count
    self.bytes = bytes
    ringBytes = count * MemoryLayout<io_uring_buf>.stride
    mask = UInt16(count - 1)
    order = .allocate(capacity: count)
    position = .allocate(capacity: count)
    order.initialize(repeating: 0, count: count)
    position.initialize(repeating: 0, count: count)
    for buffer in 0..<count { add(buffer) }
    publish()
  }

  deinit {
    munmap(ring, ringBytes)
    munmap(memory, count * bytes)
    order.deallocate()
    position.deallocate()
  }

  @inline(__always)
  func address(_ buffer: Int) -> UnsafeMutableRawPointer { memory + buffer &* bytes }

  @inline(__always)
  func after(_ buffer: Int) -> Int { Int(order[Int((position[buffer] &+ 1) & mask)]) }

  @inline(__always)
  mutating func add(_ buffer: Int) {
    uring_buffer_add(ring, address(buffer), UInt32(bytes), UInt16(buffer), mask, unpublished)
    let place = tail & mask
    order[Int(place)] = UInt16(buffer)
    position[buffer] = place
    tail &+= 1
    unpublished &+= 1
  }

  @inline(__always)
  mutating func publish() {
    guard unpublished > 0 else { return }
    uring_buffer_publish(ring, unpublished)
    unpublished = 0
  }
}
