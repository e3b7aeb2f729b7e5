import Glibc

/// A session's files, opened to be read as one recording.
struct RecordingSource {
  private let files: RecordingFiles
  private let ending: SessionRecord.End?
  private let isFollowed: Bool
  /// Whose turn it is where no stamp says so; nil for one direction after the other.
  private let turn: (() -> Direction)?
  private var input: StreamReader?
  private var output: StreamReader?
  private var merged: MergedReader?
  /// How many bytes each file had when it was opened.
  private(set) var fileBytes: [RecordingName.Kind: UInt64] = [:]
  /// nil when no file could be opened.
  private(set) var reader: (any RecordingReader)?

  /// - Parameters:
  ///   - ending: what the index says of the session's end. A file that has as many bytes as were sent has neither
  ///     stamps nor boundaries, whatever its first line looks like.
  ///   - isFollowed: the files may grow while they are read; otherwise they are read as long as they are now.
  ///   - turn: where stamps do not tell the order, who speaks next.
  init(
    _ files: RecordingFiles, ending: SessionRecord.End?, isFollowed: Bool, turn: (() -> Direction)? = nil
  ) {
    self.files = files
    self.ending = ending
    self.isFollowed = isFollowed
    self.turn = turn
  }

  func has(_ kind: RecordingName.Kind) -> Bool { fileBytes[kind] != nil }

  /// Opens one of the files, to be read together with those that are open.
  ///
  /// - Throws: 65 or 66 when it cannot be read.
  mutating func open(_ kind: RecordingName.Kind) throws(StartError) {
    let file = try files.open(kind)
    switch kind {
    case .in: input = stream(file, .in)
    case .out: output = stream(file, .out)
    case .merged:
      do throws(StartError) {
        try Self.checkMerged(file, isFollowed: isFollowed)
      } catch {
        close(file.descriptor)
        throw error
      }
      merged = MergedReader(file, limit: isFollowed ? nil : file.bytes, MergedDecoder())
    }
    fileBytes[kind] = file.bytes
    if let input, let output {
      reader = PairReader(in: input, out: output, isFollowed: isFollowed, turn: turn)
    } else {
      reader = input ?? output ?? merged
    }
  }

  private func stream(_ file: RecordingFiles.Opened, _ direction: Direction) -> StreamReader {
    StreamReader(file, limit: isFollowed ? nil : file.bytes, Self.decoder(direction, ending))
  }

  static func decoder(_ direction: Direction, _ ending: SessionRecord.End?) -> StreamDecoder {
    // Where something stands in the place of a credential, the sizes may agree by chance.
    let isPlain =
      ending.map { $0.redacted == 0 && $0.file[direction] > 0 && $0.file[direction] == $0.recorded[direction] } ?? false
    return StreamDecoder(direction, isKnownPlain: isPlain)
  }

  /// A file of layout merged begins with a stamp and a direction, unless it has no bytes yet.
  static func checkMerged(_ file: RecordingFiles.Opened, isFollowed: Bool) throws(StartError) {
    var first = [UInt8](repeating: 0, count: 64)
    let count = pread(file.descriptor, &first, first.count, 0)
    guard count >= 0 else {
      throw StartError(.noInput, "cannot read '\(file.path)': \(Errno.current.text); copy what can be saved of it")
    }
    let isNamed = file.path.hasSuffix(RecordingName.Kind.merged.suffix)
    if count == 0 && isNamed { return }
    let begins = first.withUnsafeBytes {
      MergedDecoder.begins(UnsafeRawBufferPointer(rebasing: $0[..<count]), isFollowed ? .growing : .whole)
    }
    guard begins == false || count == 0 else { return }
    if file.path == IndexReader.name || file.path.hasSuffix("/" + IndexReader.name) {
      throw StartError(.dataError, "'\(file.path)' is an index of sessions; name its directory to see the sessions")
    }
    let name = isNamed ? "" : "its name ends in neither .in nor .out, and "
    throw StartError(
      .dataError,
      "'\(file.path)' is no recording: \(name)it does not begin with 'SECONDS.MICROSECONDS I: ' or 'O: '; "
        + "name a recording, its stem or a directory")
  }
}
