import Glibc

/// What `uring-rawlog verify` was asked for.
public struct VerifyConfiguration: Sendable {
  /// A recording, its stem or a directory.
  public var path: String
  /// Where the index is; nil for beside the recordings.
  public var indexDirectory: String?

  public init(path: String) {
    self.path = path
  }
}

/// `uring-rawlog verify`: whether recordings are what the index says that they are.
public enum Verify {
  /// Writes one line for each finding, and a last one that sums up.
  ///
  /// - Returns: `ok` when all is as the index says, otherwise `dataError`.
  /// - Throws: `StartError` when there is nothing to be verified, or no index (66), or the findings cannot be written (74).
  public static func run(_ configuration: VerifyConfiguration, output: Int32) throws(StartError) -> ExitStatus {
    signal(SIGPIPE, SIG_IGN)
    let target = try ReadingTarget(configuration.path)
    let directory: String
    switch target {
    case .directory(let path): directory = path
    case .capture(let path): directory = ReadingTarget.directory(of: path)
    case .recording(let files): directory = ReadingTarget.directory(of: files.path(of: files.anyKind))
    }
    let option = configuration.indexDirectory == nil ? "" : "--index: "
    let indexDirectory = configuration.indexDirectory ?? directory
    guard let table = try IndexTable.open(directory: indexDirectory) else {
      throw IndexReader.missing(in: indexDirectory, option: option)
    }
    var run = VerifyRun(table, TextOutput(output))
    do {
      try run.verify(target, indexDirectory: indexDirectory)
    } catch let error as StartError {
      throw error
    } catch TextOutput.End.failed(let error) {
      throw StartError(.ioError, "cannot write to standard output: \(error.text); make room for the findings")
    } catch {
      // Nobody reads any more.
    }
    return run.findings == 0 ? .ok : .dataError
  }
}
