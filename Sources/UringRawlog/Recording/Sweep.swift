import Glibc

/// One look at a directory of recordings and those below it: what is there, what is too much of it, and its deletion.
///
/// Beside the loop, since it may take long. A recording that somebody writes is known by its lock (flock(2)), also one of
/// another recorder. Files are opened and looked at only when they are to be deleted.
struct Sweep {
  /// A recording that was deleted.
  struct Deleted: Equatable {
    /// Paths below the directory.
    var paths: [String]
    var bytes: UInt64
    var reason: Retention.Reason
  }

  let root: String
  let retention: Retention
  /// What could not be done, in words.
  private(set) var problems: [String] = []
  /// The directory is within its limits; false when what is being written, or cannot be deleted, is too much alone.
  private(set) var isEnough = true
  /// Captures that were ended and are not compressed, oldest first: paths below the directory.
  private(set) var plainCaptures: [String] = []

  private var files: [Retention.File] = []
  private let descriptor: Int32
  /// Whether another recording may be deleted; asked before each.
  private let mayDelete: () -> Bool
  /// Is given each that was, at once.
  private let tell: (Deleted) -> Void

  /// - Throws: why the directory cannot be read.
  init(
    _ root: String, _ retention: Retention, mayDelete: @escaping () -> Bool, tell: @escaping (Deleted) -> Void
  ) throws(Errno) {
    self.root = root
    self.retention = retention
    self.mayDelete = mayDelete
    self.tell = tell
    descriptor = openFile(root, flags: O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw .current }
  }

  /// Works, and gives the directory back.
  mutating func run() {
    defer { close(descriptor) }
    list(directory: "", depth: 0)
    plainCaptures = files.map(\.path).filter { path in
      guard path.hasSuffix(".pcapng"), let name = StoredName(Self.name(path)) else { return false }
      return name.kind == .capture && !name.isPartial
    }.sorted()
    guard retention.mostBytes != nil || retention.mostAge != nil || retention.leastFreePercent > 0 else { return }
    // What turns out to be written to, or to stay, is left out, and the rest planned again.
    while let plan = plan(), deleteAll(plan) {}
  }

  private mutating func list(directory: String, depth: Int) {
    let opened =
      directory.isEmpty
      ? fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
      : openFile(directory, in: descriptor, flags: O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
    guard opened >= 0 else { return }
    guard let stream = fdopendir(opened) else {
      close(opened)
      return
    }
    defer { closedir(stream) }
    rewinddir(stream)
    while let entry = readdir(stream) {
      let text = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(validatingCString: $0) }
      }
      guard let name = text, name != ".", name != ".." else { continue }
      let isOurs = StoredName(name) != nil
      guard isOurs || Int(entry.pointee.d_type) == Int(DT_DIR) || Int(entry.pointee.d_type) == Int(DT_UNKNOWN) else {
        continue
      }
      var status = stat()
      guard fstatat(opened, name, &status, AT_SYMLINK_NOFOLLOW) == 0 else { continue }
      if status.st_mode & S_IFMT == S_IFDIR {
        if depth < Limits.directoryDepth, !name.hasPrefix(".") {
          list(directory: directory + name + "/", depth: depth + 1)
        }
      } else if isOurs {
        files.append(Self.file(directory + name, status))
      }
    }
  }

  private static func file(_ path: String, _ status: stat) -> Retention.File {
    Retention.File(
      path: path, bytes: UInt64(max(0, status.st_blocks)) * 512,
      modified: Int64(status.st_mtim.tv_sec) * 1_000_000_000 + Int64(status.st_mtim.tv_nsec), isLocked: false,
      isRegular: status.st_mode & S_IFMT == S_IFREG)
  }

  static func name(_ path: String) -> String {
    path.lastIndex(of: "/").map { String(path[path.index(after: $0)...]) } ?? path
  }

  private mutating func plan() -> Retention.Plan? {
    var system = statvfs()
    var volume = Retention.Volume(bytes: 0, freeBytes: .max)
    if retention.leastFreePercent > 0 {
      guard fstatvfs(descriptor, &system) == 0 else {
        problems.append("cannot tell how much of the file system of '\(root)' is free: \(Errno.current.text)")
        return nil
      }
      volume = Retention.Volume(
        bytes: UInt64(system.f_blocks) * UInt64(system.f_frsize),
        freeBytes: UInt64(system.f_bavail) * UInt64(system.f_frsize))
    }
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    let plan = retention.plan(files, volume, now: Int64(now.tv_sec) * 1_000_000_000 + Int64(now.tv_nsec))
    isEnough = plan.isEnough
    return plan
  }

  /// Deletes what is planned.
  ///
  /// - Returns: something of it is being written, or cannot be deleted: another plan is needed.
  private mutating func deleteAll(_ plan: Retention.Plan) -> Bool {
    var gone: Set<String> = []
    defer { files.removeAll { gone.contains($0.path) } }
    for deletion in plan.deletions {
      guard mayDelete() else { return false }
      let locks = deletion.paths.map { lock($0) }
      defer { for case .held(let file) in locks { close(file) } }
      if locks.contains(.busy) {
        for path in deletion.paths { leave(path) }
        return true
      }
      guard delete(deletion) else { return true }
      gone.formUnion(deletion.paths)
    }
    return false
  }

  private enum Lock: Equatable {
    case held(Int32)
    /// Somebody writes it.
    case busy
    /// It is not there any more, or cannot be opened: then it is not being written by who could be asked.
    case none
  }

  /// Finds out whether a file is being written. The lock is kept until the file is deleted.
  private func lock(_ path: String) -> Lock {
    let file = openFile(path, in: descriptor, flags: O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
    guard file >= 0 else { return .none }
    guard flock(file, LOCK_EX | LOCK_NB) == 0 else {
      close(file)
      return .busy
    }
    return .held(file)
  }

  /// It stays, whatever else is deleted.
  private mutating func leave(_ path: String) {
    for place in files.indices where files[place].path == path { files[place].isLocked = true }
  }

  private mutating func delete(_ deletion: Retention.Deletion) -> Bool {
    for path in deletion.paths where unlinkat(descriptor, path, 0) != 0 && errno != ENOENT {
      problems.append("cannot delete '\(root)/\(path)': \(Errno.current.text); give this user write permission there")
      for path in deletion.paths { leave(path) }
      return false
    }
    tell(Deleted(paths: deletion.paths, bytes: deletion.bytes, reason: deletion.reason))
    return true
  }
}
