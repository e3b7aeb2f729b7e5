import Glibc

/// What `uring-rawlog scrub` was asked for.
public struct ScrubConfiguration: Sendable {
  /// A recording, its stem or a directory.
  public var path: String
  /// What is spoken in recordings of which the index does not say.
  public var mailProtocol: MailProtocol
  /// The directory that they are written to; it is made when it is not there.
  public var outputDirectory: String

  public init(path: String, mailProtocol: MailProtocol, outputDirectory: String) {
    self.path = path
    self.mailProtocol = mailProtocol
    self.outputDirectory = outputDirectory
  }
}

/// `uring-rawlog scrub`: recordings written anew, with `<redacted>` in the place of each credential.
public enum Scrub {
  /// Writes the recordings, and a line that sums up.
  ///
  /// - Parameters:
  ///   - output: gets the sum.
  ///   - errors: gets a line for each recording that cannot be read; the others are written all the same.
  /// - Returns: `ok`, or the worst that was met with: `dataError` or `noInput`.
  /// - Throws: `StartError` when nothing can be read (64, 65, 66), or something cannot be written (73, 74, 77).
  public static func run(_ configuration: ScrubConfiguration, output: Int32, errors: Int32) throws(StartError)
    -> ExitStatus
  {
    signal(SIGPIPE, SIG_IGN)
    umask(0o077)
    let target = try ReadingTarget(configuration.path)
    guard !configuration.outputDirectory.isEmpty else {
      throw StartError(.usage, "--output is empty: name a directory")
    }
    let directory = try OutputDirectory(configuration.outputDirectory)
    if case .directory(let path) = target, lies(configuration.outputDirectory, in: path) {
      throw StartError(
        .usage, "--output: '\(configuration.outputDirectory)' lies in '\(path)', which is read; name another directory")
    }
    var run = ScrubRun(configuration.mailProtocol, directory, errors: errors)
    try run.scrub(target)
    var text = TextOutput(output)
    text.text.append(text: run.summary)
    do throws(TextOutput.End) {
      try text.flush()
    } catch {
      // Nobody reads it: what was asked for is done.
    }
    return run.status
  }

  /// Whether a directory is another one or a part of it.
  private static func lies(_ path: String, in other: String) -> Bool {
    guard let real = realpath(path, nil), let realOther = realpath(other, nil) else { return false }
    defer {
      free(real)
      free(realOther)
    }
    let (inner, outer) = (String(cString: real), String(cString: realOther))
    return inner == outer || inner.hasPrefix(outer == "/" ? "/" : outer + "/")
  }
}
