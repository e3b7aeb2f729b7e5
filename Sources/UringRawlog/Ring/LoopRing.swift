import CLibUring
import Glibc

/// What every ring has that one thread drives turn by turn.
enum LoopRing {
  /// The flags of io_uring_setup(2).
  static let flags =
    uring_setup_single_issuer  // One thread submits; the kernel may spare locks (6.0).
    | uring_setup_defer_taskrun  // Completions are worked off in our own enter, in batches (6.1).
    | uring_setup_coop_taskrun  // No interrupt of the running thread for a completion (5.19).
    | uring_setup_submit_all  // One bad entry does not hold back those behind it (5.18).
    | uring_setup_clamp  // Take the kernel's maximum where it is smaller than what we ask.
}

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
