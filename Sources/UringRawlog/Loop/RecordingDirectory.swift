import Glibc

/// The directories that the program writes to, checked before it starts.
enum RecordingDirectory {
  /// The directory of the index: `--index`, or that of the recordings.
  static func indexDirectory(_ configuration: RelayConfiguration) -> String {
    configuration.indexDirectory ?? configuration.directory.fixedPart
  }

  /// - Throws: 73 when a directory does not exist or is none, 77 when this user may not write to it.
  static func check(directory: DirectoryTemplate?, indexDirectory: String?) throws(StartError) {
    if let directory {
      if !directory.hasVariables {
        try check(directory.text, option: "--dir")
      } else if indexDirectory == nil {
        try check(directory.fixedPart, option: "--dir")
      }
    }
    if let indexDirectory { try check(indexDirectory, option: "--index") }
  }

  private static func check(_ path: String, option: String) throws(StartError) {
    let shown = "\(option): '\(path)'"
    var status = stat()
    guard stat(path, &status) == 0 else {
      let error = Errno.current
      if error.code == EACCES {
        throw StartError(.noPermission, "\(shown) cannot be reached: \(error.text); let this user pass its parents")
      }
      throw StartError(.cannotCreate, "\(shown) does not exist (\(error.text)); create it first")
    }
    guard status.st_mode & S_IFMT == S_IFDIR else {
      throw StartError(.cannotCreate, "\(shown) is not a directory; name one")
    }
    guard faccessat(AT_FDCWD, path, W_OK | X_OK, AT_EACCESS) == 0 else {
      let error = Errno.current
      throw StartError(
        .noPermission,
        "\(shown) is not writable: \(error.text); "
          + (error.code == EROFS ? "mount its file system writable" : "give this user write permission on it"))
    }
  }

  /// Names the index after a day that is over, unless there is one of that day; in both cases another is begun.
  static func endIndexDay(_ configuration: RelayConfiguration, _ date: String) {
    let directory = indexDirectory(configuration)
    // Another relay may have done so already: ENOENT, or EEXIST.
    renameFile(directory + "/sessions.jsonl", to: "\(directory)/sessions-\(date).jsonl")
  }

  /// The same for one that was left by a relay of an earlier day.
  static func endIndexDay(_ configuration: RelayConfiguration) {
    var status = stat()
    guard lstat(indexDirectory(configuration) + "/sessions.jsonl", &status) == 0,
      status.st_mode & S_IFMT == S_IFREG, status.st_size > 0
    else { return }
    var clock = Clock()
    clock.set(Instant(nanoseconds: 0, epochMicroseconds: Int64(status.st_mtim.tv_sec) * 1_000_000))
    guard clock.endOfLocalDay() <= Instant.current.epochMicroseconds else { return }
    endIndexDay(configuration, clock.localName().date)
  }

  /// The opened index, and whether its last line was torn.
  static func openIndex(_ configuration: RelayConfiguration) throws(StartError) -> (
    descriptor: Int32, path: String, endsTorn: Bool
  ) {
    let path = indexDirectory(configuration) + "/sessions.jsonl"
    let descriptor = openFile(
      path, flags: O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, mode: 0o600)
    guard descriptor >= 0 else {
      let error = Errno.current
      switch error.code {
      case ELOOP: throw StartError(.cannotCreate, "'\(path)' is a symbolic link, which is never followed; remove it")
      case EMFILE, ENFILE:
        throw StartError(
          .unavailable,
          "cannot open '\(path)': \(error.text); raise the limit of open files (LimitNOFILE=, 'ulimit -n')")
      case EACCES, EPERM, EROFS:
        throw StartError(.noPermission, "cannot open '\(path)': \(error.text); make it writable for this user")
      default:
        throw StartError(.cannotCreate, "cannot open '\(path)': \(error.text); name another directory with --index")
      }
    }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      close(descriptor)
      throw StartError(.cannotCreate, "'\(path)' is not a regular file; remove it")
    }
    // One that was made by other means, or moved here, is as private from now on.
    if status.st_mode & 0o077 != 0 { fchmod(descriptor, 0o600) }
    var last = UInt8(ascii: "\n")
    if status.st_size > 0 { pread(descriptor, &last, 1, status.st_size - 1) }
    return (descriptor, path, last != UInt8(ascii: "\n"))
  }
}
