import Glibc

/// Writes sessions in one of the formats.
protocol SessionWriter: AnyObject {
  /// How many may have begun and not ended at a time.
  var mostSessions: Int { get }
  func begin(_ session: ExportedSession) throws(StartError)
  func add(_ piece: RecordedPiece, of session: ExportedSession) throws(StartError)
  func add(_ gap: RecordingGap, of session: ExportedSession) throws(StartError)
  func end(_ session: ExportedSession) throws(StartError)
  /// All sessions were written.
  func finish() throws(StartError)
}

extension SessionWriter {
  /// One after another.
  var mostSessions: Int { 1 }
}

/// A new file that is written to its end.
struct NewFile: ~Copyable {
  private var output: TextOutput
  private let descriptor: Int32
  let path: String

  /// - Parameter path: of a file that is not there yet, or `-`.
  /// - Throws: 73.
  init(_ path: String) throws(StartError) {
    self.path = path
    if path == "-" {
      descriptor = STDOUT_FILENO
    } else {
      descriptor = openFile(path, flags: O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode: 0o600)
      guard descriptor >= 0 else {
        let error = Errno.current
        throw StartError(
          .cannotCreate,
          "cannot create '\(path)': \(error.text); "
            + (error.code == EEXIST
              ? "nothing is overwritten: name another" : "name a directory that this user may write to"))
      }
    }
    output = TextOutput(descriptor)
  }

  deinit { if path != "-" { close(descriptor) } }

  /// Writes what `compose` appends.
  ///
  /// - Throws: 74.
  mutating func write(_ compose: (inout Bytes) -> Void) throws(StartError) {
    compose(&output.text)
    if output.text.count >= Limits.outputBytes { try flush() }
  }

  mutating func flush() throws(StartError) {
    do throws(TextOutput.End) {
      try output.flush()
    } catch {
      switch error {
      case .failed(let error):
        throw StartError(.ioError, "cannot write '\(path)': \(error.text); make room for it")
      case .closed, .stopped: throw StartError(.ioError, "cannot write '\(path)': nobody reads it any more")
      }
    }
  }
}
