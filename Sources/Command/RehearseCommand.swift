import ArgumentParser
import UringRawlog

/// `uring-rawlog rehearse`: a fixed piece of the relay's work, for `scripts/count-instructions`. It is part of the
/// program so that what is counted is the build that is installed.
struct RehearseCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rehearse",
    abstract: "Do a fixed piece of work without a kernel, for counting its instructions.",
    shouldDisplay: false)

  @Argument(help: ArgumentHelp("Which: \(names).", valueName: "name"))
  var name: String

  @Argument(help: ArgumentHelp("How many bytes, messages or sessions.", valueName: "count"))
  var count: String

  private static var names: String { Rehearsal.allCases.map(\.rawValue).joined(separator: ", ") }

  func run() throws {
    guard let rehearsal = Rehearsal(rawValue: name) else {
      throw StartError(.usage, "rehearse: '\(name)' is unknown; there are \(Self.names)")
    }
    let count = try RelayOptions.read("rehearse") { () throws(ValueError) in
      try Values.number(self.count, from: 1, to: Rehearsal.countMaximum)
    }
    do throws(ValueError) {
      print(try rehearsal.run(count: count))
    } catch {
      throw StartError(.osError, "rehearse: \(name) went wrong: \(error)")
    }
  }
}
