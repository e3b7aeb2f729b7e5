import FoundationEssentials
import Glibc

/// `uring-rawlog bench`: from the options to a table, a file and an exit code.
public enum Bench {
  /// - Throws: `BenchError` with the exit code and one line for the user.
  public static func run(_ configuration: BenchConfiguration) throws(BenchError) {
    Interrupt.watch()
    signal(SIGPIPE, SIG_IGN)
    raiseDescriptorLimit()
    let baseline = try configuration.baselinePath.map { (path) throws(BenchError) in try readBaseline(path) }
    let result: BenchResult
    do throws(BenchError) {
      result = try measure(configuration, baseline)
    } catch {
      // A terminal's interrupt meets the load and the relays too: that one of them died is then no news.
      throw Interrupt.hasCome ? .interrupted : error
    }
    Table.print(result)
    if let path = configuration.outputPath { try writeResult(result, path) }
    if let baseline {
      let worse = baseline.regressions(in: result)
      guard worse.isEmpty else { throw .regressed(worse.joined(separator: "; ")) }
      Progress.say("nothing is worse than in '\(baseline.path)' by more than its tolerance")
    }
    let unstable = result.workloads.filter { $0.ratio == nil }.map(\.name)
    if !unstable.isEmpty {
      Progress.say(
        "this machine gives no stable figure for \(unstable.joined(separator: ", ")): end what else runs on it and "
          + "try again")
    }
  }

  private static func measure(_ configuration: BenchConfiguration, _ baseline: Baseline?) throws(BenchError)
    -> BenchResult
  {
    if let path = configuration.outputPath { try checkWritable(path) }
    let runner = try Runner(configuration)
    try baseline?.check(comparableWith: runner.machine)
    return try runner.run()
  }

  /// What cannot be written is said before minutes are spent.
  private static func checkWritable(_ path: String) throws(BenchError) {
    var descriptor = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC)
    if descriptor < 0, errno == ENOENT {
      descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
      // A run that does not come to its end leaves no empty result.
      if descriptor >= 0 { unlink(path) }
    }
    guard descriptor >= 0 else {
      throw BenchError(
        "--output: cannot write '\(path)': \(String(cString: strerror(errno))); name a file in a directory that is "
          + "writable", status: 73)
    }
    close(descriptor)
  }

  private static func readBaseline(_ path: String) throws(BenchError) -> Baseline {
    guard let text = readText(path) else {
      throw BenchError(
        "--baseline: cannot read '\(path)': \(String(cString: strerror(errno))); name a file that --output wrote",
        status: 66)
    }
    struct Version: Codable { var version: Int }
    let data = Data(text.utf8)
    guard let version = try? JSONDecoder().decode(Version.self, from: data) else {
      throw BenchError("--baseline: '\(path)' is not a result; name a file that --output wrote", status: 65)
    }
    guard version.version == 1 else {
      throw BenchError(
        "--baseline: '\(path)' has version \(version.version), this program reads 1; make a new one with --output",
        status: 65)
    }
    do {
      return Baseline(path: path, result: try JSONDecoder().decode(BenchResult.self, from: data))
    } catch {
      throw BenchError("--baseline: '\(path)' is not a result; name a file that --output wrote", status: 65)
    }
  }

  private static func writeResult(_ result: BenchResult, _ path: String) throws(BenchError) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    do {
      try writeFile(path, String(decoding: try encoder.encode(result), as: UTF8.self) + "\n")
    } catch let error as BenchError {
      throw error
    } catch {
      throw BenchError("--output: the result cannot be written as JSON: \(error)", status: 70)
    }
    Progress.say("written to '\(path)'")
  }
}
