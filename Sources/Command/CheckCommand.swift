import ArgumentParser
import Glibc
import UringRawlog

struct CheckCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check",
    abstract: "Say whether this machine can run the relay.",
    discussion: """
      Takes the relay's options, none of which is required, and answers one line a question: the kernel, whether \
      io_uring is allowed, the operations found, the limit of open files, the directories of --dir and --index or the \
      collector, certificates and keys, the server's name. Exits with 0, or with 69 when something stands in the way; each such line says what \
      to do.
      """)

  @OptionGroup var options: RelayOptions

  func run() throws {
    var given = options
    // What is not given is not checked, but what is given must be right.
    if given.listen.isEmpty { given.listen = [":0"] }
    if given.connect == nil { given.connect = ":1" }
    if given.directory == nil { given.directory = "." }
    let configuration = try given.configuration()
    let lines = Check.run(
      configuration, directory: options.directory == nil ? nil : configuration.directory,
      indexDirectory: configuration.indexDirectory, connect: options.connect == nil ? nil : configuration.connect)
    for line in lines { print("\(line.isGood ? "ok    " : "failed") \(line.text.escapedForMessage)") }
    if lines.contains(where: { !$0.isGood }) { throw ExitCode(ExitStatus.unavailable.rawValue) }
  }
}
