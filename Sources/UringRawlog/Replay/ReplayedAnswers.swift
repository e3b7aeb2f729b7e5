import Glibc

/// What a server answered in a recording and answers now, compared line by line.
struct ReplayedAnswers: ~Copyable {
  private let output: Int32
  /// Lines of the recording that were not answered yet, and the beginning of one.
  private var expected: [[UInt8]] = []
  private var next = 0
  private var expectedRest: [UInt8] = []
  /// The beginning of a line that came.
  private var rest: [UInt8] = []
  private var lines: UInt64 = 0
  private var same: UInt64 = 0
  private var differences: UInt64 = 0

  /// - Parameter output: gets lines that differ.
  init(_ output: Int32) {
    self.output = output
  }

  var hasDifference: Bool { differences > 0 }
  /// Lines of the recording are still to come.
  var isWaiting: Bool { next < expected.count }

  /// The recording has these bytes of answers.
  mutating func expect(_ bytes: UnsafeRawBufferPointer) {
    if next == expected.count {
      expected.removeAll(keepingCapacity: true)
      next = 0
    }
    for byte in bytes {
      expectedRest.append(byte)
      guard byte == UInt8(ascii: "\n") || expectedRest.count >= Limits.pieceBytes else { continue }
      expected.append(expectedRest)
      expectedRest.removeAll(keepingCapacity: true)
    }
  }

  /// These came.
  mutating func take(_ bytes: UnsafeRawBufferPointer) {
    for byte in bytes {
      rest.append(byte)
      guard byte == UInt8(ascii: "\n") || rest.count >= Limits.pieceBytes else { continue }
      compare(rest)
      rest.removeAll(keepingCapacity: true)
    }
  }

  private mutating func compare(_ line: [UInt8]) {
    lines += 1
    let wanted = next < expected.count ? expected[next] : nil
    next = min(next + 1, expected.count)
    if line == wanted {
      same += 1
    } else {
      differ(wanted, line)
    }
  }

  /// Shows the first few lines that differ, escaped.
  private mutating func differ(_ wanted: [UInt8]?, _ line: [UInt8]?) {
    differences += 1
    guard differences <= 10 else { return }
    func shown(_ line: [UInt8]?) -> String {
      guard let line else { return "nothing" }
      let text = String(decoding: line.prefix(1000), as: UTF8.self)
      return "'\(text.escapedForMessage)'"
    }
    say("answer \(lines): recorded \(shown(wanted)), now \(shown(line))\n")
  }

  /// Nothing more comes.
  mutating func end() {
    if !rest.isEmpty || !expectedRest.isEmpty {
      if rest == expectedRest {
        same += 1
      } else {
        differ(expectedRest.isEmpty ? nil : expectedRest, rest.isEmpty ? nil : rest)
      }
    }
    while next < expected.count {
      differ(expected[next], nil)
      next += 1
    }
  }

  /// An answer did not come in time.
  mutating func giveUp() {
    while next < expected.count {
      lines += 1
      differ(expected[next], nil)
      next += 1
    }
  }

  mutating func sumUp(sent: UInt64, id: String) {
    say(
      "\(id): \(sent) bytes sent, \(same) lines answered as recorded"
        + (differences == 0 ? "\n" : ", \(differences) otherwise\n"))
  }

  private func say(_ text: String) {
    let bytes = Array(text.utf8)
    _ = write(output, bytes, bytes.count)
  }
}
