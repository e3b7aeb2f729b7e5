/// A session that is shown while it is recorded.
final class FollowedSession {
  var files: RecordingFiles
  var source: RecordingSource
  var shown: ShownSession
  /// Its heading was written.
  var isBegun = false
  /// The heading said what the index knows of the start.
  var saysStart: Bool
  /// Something was added since it was last looked at.
  var isDirty = true
  /// Something was added since the last deadline.
  var hasGrown = true
  /// A number that is larger for each session that changed later.
  var lastChange: UInt64 = 0
  /// When what is held is given though more may come (monotonic nanoseconds); nil while nothing is held.
  var deadline: UInt64?

  init(_ files: RecordingFiles, title: String, records: IndexTable.Records) {
    self.files = files
    source = RecordingSource(files, ending: nil, isFollowed: true)
    shown = ShownSession(title: title, records: records, isMerged: files.has(.merged))
    saysStart = records.start != nil
  }

  func hasChanged(_ number: UInt64) {
    lastChange = number
    isDirty = true
    hasGrown = true
  }
}
