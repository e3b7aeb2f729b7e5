/// The sessions of a directory in the order of time, all or one of them.
struct SessionChoice {
  private let listing: RecordingListing
  private let table: IndexTable?

  init(_ listing: RecordingListing, _ table: IndexTable?) {
    self.listing = listing
    self.table = table
  }

  /// - Parameter id: that of one session, or the beginning of one that no other begins with; nil for all.
  /// - Throws: 66 when there is none, or more than one.
  func chosen(_ id: String?) throws(StartError) -> [RecordingListing.Entry] {
    guard let id else { return inOrder() }
    let exact = listing.entries.filter { $0.stem == id }
    if !exact.isEmpty { return exact }
    let found = listing.entries.filter { $0.stem.hasPrefix(id) }
    let option = "--session: '\(id)'"
    guard let first = found.first else {
      let isInIndex = table?.sessions.keys.contains { $0.hasPrefix(id) } ?? false
      throw StartError(
        .noInput,
        isInIndex
          ? "\(option) is in the index, but '\(listing.root)' has no file of it; it was not recorded, or its files are elsewhere"
          : "\(option) is no session of '\(listing.root)'; leave the option out to see all sessions and their ids")
    }
    guard found.count == 1 else {
      throw StartError(
        .noInput,
        "\(option) begins the ids of \(found.count) sessions of '\(listing.root)', such as '\(first.stem)' and "
          + "'\(found[1].stem)'; give more of the id")
    }
    return found
  }

  /// The time comes from the index and, where that says nothing, from the name.
  private func inOrder() -> [RecordingListing.Entry] {
    struct Key {
      var time: Int64
      var processID: UInt64
      var number: UInt64
      var place: Int32
    }
    let keys = listing.entries.indices.map { place in
      let stem = listing.entries[place].stem
      let parts = RecordingName.Parts(stem)
      return Key(
        time: table?.sessions[stem]?.time ?? parts?.microseconds ?? .max, processID: parts?.processID ?? 0,
        number: parts?.number ?? 0, place: Int32(place))
    }
    return keys.sorted {
      ($0.time, $0.processID, $0.number, $0.place) < ($1.time, $1.processID, $1.number, $1.place)
    }.map { listing.entries[Int($0.place)] }
  }
}
