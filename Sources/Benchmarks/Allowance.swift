import Glibc

/// The time that one workload may take of a quick run: with many peers, or on a slow machine, it is repeated less often.
struct Allowance {
  private let deadline: UInt64?
  private var last: UInt64
  private var count = 0

  /// - Parameter workloads: how many share the run's time.
  init(_ extent: Extent, workloads: Int) {
    last = monotonicNanoseconds()
    deadline = extent.nanoseconds.map { [last] in last + $0 / UInt64(max(1, workloads)) }
  }

  /// Asked before each repetition: there are too few of them yet, or another one ends in time if it takes as long as the
  /// one before.
  mutating func allowsAnother() -> Bool {
    let now = monotonicNanoseconds()
    let took = now - last
    last = now
    count += 1
    guard let deadline, count > Extent.leastRepetitions else { return true }
    return now + took <= deadline
  }
}
