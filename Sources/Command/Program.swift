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
    subcommands: [
      RelayCommand.self, CheckCommand.self, ShowCommand.self, VerifyCommand.self, ExportCommand.self,
      ReplayCommand.self, ScrubCommand.self, BenchCommand.self, RehearseCommand.self, SampleCapturesCommand.self,
      CompressCommand.self, ProbeSandboxCommand.self,
    ],
    defaultSubcommand: RelayCommand.self)

  static func main() {
    holdStandardDescriptors()
    if CommandLine.arguments.dropFirst().first == "bench-load" { BenchLoad.run(CommandLine.arguments.dropFirst(2)) }
    do {
      var arguments = separateClusters(Array(CommandLine.arguments.dropFirst()))
      if arguments.first == "--bench" { arguments[0] = "bench" }
      if let option = repeatedOption(arguments) { end(.usage, "\(option) is given twice; leave one out") }
      var command = try parseAsRoot(arguments)
      try command.run()
    } catch let error as StartError {
      end(error.status, error.message)
    } catch let error as ExitCode {
      Glibc.exit(error.rawValue)
    } catch {
      let code = exitCode(for: error)
      // Help and version are answers, not errors.
      if code == .success {
        let answer = fullMessage(for: error)
        print(answer)
        if answer == helpMessage() { print("\n'relay' \(relayOptions())") }
        Glibc.exit(ExitStatus.ok.rawValue)
      }
      end(.usage, oneLine(message(for: error)))
    }
  }

  /// Writes a message and exits. What is wrong with the command line ends in a pointer to the help.
  static func end(_ status: ExitStatus, _ message: String) -> Never {
    let command = CommandLine.arguments.dropFirst().first.map { $0 == "--bench" ? "bench" : $0 }
    let known = ["bench", "show", "verify", "export", "replay", "scrub"]
    let help = command.flatMap { known.contains($0) ? $0 : nil } ?? "relay"
    end(status.rawValue, status == .usage ? "\(message); see 'uring-rawlog \(help) --help'" : message)
  }

  static func end(_ status: Int32, _ message: String) -> Never {
    say(message)
    Glibc.exit(status)
  }

  static func say(_ message: String) {
    let line = Array("\(LinePriority.error.prefix)uring-rawlog: \(message.escapedForMessage)\n".utf8)
    _ = write(STDERR_FILENO, line, line.count)
  }

  /// The options of the default sub-command, which the first help that a user asks for should show.
  private static func relayOptions() -> String {
    let help = RelayCommand.helpMessage()
    return help.firstRange(of: "OPTIONS:").map { String(help[$0.lowerBound...]) } ?? help
  }

  /// An option with one value that is given more than once: the parser would silently take the last.
  private static func repeatedOption(_ arguments: [String]) -> String? {
    var seen: Set<String> = []
    for argument in arguments.prefix(while: { $0 != "--" }) {
      var name = String(argument.prefix { $0 != "=" })
      if argument.hasPrefix("-f") { name = "--filter" }
      guard name.hasPrefix("--"),
        ![
          "--listen", "--only", "--proxy-from", "--tls-cert", "--tls-key", "--workload", "--timestamps",
          "--boundaries", "--ip-in-name", "--follow", "--plain-ports", "--expect",
        ].contains(name)
      else { continue }
      if !seen.insert(name).inserted { return name }
    }
    return nil
  }

  /// Takes clusters of short options apart where the last has its value attached (`-tfin`), as getopt(3) does.
  private static func separateClusters(_ arguments: [String]) -> [String] {
    arguments.flatMap { argument -> [String] in
      let flags = argument.dropFirst().prefix { "tbI".contains($0) }
      let rest = argument.dropFirst(1 + flags.count)
      guard argument.hasPrefix("-"), !flags.isEmpty, rest.hasPrefix("f") else { return [argument] }
      return flags.map { "-\($0)" } + ["-\(rest)"]
    }
  }

  /// The parser's message without its usage text, on one line.
  private static func oneLine(_ message: String) -> String {
    var line = message.split(separator: "\n").first.map(String.init) ?? message
    if line.hasPrefix("Error: ") { line.removeFirst("Error: ".count) }
    // A guess among the options that there are misleads who looks for one that is not there yet.
    if let guess = line.firstRange(of: " Did you mean") { line = String(line[..<guess.lowerBound]) }
    while line.hasSuffix(".") { line.removeLast() }
    return line
  }
}
