import Glibc

/// The drop-in for Dovecot's `rawlog`: `rawlog [-f in|out] [-I] [-b] [-t] BINARY [ARGUMENTS]`.
///
/// It becomes BINARY. If the user has a directory `dovecot.rawlog`, BINARY talks to a process that stays behind, which
/// relays to the client and records.
enum Program {
  /// Exit codes that Dovecot's programs have for a wrong command line, and for a program that cannot be started.
  private enum Status {
    static let fatal: Int32 = 89
    static let exec: Int32 = 84
  }

  /// Becomes the binary that the command line names, or ends with the code that Dovecot's rawlog would end with.
  static func run() -> Never {
    let arguments = CommandLine.unsafeArgv
    // Also for the binary, as with Dovecot's: a client that is gone is an error of its write.
    signal(SIGPIPE, SIG_IGN)
    let options: Options
    do throws(Options.Failure) {
      options = try Options(count: CommandLine.argc, arguments: arguments)
    } catch {
      if let message = error.message { Message.say(.fatal, message, isEarly: true) }
      _exit(Status.fatal)
    }
    let path = RawlogDirectory.Path(home: getenv("HOME"), root: getenv("RESTRICT_CHROOT"))
    if RawlogDirectory.exists(path, isVerbose: getenv("DEBUG") != nil) { record(path, options) }
    become(arguments + options.binary)
  }

  /// Puts a recorder between us and the client; without one the session goes on, unrecorded.
  private static func record(_ path: consuming RawlogDirectory.Path, _ options: Options) {
    let restriction: Restriction
    do throws(Restriction.Failure) {
      restriction = try Restriction { (name: StaticString) in
        getenv(UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self)).map { UnsafePointer($0) }
      }
      if restriction.staysRoot {
        throw Restriction.Failure(
          "root must not write into the user's \(path.description); start rawlog as the user (script-login -d)")
      }
    } catch {
      return Message.sayNotRecorded(error.message)
    }
    do throws(Restriction.Failure) {
      try Recorder.start(path, options, restriction)
    } catch {
      Message.sayNotRecorded(error.message)
    }
  }

  /// Executes the path as it is given; what is executed sees the name behind the last slash.
  private static func become(_ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Never {
    let path = arguments[0]!
    if let slash = strrchr(path, Int32(UInt8(ascii: "/"))) { arguments[0] = slash + 1 }
    execv(path, arguments)
    let error = Errno.current
    Message.say(.fatal, "execv(\(String(cString: path))) failed: \(error.text)")
    _exit(Status.exec)
  }
}
