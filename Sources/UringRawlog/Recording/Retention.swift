/// Which recordings are deleted so that a directory stays within its limits. Pure: from what there is to a list.
///
/// The oldest go first, and what belongs to one recording goes together: both files of a pair, a capture and its side
/// file. A recording that is being written is never among them, and neither is anything but regular files with names of
/// ours.
struct Retention {
  /// A file of the directory.
  struct File {
    /// The path below the directory; its last component is the name.
    var path: String
    /// What deleting it gives back, in bytes: the blocks that the file system holds for it.
    var bytes: UInt64
    /// When it was last written to, in nanoseconds since the epoch.
    var modified: Int64
    /// A recorder holds its lock: it is being written.
    var isLocked: Bool
    var isRegular: Bool
  }

  /// The file system that the directory is on.
  struct Volume {
    var bytes: UInt64
    /// What is free for the recorder.
    var freeBytes: UInt64
  }

  /// Why a recording is deleted.
  enum Reason: Equatable {
    /// `--keep-age`.
    case age
    /// `--keep-size`.
    case size
    /// `--keep-free`.
    case free

    /// What the index calls it.
    var option: StaticString {
      switch self {
      case .age: "keep-age"
      case .size: "keep-size"
      case .free: "keep-free"
      }
    }
  }

  struct Deletion: Equatable {
    /// In the order in which they are to be deleted.
    var paths: [String]
    var bytes: UInt64
    var reason: Reason
  }

  struct Plan: Equatable {
    var deletions: [Deletion] = []
    /// Everything within limits when they are done; false when what is being written is too much alone.
    var isEnough = true
  }

  /// The most that all recordings may take together, and the oldest that they may be, in nanoseconds; nil for any.
  var mostBytes: UInt64?
  var mostAge: Int64?
  /// How much of the file system must be free, in percent; 0 for nothing.
  var leastFreePercent = 0

  /// Files that belong together.
  private struct Recording {
    var paths: [String] = []
    var bytes: UInt64 = 0
    /// The latest of its files.
    var modified = Int64.min
    var isLive = false

    mutating func add(_ file: File, now: Int64) {
      // A capture goes before its side file: without that it can still be read, but not the other way round.
      paths.append(file.path)
      paths.sort { ($0.contains(".idx") ? 1 : 0, $0) < ($1.contains(".idx") ? 1 : 0, $1) }
      bytes &+= file.bytes
      modified = max(modified, file.modified)
      if file.isLocked || (0..<Limits.retentionGraceNanoseconds).contains(now &- file.modified) { isLive = true }
    }
  }

  /// - Parameter now: nanoseconds since the epoch.
  func plan(_ files: [File], _ volume: Volume, now: Int64) -> Plan {
    let recordings = Self.recordings(files, now: now)
    var plan = Plan()
    var kept = recordings.reduce(UInt64(0)) { $0 &+ $1.bytes }
    var free = volume.freeBytes
    let wantedFree = volume.bytes / 100 * UInt64(leastFreePercent)
    for recording in recordings where !recording.isLive {
      let reason: Reason
      if let mostAge, now &- recording.modified > mostAge {
        reason = .age
      } else if let mostBytes, kept > mostBytes {
        reason = .size
      } else if free < wantedFree {
        reason = .free
      } else {
        // The others are younger.
        break
      }
      plan.deletions.append(Deletion(paths: recording.paths, bytes: recording.bytes, reason: reason))
      kept -= recording.bytes
      free &+= recording.bytes
    }
    plan.isEnough = kept <= mostBytes ?? .max && free >= wantedFree
    return plan
  }

  /// The oldest first.
  private static func recordings(_ files: [File], now: Int64) -> [Recording] {
    var found: [String: Recording] = [:]
    for file in files where file.isRegular {
      let slash = file.path.lastIndex(of: "/")
      let directory = slash.map { String(file.path[...$0]) } ?? ""
      let name = slash.map { String(file.path[file.path.index(after: $0)...]) } ?? file.path
      guard let stored = StoredName(name) else { continue }
      // A session and a capture may have the same time, process and number.
      let isCapture = stored.kind == .capture || stored.kind == .captureIndex
      let key = directory + stored.stem + (isCapture ? "/c" : "/s")
      found[key, default: Recording()].add(file, now: now)
    }
    return found.values.sorted { ($0.modified, $0.paths[0]) < ($1.modified, $1.paths[0]) }
  }
}
