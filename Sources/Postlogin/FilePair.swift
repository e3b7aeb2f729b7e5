import Glibc

/// The files of one session: `DIRECTORY/[IP-]YYYYMMDD-HHMMSS-PID.in` and `.out`, as Dovecot's rawlog names them.
///
/// Where a name is taken, both get the next free number behind the process id: `…-PID.1.in`, `…-PID.1.out`.
struct FilePair: ~Copyable {
  private var path: Bytes
  /// Where the number and the direction go.
  private let stem: Int

  /// Descriptors for `in` and `out`; -1 for a direction that is not recorded.
  typealias Descriptors = InlineArray<2, Int32>

  /// - Parameters:
  ///   - address: what IP says, when it is to be in the name.
  ///   - time: local time, as the name has it.
  init(directory: UnsafePointer<CChar>, address: UnsafePointer<CChar>?, time: LocalTimeText, processID: pid_t) {
    path = Bytes()
    path.append(cString: directory)
    path.append("/")
    if let address {
      path.append(cString: address)
      path.append("-")
    }
    time.append(to: &path)
    path.append("-")
    path.append(decimal: UInt64(processID))
    stem = path.count
  }

  /// Creates the files with mode 0600, less what the umask takes. One that cannot be created is said and does not keep
  /// the other from being recorded.
  mutating func create(_ options: Options) -> Descriptors {
    for number in 0..<Limits.nameAttempts {
      let isLast = number == Limits.nameAttempts - 1
      let `in` = options.recordsIn ? create(number, .in) : -1
      let isTaken = `in` == -EEXIST
      let out = options.recordsOut && (isLast || !isTaken) ? create(number, .out) : -1
      guard !isLast, isTaken || out == -EEXIST else {
        return [options.recordsIn ? said(`in`, number, .in) : -1, options.recordsOut ? said(out, number, .out) : -1]
      }
      // The half that was made goes: both have the same number.
      if `in` >= 0 {
        name(number, .in)
        unlink(path.cString)
        close(`in`)
      }
    }
    return [-1, -1]
  }

  /// A descriptor, or a negative error number.
  private mutating func create(_ number: Int, _ direction: Direction) -> Int32 {
    name(number, direction)
    let descriptor = openFile(path.cString, flags: O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode: 0o600)
    guard descriptor >= 0 else { return -errno }
    // As the relay does: whoever clears the directory up can tell that the file is being written. The lock goes with the
    // process that records; where there is none to be had, nothing is lost.
    _ = flock(descriptor, LOCK_EX | LOCK_NB)
    return descriptor
  }

  private mutating func said(_ descriptor: Int32, _ number: Int, _ direction: Direction) -> Int32 {
    guard descriptor < 0 else { return descriptor }
    name(number, direction)
    let text = Errno(-descriptor).text
    Message.say(.error, "rawlog_open: creat(\(String(cString: path.cString))): \(text)")
    return -1
  }

  private mutating func name(_ number: Int, _ direction: Direction) {
    path.truncate(stem)
    if number > 0 {
      path.append(".")
      path.append(decimal: UInt64(number))
    }
    switch direction {
    case .in: path.append(".in\0")
    case .out: path.append(".out\0")
    }
  }
}
