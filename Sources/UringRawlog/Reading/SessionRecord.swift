import Glibc

/// One line of the index, as far as reading recordings needs it (`docs/FORMAT.md`). Fields and values that are not known
/// here are passed over.
struct SessionRecord: Equatable {
  enum Event: Equatable {
    case start
    case end(End)
    /// Recordings were deleted to keep within limits: paths below the directory.
    case delete([String])

    var name: String {
      switch self {
      case .start: "start"
      case .end: "end"
      case .delete: "delete"
      }
    }
  }

  /// What only the end of a session has.
  struct End: Equatable {
    var reason = ""
    var seconds = "0"
    var user: String?
    var login = ""
    /// Relayed bytes; those of them that the recording has; bytes on disk. By direction.
    var bytes: Counts = Counts()
    var recorded: Counts = Counts()
    var file: Counts = Counts()
    var dropped: UInt64 = 0
    var gaps: [RecordingGap] = []
    var recording = ""
    var redacted: UInt64 = 0
    /// In layout pcapng, the capture that has its last packet.
    var capture: String?
    /// How each side's connection ended.
    var clientClose = ""
    var serverClose = ""

    /// Where in what was recorded of each direction bytes are missing, and how many. The places of gaps count what is
    /// missing too; those of a file do not. nil for a list that cannot be right.
    var gapPlaces: [[(place: UInt64, bytes: UInt64)]]? {
      var missing: [UInt64] = [0, 0]
      var found: [[(place: UInt64, bytes: UInt64)]] = [[], []]
      for gap in gaps {
        let direction = gap.direction.rawValue
        let (place, isBefore) = gap.offset.subtractingReportingOverflow(missing[direction])
        let (sum, isTooMuch) = missing[direction].addingReportingOverflow(gap.bytes)
        guard !isBefore, !isTooMuch, place >= found[direction].last?.place ?? 0 else { return nil }
        found[direction].append((place, gap.bytes))
        missing[direction] = sum
      }
      return found
    }

    /// How long the session took.
    var microseconds: Int64 { Int64(exactly: ((Double(seconds) ?? 0) * 1_000_000).rounded()) ?? 0 }
  }

  /// A number for each direction.
  struct Counts: Equatable {
    var `in`: UInt64 = 0
    var out: UInt64 = 0

    subscript(_ direction: Direction) -> UInt64 {
      switch direction {
      case .in: `in`
      case .out: out
      }
    }
  }

  var event: Event
  var id: String
  /// As it is written, and in microseconds since the epoch when it is written as the relay does.
  var timeText = ""
  var time: Int64? { Self.microseconds(timeText) }
  var listener = ""
  var client = ""
  var server = ""
  var mailProtocol = ""

  /// - Returns: nil for a record of an event that is not known.
  /// - Throws: `JSONError` when the line is no JSON object, or lacks what every record has.
  init?(_ line: UnsafeRawBufferPointer) throws(JSONError) {
    var cursor = JSONCursor(line)
    var event: String?
    var id: String?
    var end = End()
    var files: [String] = []
    self.id = ""
    self.event = .start
    var mailProtocol = ""
    var common = (time: "", listener: "", client: "", server: "")
    try cursor.object { (cursor, name) throws(JSONError) in
      switch name {
      case "event": event = try cursor.string()
      case "id": id = try cursor.string()
      case "time": common.time = try cursor.string()
      case "listener": common.listener = try cursor.string()
      case "client": common.client = try cursor.string()
      case "protocol": mailProtocol = try cursor.string()
      case "server": common.server = try cursor.optionalString() ?? ""
      case "files": try cursor.array { (cursor) throws(JSONError) in files.append(try cursor.string()) }
      default: try end.read(name, &cursor)
      }
    }
    try cursor.end()
    guard let event, let id else { throw JSONError(place: line.count) }
    self.id = id
    (timeText, listener, client, server) = common
    self.mailProtocol = mailProtocol
    switch event {
    case "start": self.event = .start
    case "end": self.event = .end(end)
    case "delete": self.event = .delete(files)
    default: return nil
    }
  }

  /// `YYYY-MM-DDTHH:MM:SS.UUUUUUZ`, the one form of RFC 3339 that the relay writes.
  static func microseconds(_ text: String) -> Int64? {
    let bytes = Array(text.utf8)
    let pattern = Array("0000-00-00T00:00:00.000000Z".utf8)
    guard bytes.count == pattern.count else { return nil }
    for (byte, expected) in zip(bytes, pattern) {
      let isRight = expected == UInt8(ascii: "0") ? (0x30...0x39).contains(byte) : byte == expected
      guard isRight else { return nil }
    }
    func number(_ range: Range<Int>) -> Int32 { bytes[range].reduce(0) { $0 * 10 + Int32($1 - 0x30) } }
    var parts = tm()
    parts.tm_year = number(0..<4) - 1900
    parts.tm_mon = number(5..<7) - 1
    parts.tm_mday = number(8..<10)
    parts.tm_hour = number(11..<13)
    parts.tm_min = number(14..<16)
    parts.tm_sec = number(17..<19)
    return Int64(timegm(&parts)) * 1_000_000 + Int64(number(20..<26))
  }
}

extension SessionRecord.End {
  fileprivate mutating func read(_ name: String, _ cursor: inout JSONCursor) throws(JSONError) {
    switch name {
    case "reason": reason = try cursor.string()
    case "seconds": seconds = try cursor.numberText()
    case "user": user = try cursor.optionalString()
    case "login": login = try cursor.string()
    case "in_bytes": bytes.in = try cursor.count()
    case "out_bytes": bytes.out = try cursor.count()
    case "in_recorded": recorded.in = try cursor.count()
    case "out_recorded": recorded.out = try cursor.count()
    case "in_file": file.in = try cursor.count()
    case "out_file": file.out = try cursor.count()
    case "dropped": dropped = try cursor.count()
    case "gaps": gaps = try Self.gaps(&cursor)
    case "recording": recording = try cursor.string()
    case "client_close": clientClose = try cursor.string()
    case "server_close": serverClose = try cursor.string()
    case "capture": capture = try cursor.optionalString()
    case "redacted": redacted = try cursor.count()
    default: try cursor.skip()
    }
  }

  private static func gaps(_ cursor: inout JSONCursor) throws(JSONError) -> [RecordingGap] {
    var gaps: [RecordingGap] = []
    try cursor.array { (cursor) throws(JSONError) in
      var gap = RecordingGap(direction: .in, offset: 0, bytes: 0)
      try cursor.object { (cursor, name) throws(JSONError) in
        switch name {
        case "direction":
          switch try cursor.string() {
          case "in": gap.direction = .in
          case "out": gap.direction = .out
          default: throw JSONError(place: cursor.place)
          }
        case "offset": gap.offset = try cursor.count()
        case "bytes": gap.bytes = try cursor.count()
        default: try cursor.skip()
        }
      }
      gaps.append(gap)
    }
    return gaps
  }
}
