/// What the relay is loaded with.
public enum Workload: String, CaseIterable, Sendable {
  /// One connection sends as fast as it can, then ends its stream.
  case bulk
  /// The same over 16 connections.
  case bulk16
  /// 64-byte requests and answers on 100 connections.
  case pingpong
  /// IMAP-like sessions, 200 at a time.
  case mail
  /// Connect, five short lines and their answers, close; 50 at a time.
  case churn
  /// As pingpong, with messages of several sizes.
  case sizes
  /// Connections that say nothing: memory, not time.
  case idle
  /// As churn, with a program started for each connection and a recorder between, as after a login of Dovecot's; 8 at a
  /// time.
  case postlogin
  /// As bulk and churn, with clients that speak TLS, which the relay terminates; each session is a whole handshake.
  case tlsBulk = "tls-bulk"
  case tlsChurn = "tls-churn"

  var usesTLS: Bool {
    switch self {
    case .tlsBulk, .tlsChurn: true
    case .bulk, .bulk16, .pingpong, .mail, .churn, .sizes, .idle, .postlogin: false
    }
  }

  public var unit: String {
    switch self {
    case .bulk, .bulk16, .tlsBulk: "byte"
    case .pingpong, .sizes: "message"
    case .mail, .churn, .idle, .postlogin, .tlsChurn: "session"
    }
  }

  /// Connections at a time.
  var connections: Int {
    switch self {
    case .bulk, .tlsBulk: 1
    case .bulk16: 16
    case .pingpong, .sizes: 100
    case .mail: 200
    case .churn, .tlsChurn: 50
    case .idle: 1000
    case .postlogin: 8
    }
  }

  /// The most units that one repetition may have: 128 MiB, since pages of memory that a virtual machine never touched
  /// before cost more than relaying does.
  func units(_ extent: Extent) -> Int {
    switch (self, extent) {
    case (.bulk, .full), (.bulk16, .full), (.tlsBulk, .full): 128 << 20
    case (.bulk, .quick), (.bulk16, .quick), (.tlsBulk, .quick): 96 << 20
    case (.bulk, .tiny), (.bulk16, .tiny), (.tlsBulk, .tiny): 2 << 20
    case (.pingpong, .full): 100_000
    case (.pingpong, .quick): 50_000
    case (.pingpong, .tiny): 2_000
    case (.mail, .full): 2_000
    case (.mail, .quick): 600
    case (.mail, .tiny): 40
    case (.churn, .full): 4_000
    case (.churn, .quick): 1_200
    case (.churn, .tiny): 100
    case (.tlsChurn, .full): 1_500
    case (.tlsChurn, .quick): 600
    case (.tlsChurn, .tiny): 60
    case (.sizes, .full), (.sizes, .quick): 20_000
    case (.sizes, .tiny): 400
    case (.idle, .full), (.idle, .quick): 2_000
    case (.idle, .tiny): 50
    case (.postlogin, .full): 500
    case (.postlogin, .quick): 250
    case (.postlogin, .tiny): 16
    }
  }

  /// About what the files of one repetition take of memory, in bytes: no file takes less than a page.
  func recordedBytes(_ extent: Extent) -> Int {
    switch self {
    case .bulk, .bulk16, .tlsBulk: units(extent)
    case .pingpong: units(extent) * 64
    case .mail: units(extent) * (40 << 10)
    case .churn, .postlogin, .tlsChurn: units(extent) * (8 << 10)
    case .sizes: 128 << 20
    case .idle: 0
    }
  }

  /// Bytes in a message, where several sizes are measured, and as many messages of each as are 128 MiB at the most.
  static let messageSizes = [64, 256, 1024, 4096, 16384, 65536]
  func units(_ extent: Extent, messageBytes: Int) -> Int { min(units(extent), (128 << 20) / messageBytes) }

  /// What runs before the measured part, so that memory, files and branch predictors are warm.
  func warmUpUnits(_ extent: Extent) -> Int {
    switch self {
    case .bulk, .bulk16, .pingpong, .sizes, .idle, .postlogin, .tlsBulk: max(units(extent) / 4, 1)
    // Hundreds of sessions at a time: each must have had its memory once.
    case .mail, .churn, .tlsChurn: max(units(extent) / 2, 1)
    }
  }

  /// Recorders whose memory is measured at a time.
  static let heldRecorders = 20

  /// Ratios whose middle half spreads wider than this, relative to their median, are no figure.
  static let spreadAllowed = 0.25
}

/// How much of everything a run does.
public enum Extent: Sendable {
  case full
  case quick
  /// For tests: everything happens, nothing is worth quoting.
  case tiny

  /// Repetitions of each subject.
  var repetitions: Int {
    switch self {
    case .full: 11
    case .quick: 5
    case .tiny: 1
    }
  }

  /// Fewer make no median.
  static let leastRepetitions = 3

  /// The time that a run of several workloads may take with its repetitions, in nanoseconds; nil without an end.
  var nanoseconds: UInt64? {
    switch self {
    case .quick: 40_000_000_000
    case .full, .tiny: nil
    }
  }
}
