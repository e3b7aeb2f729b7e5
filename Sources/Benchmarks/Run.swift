import Glibc

/// What `uring-rawlog bench` is told.
public struct BenchConfiguration: Sendable {
  public var extent = Extent.full
  public var workloads: [Workload] = []
  public var peers = false
  /// Where recordings go during the run; nil for the directory of temporary files.
  public var directory: String?
  public var outputPath: String?
  public var baselinePath: String?
  /// The command as the user typed it.
  public var command = ""

  public init() {}
}
