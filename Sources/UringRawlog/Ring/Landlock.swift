import CLibUring
import Glibc

/// The files that a thread may still reach, and how (landlock(7)). Whatever is below a directory is meant with it.
struct Landlock {
  struct Access: OptionSet {
    let rawValue: UInt64
    /// Certificates, and what names are resolved by.
    static let reading = Access(rawValue: uring_may_read | uring_may_list)
    /// Recordings and the index: made, written, taken back.
    static let recording = Access(
      rawValue: uring_may_write | uring_may_make | uring_may_remove | uring_may_truncate | uring_may_read
        | uring_may_list)
    /// A directory that is made again is another one to the kernel, and is reached through its parent.
    static let remaking = Access(rawValue: uring_may_write | uring_may_make | uring_may_read)
    /// The same where old recordings are looked for, and where they are deleted.
    static let remakingListed = Access(rawValue: remaking.rawValue | uring_may_list)
    static let remakingSwept = Access(rawValue: remakingListed.rawValue | uring_may_remove)
    /// The file of a unix socket, at the end.
    static let removing = Access(rawValue: uring_may_remove)
  }

  struct Rule: Equatable {
    var path: String
    var access: Access
  }

  var rules: [Rule] = []
  /// TCP ports that may be connected to; nothing may be bound.
  var ports: [UInt16] = []

  /// The version of the kernel's; 0 without.
  static var version: Int32 { uring_landlock_abi() }

  mutating func allow(_ path: String, _ access: Access) {
    rules.append(Rule(path: path, access: access))
  }

  /// Allows what is below a directory, unless that is everything.
  mutating func allow(below directory: String, _ access: Access) {
    guard let resolved = realpath(directory, nil) else { return }
    defer { free(resolved) }
    if strcmp(resolved, "/") != 0 { allow(directory, access) }
  }

  /// Allows a directory of recordings, and that it is removed and made again: by its name, and where that leads.
  mutating func allowRecording(_ directory: String, remaking: Access = .remaking) {
    allow(directory, .recording)
    allow(below: Self.parent(of: directory), remaking)
    guard let resolved = realpath(directory, nil) else { return }
    defer { free(resolved) }
    allow(below: Self.parent(of: String(cString: resolved)), remaking)
  }

  /// Allows a file that is read again on SIGHUP: its directory, since whoever renews it puts another file there, and
  /// likewise that of each symbolic link's target.
  mutating func allowReadingAgain(_ file: String) {
    var path = file
    // As many links as the kernel follows (path_resolution(7)).
    for _ in 0..<40 {
      let directory = Self.parent(of: path)
      allow(path, .reading)
      allow(below: directory, .reading)
      guard let target = Self.target(of: path) else { return }
      path = target.hasPrefix("/") ? target : directory + "/" + target
    }
  }

  /// Forbids all else to the thread and those that it starts from now on, for good. What is not there cannot be allowed:
  /// it is left out.
  func enforce() throws(Errno) {
    let version = Self.version
    let set = uring_landlock_create(version)
    guard set >= 0 else { throw Errno(-set) }
    defer { close(set) }
    for rule in rules {
      let result = uring_landlock_allow(set, version, rule.path, rule.access.rawValue)
      guard result == 0 || [ENOENT, ENOTDIR, EACCES, ELOOP].contains(-result) else { throw Errno(-result) }
    }
    if version >= 4 {
      for port in ports {
        let result = uring_landlock_allow_connecting(set, port)
        guard result == 0 else { throw Errno(-result) }
      }
    }
    let result = uring_landlock_enforce(set)
    guard result == 0 else { throw Errno(-result) }
  }

  /// The directory that a path's last name is in.
  static func parent(of path: String) -> String {
    var rest = Substring(path)
    while rest.count > 1, rest.hasSuffix("/") { rest.removeLast() }
    guard let slash = rest.lastIndex(of: "/") else { return "." }
    while rest.endIndex > slash, rest.count > 1 { rest.removeLast() }
    while rest.count > 1, rest.hasSuffix("/") { rest.removeLast() }
    return String(rest)
  }

  /// Where a symbolic link leads; nil for anything else.
  private static func target(of path: String) -> String? {
    let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(PATH_MAX), alignment: 1)
    defer { bytes.deallocate() }
    let count = readlink(path, bytes.baseAddress!.assumingMemoryBound(to: CChar.self), bytes.count)
    return count > 0 ? String(decoding: bytes[..<count], as: UTF8.self) : nil
  }
}
