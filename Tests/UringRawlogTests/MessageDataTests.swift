import Testing

@testable import UringRawlog

/// The end of a message, against a search that goes byte by byte over all of it.
@Suite struct MessageDataTests {
  /// Behind the first end of the message, of any kind, and whether it is a strict one; nil when there is none.
  private static func end(of bytes: [UInt8]) -> (place: Int, isStrict: Bool)? {
    // The message begins as if a CR LF had come before it.
    let text: [UInt8] = [13, 10] + bytes
    for place in 1..<text.count where text[place] == 10 && place + 1 < text.count && text[place + 1] == 46 {
      let isBehindCRLF = text[place - 1] == 13
      if text[(place + 2)...].starts(with: [13, 10]) { return (place + 4 - 2, isBehindCRLF) }
      if text[(place + 2)...].starts(with: [10]) { return (place + 3 - 2, false) }
    }
    return nil
  }

  private static func find(in bytes: [UInt8], cut: () -> Int) -> (place: Int, isStrict: Bool)? {
    var data = MessageData()
    var done = 0
    let memory = UnsafeMutablePointer<LoginMemory>.allocate(capacity: 1)
    defer { memory.deallocate() }
    while done < bytes.count {
      let part = Array(bytes[done..<min(bytes.count, done + cut())])
      let (found, place) = part.withUnsafeBytes { span in
        var reader = SpanReader(bytes: span.baseAddress!, end: span.count, memory: memory)
        let found = data.skip(&reader)
        return (found, reader.place)
      }
      done += place
      switch found {
      case .nothing: #expect(place == part.count)
      case .end: return (done, true)
      case .looseEnd: return (done, false)
      }
    }
    return nil
  }

  @Test func endsAreFoundWhereTheyAre() throws {
    var ends = 0
    for seed in 1...UInt64(4000) {
      var random = SeededGenerator(seed: seed)
      let alphabet = Array("\r\n..\r\nx ".utf8)
      let lines = 1 + random.below(6)
      let bytes = (0..<random.below(60)).map { _ in
        random.once(in: lines) ? alphabet[random.below(alphabet.count)] : UInt8(ascii: "y")
      }
      let expected = Self.end(of: bytes)
      if expected != nil { ends += 1 }
      for most in [1, 3, 1000] {
        let found = Self.find(in: bytes) { most == 1 ? 1 : 1 + random.below(most) }
        try #require(found?.place == expected?.place && found?.isStrict == expected?.isStrict, "seed \(seed), \(most)")
      }
    }
    #expect(ends > 300)
  }

  @Test func aLongMessageEndsAtItsEnd() {
    let line = Array((String(repeating: "text. ", count: 11) + "\r\n").utf8)
    let message = (0..<5000).flatMap { _ in line } + Array("...\r\n..\r\n.\r\n".utf8)
    #expect(Self.find(in: message + line) { 60_000 }?.place == message.count)
  }
}
