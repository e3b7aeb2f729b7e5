/// What a session keeps beside its two flows and two files.
struct Session {
  enum Phase: UInt8 {
    case free
    /// A PROXY header or the client's TLS is awaited; the server is not asked yet.
    case handshaking
    /// The server has not answered yet.
    case connecting
    /// TLS is being agreed on with the server; nothing of the client is passed on yet.
    case securing
    case relaying
    /// Nothing more is relayed: the operations on its sockets are coming home.
    case terminating
    /// The sockets are closed; the rest of the recording is being written.
    case closing
  }

  /// The end that was seen first, as the index names it.
  enum Reason: UInt8 {
    case none
    case clientEnd
    case serverEnd
    case clientReset
    case serverReset
    case connectFailed
    case idle
    case drain
    case logError
    case proxyError
    case tlsError
    case limit

    var name: StaticString {
      switch self {
      case .none, .limit: "limit"
      case .clientEnd: "client-eof"
      case .serverEnd: "server-eof"
      case .clientReset: "client-reset"
      case .serverReset: "server-reset"
      case .connectFailed: "connect-failed"
      case .idle: "idle"
      case .drain: "drain"
      case .logError: "log-error"
      case .proxyError: "proxy-error"
      case .tlsError: "tls-error"
      }
    }
  }

  /// How a leg ended, seen from the relay.
  enum Close: UInt8 {
    /// The relay closed it while the peer had not ended its stream.
    case cut
    case clean
    case reset

    var name: StaticString {
      switch self {
      case .cut: "cut"
      case .clean: "clean"
      case .reset: "reset"
      }
    }
  }

  /// How logging in went.
  enum Login: UInt8 {
    case none
    case failed
    case ok

    var name: StaticString {
      switch self {
      case .none: "none"
      case .failed: "fail"
      case .ok: "ok"
      }
    }
  }

  /// Whether the client's first bytes may be a PROXY header, and what becomes of one.
  enum Proxying: UInt8 {
    case none
    case required
    case refused
  }

  /// How far TLS is, where the relay terminates it.
  enum Sealing: UInt8 {
    /// Both legs are in the clear.
    case none
    /// The client has asked for TLS, and was not answered: nothing more may come from it in the clear.
    case requested
    /// The relay offers TLS to the client in the server's place.
    case offered
    /// The relay asks the server for TLS.
    case asking
    /// A leg's handshake is not over.
    case handshaking
    /// Every leg that was to have TLS has it.
    case open
  }

  /// What named the client.
  enum Via: UInt8 {
    case itself
    case proxy1
    case proxy2

    var name: StaticString {
      switch self {
      case .itself: "null"
      case .proxy1: "\"proxy1\""
      case .proxy2: "\"proxy2\""
      }
    }
  }

  /// How the connection to the collector stands.
  enum Collecting: UInt8 {
    case none
    /// It waits until the collector can be reached again.
    case waiting
    case connecting
    case connected
    /// The connection broke while bytes were being sent.
    case broken
    /// All was sent, or given up: what is with the kernel is called back, and nothing more is begun.
    case ending
  }

  var phase: Phase = .free
  var login: Login = .none
  var proxying: Proxying = .none
  var sealing: Sealing = .none
  var via: Via = .itself
  /// It counts for the limits of its client.
  var isLimited = false
  /// A dialogue listens to what is said.
  var isObserved = false
  /// `--pre-login`: somebody has logged in.
  var isEndedAtLogin = false
  /// The directory of the recording is known only when somebody has logged in.
  var awaitsUser = false
  var collecting: Collecting = .none
  /// A connection to the collector broke: it may lack what the kernel had taken already.
  var isCollectorLost = false
  /// The session is over, and sends the rest; or it could not in time.
  var isCollectorEnding = false
  var isCollectorGivenUp = false
  /// The connection to the collector has taken bytes.
  var hasCollectorBytes = false
  /// Which of the collector's addresses it is, or was tried last.
  var collectorTarget: UInt16 = 0
  var reason: Reason = .none
  var clientClose: Close = .cut
  var serverClose: Close = .cut
  /// It has something to be worked on at the end of the turn.
  var isTouched = false
  var isRecorded = false
  var isStartWritten = false
  var isEndWritten = false
  /// A message about its recording was written.
  var isFailureSaid = false
  /// Bytes came, or were queued, for a leg that broke.
  var hasUndeliverable = false
  /// There was no descriptor for a connection to the server when it was tried last.
  var lacksDescriptor = false
  var isClientUnix = false
  var isServerUnix = false

  var clientSocket: Int32 = -1
  var serverSocket: Int32 = -1
  var failedLogins: UInt32 = 0
  /// Credentials that were left out of the recording.
  var redacted: UInt32 = 0
  /// Operations on sockets, and on files, that have not come home.
  var socketOperations: UInt16 = 0
  var fileOperations: UInt16 = 0
  var listener: UInt16 = 0
  /// The local port of the client's leg.
  var localPort: UInt16 = 0
  /// Which of the server's addresses is being tried.
  var target: UInt16 = 0

  var client = PeerAddress.unknown
  var server = PeerAddress.unknown

  /// The session's number in this process, and the local time of its accept as in its file names.
  var number: UInt64 = 0
  var nameTime = LocalTimeText()
  var acceptedMicroseconds: Int64 = 0
  var acceptedNanoseconds: UInt64 = 0
  /// The last time that a byte moved (monotonic nanoseconds).
  var activeNanoseconds: UInt64 = 0
  /// When the server was asked first (monotonic nanoseconds).
  var connectingSince: UInt64 = 0
  /// When the attempt to connect under way is given up (monotonic nanoseconds).
  var connectDeadline: UInt64 = 0
  /// Until when a handshake may take (monotonic nanoseconds); 0 while there is none.
  var handshakeDeadline: UInt64 = 0
  /// When a session with a broken leg is ended at the latest, and when it is looked at next; 0 while both legs stand.
  var lingerEnd: UInt64 = 0
  var lingerCheck: UInt64 = 0
  /// Until when the collector may take to be reached, or after the session's end to take the rest; 0 while neither
  /// matters. Since when the connection to it stands, or is tried (monotonic nanoseconds).
  var collectorDeadline: UInt64 = 0
  var collectorSince: UInt64 = 0
  /// Staging memory of both files.
  var stagingBytes = 0
  /// Its place in the deadline heap; -1 when it has none.
  var heapPlace: Int32 = -1
}
