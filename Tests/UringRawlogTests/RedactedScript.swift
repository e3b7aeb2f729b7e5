@testable import UringRawlog

/// What one side of a mail connection said, and where in it the credentials are.
struct RedactedScript {
  let bytes: [UInt8]
  /// In rising order.
  private(set) var secrets: [Range<Int>] = []

  /// - Parameters:
  ///   - bytes: what was said, all of it.
  ///   - recorded: the same with `<redacted>` for each of `secrets`.
  init(_ bytes: [UInt8], recorded: [UInt8], secrets: [[UInt8]]) {
    self.bytes = bytes
    var (place, rest) = (0, recorded[...])
    for secret in secrets {
      // A secret may begin as what stands before it ends, and a user may be called like the mark: where the rest fits.
      while !(rest.starts(with: MailConversation.mark) && bytes[place...].starts(with: secret)
        && Self.fits(bytes[(place + secret.count)...], rest.dropFirst(MailConversation.mark.count)))
      {
        precondition(place < bytes.count && bytes[place] == rest.first, "the secrets are not where they should be")
        place += 1
        rest = rest.dropFirst()
      }
      self.secrets.append(place..<place + secret.count)
      place += secret.count
      rest = rest.dropFirst(MailConversation.mark.count)
    }
  }

  /// One whose credentials are words of it.
  init(_ text: String, secrets words: [String]) {
    bytes = Array(text.utf8)
    var rest = 0
    for word in words {
      let secret = Array(word.utf8)
      while !bytes[rest...].starts(with: secret) { rest += 1 }
      secrets.append(rest..<rest + secret.count)
      rest += secret.count
    }
  }

  private static func fits(_ bytes: ArraySlice<UInt8>, _ recorded: ArraySlice<UInt8>) -> Bool {
    let next = recorded.firstIndex(of: UInt8(ascii: "<")) ?? recorded.endIndex
    let plain = recorded[..<next].prefix(8)
    return bytes.starts(with: plain)
  }

  /// The recording of the first bytes, without some that are lost: what comes first of a credential becomes a mark, and
  /// what is lost takes the rest of one with it.
  ///
  /// - Returns: nil when a gap ends within a credential.
  func recording(upTo end: Int, without gaps: [Range<Int>] = []) -> [UInt8]? {
    var recorded: [UInt8] = []
    var place = 0
    while place < end {
      if let gap = gaps.first(where: { $0.contains(place) }) {
        let cut = secrets.first { $0.lowerBound < gap.upperBound && gap.upperBound < min($0.upperBound, end) }
        guard cut == nil else { return nil }
        place = gap.upperBound
      } else if let secret = secrets.first(where: { $0.lowerBound == place }) {
        recorded += MailConversation.mark
        place = gaps.first { secret.contains($0.lowerBound) }?.lowerBound ?? secret.upperBound
      } else {
        recorded.append(bytes[place])
        place += 1
      }
    }
    return recorded
  }

  /// What is wrong with a recording of the first bytes; nil when it is right.
  ///
  /// - Parameter mayHoldBack: the end may have cut off what might have become a credential.
  func fault(
    in recorded: [UInt8], upTo end: Int, without gaps: [Range<Int>] = [], mayHoldBack: Bool = false
  ) -> String? {
    guard let expected = recording(upTo: end, without: gaps) else { return "a gap ends within a credential" }
    if recorded == expected { return nil }
    let kept = recorded.dropLast(MailConversation.mark.count)
    if mayHoldBack, recorded.suffix(MailConversation.mark.count) == MailConversation.mark[...],
      expected.starts(with: kept), expected.count - kept.count <= LoginMemory.withheldBytes
    {
      return nil
    }
    let place = zip(recorded, expected).enumerated().first { $0.element.0 != $0.element.1 }?.offset
    func shown(_ bytes: [UInt8]) -> String {
      String(decoding: bytes.dropFirst(max(0, (place ?? .max - 30) - 30)).prefix(60), as: UTF8.self).escapedForMessage
    }
    return "'\(shown(recorded))' instead of '\(shown(expected))' about byte \(place.map(String.init) ?? "last")"
  }
}
