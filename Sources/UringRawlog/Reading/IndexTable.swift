import Glibc

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

  /// One file of the index: that of today, or of a day that is over.
  private final class File {
    var reader: IndexReader

    init(_ reader: consuming IndexReader) { self.reader = reader }
  }

  private(set) var sessions: [String: Places] = [:]
  /// Names of files that the index says were deleted.
  private(set) var deleted: Set<String> = []
  /// The oldest first.
  private let files: [File]
  /// A place is one in a file, with the file's number above.
  private static let fileShift: UInt64 = 48

  init(_ reader: consuming IndexReader) {
    files = [File(reader)]
  }

  private init(_ files: [File]) {
    self.files = files
  }

  /// The index in a directory, with those of earlier days; nil when there is none.
  ///
  /// - Throws: 66 when one cannot be read.
  static func open(directory: String) throws(StartError) -> IndexTable? {
    var files: [File] = []
    for day in days(in: directory) {
      files.append(File(try IndexReader.open(path: directory + "/" + day)))
    }
    if let reader = try IndexReader.open(directory: directory) { files.append(File(reader)) }
    return files.isEmpty ? nil : IndexTable(files)
  }

  private static func days(in directory: String) -> [String] {
    guard let stream = opendir(directory) else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      let text = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(validatingCString: $0) }
      }
      if let text, StoredName(text)?.kind == .dayIndex { names.append(text) }
    }
    return names.sorted()
  }

  private var last: File { files[files.count - 1] }
  var path: String { last.reader.path }
  var fileMode: UInt32 { last.reader.status.st_mode }

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
    for (number, file) in files.enumerated() {
      while let line = try file.reader.next(isWhole: isWhole) {
        var isRepeated = false
        if case .record(let record) = line {
          guard id == nil || record.id == id else { continue }
          isRepeated = enter(record, at: UInt64(number) << Self.fileShift | file.reader.lineOffset)
        }
        try visit(line, file.reader.lineNumber, isRepeated)
      }
    }
  }

  private func record(at place: UInt64) throws(StartError) -> SessionRecord? {
    let offset = place & (1 << Self.fileShift - 1)
    return try files[Int(place >> Self.fileShift)].reader.record(at: offset)
  }

  func records(of id: String) throws(StartError) -> Records {
    var records = Records()
    guard let places = sessions[id] else { return records }
    if places.start != .max { records.start = try record(at: places.start) }
    if places.end != .max { records.end = try record(at: places.end) }
    return records
  }

  /// The session's end record as it is written, without its line feed; nil when there is none.
  func endLine(of id: String) throws(StartError) -> [UInt8]? {
    guard let place = sessions[id]?.end, place != .max else { return nil }
    return try files[Int(place >> Self.fileShift)].reader.line(at: place & (1 << Self.fileShift - 1))
  }

  func hasEnded(_ id: String) -> Bool { sessions[id].map { $0.end != .max } ?? false }

  /// Forgets sessions that have ended, for who reads on and on.
  func forgetEnded() {
    sessions = sessions.filter { $0.value.end == .max }
  }

  /// - Returns: whether there was such a record before. The later one counts.
  private func enter(_ record: SessionRecord, at place: UInt64) -> Bool {
    if case .delete(let files) = record.event {
      for file in files { deleted.insert(Sweep.name(file)) }
      return false
    }
    var places = sessions[record.id] ?? Places()
    let isRepeated: Bool
    switch record.event {
    case .start:
      isRepeated = places.start != .max
      places.start = place
      places.time = record.time
    case .end(let ending):
      isRepeated = places.end != .max
      places.end = place
      // The start may be in an index that was moved away.
      if places.time == nil, let time = record.time { places.time = time &- ending.microseconds }
    case .delete: return false
    }
    sessions[record.id] = places
    return isRepeated
  }
}
