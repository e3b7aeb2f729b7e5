import ArgumentParser
import Glibc
import UringRawlog

/// `uring-rawlog`: finds the sub-command and turns what goes wrong into one line and an exit code.
@main
struct Program: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "uring-rawlog",
    abstract: "A flight recorder for mail servers: relays every byte and records each connection.",
    discussion: """
      Put it between clients and an IMAP, POP3, LMTP, submission or ManageSieve server:

        uring-rawlog --listen :1143 --connect 127.0.0.1:143 --dir /var/log/rawlog -t

      'relay' is the default sub-command; 'uring-rawlog relay --help' lists its options.
      """,
    version: "uring-rawlog \(programVersion)",
    subcommands: [RelayCommand.self, CheckCommand.self],
    defaultSubcommand: RelayCommand.self)

  static func main() {
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch let error as StartError {
      end(error.status, error.message)
    } catch let error as ExitCode {
      Glibc.exit(error.rawValue)
    } catch {
      let code = exitCode(for: error)
      // Help and version are answers, not errors.
      if code == .success {
        print(fullMessage(for: error))
        Glibc.exit(ExitStatus.ok.rawValue)
      }
      end(.usage, "\(oneLine(message(for: error))); see 'uring-rawlog relay --help'")
    }
  }

  /// Writes a message and exits.
  static func end(_ status: ExitStatus, _ message: String) -> Never {
    let line = Array("uring-rawlog: \(message.escapedForMessage)\n".utf8)
    _ = write(STDERR_FILENO, line, line.count)
    Glibc.exit(status.rawValue)
  }

  /// The parser's message without its usage text, on one line.
  private static func oneLine(_ message: String) -> String {
    var line = message.split(separator: "\n").first.map(String.init) ?? message
    if line.hasPrefix("Error: ") { line.removeFirst("Error: ".count) }
    while line.hasSuffix(".") { line.removeLast() }
    return line
  }
}
