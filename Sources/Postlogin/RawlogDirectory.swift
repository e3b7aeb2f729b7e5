import Glibc

/// `dovecot.rawlog` in the user's home: where it is, whoever wants to be recorded has made it.
enum RawlogDirectory {
  /// The path to test, and where in it the path begins that the recorder will use: it may have another root by then.
  struct Path: ~Copyable {
    /// Ends in NUL.
    var text: Bytes
    var used: Int

    /// - Parameters:
    ///   - home: HOME; nil when it is not set.
    ///   - root: RESTRICT_CHROOT; nil when it is not set.
    init(home: UnsafePointer<CChar>?, root: UnsafePointer<CChar>?) {
      text = Bytes()
      used = 0
      if let root {
        text.append(cString: root)
        used = text.count
        if let home { text.append(cString: home) }
      } else if let home {
        text.append(cString: home)
      } else {
        text.append(".")
      }
      text.append("/dovecot.rawlog\0")
    }

    /// The path as the recorder will use it.
    var recorder: UnsafePointer<CChar> { text.cString + used }
    /// The path as it is tested, for messages.
    var description: String { String(cString: text.cString) }
  }

  /// Whether there is such a directory. A link to one is none, lest it leads to somebody else's.
  ///
  /// - Parameter isVerbose: DEBUG is set: also what is usual is said.
  static func exists(_ path: borrowing Path, isVerbose: Bool) -> Bool {
    var status = stat()
    guard lstat(path.text.cString, &status) == 0 else {
      let error = Errno.current
      if error.code != ENOENT {
        Message.say(.warning, "lstat() failed for \(path.description): \(error.text)")
      } else if isVerbose {
        Message.say(.info, "rawlog: \(path.description) doesn't exist")
      }
      return false
    }
    guard status.st_mode & S_IFMT == S_IFDIR else {
      if isVerbose { Message.say(.info, "rawlog: \(path.description) is not a directory") }
      return false
    }
    return true
  }
}
