/// Whether the file system has shown that it answers at once.
///
/// A small write or the creation of a file costs less in the loop itself than handed to one of the kernel's workers, but
/// a disk that is busy would hold up every session with it. So the loop does them itself only after a run of such
/// operations on the ring was answered promptly, one of which is timed at a time; and one that was slow in the loop
/// sends all of them back to the ring, until a much longer run was prompt.
struct FilePromptness {
  /// Operations timed on the ring that must be prompt before the loop does any itself.
  private var needed = Limits.promptFileOperations
  private var prompt = 0
  /// The operation on the ring that is being timed, and since when (monotonic nanoseconds); 0 when none is.
  private(set) var timedToken: UInt64 = 0
  private var timedSince: UInt64 = 0

  /// The loop may do small operations on files itself.
  private(set) var isShown = false

  /// An operation on a file was handed to the ring.
  @inline(__always)
  mutating func handedOver(_ token: Token, at now: () -> UInt64) {
    guard !isShown, timedToken == 0 else { return }
    timedToken = token.rawValue
    timedSince = now()
  }

  /// The operation that was timed on the ring is complete.
  mutating func timedEnded(at now: UInt64) {
    timedToken = 0
    guard now &- timedSince <= Limits.promptRingNanoseconds else {
      prompt = 0
      return
    }
    prompt += 1
    isShown = prompt >= needed
  }

  /// The loop did one itself.
  @inline(__always)
  mutating func took(_ nanoseconds: UInt64) {
    guard nanoseconds > Limits.promptLoopNanoseconds else { return }
    isShown = false
    prompt = 0
    needed = min(needed * Limits.promptFileOperationsFactor, Limits.promptFileOperationsMaximum)
  }
}
