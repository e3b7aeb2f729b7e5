/// An IP packet with a TCP segment, as captures have them: without options of IP, and not cut.
struct Datagram {
  let source: CapturedEndpoint
  let destination: CapturedEndpoint
  let flags: UInt8
  let sequence: UInt32
  let acknowledgement: UInt32
  let payload: UnsafeRawBufferPointer
  let hasRightChecksums: Bool

  /// nil when it is something else.
  init?(_ packet: UnsafeRawBufferPointer) {
    guard let first = packet.first else { return nil }
    let internetBytes: Int
    var sum: UInt64
    switch first {
    case 0x45:
      guard packet.count >= 40, packet[9] == Self.tcp,
        Int(UInt16(bigEndian: packet.number(at: 2, as: UInt16.self))) == packet.count
      else { return nil }
      internetBytes = 20
      sum = InternetChecksum.sum(UnsafeRawBufferPointer(rebasing: packet[12..<20]))
    case 0x60...0x6F:
      guard packet.count >= 60, packet[6] == Self.tcp,
        Int(UInt16(bigEndian: packet.number(at: 4, as: UInt16.self))) + 40 == packet.count
      else { return nil }
      internetBytes = 40
      sum = InternetChecksum.sum(UnsafeRawBufferPointer(rebasing: packet[8..<40]))
    default: return nil
    }
    let segment = UnsafeRawBufferPointer(rebasing: packet[internetBytes...])
    let segmentHead = Int(segment[12] >> 4) * 4
    guard segmentHead >= 20, segmentHead <= segment.count else { return nil }
    sum += InternetChecksum.sum(segment)
    sum += UInt64(UInt16(Self.tcp).bigEndian) + UInt64(UInt16(segment.count).bigEndian)
    let head = UnsafeRawBufferPointer(rebasing: packet[..<20])
    hasRightChecksums =
      InternetChecksum.folded(sum) == 0xFFFF
      && (internetBytes == 40 || InternetChecksum.folded(InternetChecksum.sum(head)) == 0xFFFF)
    let ports = (
      UInt16(bigEndian: segment.number(at: 0, as: UInt16.self)),
      UInt16(bigEndian: segment.number(at: 2, as: UInt16.self))
    )
    source = Self.endpoint(packet, at: internetBytes == 20 ? 12 : 8, bytes: internetBytes == 20 ? 4 : 16, ports.0)
    destination = Self.endpoint(packet, at: internetBytes == 20 ? 16 : 24, bytes: internetBytes == 20 ? 4 : 16, ports.1)
    flags = segment[13]
    sequence = UInt32(bigEndian: segment.number(at: 4, as: UInt32.self))
    acknowledgement = UInt32(bigEndian: segment.number(at: 8, as: UInt32.self))
    payload = UnsafeRawBufferPointer(rebasing: segment[segmentHead...])
  }

  private static let tcp: UInt8 = 6

  private static func endpoint(_ packet: UnsafeRawBufferPointer, at place: Int, bytes: Int, _ port: UInt16)
    -> CapturedEndpoint
  {
    guard bytes == 16 else {
      return CapturedEndpoint(
        high: 0, low: UInt64(UInt32(bigEndian: packet.number(at: place, as: UInt32.self))), port: port)
    }
    return CapturedEndpoint(
      high: UInt64(bigEndian: packet.number(at: place, as: UInt64.self)),
      low: UInt64(bigEndian: packet.number(at: place + 8, as: UInt64.self)), port: port)
  }
}
