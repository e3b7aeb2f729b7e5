import ArgumentParser
import UringRawlog

struct RelayCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "relay",
    abstract: "Relay connections to a server and record them.",
    usage: "uring-rawlog [relay] --listen ADDRESS --connect ADDRESS --dir DIRECTORY [options]",
    discussion: """
      Each session is recorded in two files, DIRECTORY/YYYYMMDD-HHMMSS.PID.N.in (what the client sent) and .out (what \
      the server sent), mode 0600, and listed in DIRECTORY/sessions.jsonl when it starts and when it ends. With --layout \
      merged it is one file, .rawlog, whose lines begin with a time and I: or O:. A recording that fails never ends its \
      session unless --log-error close says so.

      Recordings hold everything that was sent, passwords included unless --protocol says what is spoken: keep the \
      directory private.

      Sizes take K, M, G (of 1024); durations a unit: ms, s, m, h, d. SIGTERM or SIGINT ends after the sessions have \
      drained, a second one at once; SIGHUP resolves --connect again and opens the index again.
      """)

  @OptionGroup var options: RelayOptions

  func run() throws {
    try Relay.run(try options.configuration())
  }
}
