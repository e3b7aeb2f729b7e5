import Glibc

/// Where recordings are written anew: files are created, mode 0600, and none that is there is touched.
struct OutputDirectory: ~Copyable {
  let path: String
  private let descriptor: Int32

  /// Opens the directory, or makes it, mode 0700.
  ///
  /// - Throws: 73 or 77 when it cannot be.
  init(_ path: String) throws(StartError) {
    if mkdir(path, 0o700) != 0, errno != EEXIST { throw Self.cannot("make the directory", path, .current) }
    let descriptor = openDirectoryPath(path)
    guard descriptor >= 0 else { throw Self.cannot("open the directory", path, .current) }
    self.path = path
    self.descriptor = descriptor
  }

  deinit { close(descriptor) }

  /// Creates a file.
  ///
  /// - Parameter name: its path below this directory. Directories on the way are made, mode 0700; none may be a link.
  /// - Throws: 73 when it exists or cannot be created, 77 when this user may not.
  func create(_ name: String) throws(StartError) -> OutputFile {
    let path = RecordingListing.path(name, below: path)
    let (directory, last) = try descend(name)
    defer { if directory != descriptor { close(directory) } }
    let flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
    let file = openFile(last, in: directory, flags: flags, mode: 0o600)
    guard file >= 0 else { throw Self.cannot("create", path, .current) }
    return OutputFile(file, path: path)
  }

  /// Removes a file that was created and did not become what it should be.
  func remove(_ name: String) {
    guard let (directory, last) = try? descend(name) else { return }
    unlinkat(directory, last, 0)
    if directory != descriptor { close(directory) }
  }

  /// Opens the directory that a name lies in.
  private func descend(_ name: String) throws(StartError) -> (directory: Int32, last: String) {
    var components = name.split(separator: "/").map(String.init)
    let last = components.removeLast()
    var directory = descriptor
    for component in components {
      if mkdirat(directory, component, 0o700) != 0, errno != EEXIST {
        throw Self.cannot("make the directory of", RecordingListing.path(name, below: path), .current)
      }
      let next = openFile(component, in: directory, flags: O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
      let error = Errno.current
      if directory != descriptor { close(directory) }
      guard next >= 0 else {
        throw Self.cannot("open the directory of", RecordingListing.path(name, below: path), error)
      }
      directory = next
    }
    return (directory, last)
  }

  private static func cannot(_ what: String, _ path: String, _ error: Errno) -> StartError {
    let status: ExitStatus
    let remedy: String
    switch error.code {
    case EACCES, EPERM, EROFS: (status, remedy) = (.noPermission, "name one that this user may write to")
    case EEXIST: (status, remedy) = (.cannotCreate, "name an empty directory: nothing is overwritten")
    default: (status, remedy) = (.cannotCreate, "name a directory, or a new one in a directory that exists")
    }
    return StartError(status, "--output: cannot \(what) '\(path)': \(error.text); \(remedy)")
  }
}
