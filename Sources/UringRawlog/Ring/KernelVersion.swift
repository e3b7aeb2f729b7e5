import Glibc

/// A release of the kernel, as far as it decides what may be used.
struct KernelVersion: Comparable, CustomStringConvertible {
  var major: Int
  var minor: Int

  init(major: Int, minor: Int) {
    self.major = major
    self.minor = minor
  }

  /// Reads the beginning of a release such as `6.1.0-18-amd64`; nil when it has no two numbers.
  init?(release: String) {
    let numbers = release.split(whereSeparator: { !$0.isNumber }).prefix(2).compactMap { Int($0) }
    guard numbers.count == 2 else { return nil }
    self.init(major: numbers[0], minor: numbers[1])
  }

  static func < (left: Self, right: Self) -> Bool { (left.major, left.minor) < (right.major, right.minor) }

  var description: String { "\(major).\(minor)" }

  /// What uname(2) says; 0.0 when it says nothing that can be read.
  static let running: KernelVersion = {
    var name = utsname()
    uname(&name)
    let release = withUnsafeBytes(of: name.release) { bytes in
      String(decoding: bytes.prefix(while: { $0 != 0 }), as: UTF8.self)
    }
    return KernelVersion(release: release) ?? KernelVersion(major: 0, minor: 0)
  }()
}
