import Glibc

/// A recording in one file.
final class FileReader<Decoder: RecordingDecoder>: RecordingReader {
  private var layout: LayoutReader<Decoder>
  private var event: RecordingEvent?
  private var eventBytes = 0

  /// - Parameters:
  ///   - file: its descriptor is closed together with the reader.
  ///   - limit: how many bytes are read; nil for all that are there and that are added.
  init(_ file: RecordingFiles.Opened, limit: UInt64?, _ decoder: Decoder) {
    layout = LayoutReader(file, limit: limit, decoder)
  }

  /// Whether lines have a time; nil while the file is too short to say.
  func hasStamps(_ tail: FileTail) throws(StartError) -> Bool? {
    if layout.decoder.hasStamps == nil { _ = try head(tail) }
    return layout.decoder.hasStamps
  }

  /// Marks of the layout may have been data.
  var isAmbiguous: Bool { layout.decoder.isAmbiguous }

  var isHolding: Bool { event != nil || !layout.window.isEmpty }

  func head(_ tail: FileTail) throws(StartError) -> RecordingEvent? {
    if let event { return event }
    while true {
      if layout.window.wasCut {
        layout.window.wasCut = false
        event = .remark(.cut(layout.decoder.direction))
        return event
      }
      switch try layout.next(tail) {
      case .needsMore: if !layout.window.wasCut { return nil }
      case .markup(let count): layout.window.drop(count)
      case .piece(let piece):
        eventBytes = piece.count
        let recorded = RecordedPiece(
          direction: piece.direction, time: piece.time, continuesLine: piece.continuesLine,
          beginsRead: piece.beginsRead, bytes: layout.first(piece.count))
        event = .piece(recorded)
        return event
      case .gap(let gap, let count):
        eventBytes = count
        event = .gap(gap)
        return event
      case .remark(let remark):
        event = .remark(remark)
        return event
      }
    }
  }

  func removeHead() {
    layout.window.drop(eventBytes)
    eventBytes = 0
    event = nil
  }

  func lookAgain() {
    if event == nil, layout.decoder.mayBeOverwritten { layout.window.rewind() }
    layout.window.lookAgain()
  }

  func rest() {
    guard event == nil else { return }
    if layout.decoder.mayBeOverwritten { layout.window.rewind() }
    layout.window.rest()
  }
}

typealias StreamReader = FileReader<StreamDecoder>
typealias MergedReader = FileReader<MergedDecoder>
