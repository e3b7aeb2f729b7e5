import Glibc

/// What `uring-rawlog show` was asked for.
public struct ShowConfiguration: Sendable {
  /// A recording, its stem or a directory.
  public var path: String
  /// Only this session of a directory: its id, or the beginning of it.
  public var session: String?
  /// Where the index is; nil for beside the recordings.
  public var indexDirectory: String?
  /// Go on with what is added, until told to stop.
  public var follows = false
  public var hasColour = false

  public init(path: String) {
    self.path = path
  }
}

/// `uring-rawlog show`: recordings in a form to be read.
public enum Show {
  /// Writes the transcript.
  ///
  /// - Parameters:
  ///   - output: gets the transcript.
  ///   - errors: gets a line for each recording that is damaged or cannot be read; the others are shown all the same.
  ///   - stop: with `follows`, a descriptor that becomes readable when it is to end; -1 for SIGINT and SIGTERM.
  /// - Returns: `ok`, or the worst that was met with: `dataError` or `noInput`.
  /// - Throws: `StartError` when nothing can be shown (64, 65, 66), or the transcript cannot be written (74).
  public static func run(
    _ configuration: ShowConfiguration, output: Int32, errors: Int32, stop: Int32 = -1
  ) throws(StartError) -> ExitStatus {
    // A reader that went away is the result of a write and not a signal.
    signal(SIGPIPE, SIG_IGN)
    let target = try ReadingTarget(configuration.path)
    if configuration.session != nil, case .recording(let files) = target {
      throw StartError(
        .usage,
        "--session: '\(files.path)' is a recording, and only a directory has sessions to choose from; leave it out")
    }
    let stop = configuration.follows ? try stop >= 0 ? stop : stopSignals() : -1
    let transcript = Transcript(TextOutput(output, stop: stop), hasColour: configuration.hasColour)
    var run = ShowRun(configuration, target, transcript, errors: errors)
    do {
      if configuration.follows {
        try run.follow(output: output, stop: stop)
        return .ok
      } else {
        try run.show()
      }
    } catch let error as StartError {
      throw error
    } catch TextOutput.End.failed(let error) {
      throw StartError(.ioError, "cannot write to standard output: \(error.text); make room for the transcript")
    } catch {
      // Nobody reads any more, or it was told to stop: neither is an error.
      return .ok
    }
    return run.status
  }

  /// A descriptor that tells of the signals that end following. They are taken even where the process was started with
  /// them ignored.
  private static func stopSignals() throws(StartError) -> Int32 {
    signal(SIGINT, SIG_DFL)
    signal(SIGTERM, SIG_DFL)
    do throws(Errno) {
      return try SignalDescriptor.open([SIGINT, SIGTERM])
    } catch {
      throw StartError(.osError, "cannot make a descriptor for signals: \(error.text); raise the limit of open files")
    }
  }
}
