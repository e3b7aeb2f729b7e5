/// What a run found, as `--output` writes it and `--baseline` reads it.
public struct BenchResult: Codable, Sendable {
  /// What one subject needed for a unit: medians of its repetitions.
  public struct Cost: Codable, Sendable {
    /// User and system time of the relay, all its threads, per unit.
    public var cpuNanoseconds: Double
    public var perSecond: Double
    /// Time from question to answer (pingpong), or of a whole session; null for bulk.
    @NullWhenAbsent public var p50Microseconds: Double?
    @NullWhenAbsent public var p99Microseconds: Double?

    enum CodingKeys: String, CodingKey {
      case cpuNanoseconds = "cpu_ns"
      case perSecond = "per_second"
      case p50Microseconds = "p50_us"
      case p99Microseconds = "p99_us"
    }
  }

  public struct Variant: Codable, Sendable {
    public var name: String
    public var cpuNanoseconds: Double
    public var perSecond: Double
    @NullWhenAbsent public var p50Microseconds: Double?
    @NullWhenAbsent public var p99Microseconds: Double?
    /// To `plain`, repetition by repetition: the median, the least and the most.
    public var ratio: Double
    public var spread: [Double]
    /// The same to `recorded`.
    public var recordedRatio: Double?

    enum CodingKeys: String, CodingKey {
      case name, ratio, spread
      case recordedRatio = "recorded_ratio"
      case cpuNanoseconds = "cpu_ns"
      case perSecond = "per_second"
      case p50Microseconds = "p50_us"
      case p99Microseconds = "p99_us"
    }
  }

  public struct Figure: Codable, Sendable {
    public var name: String
    public var unit: String
    public var plain: Cost
    public var recorded: Cost
    /// Recorded over plain, repetition by repetition: the median; null when it spreads too wide to be a figure.
    @NullWhenAbsent public var ratio: Double?
    /// The median of their differences, and what the bare files of the recording cost.
    @NullWhenAbsent public var overheadNanoseconds: Double?
    public var floorNanoseconds: Double
    /// The ratio's least and most.
    public var spread: [Double]
    public var p99Ratio: Double?
    public var repetitions: Int
    /// Units in each repetition.
    public var units: Int
    /// Of all bytes that were relayed in the first recorded repetition, both directions.
    public var checksum: String
    /// The load by itself, without a relay: that much it could do, and what both its processes used.
    public var loadPerSecond: Double
    public var loadCPUNanoseconds: Double
    public var variants: [Variant]?

    enum CodingKeys: String, CodingKey {
      case name, unit, plain, recorded, ratio, spread, repetitions, units, checksum, variants
      case overheadNanoseconds = "overhead_ns"
      case floorNanoseconds = "floor_ns"
      case p99Ratio = "p99_ratio"
      case loadPerSecond = "load_per_second"
      case loadCPUNanoseconds = "load_cpu_ns"
    }
  }

  public struct Peer: Codable, Sendable {
    public var name: String
    public var version: String
    public var configuration: String
    public var workload: String
    public var unit: String
    public var cpuNanoseconds: Double
    public var perSecond: Double
    @NullWhenAbsent public var p50Microseconds: Double?
    @NullWhenAbsent public var p99Microseconds: Double?
    /// Ours over this, repetition by repetition: medians.
    public var plainRatio: Double
    public var recordedRatio: Double
    public var recordedInMemoryRatio: Double?
    public var spread: [Double]

    enum CodingKeys: String, CodingKey {
      case name, version, configuration, workload, unit, spread
      case cpuNanoseconds = "cpu_ns"
      case perSecond = "per_second"
      case p50Microseconds = "p50_us"
      case p99Microseconds = "p99_us"
      case plainRatio = "plain_ratio"
      case recordedRatio = "recorded_ratio"
      case recordedInMemoryRatio = "recorded_tmpfs_ratio"
    }
  }

  /// What messages of one size cost, each way the median.
  public struct MessageSize: Codable, Sendable {
    public var bytes: Int
    public var plainNanoseconds: Double
    public var recordedNanoseconds: Double
    /// Recorded over plain, repetition by repetition.
    public var ratio: Double
    public var floorNanoseconds: Double

    enum CodingKeys: String, CodingKey {
      case bytes, ratio
      case plainNanoseconds = "plain_cpu_ns"
      case recordedNanoseconds = "recorded_cpu_ns"
      case floorNanoseconds = "floor_ns"
    }
  }

  /// Private memory of one connection that says nothing, in bytes.
  public struct Idle: Codable, Sendable {
    public var name: String
    public var bytes: Double
    public var connections: Int
  }

  /// What a recorder between a client and a program that was started for it adds to that program.
  public struct Postlogin: Codable, Sendable {
    public var name: String
    public var version: String
    public var configuration: String
    /// User and system time of all its processes a session, that of the program taken off.
    public var cpuNanoseconds: Double
    public var perSecond: Double
    public var p50Microseconds: Double
    public var p99Microseconds: Double
    /// Memory of one recorder while others like it run (smaps_rollup of proc(5)): bytes that are its own, and these
    /// with its share of what it has in common with others.
    public var privateBytes: Double
    public var proportionalBytes: Double
    /// Its time over that of Dovecot's rawlog, repetition by repetition: the median, the least and the most.
    public var ratio: Double?
    public var spread: [Double]?

    enum CodingKeys: String, CodingKey {
      case name, version, configuration, ratio, spread
      case cpuNanoseconds = "cpu_ns"
      case perSecond = "per_second"
      case p50Microseconds = "p50_us"
      case p99Microseconds = "p99_us"
      case privateBytes = "private_bytes"
      case proportionalBytes = "pss_bytes"
    }
  }

  public struct Machine: Codable, Sendable, Equatable {
    public var cpu: String
    public var cores: Int
    public var memoryBytes: Int
    public var kernel: String
    public var fileSystem: String
    public var architecture: String

    enum CodingKeys: String, CodingKey {
      case cpu, cores, kernel, architecture
      case memoryBytes = "memory_bytes"
      case fileSystem = "file_system"
    }
  }

  public var version = 1
  public var program: String
  public var commit: String?
  public var date: String
  public var command: String
  public var machine: Machine
  public var workloads: [Figure]
  public var messageSizes: [MessageSize]?
  public var idle: [Idle]?
  public var postlogin: [Postlogin]?
  public var peers: [Peer]

  enum CodingKeys: String, CodingKey {
    case version, program, commit, date, command, machine, workloads, idle, postlogin, peers
    case messageSizes = "message_sizes"
  }
}

/// A number that is written as null when there is none, instead of being left out: who reads a result finds every field.
@propertyWrapper
public struct NullWhenAbsent: Codable, Sendable {
  public var wrappedValue: Double?

  public init(wrappedValue: Double?) {
    self.wrappedValue = wrappedValue
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    wrappedValue = container.decodeNil() ? nil : try container.decode(Double.self)
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    if let wrappedValue { try container.encode(wrappedValue) } else { try container.encodeNil() }
  }
}

extension KeyedDecodingContainer {
  /// Also reads results in which the field was left out.
  func decode(_: NullWhenAbsent.Type, forKey key: Key) throws -> NullWhenAbsent {
    NullWhenAbsent(wrappedValue: try decodeIfPresent(Double.self, forKey: key))
  }
}
