/// A file on its way through the decoder of its layout: all that it consists of, step by step.
struct LayoutReader<Decoder: RecordingDecoder>: ~Copyable {
  private let path: String
  var window: FileWindow
  private(set) var decoder: Decoder

  /// - Parameters:
  ///   - file: its descriptor is closed together with the reader.
  ///   - limit: how many bytes are read; nil for all that are there and that are added.
  init(_ file: RecordingFiles.Opened, limit: UInt64?, _ decoder: Decoder) {
    path = file.path
    window = FileWindow(file, limit: limit)
    self.decoder = decoder
  }

  /// What comes next; `needsMore` when there is nothing for the moment. Its bytes are the first of the window, until who
  /// asks drops them.
  ///
  /// - Throws: 66 when the file cannot be read.
  mutating func next(_ tail: FileTail) throws(StartError) -> DecoderStep {
    while true {
      let step = decoder.next(window.bytes, window.isAtEnd ? tail : .growing)
      guard case .needsMore = step, !window.isAtEnd else { return step }
      do throws(Errno) {
        try window.fill()
      } catch {
        throw StartError(.noInput, "cannot read '\(path)': \(error.text); copy what can be saved of it")
      }
      if window.wasCut { return .needsMore }
    }
  }

  func first(_ count: Int) -> UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: window.bytes[..<count]) }
}
