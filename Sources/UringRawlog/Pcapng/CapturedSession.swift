/// What a capture has of one session.
struct CapturedSession {
  /// A count for each direction.
  struct Counts: Equatable {
    var `in`: UInt64 = 0
    var out: UInt64 = 0

    subscript(_ direction: Direction) -> UInt64 {
      get {
        switch direction {
        case .in: `in`
        case .out: out
        }
      }
      set {
        switch direction {
        case .in: `in` = newValue
        case .out: out = newValue
        }
      }
    }
  }

  /// The session's id; made up of its number when its first packet is missing.
  var id: String
  /// Its number in the process that recorded it.
  let number: UInt64
  /// Where its section of the capture begins, and there its first and its last block; how many it has.
  let section: UInt64
  let firstBlock: UInt64
  var lastBlock: UInt64
  var blocks: UInt64 = 0
  /// It began in an earlier capture.
  var isCarriedOn: Bool
  /// Its end record is in this capture, in the last block.
  var hasEnded = false
  /// Times of its first and last packet, in microseconds since the epoch.
  let time: Int64
  var lastTime: Int64
  /// Who sent the first packet, and to whom: the ends as packets have them.
  let from: CapturedEndpoint
  let to: CapturedEndpoint
  /// Recorded bytes, and those that are said to be missing.
  var recorded = Counts()
  var lost = Counts()

  var part: CaptureIndex.Part { CaptureIndex.Part(isCarriedOn: isCarriedOn, goesOn: !hasEnded) }
}
