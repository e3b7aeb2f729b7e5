import Glibc
import Testing

@testable import UringRawlog

extension Bytes {
  /// A copy of the bytes as text, which an expectation can take.
  var text: String { String(decoding: span, as: UTF8.self) }
}

@Suite struct BytesTests {
  @Test func everythingThatIsAppendedIsThere() {
    var bytes = Bytes(capacity: 1)
    bytes.append(UInt8(ascii: "a"))
    bytes.append("literal")
    bytes.append([0, 1, 255])
    bytes.append(text: "t\u{00FC}rk" as String)
    Array("raw".utf8).withUnsafeBytes { bytes.append($0) }
    bytes.append(UnsafeRawBufferPointer(start: nil, count: 0))
    var other = Bytes()
    other.append("other")
    bytes.append(other)
    let content = Array(bytes.span)
    #expect(content == Array("aliteral".utf8) + [0, 1, 255] + Array("t\u{00FC}rkrawother".utf8))
    let (count, otherText) = (bytes.count, other.text)
    #expect(count == content.count && otherText == "other")
  }

  @Test func growingKeepsTheContent() throws {
    for seed in 1...UInt64(20) {
      var random = SeededGenerator(seed: seed)
      var bytes = Bytes(capacity: 1 + random.below(4))
      var model: [UInt8] = []
      for _ in 0..<300 {
        switch random.below(6) {
        case 0:
          bytes.append(7)
          model.append(7)
        case 1:
          let piece = (0..<random.below(200)).map { UInt8(truncatingIfNeeded: $0) }
          bytes.append(piece)
          model += piece
        case 2:
          let value = random.next() >> UInt64(random.below(64))
          bytes.append(decimal: value)
          model += Array(String(value).utf8)
        case 3 where random.once(in: 5):
          let kept = random.below(model.count + 20)
          bytes.truncate(kept)
          model = Array(model.prefix(kept))
        case 4 where random.once(in: 20):
          bytes.removeAll()
          model = []
        default:
          bytes.reserve(random.below(100))
        }
        let isSame = bytes.span.elementsEqual(model)
        try #require(isSame, "seed \(seed)")
      }
    }
  }

  @Test(
    arguments: [
      (0, 1, "0"), (0, 6, "000000"), (7, 1, "7"), (7, 2, "07"), (10, 1, "10"), (99, 3, "099"), (123_456, 6, "123456"),
      (1_234_567, 6, "1234567"), (UInt64.max, 1, "18446744073709551615"), (UInt64.max, 22, "0018446744073709551615"),
    ] as [(UInt64, Int, String)])
  func decimals(value: UInt64, width: Int, expected: String) {
    var bytes = Bytes(capacity: 1)
    bytes.append(decimal: value, width: width)
    let text = bytes.text
    #expect(text == expected)
  }

  @Test func aCStringEndsAtItsNul() {
    var bytes = Bytes()
    bytes.append("name")
    bytes.append(0)
    let text = String(cString: bytes.cString)
    #expect(text == "name")
  }

  @Test func truncatingNeverGrows() {
    var bytes = Bytes()
    bytes.append("abc")
    bytes.truncate(5)
    let same = bytes.text
    bytes.truncate(1)
    let shorter = bytes.text
    bytes.truncate(0)
    let empty = bytes.count
    #expect(same == "abc" && shorter == "a" && empty == 0)
  }
}
