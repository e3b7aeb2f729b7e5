import CLibUring
import Glibc

/// A process that takes our memory over once we have become another program, and that nobody has to wait for.
enum Successor {
  /// Starts it. Copying our memory for it (fork(2)) and giving up one of the copies at once would cost more than all else
  /// that it does for a short session.
  ///
  /// - Parameters:
  ///   - body: what it does when we have called execve(2), or have ended; until then it waits. It ends when this returns.
  ///   - context: what `body` is called with; ours no more.
  static func start(
    stack: UnsafeMutableRawBufferPointer, body: @convention(c) (UnsafeMutableRawPointer?) -> Void,
    context: UnsafeMutableRawPointer
  ) throws(Errno) {
    let result = uring_start_detached(stack.baseAddress, stack.count, body, context)
    guard result >= 0 else { throw Errno(-result) }
  }
}

/// Closes every descriptor from 3 on but these two.
func closeDescriptors(except one: Int32, _ other: Int32) {
  let low = UInt32(min(one, other))
  let high = UInt32(max(one, other))
  if low > 3 { _ = uring_close_range(3, low - 1) }
  if high - low > 1 { _ = uring_close_range(low + 1, high - 1) }
  _ = uring_close_range(high + 1, .max)
}

/// Sets the real, effective and saved group of the process (setresgid(2)); false and errno when it may not.
func setGroups(real: gid_t, effective: gid_t, saved: gid_t) -> Bool {
  uring_set_groups(real, effective, saved) == 0
}

/// Makes the first page of some mapped memory one that nobody may touch; an overflow towards it ends the process.
func guardFirstPage(of memory: UnsafeMutableRawPointer) { mprotect(memory, Int(getpagesize()), PROT_NONE) }
