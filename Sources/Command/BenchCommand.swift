import ArgumentParser
import Benchmarks
import Glibc
import UringRawlog

struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench",
    abstract: "Measure on this machine what recording costs; also spelt --bench.",
    usage: """
      uring-rawlog bench [--quick] [--workload NAME]... [--peers] [--output FILE.json] [--baseline FILE.json] \
      [--dir DIRECTORY]
      """,
    discussion: """
      Runs this program as a relay on loopback, plain and recording in turns over the same load, and compares the CPU \
      that it uses per byte, message and session. Every byte relayed by it, and every file that it records, is verified. Takes up to \
      ten minutes, with --quick up to one.
      """)

  @Flag(name: .long, help: "Fewer repetitions and no variants: an answer within a minute.")
  var quick = false

  @Option(
    name: .long,
    help: ArgumentHelp(
      """
      Only this: bulk, bulk16, pingpong, mail, churn, sizes, idle, postlogin, tls-bulk or tls-churn. May be given more \
      than once. (default: all; with --quick the first five)
      """,
      valueName: "name"))
  var workload: [String] = []

  @Flag(name: .long, help: "Also measure nginx, HAProxy, socat and Dovecot's rawlog, as far as they are installed.")
  var peers = false

  @Option(name: .long, help: ArgumentHelp("Write the result as JSON.", valueName: "file.json"))
  var output: String?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Exit with 1 and name the figure when one got worse than in this result by more than its tolerance.",
      valueName: "file.json"))
  var baseline: String?

  @Option(
    name: .customLong("dir"),
    help: ArgumentHelp(
      "Where recordings go while it runs. (default: the directory for temporary files)", valueName: "directory"))
  var directory: String?

  @Flag(name: .long, help: .hidden)
  var tiny = false

  func run() throws {
    var configuration = BenchConfiguration()
    configuration.extent = tiny ? .tiny : quick ? .quick : .full
    for name in workload {
      guard let known = Workload(rawValue: name) else {
        let names = Workload.allCases.map(\.rawValue).joined(separator: ", ")
        throw StartError(.usage, "--workload: there is no '\(name.escapedForMessage)'; there are \(names)")
      }
      guard !configuration.workloads.contains(known) else {
        throw StartError(.usage, "--workload: '\(name)' is given twice; leave one out")
      }
      configuration.workloads.append(known)
    }
    configuration.peers = peers
    configuration.directory = directory
    configuration.outputPath = output
    configuration.baselinePath = baseline
    configuration.command = (["uring-rawlog"] + CommandLine.arguments.dropFirst()).joined(separator: " ")
    do throws(BenchError) {
      try Bench.run(configuration)
    } catch {
      Program.end(error.status, error.description)
    }
  }
}

/// `bench-load`: the other processes of a benchmark. Not for users, and without the option parser: some are started
/// once a connection.
enum BenchLoad {
  private static func messageBytes(_ arguments: [String]) -> Int { arguments.count > 1 ? Int(arguments[1]) ?? 64 : 64 }

  static func run(_ arguments: ArraySlice<String>) -> Never {
    do throws(BenchError) {
      let rest = Array(arguments.dropFirst())
      switch (arguments.first, rest.first.flatMap(Workload.init)) {
      case ("serve", let workload?): try LoadServer.run(workload, messageBytes: messageBytes(rest))
      case ("serve-one", let workload?): try LoadServer.serveOne(workload)
      case ("drive", let workload?): try LoadClient.run(workload, messageBytes: messageBytes(rest))
      case ("accept", _) where !rest.isEmpty: try LoadAcceptor.run(rest)
      case ("splice-relay", _): try SpliceRelay.run(server: rest.first.flatMap { UInt16($0) } ?? 0)
      case ("hold", _) where !rest.isEmpty: throw LoadProcess.become(rest)
      default: Program.end(.usage, "bench-load is a part of 'uring-rawlog bench'")
      }
    } catch {
      Program.end(error.status, error.description)
    }
    exit(0)
  }
}
