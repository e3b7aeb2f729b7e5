@testable import UringRawlog

/// What one side of a mail connection said, and where in it the credentials are.
struct RedactedScript {
  let bytes: [UInt8]
  /// In rising order.
  private(set) var secrets: [Range<Int>] = []

  /// What a dialogue that hears it in one piece makes of the client's side. Whether that is right, its own tests ask.
  init(_ conversation: MailConversation) {
    bytes = conversation.traffic(.client)
    let memory = UnsafeMutablePointer<LoginMemory>.allocate(capacity: 1)
    memory.initialize(to: LoginMemory())
    defer { memory.deallocate() }
    var dialogue = Dialogue(conversation.mailProtocol)
    var place = 0
    for piece in conversation.pieces {
      var rest = piece.bytes[...]
      while !rest.isEmpty {
        let withheld = Int(dialogue.withheldCount)
        let step = rest.withUnsafeBytes { dialogue.scan($0, from: piece.speaker, memory: memory) }
        rest = rest.dropFirst(step.count)
        guard piece.speaker == .client else { continue }
        var settled = withheld - Int(dialogue.withheldCount)
        if step.treatment == .withhold { settled += step.count }
        take(step, settled: settled - Int(step.released), at: place)
        place += step.count
      }
    }
    let withheld = Int(dialogue.withheldCount)
    take(dialogue.finish(), settled: withheld, at: place)
  }

  private mutating func take(_ step: DialogueStep, settled: Int, at place: Int) {
    switch step.treatment {
    case .redact: secrets.append(place - settled..<place + step.count)
    case .omit: secrets[secrets.count - 1] = secrets[secrets.count - 1].lowerBound..<place + step.count
    case .record, .withhold:
      if settled > 0 { secrets[secrets.count - 1] = secrets[secrets.count - 1].lowerBound..<place }
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
