/// What a run found, as `--output` writes it and `--baseline` reads it.
public struct BenchResult: Codable, Sendable {
  /// What one subject needed for a unit: medians of its repetitions.
  public struct Cost: Codable, Sendable {
    /// User and system time of the relay, all its threads, per unit.
    public var cpu_ns: Double
    public var per_second: Double
    /// Time from question to answer (pingpong), or of a whole session; null for bulk.
    public var p50_us: Double?
    public var p99_us: Double?
  }

  public struct Variant: Codable, Sendable {
    public var name: String
    public var cpu_ns: Double
    public var per_second: Double
    public var p50_us: Double?
    public var p99_us: Double?
    /// To `plain`, repetition by repetition: the median, the least and the most.
    public var ratio: Double
    public var spread: [Double]
  }

  public struct Figure: Codable, Sendable {
    public var name: String
    public var unit: String
    public var plain: Cost
    public var recorded: Cost
    /// Recorded over plain, repetition by repetition: the median; null when it spreads too wide to be a figure.
    public var ratio: Double?
    /// The median of their differences, and what the bare files of the recording cost.
    public var overhead_ns: Double?
    public var floor_ns: Double
    /// The ratio's least and most.
    public var spread: [Double]
    public var p99_ratio: Double?
    public var repetitions: Int
    /// Units in each repetition.
    public var units: Int
    /// Of all bytes relayed in the last repetition, both directions.
    public var checksum: String
    /// The load by itself, without a relay: that much it could do, and what both its processes used.
    public var load_per_second: Double
    public var load_cpu_ns: Double
    public var variants: [Variant]?
  }

  public struct Peer: Codable, Sendable {
    public var name: String
    public var version: String
    public var configuration: String
    public var workload: String
    public var unit: String
    public var cpu_ns: Double
    public var per_second: Double
    public var p50_us: Double?
    public var p99_us: Double?
    /// Ours over this, repetition by repetition: medians.
    public var plain_ratio: Double
    public var recorded_ratio: Double
    public var recorded_tmpfs_ratio: Double?
    public var spread: [Double]
  }

  /// What messages of one size cost, each way the median.
  public struct MessageSize: Codable, Sendable {
    public var bytes: Int
    public var plain_cpu_ns: Double
    public var recorded_cpu_ns: Double
    /// Recorded over plain, repetition by repetition.
    public var ratio: Double
    public var floor_ns: Double
  }

  /// Private memory of one connection that says nothing, in bytes.
  public struct Idle: Codable, Sendable {
    public var name: String
    public var bytes: Double
    public var connections: Int
  }

  public struct Machine: Codable, Sendable, Equatable {
    public var cpu: String
    public var cores: Int
    public var memory_bytes: Int
    public var kernel: String
    public var file_system: String
    public var architecture: String
  }

  public var version = 1
  public var program: String
  public var commit: String?
  public var date: String
  public var command: String
  public var machine: Machine
  public var workloads: [Figure]
  public var message_sizes: [MessageSize]?
  public var idle: [Idle]?
  public var peers: [Peer]
}
