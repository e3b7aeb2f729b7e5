import Foundation
import Glibc

@testable import UringRawlog

/// A directory of its own for one test, gone with all its files when the test is over.
final class TemporaryDirectory: Sendable {
  let path: String

  /// - Parameter inMemory: for very many files, where there is a place for them in memory.
  init(inMemory: Bool = false) throws {
    let memory = "/dev/shm"
    let base = inMemory && access(memory, W_OK) == 0 ? memory : FileManager.default.temporaryDirectory.path
    var template = Array((base + "/uring-rawlog-XXXXXX").utf8CString)
    guard mkdtemp(&template) != nil else { throw Errno.current }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// The content of a file; nil when there is none. (FileManager.contents leaks.)
  func content(_ name: String) -> [UInt8]? {
    let descriptor = openFile("\(path)/\(name)", flags: O_RDONLY)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = read(descriptor, &part, part.count)
      guard count > 0 else { return bytes }
      bytes += part[..<count]
    }
  }

  var names: Set<String> { names(in: "") }

  func names(in subdirectory: String) -> Set<String> {
    Set((try? FileManager.default.contentsOfDirectory(atPath: "\(path)/\(subdirectory)")) ?? [])
  }
}
