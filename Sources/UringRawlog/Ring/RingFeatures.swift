/// What newer kernels offer and the loop can do without. `URING_RAWLOG_WITHOUT` names those that are left aside.
struct RingFeatures: OptionSet {
  let rawValue: UInt32
  /// One receive fills several buffers (IORING_FEAT_RECVSEND_BUNDLE, kernel 6.10).
  static let bundles = RingFeatures(rawValue: 1)
  /// A receive that stays armed (IORING_RECV_MULTISHOT, kernel 6.0); without it each is armed anew.
  static let multishotReceive = RingFeatures(rawValue: 2)
  /// A multishot receive ends after so many bytes (kernel 6.17).
  static let receiveCap = RingFeatures(rawValue: 4)
  /// Files of a file system in memory are created and written in the loop itself.
  static let filesInLoop = RingFeatures(rawValue: 8)

  /// Names as in `URING_RAWLOG_WITHOUT=bundles,multishot,loop-files`; unknown ones are nil.
  static func named(_ name: some StringProtocol) -> RingFeatures? {
    switch name {
    case "bundles": .bundles
    case "multishot": .multishotReceive
    case "loop-files": .filesInLoop
    default: nil
    }
  }
}
