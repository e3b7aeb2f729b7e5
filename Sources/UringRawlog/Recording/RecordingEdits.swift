/// Where a recording differs from the relayed bytes of its direction: what is left out, and what stands in its place.
///
/// In order of their place in the stream, and only those that the recording has not come to yet.
struct RecordingEdits: ~Copyable {
  /// First its text is recorded, then bytes are left out.
  struct Edit {
    /// Where in the stream it applies.
    var place: UInt64
    /// Relayed bytes from there on that are left out.
    var omitted: UInt64 = 0
    /// Whether they may be recorded after all: a later edit settles that.
    var isWithheld = false
    /// Bytes that were withheld before, and for which the text stands, or what was recorded before them.
    var settled: Int32 = 0
    /// What is recorded, as a part of `text`.
    var textStart: Int32 = 0
    var textCount: Int32 = 0
    /// The text is `<redacted>`.
    var isMark = false

    /// Something is to be recorded before any byte is left out.
    @inline(__always) var isUnsettled: Bool { textCount > 0 || settled > 0 }
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

  // MARK: Making them

  /// Leaves bytes out.
  ///
  /// - Parameter isWithheld: until it is known what they are.
  mutating func omit(_ count: Int, at place: UInt64, isWithheld: Bool = false) {
    guard count > 0 else { return }
    if !isEmpty {
      let last = edits[edits.count - 1]
      if last.place + last.omitted == place, last.omitted == 0 || last.isWithheld == isWithheld {
        edits[edits.count - 1].omitted += UInt64(count)
        edits[edits.count - 1].isWithheld = isWithheld
        return
      }
    }
    add(Edit(place: place, omitted: UInt64(count), isWithheld: isWithheld))
  }

  /// Records bytes that were not relayed, in front of the byte at a place.
  mutating func insert(_ bytes: UnsafeRawBufferPointer, at place: UInt64) {
    append(bytes, Edit(place: place))
  }

  /// Records bytes that were withheld, in front of the byte at a place.
  mutating func release(_ bytes: UnsafeRawBufferPointer, at place: UInt64) {
    append(bytes, Edit(place: place, settled: Int32(bytes.count)))
  }

  /// Records `<redacted>` in front of the byte at a place, in the place of `settled` bytes that were withheld and of
  /// those that are left out behind it.
  mutating func mark(settling settled: Int, at place: UInt64) {
    append(
      UnsafeRawBufferPointer(start: Self.redacted.utf8Start, count: Self.redacted.utf8CodeUnitCount),
      Edit(place: place, settled: Int32(settled), isMark: true))
  }

  /// Bytes that were withheld belong to what was redacted before them.
  mutating func settle(_ settled: Int, at place: UInt64) {
    add(Edit(place: place, settled: Int32(settled)))
  }

  private mutating func append(_ bytes: UnsafeRawBufferPointer, _ edit: Edit) {
    var edit = edit
    edit.textStart = Int32(text.count)
    edit.textCount = Int32(bytes.count)
    text.append(bytes)
    add(edit)
  }

  private mutating func add(_ edit: Edit) {
    edits.append(edit)
    isEmpty = false
  }

  // MARK: Recording them

  /// The text of the first edit; valid until the next call that changes anything.
  var firstText: UnsafeRawBufferPointer {
    let edit = edits[next]
    return UnsafeRawBufferPointer(rebasing: text.span[Int(edit.textStart)..<Int(edit.textStart + edit.textCount)])
  }

  /// So much will be recorded that was not relayed, at the most.
  var textBytes: Int { text.count }

  /// The text of the first edit is recorded.
  mutating func firstIsSettled() {
    edits[next].textCount = 0
    edits[next].settled = 0
  }

  /// The recording is at `place`: what lies before it is done.
  mutating func advance(to place: UInt64) {
    while let first, !first.isUnsettled, first.place + first.omitted <= place { drop() }
  }

  /// Appends those of another list, whose places lie behind.
  mutating func append(_ other: borrowing RecordingEdits) {
    for place in other.next..<other.edits.count {
      var edit = other.edits[place]
      let start = Int(edit.textStart)
      edit.textStart = Int32(text.count)
      text.append(UnsafeRawBufferPointer(rebasing: other.text.span[start..<start + Int(edit.textCount)]))
      add(edit)
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
