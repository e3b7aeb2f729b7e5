import Glibc

/// `sessions.jsonl`: one JSON object a line, appended, one when a session starts and one when it ends.
///
/// It holds the lines that wait to be written and decides what is written next; the loop does the writing. Every write
/// is whole lines. A line that a full disk tore is ended with a line feed and written again.
struct SessionIndex: ~Copyable {
  private var pending = Bytes(capacity: 64 << 10)
  /// Lines with the kernel. The byte in front of them is a line feed, written first when the file ends in a torn line.
  private var writing = Bytes(capacity: 64 << 10)
  private var offset = 0
  private(set) var isWriting = false
  /// When the oldest waiting line came (monotonic nanoseconds); 0 when none waits.
  private(set) var waitingSince: UInt64 = 0
  private(set) var lostLines: UInt64 = 0
  /// The lines up to the last whole one in `pending`; a line under construction lies behind.
  private var lineStart = 0
  private var endsTorn: Bool

  /// - Parameter endsTorn: the file's last byte is not a line feed.
  init(endsTorn: Bool) {
    self.endsTorn = endsTorn
  }

  var hasLines: Bool { pending.count > 0 || offset < writing.count }

  // MARK: Writing

  /// The bytes of the next write; nil when there are none or one is under way.
  mutating func nextWrite() -> UnsafeRawBufferPointer? {
    guard !isWriting else { return nil }
    if offset >= writing.count {
      guard pending.count > 0 else { return nil }
      writing.removeAll()
      writing.append(UInt8(ascii: "\n"))
      writing.append(pending)
      pending.removeAll()
      offset = endsTorn ? 0 : 1
      endsTorn = false
    }
    isWriting = true
    waitingSince = 0
    return UnsafeRawBufferPointer(rebasing: writing.span[offset...])
  }

  /// What is written from now on goes to another file. Only while no write is under way.
  mutating func startsAnew(endsTorn: Bool) {
    assert(!isWriting)
    // A line that was torn in the old file follows whole, without the line feed that was to end it there.
    if offset < writing.count, writing.span[offset] == UInt8(ascii: "\n") { offset += 1 }
    if offset < writing.count {
      if endsTorn { offset -= 1 }
    } else {
      self.endsTorn = endsTorn
      if pending.count == 0 { waitingSince = 0 }
    }
  }

  /// A write took `count` bytes, perhaps fewer than were offered.
  mutating func written(_ count: Int, at now: UInt64) {
    isWriting = false
    let end = offset + count
    guard end < writing.count else {
      writing.removeAll()
      offset = 0
      if pending.count > 0 { waitingSince = now }
      return
    }
    waitingSince = now
    if count == 0 { return }
    // A line that lacks only its line feed gets that. Otherwise go back to the line feed before the torn line: written
    // again, it ends what stands there, and the line follows whole.
    if writing.span[end] == UInt8(ascii: "\n") {
      offset = end
      return
    }
    var place = end
    while writing.span[place - 1] != UInt8(ascii: "\n") { place -= 1 }
    offset = place == end ? end : place - 1
  }

  /// A write failed; the lines wait.
  mutating func failed(at now: UInt64) {
    isWriting = false
    waitingSince = now
  }

  /// Takes the line that was ended last out again, for it to be appended later; nothing when it is lost.
  mutating func takeLast(to line: inout Bytes) {
    line.append(UnsafeRawBufferPointer(rebasing: pending.span[lineStart...]))
    pending.truncate(lineStart)
    if pending.count == 0 { waitingSince = 0 }
  }

  /// Appends a line that was taken out.
  mutating func append(_ line: UnsafeRawBufferPointer, at now: UInt64) {
    lineStart = pending.count
    pending.append(UnsafeRawBufferPointer(rebasing: line.dropLast(2)))
    endLine(at: now)
  }

  // MARK: Lines

  /// Ends the line under construction; when too many lines wait it is lost, and counted.
  private mutating func endLine(at now: UInt64) {
    pending.append("}\n")
    if pending.count > Limits.indexPendingBytes {
      pending.truncate(lineStart)
      lostLines += 1
    } else if waitingSince == 0 && !isWriting {
      waitingSince = now
    }
  }

