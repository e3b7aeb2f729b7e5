/// Memory that a dialogue needs only while somebody logs in. Its owner provides it with every call, and need not
/// initialise it: what of it is in use the dialogue knows.
struct LoginMemory {
  /// Room for the names of one attempt: an authentication and an authorization identity.
  static let nameBytes = 2 * LoginAttempts.longestName + 2
  /// A user name that may turn out to be none, until its end is seen, and the CR behind it.
  static let withheldBytes = 256

  var names = InlineArray<512, UInt8>(repeating: 0)
  /// Copies of bytes that are neither recorded nor redacted yet.
  var withheld = InlineArray<256, UInt8>(repeating: 0)
}
