import Glibc

/// One recorded session that is written anew: first its credentials are looked for, in both directions together, then
/// each of its files is copied without them.
struct ScrubbedSession {
  /// What the index is to say of it.
  struct Result {
    /// Bytes of its files, by direction.
    var fileBytes: [UInt64] = [0, 0]
    /// Credentials that were replaced.
    var redacted: UInt64 = 0
    var files: UInt64 = 0
  }

  private let files: RecordingFiles
  /// The same, and the other file of a pair of which one was named: it tells whose turn it is.
  private let context: RecordingFiles
  private let ending: SessionRecord.End?
  private let mailProtocol: MailProtocol

  /// - Parameters:
  ///   - mailProtocol: what is spoken, where the index does not say.
  init(_ files: RecordingFiles, _ records: IndexTable.Records, _ mailProtocol: MailProtocol) {
    self.files = files
    ending = records.ending
    self.mailProtocol = records.last.flatMap { MailProtocol(rawValue: $0.mailProtocol) } ?? mailProtocol
    var context = files
    if files.followsLinks, !files.has(.merged) {
      for kind in [RecordingName.Kind.in, .out] {
        var status = stat()
        guard lstat(files.path(of: kind), &status) == 0, status.st_mode & S_IFMT == S_IFREG else { continue }
        context.kinds.insert(RecordingFiles.Kinds(kind))
      }
    }
    self.context = context
  }

  /// - Parameter title: the path of its files below the output directory, without the suffix.
  /// - Throws: 65 or 66 when it cannot be read, and then nothing of it stays; others when it cannot be written.
  func write(_ title: String, to directory: borrowing OutputDirectory) throws(StartError) -> Result {
    let search = try self.search()
    var result = Result(redacted: UInt64(search.places.count { $0.isMarked }))
    for kind in RecordingName.Kind.allCases where files.has(kind) {
      let given = kind == .merged ? files.mergedPath : nil
      let name = given.map(Self.lastComponent) ?? title + kind.suffix
      do throws(StartError) {
        try write(kind, name, search, to: directory, &result)
        result.files += 1
      } catch {
        if error.status != .cannotCreate, error.status != .noPermission { directory.remove(name) }
        throw error
      }
    }
    return result
  }

  private static func lastComponent(_ path: String) -> String {
    path.split(separator: "/").last.map(String.init) ?? path
  }

  // MARK: Searching

  private func search() throws(StartError) -> CredentialSearch {
    // Where credentials were left out already, places are not known; then nothing is missing that matters.
    let gaps = files.has(.merged) || ending?.redacted ?? 0 > 0 ? nil : ending?.gapPlaces
    let search = CredentialSearch(mailProtocol, client: try client(), gaps: gaps ?? [[], []])
    var source = RecordingSource(context, ending: ending, isFollowed: false) { search.turn }
    for kind in RecordingName.Kind.allCases where context.has(kind) { try source.open(kind) }
    while let event = try source.reader?.head(.whole) {
      switch event {
      case .piece(let piece): search.take(piece.bytes, piece.direction)
      case .gap(let gap): search.lose(gap.bytes, gap.direction)
      case .remark: break
      }
      source.reader?.removeHead()
    }
    search.finish()
    return search
  }

  /// The direction of the client: the other one when the recording is of the leg to the server (`--leg back`).
  private func client() throws(StartError) -> Direction {
    var begins: [Bool?] = [nil, nil]
    for kinds in context.has(.merged) ? [context.kinds] : [RecordingFiles.Kinds(.in), RecordingFiles.Kinds(.out)] {
      var part = context
      part.kinds.formIntersection(kinds)
      var source = RecordingSource(part, ending: ending, isFollowed: false)
      for kind in RecordingName.Kind.allCases where part.has(kind) { try source.open(kind) }
      var left = Self.piecesLookedAt
      while left > 0, begins.contains(nil), let event = try source.reader?.head(.whole) {
        left -= 1
        if case .piece(let piece) = event, begins[piece.direction.rawValue] == nil {
          begins[piece.direction.rawValue] = mailProtocol.isServersBeginning(piece.bytes)
          if !part.has(.merged) { break }
        }
        source.reader?.removeHead()
      }
    }
    switch (begins[0], begins[1]) {
    case (true, _): return begins[1] == true ? .in : .out
    case (false, _): return .in
    case (nil, let out): return out == false ? .out : .in
    }
  }

  /// In the first lines of a merged recording both sides are found, if both speak.
  private static let piecesLookedAt = 1000

  // MARK: Writing

  private func write(
    _ kind: RecordingName.Kind, _ name: String, _ search: CredentialSearch, to directory: borrowing OutputDirectory,
    _ result: inout Result
  ) throws(StartError) {
    let file = try files.open(kind)
    let output: OutputFile
    do throws(StartError) {
      output = try directory.create(name)
    } catch {
      close(file.descriptor)
      throw error
    }
    var replacements = [Replacements([]), Replacements([])]
    replacements[search.client.rawValue] = Replacements(search.places)
    switch kind {
    case .in, .out:
      let direction: Direction = kind == .in ? .in : .out
      var stream = ScrubbedStream(output)
      let decoder = RecordingSource.decoder(direction, ending)
      try stream.write(file, limit: file.bytes, decoder, &replacements)
      result.fileBytes[direction.rawValue] = output.count
    case .merged:
      var merged = ScrubbedMerged(output)
      try merged.write(file, limit: file.bytes, MergedDecoder(), &replacements)
      result.fileBytes = merged.written
    }
    try output.finish()
    for direction in SessionFindings.directions(kind)
    where replacements[direction.rawValue].taken != search.seen[direction.rawValue] {
      throw StartError(
        .dataError, "'\(file.path)' has changed while it was read; scrub it when its session is over")
    }
  }
}
