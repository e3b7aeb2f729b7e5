import CBench
import Glibc

extension BenchResult.Machine {
  /// - Parameter directory: whose file system recordings go to.
  static func here(directory: String) -> Self {
    var name = utsname()
    uname(&name)
    let cpu = readText("/proc/cpuinfo")?.split(separator: "\n").first { $0.hasPrefix("model name") }
    let memory = readText("/proc/meminfo")?.split(separator: "\n").first { $0.hasPrefix("MemTotal:") }
    let kilobytes = memory?.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
    return Self(
      cpu: cpu?.split(separator: ":").last.map { String($0.drop { $0 == " " }) } ?? "unknown",
      cores: Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))), memoryBytes: kilobytes << 10, kernel: text(name.release),
      fileSystem: FileSystem.name(of: directory), architecture: text(name.machine))
  }

  private static func text<Tuple>(_ tuple: Tuple) -> String {
    withUnsafeBytes(of: tuple) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
  }
}

enum FileSystem {
  /// The type of the file system that holds a directory, as /proc/self/mountinfo names it.
  static func name(of directory: String) -> String {
    guard let resolved = realpath(directory, nil) else { return "unknown" }
    defer { free(resolved) }
    let path = String(cString: resolved)
    var best = (length: -1, type: "unknown")
    for line in (readText("/proc/self/mountinfo") ?? "").split(separator: "\n") {
      let halves = line.split(separator: " ")
      guard halves.count > 6, let dash = halves.firstIndex(of: "-"), dash + 1 < halves.count else { continue }
      let point = String(halves[4])
      let isIn = path == point || path.hasPrefix(point == "/" ? "/" : point + "/")
      if isIn && point.utf8.count >= best.length { best = (point.utf8.count, String(halves[dash + 1])) }
    }
    return best.type
  }

  /// Removes a directory and all in it, never following links.
  static func remove(_ directory: String) {
    _ = bench_remove_tree(directory)
  }
}
