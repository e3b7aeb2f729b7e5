/// What an operation was for: the 64 bits of `user_data` that come back with its completion.
///
/// A kind, the slot of what it belongs to, and the generation that the slot had then, so that a late completion for a
/// slot that was given away since is recognised. Slots are 24 bits: `Limits.sessionsMaximum` stays below.
struct Token: Equatable {
  enum Kind: UInt8 {
    /// A listener's accept; the slot is the listener's number.
    case accept
    case connect
    /// A receive from, or a send to, one leg of a session.
    case receiveClient
    case receiveServer
    case sendClient
    case sendServer
    /// Opening, writing and removing one file of a session's recording.
    case openIn
    case openOut
    case writeIn
    case writeOut
    /// A poll for one direction of a session whose bytes are spliced.
    case pollIn
    case pollOut
    /// Cutting a recording to its length.
    case truncate
    /// A session's connection to the collector, and a poll that tells of the collector's end.
    case connectCollector
    case pollCollector
    /// Cancelling of a session's operations: its result is of no interest, its end is.
    case cancel
    /// Closing of any descriptor: nobody waits for it.
    case close
    case unlink
    case indexWrite
    /// Creating, writing and renaming a capture, and its side file; the slot says which of the two that are open at most.
    case captureOpen
    case captureSideOpen
    case captureWrite
    case captureSideWrite
    case captureRename
    case captureSideRename
    case signal
    case wake
    /// Cancelling of a listener's accept.
    case cancelAccept
  }

  let rawValue: UInt64

  init(rawValue: UInt64) {
    self.rawValue = rawValue
  }

  init(_ kind: Kind, slot: Int = 0, generation: UInt32 = 0) {
    rawValue = UInt64(kind.rawValue) << 56 | UInt64(truncatingIfNeeded: slot) << 32 | UInt64(generation)
  }

  var kind: Kind? { Kind(rawValue: UInt8(truncatingIfNeeded: rawValue >> 56)) }
  var slot: Int { Int(truncatingIfNeeded: (rawValue >> 32) & 0xFF_FFFF) }
  var generation: UInt32 { UInt32(truncatingIfNeeded: rawValue) }
}
