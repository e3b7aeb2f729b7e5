import Glibc

/// What `show` and `verify` were told to read: `FILE|STEM|DIRECTORY`.
enum ReadingTarget {
  case recording(RecordingFiles)
  /// A capture of layout pcapng.
  case capture(String)
  case directory(String)

  /// - Throws: 66 when there is nothing of that name.
  init(_ path: String) throws(StartError) {
    guard !path.isEmpty else {
      throw StartError(.usage, "'' is empty; name a recording, its stem or a directory")
    }
    var status = stat()
    guard stat(path, &status) != 0 else {
      let isDirectory = status.st_mode & S_IFMT == S_IFDIR
      if isDirectory {
        self = .directory(path)
      } else {
        self = CaptureLibrary.isCapture(path) ? .capture(path) : .recording(Self.file(path))
      }
      return
    }
    let error = Errno.current
    if error.code == ENOENT, let files = Self.stem(path) {
      self = .recording(files)
      return
    }
    let isMissing = error.code == ENOENT
    throw StartError(
      .noInput,
      "cannot find '\(path)': \(error.text); "
        + (isMissing
          ? "there is no such file or directory, and no '.in', '.out' or '.rawlog' of that stem"
          : "name a recording, its stem or a directory"))
  }

  /// A file that was named itself.
  private static func file(_ path: String) -> RecordingFiles {
    let recording = RecordingName(path).flatMap { $0.stem.hasSuffix("/") ? nil : $0 }
    let kind = recording?.kind ?? .merged
    let stem = recording?.stem ?? path
    return RecordingFiles(
      path: stem, id: lastComponent(stem), kinds: RecordingFiles.Kinds(kind),
      mergedPath: kind == .merged ? path : nil, followsLinks: true)
  }

  /// The files of a stem; a dot at its end, as completion in a shell leaves it, does not matter.
  private static func stem(_ path: String) -> RecordingFiles? {
    let stem = path.hasSuffix(".") ? String(path.dropLast()) : path
    guard !stem.isEmpty, !stem.hasSuffix("/") else { return nil }
    var files = RecordingFiles(path: stem, id: lastComponent(stem), kinds: [])
    for kind in RecordingName.Kind.allCases {
      var status = stat()
      if lstat(stem + kind.suffix, &status) == 0 { files.kinds.insert(RecordingFiles.Kinds(kind)) }
    }
    return files.kinds.isEmpty ? nil : files
  }

  /// By bytes: a slash and a combining character behind it are one `Character`.
  private static func lastSlash(_ path: String) -> String.Index? { path.utf8.lastIndex(of: UInt8(ascii: "/")) }

  private static func lastComponent(_ path: String) -> String {
    lastSlash(path).map { String(path[path.utf8.index(after: $0)...]) } ?? path
  }

  /// The directory that a path lies in.
  static func directory(of path: String) -> String {
    guard let slash = lastSlash(path) else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }
}