  /// The parts of a record that are the same for all sessions of a listener, as JSON strings.
  struct Names: Sendable {
    let listener: [UInt8]
    let mailProtocol: [UInt8]
    /// Who the session's last login was for.
    var user = Array("null".utf8)
    /// What the legs' TLS agreed on.
    var tls = Array("null".utf8)
    var serverTLS = Array("null".utf8)
    /// A client of a unix listener: the path that it connected to, unless it has one itself.
    var unixClient: [UInt8]
    let unixServer: [UInt8]
    /// The capture that has the session's last packet; empty in other layouts.
    var capture: [UInt8] = []

    init(listener: String, listenerPath: String, serverPath: String, mailProtocol: MailProtocol? = nil) {
      self.listener = jsonString(listener)
      self.mailProtocol = jsonString(mailProtocol?.rawValue ?? "raw")
      unixClient = jsonString("unix:" + listenerPath)
      unixServer = jsonString("unix:" + serverPath)
    }
  }

  /// The record of a session's start, with the time of its accept.
  mutating func start(
    _ session: borrowing Session, names: Names, fileName: FileName, clock: inout Clock
  ) {
    begin("start", session, names: names, fileName: fileName, at: session.acceptedMicroseconds, clock: &clock)
    endLine(at: clock.now.nanoseconds)
  }

  /// The record of a session's end, with the time of now.
  mutating func end(
    _ session: borrowing Session, in flowIn: borrowing Flow, out flowOut: borrowing Flow,
    inFile: borrowing RecordingFile, outFile: borrowing RecordingFile,
    gaps: [RecordingGap], names: Names, fileName: FileName, clock: inout Clock
  ) {
    begin("end", session, names: names, fileName: fileName, at: clock.now.epochMicroseconds, clock: &clock)
    pending.append(",\"user\":")
    pending.append(names.user)
    pending.append(",\"login\":\"")
    pending.append(session.login.name)
    pending.append("\",\"reason\":\"")
    pending.append(session.reason.name)
    pending.append("\",\"seconds\":")
    let microseconds = (clock.now.nanoseconds - session.acceptedNanoseconds) / 1000
    pending.append(decimal: microseconds / 1_000_000)
    pending.append(UInt8(ascii: "."))
    pending.append(decimal: microseconds % 1_000_000, width: 6)
    field(",\"in_bytes\":", flowIn.received)
    field(",\"out_bytes\":", flowOut.received)
    field(",\"in_recorded\":", inFile.recorded)
    field(",\"out_recorded\":", outFile.recorded)
    field(",\"in_file\":", fileName.layout == .pair ? inFile.fileBytes : inFile.lineBytes)
    field(",\"out_file\":", fileName.layout == .pair ? outFile.fileBytes : outFile.lineBytes)
    field(",\"dropped\":", inFile.dropped &+ outFile.dropped)
    pending.append(",\"gaps\":[")
    for (number, gap) in gaps.enumerated() {
      if number > 0 { pending.append(UInt8(ascii: ",")) }
      pending.append(gap.direction == .in ? "{\"direction\":\"in\"" : "{\"direction\":\"out\"")
      field(",\"offset\":", gap.offset)
      field(",\"bytes\":", gap.bytes)
      pending.append(UInt8(ascii: "}"))
    }
    pending.append("],\"client_close\":\"")
    pending.append(session.clientClose.name)
    pending.append("\",\"server_close\":\"")
    pending.append(session.serverClose.name)
    field("\",\"failed_logins\":", UInt64(session.failedLogins))
    pending.append(",\"server_tls\":")
    pending.append(names.serverTLS)
    field(",\"redacted\":", UInt64(session.redacted))
    pending.append(",\"recording\":\"")
    pending.append(Self.recording(session, inFile, outFile, hasGaps: !gaps.isEmpty))
    pending.append(UInt8(ascii: "\""))
    if !names.capture.isEmpty {
      pending.append(",\"capture\":")
      pending.append(names.capture)
    }
    endLine(at: clock.now.nanoseconds)
  }

