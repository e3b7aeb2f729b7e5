import Testing

@testable import UringRawlog

@Suite struct Base64DecoderTests {
  private func decode(_ text: String) -> (bytes: [UInt8], isWhole: Bool) {
    var decoder = Base64Decoder()
    let bytes = text.utf8.compactMap { decoder.take($0) }
    return (bytes, decoder.isWhole)
  }

  @Test func decodesWhatWasEncoded() {
    var random = SeededGenerator(seed: 1)
    for count in 0..<300 {
      let bytes = (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
      let decoded = decode(base64(bytes))
      #expect(decoded.bytes == bytes && decoded.isWhole)
    }
  }

  @Test(arguments: ["A", "AAAAA", "AA=A", "AB CD", "AB-_", "!", "\u{E4}"])
  func otherTextIsNone(_ text: String) { #expect(!decode(text).isWhole) }

  @Test func missingPaddingIsForgiven() {
    #expect(decode("YQ").bytes == [97] && decode("YQ").isWhole)
  }
}
