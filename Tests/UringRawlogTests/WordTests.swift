import Testing

@testable import UringRawlog

@Suite struct WordTests {
  private func word(_ text: String) -> Word {
    var word = Word()
    for byte in text.utf8 { word.append(byte) }
    return word
  }

  @Test func lettersOfAnyCaseAreTheSame() {
    #expect(word("AuthenticATE") == "AUTHENTICATE")
    #expect(word("scram-sha-256").begins(with: "SCRAM-"))
    #expect(word("login") != "LOGOUT" && word("login") != "LOGI" && word("") != "A")
    #expect(!word("SCRA").begins(with: "SCRAM-"))
    // Only letters have a case.
    #expect(word("a{b") != "A[B")
  }

  @Test func aLongWordIsNoneThatIsKnown() {
    #expect(word("ABCDEFGHIJKLMNOP") == "ABCDEFGHIJKLMNOP")
    #expect(word("ABCDEFGHIJKLMNOPQ") != "ABCDEFGHIJKLMNOP")
    #expect(word(String(repeating: "x", count: 300)).count == 255)
  }

  @Test func isOneOfAList() {
    for name in ["QUIT", "stat", "NOOP"] { #expect(word(name).isOne(of: "QUIT STAT NOOP")) }
    for name in ["QUI", "QUITS", "", "T S", "NOO"] { #expect(!word(name).isOne(of: "QUIT STAT NOOP")) }
  }

  @Test(arguments: MailProtocol.allCases)
  func onlyCommandsAreKnown(_ mailProtocol: MailProtocol) {
    #expect(Command.isKnown(word("noop"), mailProtocol))
    for name in ["AGFsaWNlAHNlY3JldA==", "", ".", "*", "secret", "+", "noop1"] {
      #expect(!Command.isKnown(word(name), mailProtocol))
    }
  }
}
