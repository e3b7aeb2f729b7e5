/// A capture that is shown while it grows.
final class FollowedCapture {
  /// A session of captures, which may go on in another one.
  final class Session {
    var shown: ShownSession
    var content = CapturedContent()
    var lines = PacketLines()
    /// Its heading was written.
    var isBegun = false
    /// It is one of those that were asked for.
    let isWanted: Bool

    init(_ shown: ShownSession, isWanted: Bool) {
      self.shown = shown
      self.isWanted = isWanted
    }
  }

  /// Its name without what comes with its end (`.part`, `.zst`).
  let stem: String
  let source: any CaptureSource
  /// nil until its first blocks are there.
  private(set) var reader: CaptureReader?
  /// Something was added since it was last looked at.
  var isDirty = true
  /// Its sessions that have not ended, by their numbers.
  var sessions: [UInt64: Session] = [:]

  init(_ source: any CaptureSource, stem: String) {
    self.source = source
    self.stem = stem
  }

  /// - Returns: nil when its first blocks are not there yet.
  /// - Throws: 65, 66 when it is no capture of ours, or cannot be read.
  func open() throws(StartError) -> CaptureReader? {
    if let reader { return reader }
    do throws(StartError) {
      reader = try CaptureReader(source)
    } catch {
      // One that was just created has nothing, or a part of its beginning.
      guard source.path.hasSuffix(".part"), try source.count() < Limits.captureLeastBytes else { throw error }
    }
    return reader
  }

  /// What a capture is called while it is written, when it was ended and when it was compressed.
  static func stem(of name: String) -> String? {
    guard CaptureLibrary.isCapture(name), let stored = StoredName(name) else { return nil }
    return String(stored.stem)
  }
}
