import Glibc

/// The files of one recorded session, or of one direction of it.
struct RecordingFiles {
  struct Kinds: OptionSet {
    let rawValue: UInt8

    init(rawValue: UInt8) {
      self.rawValue = rawValue
    }

    init(_ kind: RecordingName.Kind) {
      rawValue = 1 << UInt8(kind.rawValue)
    }
  }

  /// The path without the suffix.
  let path: String
  /// The last component of it: the session's id in the index.
  let id: String
  var kinds: Kinds
  /// A file that was named itself, of layout merged, whatever its name ends with.
  var mergedPath: String?
  /// The user named this very file, so a symbolic link is followed.
  var followsLinks = false

  /// The same, by layout: a pair and a merged file of one stem are two recordings.
  var layouts: [RecordingFiles] {
    let merged = Kinds(.merged)
    guard kinds != merged, kinds.contains(merged) else { return [self] }
    var (pair, other) = (self, self)
    pair.kinds.subtract(merged)
    other.kinds = merged
    return [pair, other]
  }

  /// What tells it from all others: a pair and a merged file of one stem are two recordings.
  var key: String { kinds == Kinds(.merged) ? path + RecordingName.Kind.merged.suffix : path }

  func has(_ kind: RecordingName.Kind) -> Bool { kinds.contains(Kinds(kind)) }

  /// One of those that there are.
  var anyKind: RecordingName.Kind { RecordingName.Kind.allCases.first { has($0) } ?? .in }

  func path(of kind: RecordingName.Kind) -> String {
    if kind == .merged, let mergedPath { return mergedPath }
    return path + kind.suffix
  }

  /// An opened file and what is known about it.
  struct Opened {
    let path: String
    let descriptor: Int32
    let status: stat
    let followsLinks: Bool

    var bytes: UInt64 { UInt64(max(0, status.st_size)) }
  }

  /// Opens one of the files for reading.
  ///
  /// - Throws: 66 when it is not there, cannot be read or is not a regular file. A FIFO is not waited for.
  func open(_ kind: RecordingName.Kind) throws(StartError) -> Opened {
    try Self.open(path(of: kind), followsLinks: followsLinks)
  }

  static func open(_ path: String, followsLinks: Bool) throws(StartError) -> Opened {
    // O_NONBLOCK: a FIFO or a device would wait otherwise.
    let flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (followsLinks ? 0 : O_NOFOLLOW)
    let descriptor = openFile(path, flags: flags)
    guard descriptor >= 0 else { throw cannotOpen(path, .current, followsLinks: followsLinks) }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      close(descriptor)
      throw StartError(.noInput, "'\(path)' is \(kindName(status.st_mode)), not a recording; name a regular file")
    }
    return Opened(path: path, descriptor: descriptor, status: status, followsLinks: followsLinks)
  }

  private static func cannotOpen(_ path: String, _ error: Errno, followsLinks: Bool) -> StartError {
    if error.code == ELOOP && !followsLinks {
      return StartError(
        .noInput, "'\(path)' is a symbolic link, which is followed only when it is named itself; name its target")
    }
    let remedy: String
    switch error.code {
    case EACCES, EPERM: remedy = "read it as the user that it belongs to, or as root"
    case EMFILE, ENFILE: remedy = "raise the limit of open files ('ulimit -n')"
    default: remedy = "name a recording, its stem or a directory"
    }
    return StartError(.noInput, "cannot open '\(path)': \(error.text); \(remedy)")
  }

  static func kindName(_ mode: UInt32) -> String {
    switch mode & S_IFMT {
    case S_IFDIR: "a directory"
    case S_IFIFO: "a FIFO"
    case S_IFSOCK: "a socket"
    case S_IFCHR, S_IFBLK: "a device"
    case S_IFLNK: "a symbolic link"
    default: "no regular file"
    }
  }
}
