import CLibUring
import Glibc

/// A process that nobody has to wait for, with our memory and descriptors (fork(2)): 0 in it, its id in ours.
func forkDetached() throws(Errno) -> pid_t {
  let result = uring_fork_detached()
  guard result >= 0 else { throw Errno(-result) }
  return result
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
