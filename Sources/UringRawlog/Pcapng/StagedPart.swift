/// How many bytes one session has in staging memory that it shares with others.
///
/// Blocks hold packets of many sessions, and are not searched for those of one. All bytes are staged one behind the
/// other and written in that order, so a place among them tells what is on disk. What a session staged is kept as two
/// sums, the older of which is forgotten when all of it is on disk. So the result is never too small, exceeds what
/// waits by what was staged during one write at the most, and is 0 when nothing waits.
struct StagedPart {
  private var older = 0
  private var newer = 0
  /// Where the bytes of each end, among all that were ever staged.
  private var olderEnd: UInt64 = 0
  private var newerEnd: UInt64 = 0

  /// More was staged.
  ///
  /// - Parameters:
  ///   - end: how many bytes of all sessions were staged so far, these included.
  ///   - written: how many of them are on disk.
  @inline(__always)
  mutating func add(_ count: Int, end: UInt64, written: UInt64) {
    if written >= olderEnd { forget(written) }
    newer &+= count
    newerEnd = end
  }

  /// - Parameter written: how many bytes of all sessions are on disk.
  mutating func count(written: UInt64) -> Int {
    if written >= olderEnd { forget(written) }
    return older &+ newer
  }

  @inline(__always)
  private mutating func forget(_ written: UInt64) {
    older = written >= newerEnd ? 0 : newer
    newer = 0
    olderEnd = newerEnd
  }
}
