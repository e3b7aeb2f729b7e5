/// Writes one comment (opt_comment) into memory that has room for it.
struct CommentWriter {
  private let memory: UnsafeMutableRawPointer
  private var count = 4

  init(_ memory: UnsafeMutableRawPointer) {
    self.memory = memory
  }

  mutating func append(_ text: UnsafeRawBufferPointer) {
    guard let source = text.baseAddress else { return }
    (memory + count).copyMemory(from: source, byteCount: text.count)
    count += text.count
  }

  mutating func append(_ text: StaticString) {
    append(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
  }

  mutating func append(decimal value: UInt64) {
    var digits = 1
    var rest = value / 10
    while rest > 0 {
      rest /= 10
      digits += 1
    }
    writeDecimal(value, at: memory + count, digits: digits)
    count += digits
  }

  /// Ends the comment: how many bytes the option takes.
  mutating func end() -> Int {
    memory.storeBytes(of: PcapngFormat.Option.comment, as: UInt16.self)
    memory.storeBytes(of: UInt16(count - 4), toByteOffset: 2, as: UInt16.self)
    while count & 3 != 0 {
      memory.storeBytes(of: 0, toByteOffset: count, as: UInt8.self)
      count += 1
    }
    return count
  }
}
