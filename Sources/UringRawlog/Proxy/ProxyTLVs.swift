/// The type-length-value vectors of a version 2 header, one after the other (proxy-protocol.txt 2.2).
struct ProxyTLVs {
  /// The registered types that mean something here; all others are skipped.
  enum Kind: UInt8 {
    /// PP2_TYPE_CRC32C
    case checksum = 0x03
    /// PP2_TYPE_UNIQUE_ID
    case uniqueID = 0x05
    /// PP2_TYPE_SSL
    case tls = 0x20
  }

  /// Those within an SSL TLV that the relay sends.
  enum TLSKind: UInt8 {
    /// PP2_SUBTYPE_SSL_VERSION
    case version = 0x21
    /// PP2_SUBTYPE_SSL_CIPHER
    case cipher = 0x23
  }

  struct Element: Equatable {
    var type: UInt8
    /// Where in the bytes its value is.
    var value: Range<Int>
  }

  /// Type and length.
  static let headBytes = 3

  private let bytes: UnsafeRawBufferPointer
  private var place: Int
  private let end: Int

  init(in bytes: UnsafeRawBufferPointer, _ range: Range<Int>) {
    self.bytes = bytes
    place = range.lowerBound
    end = range.upperBound
  }

  /// The next one; nil at the end. It throws `typeLengthValue` when one reaches beyond the end.
  mutating func next() throws(ProxyFault) -> Element? {
    guard place < end else { return nil }
    guard end - place >= Self.headBytes else { throw .typeLengthValue }
    let value = place + Self.headBytes
    let count = Int(bytes[place + 1]) << 8 | Int(bytes[place + 2])
    guard end - value >= count else { throw .typeLengthValue }
    let element = Element(type: bytes[place], value: value..<value + count)
    place = element.value.upperBound
    return element
  }
}
