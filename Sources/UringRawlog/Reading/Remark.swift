/// What a reader has to say about a recording beside its bytes.
enum Remark: Equatable {
  /// A line of a recording with stamps has none.
  case stampMissing(Direction, line: UInt64)
  /// A line of a recording without stamps begins like one.
  case looksLikeStamp(Direction, line: UInt64)
  /// What comes behind a read does not begin another.
  case boundaryMissing(Direction, line: UInt64)
  /// The last read has no end.
  case readNotEnded(Direction)
  /// The last line has no end.
  case lineNotEnded(Direction)
  case endsInStamp(Direction)
  case endsInBoundary(Direction)
  /// A line of a merged recording begins with neither stamp nor direction.
  case notMerged(line: UInt64)
  case mergedEndsInStamp
  /// The last line of a merged recording lacks its line feed.
  case mergedEndsInLine
  /// A stamp stands behind a piece in the same line, as Dovecot 2.3 writes it.
  case gluedStamp(line: UInt64)
  /// One of the two has no stamps.
  case orderUnknown(isFollowed: Bool)
  /// The file became shorter while it was followed.
  case cut(Direction?)
  /// A capture is not as it was written.
  case capture(CaptureDamage)

  /// The recording is not as its layout says.
  var isDamage: Bool {
    switch self {
    case .endsInStamp, .endsInBoundary, .notMerged, .mergedEndsInStamp, .mergedEndsInLine, .boundaryMissing, .cut,
      .capture:
      true
    case .stampMissing, .looksLikeStamp, .readNotEnded, .lineNotEnded, .gluedStamp, .orderUnknown: false
    }
  }

  var text: String {
    switch self {
    case .stampMissing(let direction, let line):
      "\(direction): line \(line) has no stamp, though the first line has; if this was recorded without -t, the times "
        + "shown are what was sent"
    case .looksLikeStamp(let direction, let line):
      "\(direction): line \(line) begins like a stamp, but the first line does not: taken as what was sent"
    case .boundaryMissing(let direction, let line):
      "\(direction): at line \(line) a read should begin with '<<<' and does not; what follows is shown as it is"
    case .readNotEnded(let direction): "\(direction): the last read has no '>>>'"
    case .lineNotEnded(let direction): "\(direction): the last line has no line feed"
    case .endsInStamp(let direction): "\(direction): the file ends within a stamp"
    case .endsInBoundary(let direction): "\(direction): the file ends within '<<<'"
    case .notMerged(let line):
      "line \(line) begins with neither a stamp nor I: or O:; it is shown with the direction of the line before"
    case .mergedEndsInStamp: "the file ends within a stamp"
    case .mergedEndsInLine: "the file ends within a line"
    case .gluedStamp(let line):
      "in line \(line) a stamp follows a long piece without a line feed: read as Dovecot 2.3 writes it"
    case .orderUnknown(let isFollowed):
      "without stamps (-t) the order between the two files is not known: "
        + (isFollowed ? "lines are shown as they are found" : "first all of .in, then all of .out")
    case .capture(let damage): damage.text
    case .cut(let direction):
      "\(direction.map { "\($0): " } ?? "")the file has become shorter; what follows is what is added from now on"
    }
  }
}
