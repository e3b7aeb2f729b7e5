import ArgumentParser
import Glibc
import UringRawlog

/// `uring-rawlog probe-sandbox`: tries from within the relay's sandbox what must fail there, for the tests.
struct ProbeSandboxCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "probe-sandbox",
    abstract: "Enter the relay's sandbox and say what can be done there.",
    shouldDisplay: false)

  @Option(help: ArgumentHelp("A file that exists and is not the relay's.", valueName: "file"))
  var elsewhere: String

  @OptionGroup var options: RelayOptions

  func run() throws {
    try SandboxProbe.run(try options.configuration(), elsewhere: elsewhere) { line in
      let bytes = Array("\(line)\n".utf8)
      _ = write(STDOUT_FILENO, bytes, bytes.count)
    }
  }
}
