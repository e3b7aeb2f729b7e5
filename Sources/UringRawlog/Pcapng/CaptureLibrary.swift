import Glibc

/// Captures of a directory, or one, and where in them the sessions are.
///
/// What the side files say is believed as far as they are complete and fit their captures; the others are read through.
/// In memory is one entry for each session and capture.
struct CaptureLibrary {
  struct Session {
    var id: String
    /// In the order of their captures.
    var parts: [CapturedPart] = []
    /// The first part has its beginning, and the last its end.
    var hasBeginning = false
    var hasEnd = false
    /// Which of the captures has the first part.
    fileprivate var capture = 0
  }

  /// In the order of their first packets, capture by capture.
  private(set) var sessions: [Session] = []
  /// What could not be read.
  private(set) var problems: [StartError] = []
  private var places: [String: Int] = [:]
  private var captures = 0

  /// - Parameters:
  ///   - paths: of captures, in the order in which they were begun.
  ///   - id: only this session; nil for all.
  init(_ paths: [String], only id: String? = nil) {
    for path in paths {
      do throws(StartError) {
        try add(path, only: id)
      } catch {
        problems.append(error)
      }
      captures += 1
    }
    places = [:]
    // Side files have the sessions in the order of their ends.
    sessions.sort { ($0.capture, $0.parts[0].firstBlock) < ($1.capture, $1.parts[0].firstBlock) }
  }

  /// Only the session with an id, for which no other lines of the side files need be read; or when there is none, those
  /// whose ids begin like that.
  ///
  /// - Parameter chosen: the id, or its beginning; nil for all.
  init(_ paths: [String], chosen: String?) {
    self.init(paths, only: chosen)
    guard let chosen, sessions.isEmpty else { return }
    self.init(paths)
    sessions.removeAll { !$0.id.hasPrefix(chosen) }
  }

  /// A capture of any kind, opened.
  ///
  /// - Throws: 65 or 66.
  static func open(_ path: String, followsLinks: Bool = false) throws(StartError) -> any CaptureSource {
    let file = CaptureFile(try RecordingFiles.open(path, followsLinks: followsLinks))
    return path.hasSuffix(".zst") ? try CompressedCapture(file) : file
  }

  /// The name of a capture, whatever it is called in front of its suffix.
  static func isCapture(_ path: String) -> Bool {
    [".pcapng", ".pcapng.zst", ".pcapng.part"].contains { path.hasSuffix($0) }
  }

  /// The captures in a directory, in the order in which they were begun.
  static func captures(in directory: String) -> [String] {
    guard let stream = opendir(directory) else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      let text = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(validatingCString: $0) }
      }
      if let text, isCapture(text), StoredName(text) != nil { names.append(text) }
    }
    // While one is compressed it is there twice; then the one that is complete counts.
    let compressed = Set(names.filter { $0.hasSuffix(".zst") }.map { String($0.dropLast(4)) })
    return names.filter { !compressed.contains($0) }.sorted { order($0) < order($1) }
      .map { directory == "/" ? "/" + $0 : directory + "/" + $0 }
  }

  private static func order(_ name: String) -> (UInt64, UInt64, UInt64) {
    let stem = StoredName(name).map { String($0.stem) } ?? name
    guard let parts = RecordingName.Parts(stem) else { return (0, 0, 0) }
    return (parts.time, parts.processID, parts.number)
  }

  private mutating func add(_ path: String, only id: String?) throws(StartError) {
    let source = try Self.open(path, followsLinks: false)
    if let entries = try Self.entries(of: path, source, only: id) {
      for entry in entries {
        add(entry.id, CapturedPart(source, entry), begins: entry.part.beginsHere, ends: entry.part.endsHere)
      }
      return
    }
    var listing = CaptureListing()
    var problem: StartError?
    do throws(StartError) {
      try listing.read(try CaptureReader(source))
    } catch {
      // What is before the damage is there all the same.
      problem = error
    }
    for session in listing.sessions where id == nil || session.id == id {
      add(session.id, CapturedPart(source, session), begins: !session.isCarriedOn, ends: session.hasEnded)
    }
    if let problem { throw problem }
  }

  /// What the side file says; nil when there is none that is complete and fits the capture.
  private static func entries(of path: String, _ source: any CaptureSource, only id: String?) throws(StartError)
    -> [CaptureIndex.Entry]?
  {
    guard !path.hasSuffix(".part") else { return nil }
    let stem = path.dropLast(path.hasSuffix(".zst") ? ".pcapng.zst".count : ".pcapng".count)
    var index: CaptureIndexReader
    do throws(StartError) {
      index = try CaptureIndexReader(CaptureFile(try RecordingFiles.open(stem + ".idx", followsLinks: false)), only: id)
    } catch {
      return nil
    }
    guard index.captureBytes == (try source.count()) else { return nil }
    return index.entries
  }

  private mutating func add(_ id: String, _ part: CapturedPart, begins: Bool, ends: Bool) {
    // A new session by the same id begins another entry; nobody should have made one.
    if let place = places[id], !begins {
      sessions[place].parts.append(part)
      sessions[place].hasEnd = ends
      return
    }
    places[id] = sessions.count
    sessions.append(Session(id: id, parts: [part], hasBeginning: begins, hasEnd: ends, capture: captures))
  }
}
