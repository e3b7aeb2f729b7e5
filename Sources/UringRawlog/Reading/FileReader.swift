import Glibc

/// A recording in one file.
final class FileReader<Decoder: RecordingDecoder>: RecordingReader {
  private let path: String
  private var window: FileWindow
  private var decoder: Decoder
  private var event: RecordingEvent?
  private var eventBytes = 0

  /// - Parameters:
  ///   - file: its descriptor is closed together with the reader.
  ///   - limit: how many bytes are read; nil for all that are there and that are added.
  init(_ file: RecordingFiles.Opened, limit: UInt64?, _ decoder: Decoder) {
    path = file.path
    window = FileWindow(file, limit: limit)
    self.decoder = decoder
  }

  /// Whether lines have a time; nil while the file is too short to say.
  func hasStamps(_ tail: FileTail) throws(StartError) -> Bool? {
    if decoder.hasStamps == nil { _ = try head(tail) }
    return decoder.hasStamps
  }

  /// Marks of the layout may have been data.
  var isAmbiguous: Bool { decoder.isAmbiguous }

  var isHolding: Bool { event != nil || !window.isEmpty }

  func head(_ tail: FileTail) throws(StartError) -> RecordingEvent? {
    if let event { return event }
    while true {
      if window.wasCut {
        window.wasCut = false
        event = .remark(.cut(decoder.direction))
        return event
      }
      switch decoder.next(window.bytes, window.isAtEnd ? tail : .growing) {
      case .needsMore:
        if window.isAtEnd { return nil }
        do throws(Errno) {
          try window.fill()
        } catch {
          throw StartError(.noInput, "cannot read '\(path)': \(error.text); copy what can be saved of it")
        }
      case .markup(let count): window.drop(count)
      case .piece(let piece):
        eventBytes = piece.count
        let recorded = RecordedPiece(
          direction: piece.direction, time: piece.time, continuesLine: piece.continuesLine,
          beginsRead: piece.beginsRead, bytes: UnsafeRawBufferPointer(rebasing: window.bytes[..<piece.count]))
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
    window.drop(eventBytes)
    eventBytes = 0
    event = nil
  }

  func lookAgain() {
    if event == nil, decoder.mayBeOverwritten { window.rewind() }
    window.lookAgain()
  }

  func rest() {
    guard event == nil else { return }
    if decoder.mayBeOverwritten { window.rewind() }
    window.rest()
  }
}

typealias StreamReader = FileReader<StreamDecoder>
typealias MergedReader = FileReader<MergedDecoder>
