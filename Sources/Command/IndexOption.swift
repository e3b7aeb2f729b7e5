import ArgumentParser
import UringRawlog

/// Where the index of recordings lies, for the commands that read them.
struct IndexOption: ParsableArguments {
  @Option(
    name: .long,
    help: ArgumentHelp(
      "Where the session index, sessions.jsonl, is. (default: beside the recordings)", valueName: "directory"))
  var index: String?

  /// - Throws: usage (64) when it is empty.
  func directory() throws(StartError) -> String? {
    if index == "" { throw StartError(.usage, "--index is empty: name a directory") }
    return index
  }
}
