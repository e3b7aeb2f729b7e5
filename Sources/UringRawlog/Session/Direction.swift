/// Which way bytes travel: `in` from the client to the server, `out` from the server to the client.
enum Direction: Int {
  case `in` = 0
  case out = 1

  var reverse: Direction { self == .in ? .out : .in }

  /// As file names and messages have it.
  var name: String {
    switch self {
    case .in: "in"
    case .out: "out"
    }
  }
}

/// One of the two connections of a session.
enum Leg {
  case client
  case server
}

/// One direction of one session: the place of its `Flow` and its `RecordingFile` in their tables.
struct FlowIndex: Equatable {
  let rawValue: Int

  @inline(__always)
  init(rawValue: Int) {
    self.rawValue = rawValue
  }

  @inline(__always)
  init(_ slot: Int, _ direction: Direction) {
    rawValue = slot << 1 | direction.rawValue
  }

  @inline(__always) var slot: Int { rawValue >> 1 }
  @inline(__always) var direction: Direction { rawValue & 1 == 0 ? .in : .out }
  @inline(__always) var reverse: FlowIndex { FlowIndex(rawValue: rawValue ^ 1) }
  /// The leg that its bytes come from, and the one they go to.
  @inline(__always) var source: Leg { rawValue & 1 == 0 ? .client : .server }
  @inline(__always) var sink: Leg { rawValue & 1 == 0 ? .server : .client }
}
