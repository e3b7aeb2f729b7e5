import Testing

@testable import UringRawlog

/// The list of what a recording leaves out, without a recording.
@Suite struct RecordingEditsTests {
  /// What is recorded of a text whose edits are these, as long as nothing is in the way.
  private func recorded(_ text: String, _ edits: inout RecordingEdits) -> String {
    let bytes = Array(text.utf8)
    var result: [UInt8] = []
    var place = 0
    while true {
      edits.advance(to: UInt64(place))
      if let edit = edits.first, edit.place <= place {
        if edit.isUnsettled {
          result += edits.firstText
          edits.firstIsSettled()
        } else {
          place = Int(edit.place + edit.omitted)
        }
        continue
      }
      guard place < bytes.count else { break }
      result.append(bytes[place])
      place += 1
    }
    return String(decoding: result, as: UTF8.self)
  }

  // An expectation takes no list itself: lists are not copied.
  private func expectNone(_ edits: borrowing RecordingEdits, at place: SourceLocation = #_sourceLocation) {
    let isEmpty = edits.isEmpty
    #expect(isEmpty, sourceLocation: place)
  }

  private func release(_ text: String, at place: UInt64, in edits: inout RecordingEdits) {
    Array(text.utf8).withUnsafeBytes { edits.release($0, at: place) }
  }

  @Test func nothingIsTheSame() {
    var edits = RecordingEdits()
    expectNone(edits)
    let text = recorded("abc", &edits)
    #expect(text == "abc")
  }

  @Test func aMarkStandsForWhatIsLeftOutBehindIt() {
    var edits = RecordingEdits()
    edits.mark(settling: 0, at: 2)
    edits.omit(3, at: 2)
    edits.omit(2, at: 5)
    let edit = edits.first
    #expect(edit?.place == 2 && edit?.omitted == 5 && edit?.isMark == true)
    let text = recorded("ab12345cd", &edits)
    #expect(text == "ab<redacted>cd")
    expectNone(edits)
  }

  /// Also at the very place where the recording stands: it may have had no memory for it before.
  @Test func whatIsWithheldIsReleasedOrMarked() {
    var edits = RecordingEdits()
    edits.omit(3, at: 0, isWithheld: true)
    release("abc", at: 3, in: &edits)
    edits.omit(2, at: 4, isWithheld: true)
    edits.mark(settling: 2, at: 6)
    edits.omit(1, at: 6)
    var first = edits.first
    #expect(first?.isWithheld == true)
    var text = recorded("abcd123e", &edits)
    #expect(text == "abcd<redacted>e")

    release("x", at: 7, in: &edits)
    edits.advance(to: 7)
    first = edits.first
    #expect(first?.settled == 1)
    text = recorded("0123456", &edits)
    #expect(text == "0123456x")
  }

  /// What is withheld and what is left out for good stay apart, though one follows the other.
  @Test func kindsAreNotMixed() {
    var edits = RecordingEdits()
    edits.omit(2, at: 0)
    edits.omit(3, at: 2, isWithheld: true)
    var first = edits.first
    #expect(first?.omitted == 2)
    edits.advance(to: 2)
    first = edits.first
    #expect(first?.omitted == 3 && first?.isWithheld == true)
    edits.settle(3, at: 5)
    edits.omit(1, at: 5)
    edits.advance(to: 5)
    first = edits.first
    #expect(first?.settled == 3 && first?.omitted == 1 && first?.isWithheld == false)
    edits.firstIsSettled()
    edits.advance(to: 6)
    expectNone(edits)
  }

  @Test func nothingIsLeftOutOfNoBytes() {
    var edits = RecordingEdits()
    edits.omit(0, at: 5)
    expectNone(edits)
  }

  /// Edits that wait are followed by those that came since; of what is recorded already only the rest is taken along.
  @Test func listsFollowEachOther() {
    var waiting = RecordingEdits()
    var edits = RecordingEdits()
    edits.mark(settling: 0, at: 0)
    edits.omit(1, at: 0)
    release("bc", at: 3, in: &edits)
    edits.firstIsSettled()
    edits.advance(to: 1)
    waiting.append(edits)
    edits.removeAll()
    expectNone(edits)
    edits.mark(settling: 0, at: 4)
    edits.omit(2, at: 4)
    waiting.append(edits)
    let first = waiting.first
    #expect(first?.place == 3)
    let text = recorded("012345", &waiting)
    #expect(text == "012bc3<redacted>")
  }
}
