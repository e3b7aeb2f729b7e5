import Glibc

/// The recordings in a directory and in those below it, by their names alone.
///
/// A template (`%{ip}`) makes directories below the one that has the index. Symbolic links to directories are not
/// followed. In memory are the names and nothing else.
struct RecordingListing {
  struct Entry {
    /// The place of its directory in `directories`.
    var directory: Int32
    var stem: String
    var kinds: RecordingFiles.Kinds
  }

  /// What they are called below the root: empty for the root itself, otherwise ending in a slash.
  private(set) var directories: [String] = [""]
  /// In the order of names.
  private(set) var entries: [Entry] = []
  /// Names that end as those of recordings and are none, with their directories.
  private(set) var strangeNames: [String] = []
  /// Directories that could not be read, in words.
  private(set) var problems: [String] = []
  let root: String

  /// - Throws: 66 when the directory itself cannot be read.
  init(_ root: String) throws(StartError) {
    self.root = root
    let descriptor = openFile(root, flags: O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else {
      throw StartError(
        .noInput, "cannot read the directory '\(root)': \(Errno.current.text); name one that this user may read")
    }
    list(descriptor, place: 0, depth: 0)
    var place = 1
    while place < directories.count {
      let name = directories[place]
      let depth = name.utf8.count { $0 == UInt8(ascii: "/") }
      let descriptor = openFile(path(name), flags: O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
      if descriptor >= 0 {
        list(descriptor, place: Int32(place), depth: depth)
      } else if Errno.current.code != ENOENT {
        problems.append("cannot read the directory '\(path(name))': \(Errno.current.text)")
      }
      place += 1
    }
    sort()
  }

  func path(_ below: String) -> String { Self.path(below, below: root) }

  static func path(_ name: String, below root: String) -> String {
    root.hasSuffix("/") ? root + name : root + "/" + name
  }

  func files(_ entry: Entry) -> RecordingFiles {
    RecordingFiles(
      path: path(directories[Int(entry.directory)] + entry.stem), id: entry.stem, kinds: entry.kinds)
  }

  /// What a session is called below the root.
  func title(_ entry: Entry) -> String { directories[Int(entry.directory)] + entry.stem }

  private mutating func list(_ descriptor: Int32, place: Int32, depth: Int) {
    guard let stream = fdopendir(descriptor) else {
      close(descriptor)
      return
    }
    defer { closedir(stream) }
    while let entry = readdir(stream) {
      guard let name = Self.name(entry), name != ".", name != ".." else { continue }
      if isDirectory(entry, in: descriptor) {
        guard depth < Limits.directoryDepth, !name.hasPrefix(".") else { continue }
        directories.append(directories[Int(place)] + name + "/")
      } else if let recording = RecordingName(name) {
        if RecordingName.Parts(recording.stem) != nil {
          entries.append(
            Entry(directory: place, stem: recording.stem, kinds: RecordingFiles.Kinds(recording.kind)))
        } else {
          strangeNames.append(directories[Int(place)] + name)
        }
      }
    }
  }

  /// A name that is text; others are no names of recordings.
  private static func name(_ entry: UnsafeMutablePointer<dirent>) -> String? {
    withUnsafePointer(to: &entry.pointee.d_name) {
      $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(validatingCString: $0) }
    }
  }

  private func isDirectory(_ entry: UnsafeMutablePointer<dirent>, in descriptor: Int32) -> Bool {
    let type = Int(entry.pointee.d_type)
    guard type == Int(DT_UNKNOWN) else { return type == Int(DT_DIR) }
    var status = stat()
    let isKnown = withUnsafePointer(to: &entry.pointee.d_name) {
      $0.withMemoryRebound(to: CChar.self, capacity: 256) { fstatat(descriptor, $0, &status, AT_SYMLINK_NOFOLLOW) == 0 }
    }
    return isKnown && status.st_mode & S_IFMT == S_IFDIR
  }

  /// Puts the files of a session together.
  private mutating func sort() {
    entries.sort { ($0.directory, $0.stem) < ($1.directory, $1.stem) }
    var kept = 0
    for place in entries.indices {
      let entry = entries[place]
      if kept > 0, entries[kept - 1].directory == entry.directory, entries[kept - 1].stem == entry.stem {
        entries[kept - 1].kinds.formUnion(entry.kinds)
      } else {
        entries[kept] = entry
        kept += 1
      }
    }
    entries.removeLast(entries.count - kept)
    strangeNames.sort()
  }
}
