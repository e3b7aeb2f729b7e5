import Glibc

/// One session on its way from a recording to another.
struct ExportedSession {
  let id: String
  /// A file that has it, for messages.
  let path: String
  let reader: any RecordingReader
  /// What is known of it: the end record, or else the start record.
  let record: SessionRecord?
  /// The end record as it is written; empty when there is none.
  let recordText: [UInt8]
  /// When it began, in microseconds since the epoch; 0 when nothing says so.
  let time: Int64

  /// In a capture, its first packet there.
  var ends: CapturedEnds?
  /// Which of the sessions that are exported it is.
  var number = 0

  /// Who opened the connection that was recorded, and whom to; and in which direction its bytes go.
  struct CapturedEnds {
    var from: PeerAddress
    var to: PeerAddress
    var opener: Direction
  }

  /// Who it is between, as far as the record says.
  var client: PeerAddress { record.flatMap { Self.address($0.client) } ?? .unknown }
  var server: PeerAddress { record.flatMap { Self.address($0.server) } ?? .unknown }
  var connection: CapturedEnds { ends ?? CapturedEnds(from: client, to: server, opener: .in) }

  /// An address as the index has it.
  static func address(_ text: String) -> PeerAddress? {
    if text.hasPrefix("unix:") { return PeerAddress(family: .unix) }
    guard let colon = text.utf8.lastIndex(of: UInt8(ascii: ":")), let port = UInt16(text[text.index(after: colon)...])
    else { return nil }
    var host = String(text[..<colon])
    var ipv4 = in_addr()
    if inet_pton(AF_INET, host, &ipv4) == 1 {
      return PeerAddress(ipv4: UInt32(bigEndian: ipv4.s_addr), port: port)
    }
    guard host.hasPrefix("["), host.hasSuffix("]") else { return nil }
    host = String(host.dropFirst().dropLast().prefix { $0 != "%" })
    var ipv6 = in6_addr()
    guard inet_pton(AF_INET6, host, &ipv6) == 1 else { return nil }
    let words = withUnsafeBytes(of: &ipv6) {
      ($0.loadUnaligned(as: UInt64.self), $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
    }
    return PeerAddress(ipv6: UInt64(bigEndian: words.0), UInt64(bigEndian: words.1), port: port)
  }
}

/// The sessions of a recording, a capture or a directory that are to be exported, in the order of their captures or
/// names.
struct ExportedSessions {
  private let configuration: ExportConfiguration
  private let target: ReadingTarget

  /// - Throws: 66 when an index was asked for that is not there.
  init(_ configuration: ExportConfiguration, _ target: ReadingTarget) throws(StartError) {
    self.configuration = configuration
    self.target = target
    if let directory = configuration.indexDirectory, try IndexTable.open(directory: directory) == nil {
      throw IndexReader.missing(in: directory, option: "--index: ")
    }
  }

  /// - Parameter complain: is given what keeps a session from being read.
  func forEach(
    _ complain: (StartError) -> Void, _ visit: (ExportedSession) throws(StartError) -> Void
  ) throws(StartError) {
    switch target {
    case .capture(let path):
      // When it is all that there is, it must be one.
      _ = try CaptureReader(try CaptureLibrary.open(path, followsLinks: true))
      try captures([path], complain, visit)
    case .recording(let files):
      let table = try index(ReadingTarget.directory(of: files.path(of: files.anyKind)), only: files.id)
      for files in files.layouts { try recording(files, table, complain, visit) }
    case .directory(let path):
      let captures = CaptureLibrary.captures(in: path)
      if !captures.isEmpty { try self.captures(captures, complain, visit) }
      let listing = try RecordingListing(path)
      for problem in listing.problems { complain(StartError(.noInput, problem)) }
      guard !listing.entries.isEmpty else { return }
      let table = try index(path, only: nil)
      for entry in listing.entries where isChosen(entry.stem) {
        for files in listing.files(entry).layouts { try recording(files, table, complain, visit) }
      }
    }
  }

  private func index(_ directory: String, only id: String?) throws(StartError) -> IndexTable? {
    let table = try IndexTable.open(directory: configuration.indexDirectory ?? directory)
    try table?.read(only: id)
    return table
  }

  // MARK: Which

  private func isChosen(_ id: String) -> Bool { configuration.session.map { id.hasPrefix($0) } ?? true }

  private func isWanted(_ session: ExportedSession) -> Bool {
    if let since = configuration.sinceMicroseconds, session.time < since { return false }
    if let until = configuration.untilMicroseconds, session.time >= until { return false }
    if !configuration.clients.isEmpty, !configuration.clients.contains(where: { $0.contains(session.client) }) {
      return false
    }
    if let user = configuration.user {
      guard case .end(let end)? = session.record?.event, end.user == user else { return false }
    }
    return true
  }

  // MARK: Captures

  private func captures(
    _ paths: [String], _ complain: (StartError) -> Void, _ visit: (ExportedSession) throws(StartError) -> Void
  ) throws(StartError) {
    let library = CaptureLibrary(paths, chosen: configuration.session)
    for problem in library.problems { complain(problem) }
    for session in library.sessions {
      do throws(StartError) {
        let exported = try Self.exported(session)
        if isWanted(exported) { try visit(exported) }
      } catch  where error.status == .dataError || error.status == .noInput {
        complain(error)
      }
    }
  }

  /// - Throws: 65, 66 when what is said to be there is not.
  private static func exported(_ session: CaptureLibrary.Session) throws(StartError) -> ExportedSession {
    let (first, last) = (session.parts[0], session.parts[session.parts.count - 1])
    let reader = try CaptureReader(last.source)
    var text: [UInt8] = []
    try reader.packet(at: last.lastBlock, section: last.section).forEachComment { comment in
      if case .record(let record) = comment { text = Array(record) }
    }
    let beginning = try CaptureReader(first.source).packet(at: first.firstBlock, section: first.section)
    let record = text.withUnsafeBytes { try? SessionRecord($0) }
    return ExportedSession(
      id: session.id, path: first.source.path, reader: CapturedLines(CapturedSessionReader(session.parts)),
      record: record ?? beginning.startRecord(of: session.id), recordText: text, time: beginning.time,
      ends: ExportedSession.CapturedEnds(
        from: PeerAddress(beginning.source), to: PeerAddress(beginning.destination), opener: beginning.direction))
  }

  // MARK: Files of their own

  private func recording(
    _ files: RecordingFiles, _ table: IndexTable?, _ complain: (StartError) -> Void,
    _ visit: (ExportedSession) throws(StartError) -> Void
  ) throws(StartError) {
    let records = try table?.records(of: files.id) ?? IndexTable.Records()
    var source = RecordingSource(files, ending: records.ending, isFollowed: false)
    for kind in RecordingName.Kind.allCases where files.has(kind) {
      do throws(StartError) {
        try source.open(kind)
      } catch {
        complain(error)
      }
    }
    guard let reader = source.reader else { return }
    let time = table?.sessions[files.id]?.time ?? RecordingName.Parts(files.id)?.microseconds
    let session = ExportedSession(
      id: files.id, path: files.path, reader: reader, record: records.last,
      recordText: try table?.endLine(of: files.id) ?? [], time: time ?? 0)
    if isWanted(session) { try visit(session) }
  }
}

extension PeerAddress {
  /// The address of an end of a captured conversation.
  init(_ end: CapturedEndpoint) {
    if end.high == 0, end.low <= UInt64(UInt32.max) {
      self.init(ipv4: UInt32(end.low), port: end.port)
    } else {
      self.init(ipv6: end.high, end.low, port: end.port)
    }
  }
}
