import ArgumentParser
import Glibc
import UringRawlog

struct ScrubCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "scrub",
    abstract: "Write recordings anew without their credentials.",
    usage: "uring-rawlog scrub --protocol PROTOCOL --output DIRECTORY FILE|STEM|DIRECTORY",
    discussion: """
      Puts '<redacted>' in the place of each password and SASL response, as the relay does with --protocol, so that a \
      recording can be shown to others. Everything else stays as it was, user names and mail too. Recordings of layout \
      pair, with and without -t and -b, and of layout merged are read, also Dovecot's own; a directory is read with those \
      below it, and its session index is written too. What was redacted before stays so.

      Where the index says what was spoken in a session, that counts and not --protocol. Without stamps (-t), and with one \
      direction only, it is less certain what is a credential, and more may be redacted.

      Files are created with mode 0600, and none is overwritten. Exits with 65 or 66 when a recording is none or cannot be \
      read; the others are written all the same.
      """)

  @Option(
    name: .customLong("protocol"), help: ArgumentHelp("What is spoken.", valueName: "imap|pop3|smtp|lmtp|sieve"))
  var mailProtocol: String

  @Option(
    name: .long,
    help: ArgumentHelp("Where they are written; it is made, mode 0700, when it is not there.", valueName: "directory"))
  var output: String

  @Argument(help: ArgumentHelp("A recording, its stem or a directory.", valueName: "file|stem|directory"))
  var path: String

  func run() throws {
    guard let known = MailProtocol(rawValue: mailProtocol) else {
      let names = MailProtocol.allCases.map(\.rawValue).joined(separator: ", ")
      let reason = mailProtocol == "raw" ? "'raw' has no credentials to be found" : "'\(mailProtocol)' is unknown"
      throw StartError(.usage, "--protocol: \(reason); there are \(names)")
    }
    let configuration = ScrubConfiguration(path: path, mailProtocol: known, outputDirectory: output)
    let status = try Scrub.run(configuration, output: STDOUT_FILENO, errors: STDERR_FILENO)
    if status != .ok { throw ExitCode(status.rawValue) }
  }
}
