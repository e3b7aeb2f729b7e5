/// Version 2: a signature, version and command, family and transport, a length; addresses; TLVs (proxy-protocol.txt 2.2).
extension ProxyHeader {
  static let signature: InlineArray<12, UInt8> = [
    0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A,
  ]
  /// Everything before the addresses.
  static let fixedBytes = 16
  static let uniqueIDBytesMaximum = 128
  /// The longest SSL TLV that a header of ours has room for, beside everything else that it may have.
  static let tlsBytesMaximum =
    Limits.proxyHeaderBytes - fixedBytes - Family.ipv6.addressBytes - uniqueIDBytesMaximum - 4
    - 3 * ProxyTLVs.headBytes
  /// What an SSL TLV begins with: a byte of flags about the client, four about the verification of its certificate.
  static let tlsHeadBytes = 5

  /// The upper half of the byte of version and command.
  static let binaryVersion: UInt8 = 2

  enum Command: UInt8 {
    /// The proxy itself is the client; what the header says beside that is ignored.
    case local = 0
    case proxy = 1
  }

  enum Family: UInt8 {
    case unspecified = 0
    case ipv4 = 1
    case ipv6 = 2
    case unix = 3

    /// Both addresses, with their ports.
    var addressBytes: Int {
      switch self {
      case .unspecified: 0
      case .ipv4: 2 * (4 + 2)
      case .ipv6: 2 * (16 + 2)
      case .unix: 2 * 108
      }
    }
  }

  enum Transport: UInt8 {
    case unspecified = 0
    case stream = 1
    case datagram = 2
  }

  static func parseBlock(_ bytes: UnsafeRawBufferPointer) -> Outcome {
    var fixed = FixedPart()
    for place in 0..<min(bytes.count, fixedBytes) {
      if place < signature.count {
        guard bytes[place] == signature[place] else { return .notHeader }
        continue
      }
      do throws(ProxyFault) {
        try fixed.take(bytes[place], at: place)
      } catch {
        return .malformed(error)
      }
    }
    guard bytes.count >= fixedBytes else { return .needsMore(isHeader: false) }
    let whole = fixedBytes + fixed.length
    guard bytes.count >= whole else { return .needsMore(isHeader: true) }
    var header = ProxyHeader(version: .v2, byteCount: whole)
    do throws(ProxyFault) {
      try header.read(fixed, of: UnsafeRawBufferPointer(rebasing: bytes[..<whole]))
    } catch {
      return .malformed(error)
    }
    return .complete(header)
  }

  /// The four bytes behind the signature.
  private struct FixedPart {
    var command = Command.local
    /// Nil only with LOCAL, which ignores it.
    var family: Family?
    var transport: Transport?
    var length = 0

    /// Whether there are addresses that count. Otherwise their part may hold anything.
    var hasAddresses: Bool { command == .proxy && transport == .stream && family != .unspecified }

    mutating func take(_ byte: UInt8, at place: Int) throws(ProxyFault) {
      switch place {
      case 12:
        guard byte >> 4 == ProxyHeader.binaryVersion else { throw .version }
        guard let command = Command(rawValue: byte & 0xF) else { throw .command }
        self.command = command
      case 13:
        family = Family(rawValue: byte >> 4)
        transport = Transport(rawValue: byte & 0xF)
        guard command == .proxy else { return }
        if family == nil { throw .family }
        if transport == nil { throw .transport }
        if transport == .datagram { throw .datagram }
      default:
        length = place == 14 ? Int(byte) << 8 : length | Int(byte)
        if ProxyHeader.fixedBytes + length > Limits.proxyHeaderBytes { throw .lengthLong }
        if place == 15, hasAddresses, length < family?.addressBytes ?? 0 { throw .lengthShort }
      }
    }
  }

  private mutating func read(_ fixed: FixedPart, of bytes: UnsafeRawBufferPointer) throws(ProxyFault) {
    guard fixed.hasAddresses else { return try skip(fixed, of: bytes) }
    readAddresses(fixed, of: bytes)
    try readTLVs(of: bytes, from: Self.fixedBytes + (fixed.family?.addressBytes ?? 0))
  }

