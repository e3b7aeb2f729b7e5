import ArgumentParser
import Glibc
import UringRawlog

struct VerifyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Compare recordings with the session index.",
    usage: "uring-rawlog verify [--index DIRECTORY] FILE|STEM|DIRECTORY",
    discussion: """
      Says in one line each what is missing or was changed: sizes, the number of recorded bytes, gaps, names, modes, \
      files without an entry, sessions without an end, lines of the index that are torn. The last line sums up. A byte that \
      was exchanged for another is not noticed: the index has no checksums.

      Exits with 0 when all is as the index says, with 65 when something is not, and with 66 when there is nothing to \
      read or no index.
      """)

  @OptionGroup
  var index: IndexOption

  @Argument(help: ArgumentHelp("A recording, its stem or a directory.", valueName: "file|stem|directory"))
  var path: String

  func run() throws {
    var configuration = VerifyConfiguration(path: path)
    configuration.indexDirectory = try index.directory()
    let status = try Verify.run(configuration, output: STDOUT_FILENO)
    if status != .ok { throw ExitCode(status.rawValue) }
  }
}
