/// `YYYYMMDD-HHMMSS`, as file names have it.
struct LocalTimeText {
  static let count = 15
  private var text = InlineArray<16, UInt8>(repeating: UInt8(ascii: "0"))

  init() {}

  init(_ characters: UnsafeRawBufferPointer) {
    for index in 0..<Self.count { text[index] = characters[index] }
  }

  func append(to bytes: inout Bytes) { append(0..<Self.count, to: &bytes) }

  /// `YYYYMMDD`.
  func appendDate(to bytes: inout Bytes) { append(0..<8, to: &bytes) }

  /// `YYYYMMDD`.
  var date: String {
    var bytes = Bytes(capacity: 16)
    appendDate(to: &bytes)
    return String(decoding: bytes.span, as: UTF8.self)
  }

  private func append(_ range: Range<Int>, to bytes: inout Bytes) {
    text.span.withUnsafeBytes { bytes.append(UnsafeRawBufferPointer(rebasing: $0[range])) }
  }
}
