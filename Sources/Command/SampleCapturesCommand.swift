import ArgumentParser
import UringRawlog

/// `uring-rawlog sample-captures`: captures of random sessions, and beside them what they must hold. Other programs read
/// them in the end-to-end tests.
struct SampleCapturesCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sample-captures",
    abstract: "Write captures of random sessions, for tests of what reads them.",
    shouldDisplay: false)

  @Option(help: ArgumentHelp("How many sessions.", valueName: "count"))
  var sessions = "100"

  @Option(help: ArgumentHelp("Which sessions: the same number gives the same.", valueName: "number"))
  var seed = "1"

  @Option(help: ArgumentHelp("How long a capture becomes before the next one is begun.", valueName: "size"))
  var rotateSize = "1G"

  @Flag(help: "Short sessions in one capture instead, of which nothing is kept in memory or written beside it.")
  var large = false

  @Option(help: ArgumentHelp("An empty directory.", valueName: "directory"))
  var dir: String

  func run() throws {
    let count = try RelayOptions.read("--sessions") { () throws(ValueError) in
      try Values.number(sessions, from: 1, to: large ? 100_000_000 : 10_000)
    }
    guard !large else {
      print(try Rehearsal.writeLargeCapture(sessions: count, to: dir))
      return
    }
    let which = try RelayOptions.read("--seed") { () throws(ValueError) in try Values.number(seed, from: 0, to: .max) }
    let size = try RelayOptions.read("--rotate-size") { () throws(ValueError) in try Values.size(rotateSize) }
    print(try Rehearsal.writeCaptures(sessions: count, seed: UInt64(which), rotateBytes: size, to: dir))
  }
}
