import Foundation
import Glibc
import Testing

@testable import UringRawlog

/// The records of the index and what becomes of its lines when the disk takes only a part of them.
@Suite struct SessionIndexTests {
  private typealias Names = SessionIndex.Names

  private static let names = Names(listener: "[::]:143", listenerPath: "", serverPath: "")
  private static let fileName = FileName(processID: 77, addressInName: false)

  private func session(_ number: UInt64 = 1) -> Session {
    var session = Session()
    session.phase = .closing
    session.isRecorded = true
    session.number = number
    session.client = PeerAddress(ipv4: 0xC000_0207, port: 40000)
    session.server = PeerAddress(ipv6: 0x2001_0DB8_0000_0000, 1, port: 143)
    session.nameTime = Array("20260131-081500".utf8).withUnsafeBytes { LocalTimeText($0) }
    session.acceptedMicroseconds = 1_795_340_682_095_328
    session.acceptedNanoseconds = 5_000_000_000
    return session
  }

  private func clock() -> Clock {
    var clock = Clock()
    clock.set(Instant(nanoseconds: 65_001_002_999, epochMicroseconds: 1_795_340_742_096_330))
    return clock
  }

  private func flow(received: Int) -> Flow {
    var flow = Flow()
    flow.received(received, pauseAbove: .max)
    return flow
  }

  /// Takes all that waits, as a disk that takes everything.
  private func drain(_ index: inout SessionIndex) -> String {
    var text: [UInt8] = []
    while let bytes = index.nextWrite() {
      text += bytes
      index.written(bytes.count, at: 1)
    }
    return String(decoding: text, as: UTF8.self)
  }

  private func object(_ line: some StringProtocol) throws -> [String: Any] {
    try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
  }

  /// The one record of an index, parsed.
  private func record(_ index: inout SessionIndex) throws -> [String: Any] {
    let text = drain(&index)
    try #require(text.hasSuffix("}\n") && text.filter { $0 == "\n" }.count == 1)
    return try object(text.dropLast())
  }

  private func startRecord(_ session: Session, names: Names = names, fileName: FileName = fileName) throws -> [String:
    Any]
  {
    var index = SessionIndex(endsTorn: false)
    var clock = clock()
    index.start(session, names: names, fileName: fileName, clock: &clock)
    return try record(&index)
  }

  private func endRecord(
    _ session: Session, in flowIn: Flow = Flow(), out flowOut: Flow = Flow(), inFile: RecordingFile = RecordingFile(),
    outFile: RecordingFile = RecordingFile(), gaps: [RecordingGap] = []
  ) throws -> [String: Any] {
    var index = SessionIndex(endsTorn: false)
    var clock = clock()
    index.end(
      session, in: flowIn, out: flowOut, inFile: inFile, outFile: outFile, gaps: gaps, names: Self.names,
      fileName: Self.fileName, clock: &clock)
    return try record(&index)
  }

  // MARK: Records

  private static let startFields: Set<String> = [
    "event", "id", "time", "listener", "protocol", "client", "server", "via", "tls",
  ]
  private static let endFields = startFields.union([
    "user", "login", "reason", "seconds", "in_bytes", "out_bytes", "in_recorded", "out_recorded", "in_file", "out_file",
    "dropped", "gaps", "client_close", "server_close", "failed_logins", "server_tls", "redacted", "recording",
  ])

