/// A PROXY header: whom a connection is for, said by a proxy in front, in the first bytes of the connection.
///
/// The standard is HAProxy's doc/proxy-protocol.txt (2020/03/05). Version 1 is a line (`ProxyLine`), version 2 a block.
struct ProxyHeader: Equatable {
  enum Version: UInt8 {
    case v1 = 1
    case v2 = 2
  }

  var version: Version
  /// The client, and the address that it connected to. Both `unknown` when the header names none (UNKNOWN, LOCAL, an
  /// unspecified family or transport): those of the connection itself count then.
  var source = PeerAddress.unknown
  var destination = PeerAddress.unknown
  /// How long it is: the client's own bytes follow.
  var byteCount: Int

  // Where in its bytes something is.

  /// The path of a client on a unix socket, if it has one.
  var sourcePath: Range<Int>?
  /// The unique ID that the proxy gave the connection.
  var uniqueID: Range<Int>?
  /// The value of the SSL TLV, as it may be sent on: checked, its parts included.
  var tls: Range<Int>?

  /// Whether it says who the client is.
  var namesClient: Bool { source.family != .unknown }

  enum Outcome: Equatable {
    /// A header may become of it.
    ///
    /// - Parameter isHeader: it is one whatever follows: a binary header's fixed part is there and right.
    case needsMore(isHeader: Bool)
    /// The bytes do not begin as a header.
    case notHeader
    /// They begin as a header, and are none that can be accepted.
    case malformed(ProxyFault)
    case complete(ProxyHeader)
  }

  /// Looks at the first bytes of a connection.
  ///
  /// The outcome depends only on the bytes up to those that decide it: once it is other than `needsMore` it stays, however
  /// many bytes follow. Version 1 is decided at the first byte that decides, version 2 too as far as the fixed part goes;
  /// the rest of a version 2 header is looked at when it is whole.
  ///
  /// - Parameter bytes: everything from the connection's first byte on, as far as it has come.
  static func parse(_ bytes: UnsafeRawBufferPointer) -> Outcome {
    switch bytes.first {
    case nil: .needsMore(isHeader: false)
    case ProxyLine.signature.utf8Start[0]: parseLine(bytes)
    default: parseBlock(bytes)
    }
  }

  private static func parseLine(_ bytes: UnsafeRawBufferPointer) -> Outcome {
    let signature = ProxyLine.signature
    var line = ProxyLine()
    for (place, byte) in bytes.enumerated() {
      if place < signature.utf8CodeUnitCount {
        guard byte == signature.utf8Start[place] else { return .notHeader }
        continue
      }
      do throws(ProxyFault) {
        try line.take(byte)
      } catch {
        return .malformed(error)
      }
      if line.isOver {
        return .complete(
          ProxyHeader(version: .v1, source: line.source, destination: line.destination, byteCount: place + 1))
      }
    }
    return .needsMore(isHeader: false)
  }
}
