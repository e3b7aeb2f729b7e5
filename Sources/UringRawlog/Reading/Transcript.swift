/// Writes sessions in a form to be read: a heading for each, and a line for each piece of what was sent.
///
///     == 20260131-091500.4711.1
///     -- 2026-01-31 +00:00
///     09:15:00.508219 in  : a1 CAPABILITY
///     09:15:00.510389 in  + the rest of a line whose beginning was shown before
///     09:15:00.510389 in <: a line with which begins what one read returned
///
/// A line that ended in CR LF, as lines of mail protocols do, shows neither. One that ended in a lone LF shows it as
/// `\x0a`. No other line begins with `==` or `--`: what was sent always stands behind a direction.
struct Transcript: ~Copyable {
  var output: TextOutput
  private let hasColour: Bool
  private let bytes: DisplayedBytes
  private var time = DisplayedTime()
  /// The day that the last heading or note named.
  private var day: DisplayedTime.Day?
  /// A line of this session had a time.
  private var showsTimes = false

  init(_ output: consuming TextOutput, hasColour: Bool) {
    self.output = output
    self.hasColour = hasColour
    bytes = hasColour ? DisplayedBytes(beforeEscapes: "\u{1B}[35m", behindEscapes: "\u{1B}[39m") : DisplayedBytes()
  }

  /// The beginning of another session.
  mutating func heading(_ title: String) throws(TextOutput.End) {
    day = nil
    showsTimes = false
    try line("== ", title, colour: "\u{1B}[1m")
  }

  /// A line of the reader's own.
  mutating func note(_ text: String) throws(TextOutput.End) {
    try line("-- ", text, colour: "\u{1B}[33m")
  }

  /// A line of the reader's own that begins with a date and a time.
  mutating func note(at microseconds: Int64, _ text: String) throws(TextOutput.End) {
    var words = Bytes()
    let day = time.day(microseconds)
    day.append(to: &words)
    words.append(", ")
    time.append(microseconds, to: &words)
    self.day = day
    try note(String(decoding: words.span, as: UTF8.self) + text)
  }

  mutating func piece(_ piece: RecordedPiece) throws(TextOutput.End) {
    if let microseconds = piece.time {
      try sayDay(microseconds)
      showsTimes = true
      colour("\u{1B}[2m")
      time.append(microseconds, to: &output.text)
      colour("\u{1B}[22m")
      output.text.append(" ")
    } else if showsTimes {
      for _ in 0...DisplayedTime.bytes { output.text.append(" ") }
    }
    switch piece.direction {
    case .in:
      colour("\u{1B}[36m")
      output.text.append("in ")
    case .out:
      colour("\u{1B}[32m")
      output.text.append("out")
    }
    output.text.append(piece.beginsRead ? "<" : " ")
    output.text.append(piece.continuesLine ? "+" : ":")
    colour("\u{1B}[39m")
    output.text.append(" ")
    append(piece.bytes)
    output.text.append("\n")
    try output.flushIfFull()
  }

  private mutating func append(_ line: UnsafeRawBufferPointer) {
    var shown = line.count
    if shown >= 2, line[shown - 1] == UInt8(ascii: "\n"), line[shown - 2] == UInt8(ascii: "\r") { shown -= 2 }
    bytes.append(UnsafeRawBufferPointer(rebasing: line[..<shown]), to: &output.text)
  }

  private mutating func sayDay(_ microseconds: Int64) throws(TextOutput.End) {
    let day = time.day(microseconds)
    guard day != self.day else { return }
    self.day = day
    var words = Bytes()
    day.append(to: &words)
    try note(String(decoding: words.span, as: UTF8.self))
  }

  private mutating func line(_ mark: StaticString, _ text: String, colour start: StaticString) throws(TextOutput.End) {
    colour(start)
    output.text.append(mark)
    output.text.append(text: text.escapedForMessage)
    colour("\u{1B}[0m")
    output.text.append("\n")
    try output.flushIfFull()
  }

  private mutating func colour(_ sequence: StaticString) {
    if hasColour { output.text.append(sequence) }
  }
}
