/// Sessions that are written at the same time, each step of any in the order of time.
///
/// They come in the order in which they began. Those that are open are kept until all that is earlier than the next
/// one's beginning is written; when there are too many, until one of them has ended, and then what is written may be
/// later than that beginning.
struct SideBySide {
  private struct Open {
    let session: ExportedSession
    /// When its next event was; that of the one before when it does not say, and as late at least.
    var time: Int64
    /// Which of those with the same time came first.
    let number: Int
    /// It cannot be read any further.
    var hasFailed = false
  }

  private let writer: any SessionWriter
  /// The earliest first, as far as a heap is sorted.
  private var open: [Open] = []
  private var count = 0

  init(_ writer: any SessionWriter) {
    self.writer = writer
  }

  /// Begins a session.
  ///
  /// - Parameter complain: is given what keeps one from being read any further.
  mutating func add(_ given: ExportedSession, _ complain: (StartError) -> Void) throws(StartError) {
    while let first = open.first, first.time < given.time || open.count >= writer.mostSessions {
      try step(complain)
    }
    var session = given
    session.number = count
    try writer.begin(session)
    open.append(Open(session: session, time: session.time, number: count))
    count += 1
    findTime(open.count - 1, complain)
    rise(open.count - 1)
  }

  /// Writes what is left.
  mutating func finish(_ complain: (StartError) -> Void) throws(StartError) {
    while !open.isEmpty { try step(complain) }
  }

  /// Writes the earliest event, or the end of its session.
  private mutating func step(_ complain: (StartError) -> Void) throws(StartError) {
    let session = open[0].session
    if let event = head(0, complain) {
      switch event {
      case .piece(let piece): try writer.add(piece, of: session)
      case .gap(let gap): try writer.add(gap, of: session)
      case .remark(let remark):
        if remark.isDamage {
          complain(StartError(.dataError, "'\(session.path)': session \(session.id) is damaged: \(remark.text)"))
        }
      }
      session.reader.removeHead()
      findTime(0, complain)
    } else {
      try writer.end(session)
      open.swapAt(0, open.count - 1)
      open.removeLast()
    }
    sink()
  }

  /// What comes next in a session. One that cannot be read any further ends there.
  private mutating func head(_ place: Int, _ complain: (StartError) -> Void) -> RecordingEvent? {
    guard !open[place].hasFailed else { return nil }
    do throws(StartError) {
      return try open[place].session.reader.head(.whole)
    } catch {
      complain(error)
      open[place].hasFailed = true
      return nil
    }
  }

  private mutating func findTime(_ place: Int, _ complain: (StartError) -> Void) {
    guard case .piece(let piece)? = head(place, complain), let time = piece.time else { return }
    open[place].time = max(open[place].time, time)
  }

  // MARK: The heap

  private func precedes(_ one: Int, _ other: Int) -> Bool {
    (open[one].time, open[one].number) < (open[other].time, open[other].number)
  }

  private mutating func rise(_ given: Int) {
    var place = given
    while place > 0, precedes(place, (place - 1) / 2) {
      open.swapAt(place, (place - 1) / 2)
      place = (place - 1) / 2
    }
  }

  private mutating func sink() {
    var place = 0
    while true {
      var least = place
      for child in [2 * place + 1, 2 * place + 2] where child < open.count && precedes(child, least) { least = child }
      guard least != place else { return }
      open.swapAt(place, least)
      place = least
    }
  }
}
