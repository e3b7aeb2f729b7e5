/// What a reader comes upon.
enum RecordingEvent {
  case piece(RecordedPiece)
  /// The recording says that bytes are missing here.
  case gap(RecordingGap)
  case remark(Remark)
}

/// What the end of a file means at the moment.
enum FileTail {
  /// More is coming: only whole lines are given, and of two directions only what the other cannot precede any more.
  case growing
  /// Nothing earlier is coming: the next line may be given whichever direction it has.
  case settled
  /// Nothing came for a while: a line without an end is given too.
  case resting
  /// It is complete: all that is left is given, half a stamp too.
  case whole

  /// A line without an end waits for it.
  var keepsUnended: Bool {
    switch self {
    case .growing, .settled: true
    case .resting, .whole: false
    }
  }
}

/// One recorded session, or one direction of it, from its first byte to its last.
///
/// This is the seam between layouts and what is done with them: whatever gives pieces in their order can be shown.
protocol RecordingReader: AnyObject {
  /// What comes next; the same until `removeHead` is called. nil when there is nothing more for the moment.
  ///
  /// - Throws: `StartError` (66) when the recording cannot be read.
  func head(_ tail: FileTail) throws(StartError) -> RecordingEvent?
  /// Goes on to what comes behind the head.
  func removeHead()
  /// Something is there that was not given yet, though it may take another tail to get it.
  var isHolding: Bool { get }
  /// The recording may have grown since nil was given.
  func lookAgain()
  /// Gives memory and descriptors back until `lookAgain` is called, as far as nothing is held.
  func rest()
}