  @Test func theStartRecord() throws {
    let fields = try startRecord(session())
    #expect(
      Self.startFields.isSubset(of: fields.keys)
        && Self.endFields.subtracting(Self.startFields).isDisjoint(with: fields.keys))
    #expect(fields["event"] as? String == "start" && fields["id"] as? String == "20260131-081500.77.1")
    // The time of the accept.
    #expect(fields["time"] as? String == "2026-11-22T09:44:42.095328Z")
    #expect(fields["listener"] as? String == "[::]:143" && fields["protocol"] as? String == "raw")
    #expect(fields["client"] as? String == "192.0.2.7:40000" && fields["server"] as? String == "[2001:db8::1]:143")
    #expect(fields["via"] is NSNull && fields["tls"] is NSNull)
  }

  @Test func theEndRecord() throws {
    var session = session()
    session.reason = .serverEnd
    session.clientClose = .reset
    session.serverClose = .clean
    var inFile = RecordingFile()
    inFile.state = .open
    inFile.recorded = 100
    inFile.fileBytes = 118
    inFile.dropped = 5
    var outFile = RecordingFile()
    outFile.state = .open
    outFile.recorded = UInt64(Int64.max)
    outFile.fileBytes = 1 << 40
    outFile.dropped = 2
    let fields = try endRecord(
      session, in: flow(received: 105), out: flow(received: 3_000_000_000), inFile: inFile, outFile: outFile,
      gaps: [
        RecordingGap(direction: .in, offset: 50, bytes: 5), RecordingGap(direction: .out, offset: 1 << 33, bytes: 2),
      ])
    #expect(Self.endFields.isSubset(of: fields.keys))
    #expect(fields["event"] as? String == "end" && fields["id"] as? String == "20260131-081500.77.1")
    // The time of now, and how long it was since the accept.
    #expect(fields["time"] as? String == "2026-11-22T09:45:42.096330Z")
    #expect(fields["seconds"] as? Double == 60.001002)
    #expect(fields["client"] as? String == "192.0.2.7:40000" && fields["server"] as? String == "[2001:db8::1]:143")
    #expect(fields["user"] is NSNull && fields["login"] as? String == "none")
    #expect(fields["reason"] as? String == "server-eof")
    #expect(fields["in_bytes"] as? Int == 105 && fields["out_bytes"] as? Int == 3_000_000_000)
    #expect(fields["in_recorded"] as? Int == 100 && fields["out_recorded"] as? Int == .max)
    #expect(fields["in_file"] as? Int == 118 && fields["out_file"] as? Int == 1 << 40)
    #expect(fields["dropped"] as? Int == 7)
    let gaps = try #require(fields["gaps"] as? [[String: Any]])
    #expect(gaps.map { $0["direction"] as? String } == ["in", "out"])
    #expect(gaps.map { $0["offset"] as? Int } == [50, 1 << 33] && gaps.map { $0["bytes"] as? Int } == [5, 2])
    #expect(gaps.allSatisfy { $0.count == 3 })
    #expect(fields["client_close"] as? String == "reset" && fields["server_close"] as? String == "clean")
    #expect(fields["failed_logins"] as? Int == 0 && fields["redacted"] as? Int == 0)
    #expect(fields["server_tls"] is NSNull && fields["recording"] as? String == "lossy")
  }

  @Test func everyReasonAndCloseIsOneOfTheContract() throws {
    let reasons: Set = [
      "client-eof", "server-eof", "client-reset", "server-reset", "connect-failed", "idle", "drain", "limit",
      "log-error",
      "tls-error", "proxy-error",
    ]
    var seen: Set<String> = []
    // Nothing has ended that has none.
    for reason in (1...UInt8.max).compactMap(Session.Reason.init(rawValue:)) {
      var session = session()
      session.reason = reason
      let name = try #require(try endRecord(session)["reason"] as? String)
      #expect(reasons.contains(name) && seen.insert(name).inserted, "\(name)")
    }
    #expect(
      seen.isSuperset(of: ["client-eof", "server-eof", "client-reset", "server-reset", "connect-failed", "idle"]))
    var closes: Set<String> = []
    for close in (0...UInt8.max).compactMap(Session.Close.init(rawValue:)) {
      var session = session()
      session.clientClose = close
      let fields = try endRecord(session)
      #expect(fields["server_close"] as? String == "cut")
      closes.insert(try #require(fields["client_close"] as? String))
    }
    #expect(closes == ["clean", "cut", "reset"])
  }

  @Test func theWorstThatHappenedToARecording() throws {
    func recording(
      isRecorded: Bool = true, _ inState: RecordingFile.State, _ outState: RecordingFile.State, truncated: Bool = false,
      gaps: Bool = false
    ) throws -> String? {
      var session = session()
      session.isRecorded = isRecorded
      var (inFile, outFile) = (RecordingFile(), RecordingFile())
      inFile.state = inState
      outFile.state = outState
      outFile.isTruncated = truncated
      let list = gaps ? [RecordingGap(direction: .in, offset: 0, bytes: 1)] : []
      return try endRecord(session, inFile: inFile, outFile: outFile, gaps: list)["recording"] as? String
    }
    #expect(try recording(.open, .open) == "complete")
    // A direction that was left out does not make it incomplete.
    #expect(try recording(.none, .open) == "complete")
    #expect(try recording(.open, .none) == "complete")
    #expect(try recording(isRecorded: false, .none, .none) == "none")
    #expect(try recording(.failed, .open) == "failed")
    #expect(try recording(.open, .failed, truncated: true, gaps: true) == "failed")
    #expect(try recording(.open, .ended, truncated: true) == "truncated")
    #expect(try recording(.open, .ended, truncated: true, gaps: true) == "lossy")
    #expect(try recording(.open, .open, gaps: true) == "lossy")
  }

  @Test func manyGaps() throws {
    let gaps = (0..<Limits.gapsPerSession).map { number -> RecordingGap in
      let direction: Direction = number % 3 == 0 ? .in : .out
      return RecordingGap(direction: direction, offset: UInt64(number) << 40, bytes: UInt64(number + 1))
    }
    let fields = try endRecord(session(), gaps: gaps)
    let listed = try #require(fields["gaps"] as? [[String: Any]])
    #expect(listed.count == gaps.count)
    for (one, other) in zip(listed, gaps) {
      #expect(one["direction"] as? String == (other.direction == .in ? "in" : "out"))
      #expect(one["offset"] as? UInt64 == other.offset && one["bytes"] as? UInt64 == other.bytes)
    }
    #expect((try endRecord(session())["gaps"] as? [Any])?.isEmpty == true)
  }

  /// Paths are anything but NUL; what comes out of the JSON is what went in.
  @Test(arguments: [
    "/run/mail.sock", "/a\"b", "/a\\b", "/\",\"event\":\"end", "/line\nfeed\r\tand\u{1}\u{1F}\u{7F}",
    "/t\u{FC}rk\u{E7}e \u{1F600}",
    "/\u{2028}\u{2029}", "/\\u0041", "/}\n{\"event\":\"start\"}", "/e\u{301}",
  ])
  func hostilePathsAreEscaped(path: String) throws {
    var session = session()
    session.client = .unix
    session.server = .unix
    var names = Names(listener: "unix:" + path, listenerPath: path, serverPath: path + "x")
    let fields = try startRecord(session, names: names, fileName: FileName(processID: 1, addressInName: true))
    func isSame(_ name: String, _ expected: String) -> Bool {
      (fields[name] as? String).map { Array($0.utf8) } == Array(expected.utf8)
    }
    #expect(isSame("listener", "unix:" + path) && isSame("client", "unix:" + path) && isSame("server", "unix:\(path)x"))
    #expect(fields["id"] as? String == "unix-20260131-081500.1.1")
    // A client that bound its own socket is known by that.
    names.unixClient = jsonString("unix:/own" + path)
    let own = try startRecord(session, names: names)["client"] as? String
    #expect(own.map { Array($0.utf8) } == Array("unix:/own\(path)".utf8))
  }

  @Test func jsonStringsRoundTrip() throws {
    for value in UInt32(0)...0x2100 {
      guard let scalar = Unicode.Scalar(value) else { continue }
      let text = "a\(scalar)b"
      let json = jsonString(text)
      // Nor is there anything that a terminal might obey.
      try #require(
        !String(decoding: json, as: UTF8.self).unicodeScalars.contains { $0.properties.generalCategory == .control })
      let back = try JSONSerialization.jsonObject(with: Data(json), options: .fragmentsAllowed) as? String
      try #require(back.map { Array($0.utf8) } == Array(text.utf8), "U+\(String(value, radix: 16))")
    }
  }

  @Test func peersWithoutAnAddress() throws {
    var session = session()
    session.client = .unknown
    session.server = .unknown
    let fields = try startRecord(session)
    #expect(fields["client"] as? String == "unknown" && fields["server"] as? String == "unknown")
  }

  // MARK: Lines and the disk

  /// A file that lines are appended to, and the lines that were meant.
  private struct Disk {
    var bytes: [UInt8] = []
    var lines: [String] = []

    init(_ text: String = "") { bytes = Array(text.utf8) }

    /// What is wrong with the file: each line that was meant stands in it whole, once and in order, everything else
    /// is the beginning of one and on a line of its own.
    func fault(after torn: String = "") -> String? {
      let text = String(decoding: bytes, as: UTF8.self)
      if !text.isEmpty && !text.hasSuffix("\n") { return "the file ends inside a line" }
      var expected = lines[...]
      for (place, line) in text.split(separator: "\n", omittingEmptySubsequences: false).dropLast().enumerated() {
        if place == 0, line == torn, !torn.isEmpty { continue }
        if let first = expected.first, line == first {
          expected.removeFirst()
        } else if lines.contains(where: { $0 == line }) {
          return "line \(place) stands there twice, or too early"
        } else if line.isEmpty {
          return "line \(place) is empty"
        } else if !lines.contains(where: { $0.hasPrefix(line) }) {
          return "line \(place) is no beginning of a line: \(line)"
        }
      }
      return expected.isEmpty ? nil : "\(expected.count) lines are missing"
    }
  }

  /// Adds a record and returns its line.
  private func add(_ number: UInt64, to index: inout SessionIndex) -> String {
    var alone = SessionIndex(endsTorn: false)
    var clock = clock()
    var session = session(number)
    session.server = PeerAddress(ipv4: UInt32(truncatingIfNeeded: number), port: 1)
    if number % 2 == 0 {
      index.start(session, names: Self.names, fileName: Self.fileName, clock: &clock)
      alone.start(session, names: Self.names, fileName: Self.fileName, clock: &clock)
    } else {
      let flow = flow(received: Int(number))
      let file = RecordingFile()
      for (isAlone, gaps) in [(false, number % 3), (true, number % 3)] {
        let gaps = (0..<gaps).map { RecordingGap(direction: .in, offset: $0, bytes: 1) }
        if isAlone {
          alone.end(
            session, in: flow, out: flow, inFile: file, outFile: file, gaps: gaps, names: Self.names,
            fileName: Self.fileName, clock: &clock)
        } else {
          index.end(
            session, in: flow, out: flow, inFile: file, outFile: file, gaps: gaps, names: Self.names,
            fileName: Self.fileName, clock: &clock)
        }
      }
    }
    return String(drain(&alone).dropLast())
  }

  /// One write; of its bytes the disk takes `count`.
  private func write(_ index: inout SessionIndex, to disk: inout Disk, taking count: Int = .max) -> Bool {
    guard let bytes = index.nextWrite() else { return false }
    let taken = min(count, bytes.count)
    disk.bytes += bytes.prefix(taken)
    index.written(taken, at: 1)
    return true
  }

  @Test(arguments: [false, true])
  func aWriteTornAtAnyByteIsMended(endsTorn: Bool) {
    let torn = endsTorn ? "{\"event\":\"sta" : ""
    var place = 0
    var isTorn = true
    while isTorn {
      var index = SessionIndex(endsTorn: endsTorn)
      var disk = Disk(torn)
      for number in 1...3 { disk.lines.append(add(UInt64(number), to: &index)) }
      guard let offered = index.nextWrite() else {
        Issue.record("nothing to write")
        return
      }
      isTorn = place < offered.count
      let taken = min(place, offered.count)
      disk.bytes += offered.prefix(taken)
      // A line that comes meanwhile goes behind.
      disk.lines.append(add(4, to: &index))
      index.written(taken, at: 1)
      while write(&index, to: &disk) {}
      if let fault = disk.fault(after: torn) {
        Issue.record("torn at \(place): \(fault)")
        return
      }
      let hasLines = index.hasLines
      #expect(!hasLines, "torn at \(place)")
      place += 1
    }
    #expect(place > 1000)
  }

  /// The repair is torn too, at any byte.
  @Test func aTornRepairIsMended() {
    for first in [1, 2, 100, 241, 242, 243, 244, 245, 246, 700, 900] {
      for second in 0...260 {
        var index = SessionIndex(endsTorn: false)
        var disk = Disk()
        for number in 1...3 { disk.lines.append(add(UInt64(number), to: &index)) }
        _ = write(&index, to: &disk, taking: first)
        _ = write(&index, to: &disk, taking: second)
        _ = write(&index, to: &disk, taking: 1)
        while write(&index, to: &disk) {}
        if let fault = disk.fault() {
          Issue.record("torn at \(first) and \(second): \(fault)")
          return
        }
      }
    }
  }

  @Test func anyOrderOfLinesShortWritesAndFailures() {
    for seed in 1...UInt64(200) {
      var random = SeededGenerator(seed: seed)
      let torn = random.once(in: 2) ? "{\"torn" : ""
      var index = SessionIndex(endsTorn: !torn.isEmpty)
      var disk = Disk(torn)
      var number: UInt64 = 0
      for _ in 0..<60 {
        for _ in 0..<random.below(4) {
          number += 1
          disk.lines.append(add(number, to: &index))
        }
        guard let bytes = index.nextWrite() else { continue }
        let (isWriting, second) = (index.isWriting, index.nextWrite() == nil)
        #expect(isWriting && second)
        let batch = Array(bytes)
        if random.once(in: 2) {
          number += 1
          disk.lines.append(add(number, to: &index))
        }
        switch random.below(4) {
        case 0:
          index.failed(at: 1)
        case 1:
          disk.bytes += batch
          index.written(batch.count, at: 1)
        default:
          let count = random.below(random.once(in: 2) ? 4 : batch.count + 1)
          disk.bytes += batch.prefix(count)
          index.written(min(count, batch.count), at: 1)
        }
        let (stillWriting, hasLines) = (index.isWriting, index.hasLines)
        #expect(!stillWriting)
        if !hasLines, let fault = disk.fault(after: torn) {
          Issue.record("seed \(seed): \(fault)")
          return
        }
      }
      while write(&index, to: &disk) {}
      let lost = index.lostLines
      #expect(lost == 0)
      if let fault = disk.fault(after: torn) {
        Issue.record("seed \(seed): \(fault)")
        return
      }
    }
  }

  /// A file that ends in a torn line gets its line feed with the first line, not before, and only once.
  @Test func aTornEndIsEndedWithTheFirstLine() {
    var index = SessionIndex(endsTorn: true)
    let nothing = index.nextWrite() == nil
    let hasNoLines = index.hasLines
    #expect(nothing && !hasNoLines)
    let first = add(2, to: &index)
    let text = drain(&index)
    #expect(text == "\n" + first + "\n")
    let second = add(4, to: &index)
    let next = drain(&index)
    #expect(next == second + "\n")
  }

  /// The index is moved away and opened anew behind a write that was torn at any byte: no line is lost between the two
  /// files, and nothing but whole lines gets into the new one.
  @Test(arguments: [false, true])
  func anotherFileBehindATornWrite(endsTorn: Bool) {
    let torn = endsTorn ? "{\"event\":\"sta" : ""
    var faults: [String] = []
    var isDone = false
    var place = 0
    while !isDone {
      var index = SessionIndex(endsTorn: false)
      var old = Disk()
      for number in 1...3 { old.lines.append(add(UInt64(number), to: &index)) }
      guard let offered = index.nextWrite() else {
        Issue.record("nothing to write")
        return
      }
      isDone = place == offered.count
      old.bytes += offered.prefix(place)
      index.written(place, at: 1)
      index.startsAnew(endsTorn: endsTorn)
      var new = Disk(torn)
      let later = place % 2 == 0 ? add(4, to: &index) : nil
      while write(&index, to: &new) {}
      let oldLines = String(decoding: old.bytes, as: UTF8.self).split(separator: "\n")
      let text = String(decoding: new.bytes, as: UTF8.self)
      var newLines = text.split(separator: "\n", omittingEmptySubsequences: false)
      // Without a line to write the torn one stays as it is.
      if newLines.last == "" || newLines.count == 1 && !endsTorn { newLines.removeLast() }
      if endsTorn && !newLines.isEmpty && newLines.removeFirst() != torn {
        faults.append("torn at \(place): the torn line")
      }
      let expected = (old.lines + (later.map { [$0] } ?? []))
      if newLines.contains(where: { !expected.contains(String($0)) }) {
        faults.append("torn at \(place): the new file holds \(newLines.map { $0.count }), which is no line")
      }
      for line in expected where !oldLines.contains(Substring(line)) && !newLines.contains(Substring(line)) {
        faults.append("torn at \(place): a line is lost")
      }
      place += 1
    }
    do {
      #expect(faults.isEmpty, "\(faults.count): \(faults.prefix(3))")
    }
  }

  @Test func aFailedWriteIsOfferedAgain() {
    var index = SessionIndex(endsTorn: false)
    let line = add(2, to: &index) + "\n"
    for attempt in 1...3 {
      let bytes = index.nextWrite().map { String(decoding: $0, as: UTF8.self) }
      #expect(bytes == line)
      let waitingWhileWriting = index.waitingSince
      index.failed(at: UInt64(attempt))
      let waiting = index.waitingSince
      #expect(waitingWhileWriting == 0 && waiting == UInt64(attempt))
    }
    let text = drain(&index)
    let (waiting, hasLines) = (index.waitingSince, index.hasLines)
    #expect(text == line && waiting == 0 && !hasLines)
  }

  /// The flush interval runs from the oldest line that waits.
  @Test func waitingSince() {
    var index = SessionIndex(endsTorn: false)
    let atFirst = index.waitingSince
    #expect(atFirst == 0)
    _ = add(2, to: &index)
    let now = clock().now.nanoseconds
    let first = index.waitingSince
    #expect(first == now)
    guard let bytes = index.nextWrite() else {
      Issue.record("nothing to write")
      return
    }
    let count = bytes.count
    _ = add(4, to: &index)
    let whileWriting = index.waitingSince
    #expect(whileWriting == 0)
    index.written(count - 5, at: 7)
    let afterShort = index.waitingSince
    #expect(afterShort == 7)
    _ = drain(&index)
    let end = index.waitingSince
    #expect(end == 0)
  }

  /// A disk that takes nothing costs a bounded amount of memory; what is lost is counted, what is kept is whole.
  @Test func waitingLinesAreBounded() {
    var index = SessionIndex(endsTorn: false)
    var clock = clock()
    let gaps = (0..<Limits.gapsPerSession).map { RecordingGap(direction: .in, offset: UInt64($0), bytes: 1) }
    func end(_ number: UInt64, _ gaps: [RecordingGap]) {
      index.end(
        session(number), in: Flow(), out: Flow(), inFile: RecordingFile(), outFile: RecordingFile(), gaps: gaps,
        names: Self.names, fileName: Self.fileName, clock: &clock)
    }
    var total: UInt64 = 0
    var lost: UInt64 = 0
    // Two rounds: one batch hangs in a write, the next gathers behind it.
    var offered = 0
    for _ in 0..<2 {
      let before = index.lostLines
      while index.lostLines < before + 10 {
        total += 1
        end(total, gaps)
      }
      lost = index.lostLines
      if offered == 0 {
        guard let bytes = index.nextWrite() else {
          Issue.record("nothing to write")
          return
        }
        offered = bytes.count
        #expect(offered <= Limits.indexPendingBytes && offered > Limits.indexPendingBytes / 10 * 9)
      }
    }
    #expect(lost == 20)
    // Small lines still find a place where large ones do not.
    total += 1
    end(total, [])
    let afterSmall = index.lostLines
    #expect(afterSmall == 20)
    index.failed(at: 1)
    let lines = drain(&index).split(separator: "\n")
    #expect(UInt64(lines.count) + lost == total)
    #expect(lines.allSatisfy { $0.hasPrefix("{\"event\":\"end\"") && $0.hasSuffix("}") })
    let again = add(2, to: &index)
    let text = drain(&index)
    #expect(text == again + "\n")
  }
}
