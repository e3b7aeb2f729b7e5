/// The names of a capture and of what lies beside it: `YYYYMMDD-HHMMSS.PID.N` and a suffix.
struct CaptureName {
  enum File {
    /// The capture itself, `.pcapng`.
    case capture
    /// Its side file, `.idx`.
    case index

    var suffix: StaticString {
      switch self {
      case .capture: ".pcapng"
      case .index: ".idx"
      }
    }
  }

  /// When the capture was begun, in local time.
  let time: LocalTimeText
  let processID: Int32
  /// The capture's number in the process, from 1.
  let number: UInt64

  /// - Parameter isPartial: the file is not complete yet: `.part` stands behind its name.
  func append(_ file: File, isPartial: Bool, to text: inout Bytes) {
    time.append(to: &text)
    text.append(".")
    text.append(decimal: UInt64(processID))
    text.append(".")
    text.append(decimal: number)
    text.append(file.suffix)
    if isPartial { text.append(".part") }
  }
}
