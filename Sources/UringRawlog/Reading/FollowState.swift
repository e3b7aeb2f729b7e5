/// What following knows from one wake-up to the next.
struct FollowState: ~Copyable {
  struct Directory {
    /// What stands in front of a name to make it a path.
    var prefix: String
    /// What it is called below the one that was named: empty for that itself, otherwise ending in a slash.
    var below: String
  }

  let watch: DirectoryWatch
  /// The watched directories, by the number of their watch.
  private(set) var directories: [Int32: Directory] = [:]
  /// The watch of a file that was named itself.
  var namedWatch: Int32 = -1
  private(set) var indexWatch: Int32 = -1
  /// The sessions that may grow, by `RecordingFiles.key`.
  private(set) var sessions: [String: FollowedSession] = [:]
  private var changes: UInt64 = 0
  /// It was said that not all sessions are followed.
  var hasSaidLimit = false
  var table: IndexTable?
  /// The index has lines that were not read yet.
  var hasNewLines = false
  /// The ids in the lines that were read last.
  var justTold: Set<String> = []
  /// The index was moved away, and another is there.
  var hasNewIndex = false
  /// The one session of a directory that was asked for.
  var onlyTitle: String?
  /// The session whose heading was written last: a `FollowedSession`, or one of a `FollowedCapture`.
  var current: AnyObject?
  /// Captures that may grow, in the order in which they came, and the stems of all that were come upon.
  var captures: [FollowedCapture] = []
  var knownCaptures: Set<String> = []
  /// Their sessions that have not ended, by their ids.
  var capturedSessions: [String: FollowedCapture.Session] = [:]

  init(_ watch: consuming DirectoryWatch) {
    self.watch = watch
  }

  @discardableResult
  mutating func watchDirectory(_ path: String, prefix: String, below: String) throws(StartError) -> Int32 {
    let number = try watch.add(path, isDirectory: true)
    directories[number] = Directory(prefix: prefix, below: below)
    return number
  }

  /// The index may lie elsewhere, or in a directory that is watched already and then has the same number.
  mutating func watchIndex(_ directory: String) throws(StartError) {
    indexWatch = try watch.add(directory, isDirectory: true)
  }

  // MARK: Sessions

  mutating func add(_ session: FollowedSession) {
    sessions[session.files.key] = session
    note(session)
  }

  mutating func remove(_ session: FollowedSession) { sessions[session.files.key] = nil }

  /// Something was added to a session.
  mutating func note(_ session: FollowedSession) {
    changes += 1
    session.hasChanged(changes)
  }

  /// Something was added to a capture.
  func noteCapture(_ stem: String) {
    for capture in captures where capture.stem == stem { capture.isDirty = true }
  }

  /// When there are too many, gives up those that were silent for longest.
  ///
  /// - Returns: whether there were.
  mutating func keepToLimit() -> Bool {
    // A tenth more, so that it is seldom done.
    guard sessions.count > Limits.followedSessions * 11 / 10 else { return false }
    let silent = sessions.values.sorted { $0.lastChange < $1.lastChange }.prefix(
      sessions.count - Limits.followedSessions)
    for session in silent { remove(session) }
    return true
  }

  /// Whether a session that has come is one of those to be shown.
  func isWanted(_ title: String, _ target: ReadingTarget) -> Bool {
    switch target {
    case .recording, .capture: false
    case .directory: onlyTitle == nil || onlyTitle == title
    }
  }

  /// How long nothing need be done: until the first deadline; -1 for until something happens.
  func waitMilliseconds(at now: UInt64) -> Int32 {
    guard !hasNewLines, !hasNewIndex else { return 0 }
    guard let first = sessions.values.lazy.compactMap(\.deadline).min() else { return -1 }
    return first <= now ? 0 : Int32(clamping: (first - now) / 1_000_000 + 1)
  }
}
