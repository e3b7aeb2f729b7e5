/// Everything that `uring-rawlog relay` is told, as plain data. Durations are in nanoseconds, 0 meaning "never ends".
public struct RelayConfiguration: Sendable {
  /// What files a session is recorded to.
  public enum Layout: String, Sendable, CaseIterable {
    /// One for each direction.
    case pair
    /// One, whose lines say which direction they are of.
    case merged
    /// None of its own: all sessions go to one capture, which is ended and followed by another as it grows.
    case pcapng
  }

  /// Which of a session's two connections is recorded: it decides what is `in` and what is `out`.
  public enum RecordedLeg: String, Sendable, CaseIterable {
    /// Between client and relay: `in` is what the client sent.
    case front
    /// Between relay and server: `in` is what the server answered, as for whoever connected to it.
    case back
  }

  /// The form of the PROXY header that the server gets.
  public enum ProxyVersion: String, Sendable, CaseIterable {
    case v1
    case v2
  }

  /// What a full `--log-memory` does to the senders.
  public enum LogFull: String, Sendable, CaseIterable {
    case wait
    case drop
  }

  /// What a recording that cannot be written does to its session.
  public enum LogError: String, Sendable, CaseIterable {
    case `continue`
    case close
  }

  /// The one direction that is recorded.
  public enum Filter: String, Sendable, CaseIterable {
    case `in`
    case out
  }

  /// What the loop works with.
  public enum EngineChoice: String, Sendable, CaseIterable {
    /// io_uring, and epoll where that is refused.
    case auto
    case uring = "io_uring"
    case epoll
  }

  /// How bytes that are not recorded travel.
  public enum Way: String, Sendable, CaseIterable {
    /// Copied at first; spliced while they move in bulk.
    case auto
    /// Through memory of the program, as recorded bytes do.
    case copy
    /// From socket to socket through a pipe (splice(2)).
    case splice
  }

  /// When TLS begins on a leg.
  public enum TLSBeginning: String, Sendable, CaseIterable {
    /// With the first byte.
    case implicit
    /// When the client asks for it (STARTTLS, STLS).
    case startTLS = "starttls"
  }

  public var listen: [Address]
  public var connect: Address
  public var directory: DirectoryTemplate
  /// Where the session index goes; nil for the recordings' own directory.
  public var indexDirectory: String?
  public var layout = Layout.pair
  /// What is spoken; nil when it need not be understood (`raw`).
  public var mailProtocol: MailProtocol?
  /// Credentials are recorded too.
  public var keepsSecrets = false
  /// Recording ends with the server's answer to a successful login.
  public var preLogin = false
  /// Where recordings are sent instead of into a directory (`--dir tcp:HOST:PORT`).
  public var collector: Address?
  /// It may be on another machine, though mail goes to it in the clear.
  public var allowsRemoteCollector = false
  public var leg = RecordedLeg.front
  public var timestamps = false
  public var boundaries = false
  public var addressInName = false
  public var filter: Filter?
  /// Record only these clients; empty for everyone.
  public var only: [CIDR] = []
  /// From where a PROXY header is required; everywhere else it is refused, unless both are empty.
  public var proxyFrom: [CIDR] = []
  public var proxyFromUnix = false
  public var sendProxy: ProxyVersion?
  /// TLS with clients, and the files that say who we are; nil where clients are in the clear.
  public var frontTLS: TLSBeginning?
  public var identity: TLSIdentityFiles?
  /// TLS with the server; nil where it is in the clear.
  public var backTLS: TLSBeginning?
  /// Whom to trust as the server, and the name that its certificate must be for; nil for the name in `connect`.
  public var serverTrust = ServerTrust.system
  public var serverName: ServerName?
  public var tlsVersions = TLSVersion.all
  public var handshakeNanoseconds: UInt64 = 10_000_000_000
  public var relay: Way = .auto
  public var flushNanoseconds: UInt64 = 100_000_000
  public var logMemoryBytes = 64 << 20
  public var logFull: LogFull = .wait
  public var logWaitNanoseconds: UInt64 = 2_000_000_000
  public var logError: LogError = .continue
  public var maxSessions = 65536
  /// Sessions that one client may have at once; 0 without limit.
  public var maxSessionsPerClient = 0
  /// Sessions that one client may begin, and in what time; nil without limit.
  var maxRatePerClient: ClientLimits.Rate?
  public var idleNanoseconds: UInt64 = 35 * 60 * 1_000_000_000
  public var connectNanoseconds: UInt64 = 10_000_000_000
  public var drainNanoseconds: UInt64 = 30_000_000_000
  /// Most relayed bytes recorded a session and direction.
  public var maxRecordingBytes: UInt64 = .max
  /// The longest that a capture becomes, and the longest time that it is written to; 0 for any.
  public var rotateBytes: UInt64 = 1 << 30
  public var rotateNanoseconds: UInt64 = 24 * 3600 * 1_000_000_000
  /// The most that recordings may take together on disk, and how old they may be (nanoseconds); 0 for any. How much of the
  /// file system is kept free, in percent.
  public var keepBytes: UInt64 = 0
  public var keepNanoseconds: UInt64 = 0
  public var keepFreePercent = 0
  /// Captures are compressed when they were ended.
  public var compresses = false
  public var engine = EngineChoice.auto
  /// Gives up what is not needed after the start (`Sandbox`).
  public var isSandboxed = true
  public var user: String?
  public var group: String?

  public init(listen: [Address], connect: Address, directory: DirectoryTemplate) {
    self.listen = listen
    self.connect = connect
    self.directory = directory
  }

  /// Some bytes may not be recorded, though all recordings succeed.
  var leavesUnrecorded: Bool {
    !only.isEmpty || filter != nil || directory.hasVariables || maxRecordingBytes < .max || preLogin
  }

  /// Recordings are deleted as they become too many, too old or too large.
  var deletes: Bool { keepBytes > 0 || keepNanoseconds > 0 || keepFreePercent > 0 }
  /// The index of a day that is over gets a name of its own.
  var endsIndexDaily: Bool { deletes || layout == .pcapng }

  /// A leg has TLS, or comes to have it.
  var hasTLS: Bool { frontTLS != nil || backTLS != nil }

  var looksForProxy: Bool { proxyFromUnix || !proxyFrom.isEmpty }

  /// Credentials are left out of recordings.
  var redacts: Bool { mailProtocol != nil && !keepsSecrets }

  /// Descriptors that a session's recording takes.
  var filesPerSession: Int {
    switch layout {
    case .pair: filter == nil ? 2 : 1
    case .merged: 1
    case .pcapng: 0
    }
  }

  /// What a direction of the relay is called in recordings.
  func recorded(_ direction: Direction) -> Direction {
    switch leg {
    case .front: direction
    case .back: direction.reverse
    }
  }

  func isRecorded(_ direction: Direction) -> Bool {
    switch (filter, recorded(direction)) {
    case (nil, _), (.in, .in), (.out, .out): true
    case (.in, .out), (.out, .in): false
    }
  }

  func isRecorded(_ client: PeerAddress) -> Bool {
    only.isEmpty || only.contains { $0.contains(client) }
  }
}
