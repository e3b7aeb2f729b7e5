import Glibc

/// The files of one session: `DIRECTORY/[IP-]YYYYMMDD-HHMMSS-PID.in` and `.out`, as Dovecot's rawlog names them.
///
/// Where a name is taken, both get the next free number behind the process id: `…-PID.1.in`, `…-PID.1.out`.
struct PostloginPair: ~Copyable {
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
  mutating func create(_ options: PostloginOptions) -> Descriptors {
    var descriptors: Descriptors = [-1, -1]
    var errors: InlineArray<2, Errno?> = [nil, nil]
    for number in 0..<Limits.postloginNameAttempts {
      errors = [nil, nil]
      for direction in [Direction.in, .out] where options.records(direction) {
        name(number, direction)
        let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
        descriptors[direction.rawValue] = openFile(path.cString, flags: flags, mode: 0o600)
        errors[direction.rawValue] = descriptors[direction.rawValue] < 0 ? .current : nil
        if errors[direction.rawValue]?.code == EEXIST { break }
      }
      guard errors[0]?.code == EEXIST || errors[1]?.code == EEXIST else { return said(errors, number, descriptors) }
      guard number < Limits.postloginNameAttempts - 1 else { break }
      // The half that was made goes: both have the same number.
      if descriptors[0] >= 0 {
        name(number, .in)
        unlink(path.cString)
        close(descriptors[0])
        descriptors[0] = -1
      }
    }
    return said(errors, Limits.postloginNameAttempts - 1, descriptors)
  }

  private mutating func said(_ errors: InlineArray<2, Errno?>, _ number: Int, _ descriptors: Descriptors) -> Descriptors
  {
    for direction in [Direction.in, .out] {
      guard let error = errors[direction.rawValue] else { continue }
      name(number, direction)
      PostloginMessage.say(.error, "rawlog_open: creat(\(String(cString: path.cString))): \(error.text)")
    }
    return descriptors
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
