/// Where the records of each session stand in an index. The records themselves stay in the file.
final class IndexTable {
  struct Places {
    /// `.max` when there is none.
    var start = UInt64.max
    var end = UInt64.max
    /// When the session began, as far as it is known: microseconds since the epoch.
    var time: Int64?
  }

  /// What the index says about one session.
  struct Records {
    var start: SessionRecord?
    var end: SessionRecord?

    /// The one that knows most.
    var last: SessionRecord? { end ?? start }
    var ending: SessionRecord.End? {
      if case .end(let ending)? = end?.event { return ending }
      return nil
    }
  }

  private(set) var sessions: [String: Places] = [:]
  private var reader: IndexReader

  init(_ reader: consuming IndexReader) {
    self.reader = reader
  }

  var path: String { reader.path }
  var fileMode: UInt32 { reader.status.st_mode }

  /// Reads the lines that were added since.
  ///
  /// - Parameters:
  ///   - id: only this session is remembered; nil for all.
  ///   - isWhole: what stands behind the last line feed is a line too.
  ///   - visit: is given each line, its number, and whether its session had such a record before.
  func read(
    only id: String? = nil, isWhole: Bool = false,
    _ visit: (IndexReader.Line, _ number: UInt64, _ isRepeated: Bool) throws(StartError) -> Void = {
      (_, _, _) throws(StartError) in
    }
  ) throws(StartError) {
    while let line = try reader.next(isWhole: isWhole) {
      var isRepeated = false
      if case .record(let record) = line {
        guard id == nil || record.id == id else { continue }
        isRepeated = enter(record)
      }
      try visit(line, reader.lineNumber, isRepeated)
    }
  }

  func records(of id: String) throws(StartError) -> Records {
    var records = Records()
    guard let places = sessions[id] else { return records }
    if places.start != .max { records.start = try reader.record(at: places.start) }
    if places.end != .max { records.end = try reader.record(at: places.end) }
    return records
  }

  func hasEnded(_ id: String) -> Bool { sessions[id].map { $0.end != .max } ?? false }

  /// Forgets sessions that have ended, for who reads on and on.
  func forgetEnded() {
    sessions = sessions.filter { $0.value.end == .max }
  }

  /// - Returns: whether there was such a record before. The later one counts.
  private func enter(_ record: SessionRecord) -> Bool {
    var places = sessions[record.id] ?? Places()
    let isRepeated: Bool
    switch record.event {
    case .start:
      isRepeated = places.start != .max
      places.start = reader.lineOffset
      places.time = record.time
    case .end(let ending):
      isRepeated = places.end != .max
      places.end = reader.lineOffset
      // The start may be in an index that was moved away.
      if places.time == nil, let time = record.time { places.time = time &- ending.microseconds }
    }
    sessions[record.id] = places
    return isRepeated
  }
}
