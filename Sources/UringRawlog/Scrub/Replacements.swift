/// Puts `<redacted>` in the place of credentials, in one direction of a recording.
struct Replacements {
  enum Part {
    case bytes(UnsafeRawBufferPointer)
    case mark
  }

  private let places: [CredentialSearch.Place]
  private var next = 0
  private var isMarkGiven = false
  /// Bytes taken so far: those of the recording, without stamps and marks of its layout.
  private(set) var taken: UInt64 = 0

  init(_ places: [CredentialSearch.Place]) {
    self.places = places
  }

  /// What is to be written of the next bytes; nil when that was all.
  ///
  /// - Parameter rest: what follows; shorter by what was taken.
  mutating func next(_ rest: inout UnsafeRawBufferPointer) -> Part? {
    while !rest.isEmpty {
      guard next < places.count else { return .bytes(take(rest.count, &rest)) }
      let place = places[next]
      if taken < place.start { return .bytes(take(Int(clamping: place.start - taken), &rest)) }
      if place.isMarked, !isMarkGiven {
        isMarkGiven = true
        return .mark
      }
      _ = take(Int(clamping: place.end - taken), &rest)
      if taken == place.end {
        next += 1
        isMarkGiven = false
      }
    }
    return nil
  }

  private mutating func take(_ most: Int, _ rest: inout UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
    let count = min(most, rest.count)
    defer { rest = UnsafeRawBufferPointer(rebasing: rest[count...]) }
    taken += UInt64(count)
    return UnsafeRawBufferPointer(rebasing: rest[..<count])
  }
}
