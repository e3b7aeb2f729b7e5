import ArgumentParser
import Glibc
import UringRawlog

struct ShowCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show",
    abstract: "Show recordings in a form to be read.",
    usage: "uring-rawlog show [--follow] [--session ID] [--index DIRECTORY] FILE|STEM|DIRECTORY",
    discussion: """
      Both directions of a session become one transcript, in the order of their stamps (-t): a time, in or out, and \
      the line. A STEM is the name of a pair of files without .in and .out; a DIRECTORY shows all its sessions in the order of time. \
      Dovecot's own rawlogs are read too. Without stamps the order of the two files is not known, and they follow one \
      another.

      What a terminal would obey is written \\xHH. A line that ended in CR LF shows neither; 'in  +' goes on in a line \
      that was begun before, and 'in <:' begins what one read returned (-b). Colours are used on a terminal, unless \
      NO_COLOR is set.

      Exits with 65 when a recording is damaged and with 66 when one cannot be read; the others are shown all the same.
      """)

  @Flag(name: .long, help: "Go on with what is added, as tail -f, until SIGINT.")
  var follow = false

  @Option(
    name: .long,
    help: ArgumentHelp("Of a directory, only this session: its id, or the beginning of it.", valueName: "id"))
  var session: String?

  @OptionGroup
  var index: IndexOption

  @Argument(help: ArgumentHelp("A recording, its stem or a directory.", valueName: "file|stem|directory"))
  var path: String

  func run() throws {
    var configuration = ShowConfiguration(path: path)
    if let session {
      guard !session.isEmpty else { throw StartError(.usage, "--session is empty: give the id of a session") }
      configuration.session = session
    }
    configuration.indexDirectory = try index.directory()
    configuration.follows = follow
    configuration.hasColour = Self.wantsColour
    let status = try Show.run(configuration, output: STDOUT_FILENO, errors: STDERR_FILENO)
    if status != .ok { throw ExitCode(status.rawValue) }
  }

  /// A terminal that knows colours, and nobody who asked for none (no-color.org).
  private static var wantsColour: Bool {
    func value(_ name: String) -> String { getenv(name).map { String(cString: $0) } ?? "" }
    return isatty(STDOUT_FILENO) == 1 && value("NO_COLOR").isEmpty && value("TERM") != "dumb"
  }
}
