import ArgumentParser
import Glibc
import UringRawlog

struct ReplayCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "replay",
    abstract: "Send again what a client sent, and compare the answers.",
    usage: "uring-rawlog replay SOURCE --session ID --connect ADDRESS [--speed N] [--expect] [--password-file FILE]",
    discussion: """
      SOURCE is as for 'export'; the recording must have times (layout pcapng or merged, or -t). The client's side is \
      sent with its own timing, and waits where it waited for an answer. Lines of answers that differ are shown.

      Exits with 1 with --expect, at the first difference; with 65 when the recording cannot be replayed, as without \
      the credentials that were left out of it.
      """)

  @Argument(help: ArgumentHelp("A recording, its stem, a capture or a directory.", valueName: "source"))
  var path: String

  @Option(name: .long, help: ArgumentHelp("Which session: its id, or the beginning of it.", valueName: "id"))
  var session: String?

  @Option(name: .long, help: ArgumentHelp("The server to send it to, in the clear.", valueName: "address"))
  var connect: String?

  @Option(
    name: .long,
    help: ArgumentHelp("How many times as fast; 0 waits for answers only. (default: 1)", valueName: "number"))
  var speed: String?

  @Flag(name: .long, help: "End with 1 at the first answer that differs.")
  var expect = false

  @Option(
    name: .long,
    help: ArgumentHelp("The password to send where one was left out of the recording, in one line.", valueName: "file"))
  var passwordFile: String?

  @OptionGroup
  var index: IndexOption

  func run() throws {
    guard let connect else { throw StartError(.usage, "--connect is missing: name the server, as in 127.0.0.1:143") }
    var configuration = ReplayConfiguration(
      path: path,
      connect: try RelayOptions.read("--connect") { () throws(ValueError) in try Address(connecting: connect) })
    if session == "" { throw StartError(.usage, "--session is empty: give the id of a session") }
    configuration.session = session
    configuration.indexDirectory = try index.directory()
    configuration.expects = expect
    if let speed {
      guard let number = Double(speed), number >= 0, number.isFinite else {
        throw StartError(.usage, "--speed: '\(speed.escapedForMessage)' is not a number from 0 on")
      }
      configuration.speed = number
    }
    if let passwordFile { configuration.password = try Replay.password(passwordFile) }
    let isSame = try Replay.run(configuration, output: STDOUT_FILENO)
    if expect, !isSame { throw ExitCode(1) }
  }
}
