/// Where a recording differs from the relayed bytes of its direction: what is left out, and what stands in its place.
///
/// In order of their place in the stream, and only those that the recording has not come to yet.
struct RecordingEdits: ~Copyable {
  struct Edit {
    /// Where in the stream it applies, and how many relayed bytes from there on are left out.
    var place: UInt64
    var omitted: UInt64
    /// What is recorded there, as a part of `text`.
    var textStart: Int32
    var textCount: Int32
  }

  /// What stands in the place of a credential.
  static let redacted: StaticString = "<redacted>"

  private var edits: [Edit] = []
  private var next = 0
  private var text = Bytes()

  /// Kept, since it is asked for every message.
  private(set) var isEmpty = true
  /// The first that the recording comes to.
  var first: Edit? { isEmpty ? nil : edits[next] }

  /// Leaves bytes out.
  mutating func omit(_ count: Int, at place: UInt64) {
    guard count > 0 else { return }
    if !isEmpty, edits[edits.count - 1].place + edits[edits.count - 1].omitted == place {
      edits[edits.count - 1].omitted += UInt64(count)
    } else {
      edits.append(Edit(place: place, omitted: UInt64(count), textStart: 0, textCount: 0))
      isEmpty = false
    }
  }

  /// Puts a text in front of the byte at a place.
  mutating func insert(_ bytes: UnsafeRawBufferPointer, at place: UInt64) {
    let start = text.count
    text.append(bytes)
    edits.append(Edit(place: place, omitted: 0, textStart: Int32(start), textCount: Int32(bytes.count)))
    isEmpty = false
  }

  mutating func insertRedacted(at place: UInt64) {
    insert(UnsafeRawBufferPointer(start: Self.redacted.utf8Start, count: Self.redacted.utf8CodeUnitCount), at: place)
  }

  /// The text of the first edit; valid until the next call that changes anything.
  var firstText: UnsafeRawBufferPointer? {
    guard let first, first.textCount > 0 else { return nil }
    return UnsafeRawBufferPointer(rebasing: text.span[Int(first.textStart)..<Int(first.textStart + first.textCount)])
  }

  /// The text of the first edit is recorded.
  mutating func noteInserted() { edits[next].textCount = 0 }

  /// The recording is at `place`: what lies before it is done.
  mutating func advance(to place: UInt64) {
    while let first, first.textCount == 0, first.place + first.omitted <= place { drop() }
  }

  /// Everything before `place` is lost to the recording.
  mutating func discard(before place: UInt64) {
    while let first, first.place + first.omitted <= place { drop() }
    if !isEmpty, edits[next].place < place { edits[next].textCount = 0 }
  }

  /// Appends those of another list, whose places lie behind.
  mutating func append(_ other: borrowing RecordingEdits) {
    for place in other.next..<other.edits.count {
      var edit = other.edits[place]
      let start = Int(edit.textStart)
      edit.textStart = Int32(text.count)
      text.append(UnsafeRawBufferPointer(rebasing: other.text.span[start..<start + Int(edit.textCount)]))
      edits.append(edit)
      isEmpty = false
    }
  }

  private mutating func drop() {
    next += 1
    if next == edits.count { removeAll() }
  }

  mutating func removeAll() {
    isEmpty = true
    edits.removeAll(keepingCapacity: true)
    next = 0
    text.removeAll()
  }
}

/// The edits of a direction whose recording waits for memory.
final class WaitingEdits {
  var edits = RecordingEdits()
}
