/// Feeds the two halves of STARTTLS that the relay speaks itself with whatever libFuzzer thinks of (`make fuzz`): the
/// exchange with a server, and the offer in a server's place.
///
/// The first byte of an input chooses the protocol and the half; the rest is lines. An input that crashes, or breaks what
/// must always hold, is a finding.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzStartTLS(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  guard count > 1 else { return 0 }
  let input = UnsafeBufferPointer(start: start, count: count)
  let all = MailProtocol.allCases
  let mailProtocol = all[Int(input[0] >> 1) % all.count]
  // Each line is a copy by itself, so that the address sanitizer sees who reads behind its end.
  let lines = input[1...].split(separator: 0x0A, omittingEmptySubsequences: false).map { Array($0) + [0x0A] }
  if input[0] & 1 == 0 { fuzzExchange(mailProtocol, lines) } else { fuzzOffer(mailProtocol, lines) }
  return 0
}

private func fuzzExchange(_ mailProtocol: MailProtocol, _ lines: [[UInt8]]) {
  var exchange = StartTLSExchange(mailProtocol)
  var sent: [String] = []
  for line in lines {
    switch line.withUnsafeBytes({ exchange.take($0) }) {
    case .wait: break
    case .send(let command):
      sent.append(command.description)
      precondition(sent.count <= 2 && command.description.hasSuffix("\r\n"), "it asks once")
    case .granted:
      precondition(sent.last?.contains("ST") == true, "nobody asked for TLS")
      let hello = mailProtocol == .smtp || mailProtocol == .lmtp
      precondition(sent.count == (hello ? 2 : 1), "a step was left out")
      return
    case .refused(let reason):
      precondition(!reason.isEmpty && reason.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F }, "the words are ours")
      return
    }
  }
}

private func fuzzOffer(_ mailProtocol: MailProtocol, _ lines: [[UInt8]]) {
  var offer = StartTLSOffer(mailProtocol)
  let word = Array((mailProtocol == .pop3 ? "STLS" : "STARTTLS").utf8)
  for line in lines {
    // What stands in the dialogue is the caller's knowledge; here the line says.
    let flags = line[0]
    line.withUnsafeBytes { bytes in
      if let edited = offer.edited(bytes, answersHello: flags & 1 == 0, answersCapabilities: flags & 2 == 0) {
        precondition(edited.count > line.count && edited.last == 0x0A, "the line stays one")
        precondition(occurrences(of: word, in: edited) == occurrences(of: word, in: line) + 1, "it is added once")
        let ends = edited.count { $0 == 0x0A }
        precondition(ends == (mailProtocol == .imap ? 1 : 2), "one line is added, or none")
      }
      if let answer = offer.answer(to: bytes) {
        precondition(answer.suffix(2) == [0x0D, 0x0A] && answer.count { $0 == 0x0A } == 1, "the answer is one line")
        precondition(answer.allSatisfy { $0 >= 0x20 && $0 < 0x7F || $0 == 0x0D || $0 == 0x0A }, "and plain")
      }
    }
  }
}

private func occurrences(of word: [UInt8], in bytes: [UInt8]) -> Int {
  guard bytes.count >= word.count else { return 0 }
  return (0...bytes.count - word.count).count { bytes[$0..<$0 + word.count].elementsEqual(word) }
}
