/// Every maximum in one place; `checkRelations` asserts how they hang together.
enum Limits {
  /// A read, and thus what `-b` stands around: as large as that of Dovecot's rawlog.
  static let chunkBytes = 8 << 10
  /// Reads of one direction that are not yet sent and recorded. Two let one come while one goes, the others are for small
  /// ones.
  static let chunks = 4
  /// A sender is read from while no more than this waits for its receiver, as Dovecot's rawlog does.
  static let pauseBytes = 8 << 10
  /// Encoded bytes that are written at once; each file has two such blocks.
  static let blockBytes = 16 << 10
  /// How long encoded bytes stay in memory at the most.
  static let flushNanoseconds: UInt64 = 1_000_000_000
  /// How long a direction waits for a disk that takes nothing; then it goes on unrecorded.
  static let stallNanoseconds: UInt64 = 2_000_000_000
  /// For each direction a read, a send and a write of its file, and one poll.
  static let operations = 8
  /// The stack of the process that records; only what is used of it is touched.
  static let stackBytes = 256 << 10
  /// Names that are tried before a recording is given up.
  static let nameAttempts = 1000
  /// What is thrown away of a client that goes on sending when nobody takes it, so that what it is still to receive is
  /// not lost to a reset.
  static let discardBytes = 1 << 20

  static func checkRelations() {
    precondition(blockBytes >= Encoder.leastOutput, "an encoder always gets on in an empty block")
    precondition(chunks == Flow.places)
    precondition(pauseBytes + chunkBytes < chunks * chunkBytes, "a sender is paused before its places run out")
    precondition(operations >= 2 * 3 + 1)
  }
}
