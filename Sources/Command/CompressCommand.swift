import ArgumentParser
import UringRawlog

/// `uring-rawlog compress`: what the relay starts for each capture that was ended, with `--compress zstd`.
struct CompressCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compress",
    abstract: "Compress a capture that was ended.",
    shouldDisplay: false)

  @Argument(help: ArgumentHelp("The capture, .pcapng.", valueName: "file"))
  var path: String

  func run() throws { try Compress.run(path) }
}
