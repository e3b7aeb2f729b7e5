import ArgumentParser
import Glibc
import UringRawlog

struct ExportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "export",
    abstract: "Write recordings in another layout.",
    usage: "uring-rawlog export SOURCE --format pcapng|pair|merged|jsonl --output WHERE [options]",
    discussion: """
      SOURCE is a recording, its stem, a capture (.pcapng, also .zst) or a directory. WHERE is a file; for pair and \
      merged a directory. Nothing is overwritten. One session of a large capture is found by its .idx, without reading \
      the rest; one that goes on in a later capture is put together when the directory is named.

      Exits with 65 when a recording is damaged and with 66 when nothing is as was asked for; what can be read is \
      exported all the same.
      """)

  @Argument(help: ArgumentHelp("A recording, its stem, a capture or a directory.", valueName: "source"))
  var path: String

  @Option(name: .long, help: ArgumentHelp("What to write.", valueName: "pcapng|pair|merged|jsonl"))
  var format: String?

  @Option(
    name: .long, help: ArgumentHelp("Where to: a file or a directory; - for standard output.", valueName: "where"))
  var output: String?

  @Option(name: .long, help: ArgumentHelp("Only this session: its id, or the beginning of it.", valueName: "id"))
  var session: String?

  @Option(name: .long, help: ArgumentHelp("Only sessions of these clients.", valueName: "cidr"))
  var client: String?

  @Option(name: .long, help: ArgumentHelp("Only sessions of this user.", valueName: "name"))
  var user: String?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Only sessions that began then or later: YYYY-MM-DD[THH:MM[:SS]], local time.", valueName: "time"))
  var since: String?

  @Option(name: .long, help: ArgumentHelp("Only sessions that began before.", valueName: "time"))
  var until: String?

  @OptionGroup
  var index: IndexOption

  @Flag(name: [.customShort("t"), .long], help: "With --format pair: times in front of lines.")
  var timestamps = false

  @Flag(
    name: .long,
    help: "With --format pcapng: 143 for 993 and the like, since Wireshark would take such ports for TLS.")
  var plainPorts = false

  func run() throws {
    guard let format else { throw StartError(.usage, "--format is missing: pcapng, pair, merged or jsonl") }
    guard let output, !output.isEmpty else {
      throw StartError(.usage, "--output is missing: name a file or a directory")
    }
    let known: ExportConfiguration.Format = try RelayOptions.choice("--format", format)
    guard output != "-" || known == .jsonl else {
      throw StartError(.usage, "--output: '-' is for --format jsonl; name a file or a directory")
    }
    var configuration = ExportConfiguration(path: path, format: known, output: output)
    guard !timestamps || known == .pair else { throw StartError(.usage, "--timestamps: only --format pair lacks them") }
    guard !plainPorts || known == .pcapng else {
      throw StartError(.usage, "--plain-ports: there are ports in pcapng only")
    }
    configuration.timestamps = timestamps
    configuration.plainPorts = plainPorts
    configuration.indexDirectory = try index.directory()
    if session == "" { throw StartError(.usage, "--session is empty: give the id of a session") }
    configuration.session = session
    configuration.user = user
    if let client {
      configuration.clients = [try RelayOptions.read("--client") { () throws(ValueError) in try CIDR(client) }]
    }
    configuration.sinceMicroseconds = try Self.time("--since", since)
    configuration.untilMicroseconds = try Self.time("--until", until)
    let done = try Export.run(configuration, errors: STDERR_FILENO)
    if done.status != .ok { throw ExitCode(done.status.rawValue) }
  }

  private static func time(_ option: String, _ text: String?) throws(StartError) -> Int64? {
    guard let text else { return nil }
    return try RelayOptions.read(option) { () throws(ValueError) in try Values.localTime(text) }
  }
}
