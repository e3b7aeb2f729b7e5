/// Why a capture, or the file beside it, cannot be read: one line, with the path.
struct CaptureError: Error, Equatable {
  enum Kind {
    /// The file is not there or cannot be read (66).
    case unreadable
    /// It is no capture of this program (65).
    case foreign
    /// It is one, and is damaged (65).
    case damaged
  }

  let kind: Kind
  let message: String

  init(_ kind: Kind, _ message: String) {
    self.kind = kind
    self.message = message
  }
}
