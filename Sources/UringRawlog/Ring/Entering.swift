import CLibUring
import Glibc

/// What every kind of ring does in the same way.
extension UnsafeMutablePointer<io_uring> {
  /// As `BasicRing.submitAndWait`, with the error as a value: some work comes between it and its throwing.
  func submitAndWait(nanoseconds: UInt64?) -> Result<Void, Errno> {
    var result: Int32
    if let nanoseconds {
      var time = __kernel_timespec()
      time.tv_sec = Int64(nanoseconds / 1_000_000_000)
      time.tv_nsec = Int64(nanoseconds % 1_000_000_000)
      var first: UnsafeMutablePointer<io_uring_cqe>?
      result = io_uring_submit_and_wait_timeout(self, &first, 1, &time, nil)
    } else {
      result = io_uring_submit_and_wait(self, 1)
    }
    // EBUSY: completions overflowed and must be taken first. EAGAIN, ENOMEM: the kernel is short of memory for now.
    guard
      result < 0, -result != ETIME, -result != EINTR, -result != EBUSY, -result != EAGAIN, -result != ENOMEM
    else { return .success(()) }
    return .failure(Errno(-result))
  }

  @inline(__always)
  func takeCompletions(into taken: UnsafeMutableBufferPointer<Completion>) -> Int {
    Int(uring_take_completions(self, taken.baseAddress, UInt32(taken.count)))
  }
}

extension Instant {
  /// A reading of the system's clocks.
  @inline(__always)
  static var current: Instant {
    var monotonic = timespec()
    clock_gettime(CLOCK_MONOTONIC, &monotonic)
    var real = timespec()
    clock_gettime(CLOCK_REALTIME, &real)
    return Instant(
      nanoseconds: UInt64(monotonic.tv_sec) &* 1_000_000_000 &+ UInt64(monotonic.tv_nsec),
      epochMicroseconds: Int64(real.tv_sec) &* 1_000_000 &+ Int64(real.tv_nsec) / 1000)
  }
}
