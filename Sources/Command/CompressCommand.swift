import ArgumentParser
import Glibc
import UringRawlog

/// `uring-rawlog compress`: what the relay starts with `--compress zstd`; it has the names on standard input then.
struct CompressCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compress",
    abstract: "Compress a capture that was ended.",
    shouldDisplay: false)

  @Argument(help: ArgumentHelp("The capture, .pcapng.", valueName: "file"))
  var path: String?

  func run() throws {
    if let path {
      try Compress.run(path)
    } else {
      Compress.serve(STDIN_FILENO) { Program.say($0.message) }
    }
  }
}
