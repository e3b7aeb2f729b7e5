import Glibc

/// A name in a directory of recordings, as far as it is one that the relay gives (`docs/FORMAT.md`).
///
/// Strict, since what has such a name may be deleted: names that are merely similar are not ours.
struct StoredName: Equatable {
  enum Kind: Equatable {
    /// One direction of a session, `.in` or `.out`.
    case pair
    /// Both directions, `.rawlog`.
    case merged
    /// `.pcapng`, or compressed `.pcapng.zst`.
    case capture
    /// `.idx`, beside a capture.
    case captureIndex
    /// `sessions-YYYYMMDD.jsonl`: the index of a day that is over.
    case dayIndex
  }

  let kind: Kind
  /// Files with the same stem belong together: the name up to its suffix.
  let stem: Substring
  /// `.part` stands behind it: it was not complete when it was last written to.
  let isPartial: Bool

  /// nil when it is not a name of ours.
  init?(_ name: String) {
    var rest = Substring(name)
    isPartial = rest.dropSuffix(".part")
    if rest.hasPrefix("sessions-"), rest.hasSuffix(".jsonl") {
      guard !isPartial, Self.isDay(rest.dropFirst("sessions-".count).dropLast(".jsonl".count)) else { return nil }
      (kind, stem) = (.dayIndex, rest)
      return
    }
    if rest.dropSuffix(".pcapng") || rest.dropSuffix(".pcapng.zst") {
      kind = .capture
    } else if rest.dropSuffix(".idx") {
      kind = .captureIndex
    } else if rest.dropSuffix(".in") || rest.dropSuffix(".out") {
      kind = .pair
    } else if rest.dropSuffix(".rawlog") {
      kind = .merged
    } else {
      return nil
    }
    stem = rest
    // Recordings of one session are never partial, and captures have no client.
    let isOfSession = kind == .pair || kind == .merged
    guard isOfSession ? !isPartial && Self.isSessionStem(rest) : Self.isStem(rest) else { return nil }
  }

  /// `YYYYMMDD-HHMMSS.PID.N`.
  private static func isStem(_ text: Substring) -> Bool {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 3, isNumber(parts[1]), isNumber(parts[2]) else { return false }
    let time = parts[0].split(separator: "-", omittingEmptySubsequences: false)
    guard time.count == 2, isDay(time[0]), time[1].utf8.count == 6, areDigits(time[1]) else { return false }
    let clock = Int(time[1]) ?? .max
    return clock / 10000 < 24 && clock / 100 % 100 < 60 && clock % 100 < 61
  }

  private static func isSessionStem(_ text: Substring) -> Bool {
    // The client's address in front may have hyphens nowhere, and the stem has one.
    guard let hyphen = text.lastIndex(of: "-") else { return false }
    guard let before = text[..<hyphen].lastIndex(of: "-") else { return isStem(text) }
    return isClient(String(text[..<before])) && isStem(text[text.index(after: before)...])
  }

  /// As `PeerAddress.appendHost` writes it.
  private static func isClient(_ text: String) -> Bool {
    if text == "unix" { return true }
    var address = in6_addr()
    if inet_pton(AF_INET, text, &address) == 1 { return true }
    let parts = text.split(separator: "%", omittingEmptySubsequences: false)
    guard parts.count == 1 || parts.count == 2 && isNumber(parts[1]) else { return false }
    return inet_pton(AF_INET6, String(parts[0]), &address) == 1
  }

  private static func isDay(_ text: Substring) -> Bool {
    guard text.utf8.count == 8, areDigits(text), let day = Int(text) else { return false }
    return (1...12).contains(day / 100 % 100) && (1...31).contains(day % 100)
  }

  private static func areDigits(_ text: Substring) -> Bool { text.utf8.allSatisfy { (0x30...0x39).contains($0) } }

  /// A number without leading zeros.
  private static func isNumber(_ text: Substring) -> Bool {
    !text.isEmpty && text.utf8.count <= 20 && areDigits(text) && (text == "0" || !text.hasPrefix("0"))
  }
}

extension Substring {
  /// Drops `suffix` if something stands in front of it.
  fileprivate mutating func dropSuffix(_ suffix: String) -> Bool {
    guard hasSuffix(suffix), utf8.count > suffix.utf8.count else { return false }
    self = dropLast(suffix.count)
    return true
  }
}
