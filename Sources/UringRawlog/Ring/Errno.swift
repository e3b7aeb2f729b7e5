import Glibc

/// An error number of the kernel (errno(3)), always positive.
public struct Errno: Error, Equatable, Sendable {
  public let code: Int32

  public init(_ code: Int32) {
    self.code = code
  }

  /// The calling thread's current error number.
  static var current: Errno { Errno(errno) }

  /// The kernel's own words, as strerror(3) gives them.
  public var text: String {
    String(cString: strerror(code))
  }

  /// The operation met nothing but an interruption or a passing shortage: do it again.
  var isRetry: Bool { code == EINTR || code == EAGAIN }

  /// The process or the system is out of descriptors.
  var isOutOfDescriptors: Bool { code == EMFILE || code == ENFILE }
}
