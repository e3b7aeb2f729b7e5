import COpenSSL

/// What an SSL object reads from and writes to instead of a socket: memory of whoever calls the engine.
///
/// OpenSSL's own memory BIO keeps a copy of everything in both directions. Here it reads the ciphertext where it lies,
/// and writes it where it is wanted. What it says without being asked (flights of a handshake, alerts, tickets) has no
/// such place, and waits in `pending` until it is fetched.
struct TLSTransport {
  /// Ciphertext that was handed in and is not taken yet.
  private var input: UnsafePointer<UInt8>?
  private(set) var inputLeft = 0
  /// Room for the ciphertext of a call; nil while none is offered.
  private var output: UnsafeMutablePointer<UInt8>?
  private(set) var outputLeft = 0
  /// Ciphertext that waits: a run of `pendingCount` bytes from `pendingStart`, in memory that is there only for that.
  private var pending: UnsafeMutablePointer<UInt8>?
  private var pendingCapacity = 0
  private var pendingStart = 0
  private(set) var pendingCount = 0
  /// Bytes that OpenSSL has written since the engine was made.
  private(set) var written: UInt64 = 0
  /// Why the engine failed.
  var failure: TLSFailure?

  // MARK: For the engine

  mutating func offer(input bytes: UnsafeRawBufferPointer) {
    input = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
    inputLeft = bytes.count
  }

  mutating func offer(output room: UnsafeMutableRawBufferPointer) {
    output = room.baseAddress?.assumingMemoryBound(to: UInt8.self)
    outputLeft = room.count
  }

  /// The memory that was offered belongs to its owner again.
  mutating func withdraw() {
    input = nil
    inputLeft = 0
    output = nil
    outputLeft = 0
  }

  /// Moves what waits to `room`, as much as fits: how many bytes.
  mutating func takePending(into room: UnsafeMutableRawBufferPointer) -> Int {
    guard pendingCount > 0, let pending else { return 0 }
    let count = min(pendingCount, room.count)
    room.baseAddress?.copyMemory(from: pending + pendingStart, byteCount: count)
    pendingStart += count
    pendingCount -= count
    if pendingCount == 0 { releasePending() }
    return count
  }

  private mutating func releasePending() {
    pending?.deallocate()
    pending = nil
    pendingCapacity = 0
    pendingStart = 0
    pendingCount = 0
  }

  private mutating func append(_ bytes: UnsafePointer<UInt8>, _ count: Int) {
    if pendingStart + pendingCount + count > pendingCapacity {
      let capacity = max(pendingCount + count, pendingCapacity * 2, 1024)
      let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: capacity)
      if let pending { memory.update(from: pending + pendingStart, count: pendingCount) }
      pending?.deallocate()
      pending = memory
      pendingCapacity = capacity
      pendingStart = 0
    }
    pending.unsafelyUnwrapped.advanced(by: pendingStart + pendingCount).update(from: bytes, count: count)
    pendingCount += count
  }

  // MARK: For OpenSSL

  /// A BIO with a transport of its own, which goes with it; nil when there is no memory.
  static func makeBIO() -> OpaquePointer? {
    guard let bio = BIO_new(method) else { return nil }
    let transport = UnsafeMutablePointer<TLSTransport>.allocate(capacity: 1)
    transport.initialize(to: TLSTransport())
    BIO_set_data(bio, transport)
    BIO_set_init(bio, 1)
    return bio
  }

  /// The transport of a connection.
  static func of(_ ssl: OpaquePointer) -> UnsafeMutablePointer<TLSTransport>? {
    SSL_get_rbio(ssl).flatMap { of(bio: $0) }
  }

  static func of(bio: OpaquePointer) -> UnsafeMutablePointer<TLSTransport>? {
    BIO_get_data(bio)?.assumingMemoryBound(to: TLSTransport.self)
  }

  /// Made once and never changed again.
  nonisolated(unsafe) private static let method = makeMethod()

  private static func makeMethod() -> OpaquePointer? {
    guard let method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "memory of the caller") else {
      return nil
    }
    BIO_meth_set_read_ex(method) { bio, into, room, count in
      TLSTransport.of(bio: bio!)!.pointee.read(bio!, into!, room, count!)
    }
    BIO_meth_set_write_ex(method) { bio, bytes, count, taken in
      openssl_clear_retry(bio)
      taken!.pointee = count
      TLSTransport.of(bio: bio!)!.pointee.write(bytes!, count)
      return 1
    }
    BIO_meth_set_destroy(method) { bio in
      guard let bio, let transport = TLSTransport.of(bio: bio) else { return 0 }
      transport.pointee.releasePending()
      transport.deinitialize(count: 1)
      transport.deallocate()
      return 1
    }
    // Nothing is kept back, so a flush has nothing to do; anything else that may be asked is not there.
    BIO_meth_set_ctrl(method) { _, command, _, _ in command == BIO_CTRL_FLUSH ? 1 : 0 }
    return method
  }

  /// Hands ciphertext over. When there is none left, the call says what a socket says: try again later (BIO_s_bio(3)).
  private mutating func read(
    _ bio: OpaquePointer, _ into: UnsafeMutablePointer<CChar>, _ room: Int, _ count: UnsafeMutablePointer<Int>
  ) -> Int32 {
    openssl_clear_retry(bio)
    let taken = min(room, inputLeft)
    count.pointee = taken
    guard taken > 0, let input else {
      openssl_set_retry_read(bio)
      return -1
    }
    UnsafeMutableRawPointer(into).copyMemory(from: input, byteCount: taken)
    self.input = input + taken
    inputLeft -= taken
    return 1
  }

  /// Takes ciphertext, always all of it: to the place that was offered if it fits there, and behind what waits if not.
  private mutating func write(_ bytes: UnsafePointer<CChar>, _ count: Int) {
    written += UInt64(count)
    let bytes = UnsafeRawPointer(bytes).assumingMemoryBound(to: UInt8.self)
    if pendingCount == 0, count <= outputLeft, let output {
      output.update(from: bytes, count: count)
      self.output = output + count
      outputLeft -= count
    } else {
      append(bytes, count)
    }
  }
}
