/// Exit codes of sysexits.h, as far as the program uses them.
public enum ExitStatus: Int32, Sendable {
  case ok = 0
  /// Wrong options (EX_USAGE).
  case usage = 64
  /// What was read is not what it should be (EX_DATAERR).
  case dataError = 65
  /// A file that is needed, or is to be read, is not there or cannot be read (EX_NOINPUT).
  case noInput = 66
  /// Something that is needed is not there, or refuses (EX_UNAVAILABLE).
  case unavailable = 69
  /// The operating system failed (EX_OSERR).
  case osError = 71
  /// A file cannot be created (EX_CANTCREAT).
  case cannotCreate = 73
  /// Reading or writing failed (EX_IOERR).
  case ioError = 74
  /// EX_NOPERM.
  case noPermission = 77
  /// A file that is needed says something that cannot be used (EX_CONFIG).
  case badConfiguration = 78
}

/// Why the program does not start, or cannot do what it was asked for: one line for the user, and the exit code.
public struct StartError: Error, Sendable {
  public let status: ExitStatus
  public let message: String

  public init(_ status: ExitStatus, _ message: String) {
    self.status = status
    self.message = message
  }
}

/// What is wrong with a value that the user typed, in words that fit behind the option's name.
public struct ValueError: Error, Sendable, CustomStringConvertible {
  public let description: String

  public init(_ description: String) {
    self.description = description
  }
}
