/// The side file of a capture, `.idx`: where the blocks of each session are, so that one can be taken out of a large
/// capture without reading the rest.
///
/// Lines of text. A session's blocks are linked backwards in the capture itself, so a line is enough for each, and it is
/// added when the session's last packet of the capture was composed:
///
///     uring-rawlog-idx 1
///     20260131-091500.4711.1 320 12816 9 whole
///     total 1 12912
///
/// A line is an id, where in the capture the session's first and its last block begin, how many it has, and which part
/// of the session they are. The last line says how many lines there are and how long the capture is; without it the file
/// is not complete.
enum CaptureIndex {
  /// Which part of a session a capture has.
  enum Part: String, CaseIterable {
    case whole
    /// It goes on in a later capture.
    case begins
    case continues
    /// It began in an earlier one.
    case ends

    init(isCarriedOn: Bool, goesOn: Bool) {
      switch (isCarriedOn, goesOn) {
      case (false, false): self = .whole
      case (false, true): self = .begins
      case (true, true): self = .continues
      case (true, false): self = .ends
      }
    }

    var beginsHere: Bool { self == .whole || self == .begins }
    var endsHere: Bool { self == .whole || self == .ends }

    var word: StaticString {
      switch self {
      case .whole: "whole"
      case .begins: "begins"
      case .continues: "continues"
      case .ends: "ends"
      }
    }
  }

  struct Entry: Equatable {
    var id: String
    var firstBlock: UInt64
    var lastBlock: UInt64
    var blocks: UInt64
    var part: Part
  }

  static let heading: StaticString = "uring-rawlog-idx 1\n"
  /// What a line takes at the most.
  static let mostLineBytes = CapturedConversation.mostIDBytes + 3 * 21 + 12

  /// The line of a session whose last packet in its capture was composed.
  ///
  /// - Parameter goesOn: the session has not ended; its next packet will be in another capture.
  static func appendLine(
    _ conversation: borrowing CapturedConversation, id: UnsafeRawBufferPointer, goesOn: Bool, to text: inout Bytes
  ) {
    text.append(id)
    text.append(" ")
    text.append(decimal: conversation.firstBlock)
    text.append(" ")
    text.append(decimal: conversation.lastBlock)
    text.append(" ")
    text.append(decimal: conversation.blocks)
    text.append(" ")
    text.append(Part(isCarriedOn: conversation.isCarriedOn, goesOn: goesOn).word)
    text.append("\n")
  }

  /// The last line, when the capture is complete.
  static func appendTotal(lines: UInt64, captureBytes: UInt64, to text: inout Bytes) {
    text.append("total ")
    text.append(decimal: lines)
    text.append(" ")
    text.append(decimal: captureBytes)
    text.append("\n")
  }
}
