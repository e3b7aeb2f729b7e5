/// The options of a block, one after the other.
struct OptionList {
  private let bytes: UnsafeRawBufferPointer
  private var place = 0
  /// Nothing was wrong so far.
  private(set) var isWhole = true

  struct Option {
    let code: UInt16
    let value: UnsafeRawBufferPointer

    /// The value as text; what is no UTF-8 in it is replaced.
    var text: String { String(decoding: value, as: UTF8.self) }
  }

  init(_ bytes: UnsafeRawBufferPointer) {
    self.bytes = bytes
  }

  /// The next option; nil behind the last one.
  mutating func next() -> Option? {
    guard place + 4 <= bytes.count else {
      isWhole = place == bytes.count
      return nil
    }
    let code = bytes.number(at: place, as: UInt16.self)
    let count = Int(bytes.number(at: place + 2, as: UInt16.self))
    let start = place + 4
    guard code != PcapngFormat.Option.end else { return nil }
    guard start + count + PcapngFormat.padding(count) <= bytes.count else {
      isWhole = false
      place = bytes.count
      return nil
    }
    place = start + count + PcapngFormat.padding(count)
    return Option(code: code, value: UnsafeRawBufferPointer(rebasing: bytes[start..<start + count]))
  }
}

extension UnsafeRawBufferPointer {
  /// A number in the byte order of this machine.
  @inline(__always)
  func number<Number: FixedWidthInteger & BitwiseCopyable>(at place: Int, as type: Number.Type) -> Number {
    precondition(place >= 0 && place + MemoryLayout<Number>.size <= count)
    return loadUnaligned(fromByteOffset: place, as: type)
  }
}