  /// The record of a recording that was deleted to keep the directory within its limits, now.
  mutating func delete(_ deleted: Sweep.Deleted, clock: inout Clock) {
    lineStart = pending.count
    pending.append("{\"event\":\"delete\",\"id\":")
    let name = deleted.paths.first.map { Sweep.name($0) } ?? ""
    pending.append(jsonString(StoredName(name).map { String($0.stem) } ?? name))
    pending.append(",\"time\":\"")
    clock.appendIndexTime(clock.now.epochMicroseconds, to: &pending)
    pending.append("\",\"reason\":\"")
    pending.append(deleted.reason.option)
    field("\",\"bytes\":", deleted.bytes)
    pending.append(",\"files\":[")
    for (number, path) in deleted.paths.enumerated() {
      if number > 0 { pending.append(UInt8(ascii: ",")) }
      pending.append(jsonString(path))
    }
    pending.append("]")
    endLine(at: clock.now.nanoseconds)
  }

  /// The worst that happened to either direction.
  private static func recording(
    _ session: borrowing Session, _ inFile: borrowing RecordingFile, _ outFile: borrowing RecordingFile, hasGaps: Bool
  ) -> StaticString {
    if !session.isRecorded { return "none" }
    if inFile.state == .failed { return "failed" }
    if outFile.state == .failed { return "failed" }
    if hasGaps { return "lossy" }
    if session.isCollectorLost { return "lossy" }
    if inFile.isTruncated { return "truncated" }
    if outFile.isTruncated { return "truncated" }
    if session.isEndedAtLogin { return "pre-login" }
    return "complete"
  }

  private mutating func begin(
    _ event: StaticString, _ session: borrowing Session, names: Names, fileName: FileName,
    at microseconds: Int64, clock: inout Clock
  ) {
    lineStart = pending.count
    pending.append("{\"event\":\"")
    pending.append(event)
    pending.append("\",\"id\":\"")
    fileName.appendStem(of: session, to: &pending)
    pending.append("\",\"time\":\"")
    clock.appendIndexTime(microseconds, to: &pending)
    pending.append("\",\"listener\":")
    pending.append(names.listener)
    pending.append(",\"protocol\":")
    pending.append(names.mailProtocol)
    pending.append(",\"client\":")
    address(session.client, unix: names.unixClient)
    pending.append(",\"server\":")
    address(session.server, unix: names.unixServer)
    pending.append(",\"via\":")
    pending.append(session.via.name)
    pending.append(",\"tls\":")
    pending.append(names.tls)
  }

  private mutating func field(_ name: StaticString, _ value: UInt64) {
    pending.append(name)
    pending.append(decimal: value)
  }

  private mutating func address(_ peer: PeerAddress, unix: [UInt8]) {
    if peer.family == .unix {
      pending.append(unix)
    } else {
      pending.append(UInt8(ascii: "\""))
      peer.append(to: &pending)
      pending.append(UInt8(ascii: "\""))
    }
  }
}

/// The same of bytes that should be UTF-8, quickly for those that stand as they are.
func jsonString(_ bytes: UnsafeRawBufferPointer) -> [UInt8] {
  let isPlain = bytes.allSatisfy {
    0x20..<0x7F ~= $0 && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\")
  }
  guard isPlain else { return jsonString(String(decoding: bytes, as: UTF8.self)) }
  return [UInt8](unsafeUninitializedCapacity: bytes.count + 2) { memory, count in
    memory[0] = UInt8(ascii: "\"")
    for place in 0..<bytes.count { memory[place + 1] = bytes[place] }
    memory[bytes.count + 1] = UInt8(ascii: "\"")
    count = bytes.count + 2
  }
}

/// A text as a JSON string with its quotes (RFC 8259 §7). Everything that a terminal might obey is escaped too.
func jsonString(_ text: String) -> [UInt8] {
  var result = "\""
  for scalar in text.unicodeScalars {
    switch scalar {
    case "\"", "\\":
      result += "\\"
      result.unicodeScalars.append(scalar)
    case _ where scalar.isObeyed:
      let digits = String(scalar.value, radix: 16)
      result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
    default:
      result.unicodeScalars.append(scalar)
    }
  }
  return Array((result + "\"").utf8)
}