  /// A header without addresses that count may hold anything where they would be. What follows is taken when it is TLVs
  /// to the end, as HAProxy sends them, and a checksum that is found must be right; the rest is ignored.
  private mutating func skip(_ fixed: FixedPart, of bytes: UnsafeRawBufferPointer) throws(ProxyFault) {
    guard let family = fixed.family, fixed.length >= family.addressBytes else { return }
    do throws(ProxyFault) {
      try readTLVs(of: bytes, from: Self.fixedBytes + family.addressBytes)
    } catch {
      uniqueID = nil
      tls = nil
      if error == .checksum { throw error }
    }
  }

  private mutating func readAddresses(_ fixed: FixedPart, of bytes: UnsafeRawBufferPointer) {
    func number<Number: FixedWidthInteger>(_ offset: Int, _ type: Number.Type) -> Number {
      Number(bigEndian: bytes.loadUnaligned(fromByteOffset: Self.fixedBytes + offset, as: type))
    }
    switch fixed.family {
    case .ipv4:
      source = PeerAddress(ipv4: number(0, UInt32.self), port: number(8, UInt16.self))
      destination = PeerAddress(ipv4: number(4, UInt32.self), port: number(10, UInt16.self))
    case .ipv6:
      source = PeerAddress(ipv6: number(0, UInt64.self), number(8, UInt64.self), port: number(32, UInt16.self))
      destination = PeerAddress(ipv6: number(16, UInt64.self), number(24, UInt64.self), port: number(34, UInt16.self))
    case .unix:
      source = .unix
      destination = .unix
      // A path ends at its first NUL or fills its place. One that begins with NUL is none: unbound, or abstract.
      let place = Self.fixedBytes..<Self.fixedBytes + Family.unix.addressBytes / 2
      let path = place.lowerBound..<(place.first { bytes[$0] == 0 } ?? place.upperBound)
      sourcePath = path.isEmpty ? nil : path
    case .unspecified, nil: break
    }
  }

  private mutating func readTLVs(of bytes: UnsafeRawBufferPointer, from place: Int) throws(ProxyFault) {
    var checksum: Range<Int>?
    var elements = ProxyTLVs(in: bytes, place..<bytes.count)
    while let element = try elements.next() {
      switch ProxyTLVs.Kind(rawValue: element.type) {
      case .checksum:
        guard checksum == nil else { throw .repeated }
        guard element.value.count == 4 else { throw .checksumLength }
        checksum = element.value
      case .uniqueID:
        guard uniqueID == nil else { throw .repeated }
        guard element.value.count <= Self.uniqueIDBytesMaximum else { throw .uniqueID }
        uniqueID = element.value
      case .tls:
        guard tls == nil else { throw .repeated }
        try Self.checkTLS(element.value, of: bytes)
        tls = element.value
      case nil: break
      }
    }
    guard let checksum else { return }
    let sent = UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: checksum.lowerBound, as: UInt32.self))
    guard Self.checksum(of: bytes, at: checksum) == sent else { throw .checksum }
  }

  private static func checkTLS(_ value: Range<Int>, of bytes: UnsafeRawBufferPointer) throws(ProxyFault) {
    guard value.count >= tlsHeadBytes else { throw .tlsShort }
    guard value.count <= tlsBytesMaximum else { throw .tlsLong }
    var parts = ProxyTLVs(in: bytes, value.lowerBound + tlsHeadBytes..<value.upperBound)
    do throws(ProxyFault) {
      while try parts.next() != nil {}
    } catch {
      throw .tlsTypeLengthValue
    }
  }

  /// The checksum of a whole header, in which the checksum itself counts as zeros.
  private static func checksum(of bytes: UnsafeRawBufferPointer, at place: Range<Int>) -> UInt32 {
    var sum = CRC32C()
    for index in bytes.indices { sum.add(place.contains(index) ? 0 : bytes[index]) }
    return sum.value
  }
}
