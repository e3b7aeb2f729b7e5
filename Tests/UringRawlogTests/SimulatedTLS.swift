@testable import UringRawlog

/// TLS as a peer in the simulated world speaks it: plaintext in and out, ciphertext on the wire.
///
/// With a key of RSA all lengths are the same each time, and so a seed means the same each time.
final class SimulatedTLS {
  private var engine: TLSEngine
  private var room = [UInt8](repeating: 0, count: 1 << 17)
  /// Its stream ends with close_notify, or is cut off.
  let isClean: Bool

  init(_ engine: consuming TLSEngine, isClean: Bool) {
    self.engine = engine
    self.isClean = isClean
  }

  static func client(isClean: Bool) throws -> SimulatedTLS {
    SimulatedTLS(TLSEngine(connecting: try TestCertificates.shared.trust()), isClean: isClean)
  }

  static func server(isClean: Bool) throws -> SimulatedTLS {
    SimulatedTLS(TLSEngine(serving: try TestCertificates.shared.identity("rsa")), isClean: isClean)
  }

  var isOpen: Bool { engine.state == .open || engine.state == .ended }
  /// The other side has sent close_notify.
  var sawEnd: Bool { engine.state == .ended }
  var failure: String? { engine.failure?.text }

  /// What it says first.
  func begin() -> [UInt8] {
    _ = engine.handshake(UnsafeRawBufferPointer(start: nil, count: 0), at: engine.place)
    return seal([])
  }

  /// Takes what came: the plaintext, and what goes back because of it.
  func take(_ bytes: [UInt8]) -> (plaintext: [UInt8], answer: [UInt8]) {
    var plaintext: [UInt8] = []
    bytes.withUnsafeBytes { bytes in
      var rest = bytes
      if engine.state == .handshaking {
        let step = engine.handshake(rest, at: engine.place)
        rest = UnsafeRawBufferPointer(rebasing: rest[step.taken...])
      }
      var moved = TLSEngine.Moved()
      repeat {
        moved = room.withUnsafeMutableBytes { engine.receive(rest, at: engine.place, into: $0) }
        plaintext += room[..<moved.made]
        rest = UnsafeRawBufferPointer(rebasing: rest[moved.taken...])
      } while moved != TLSEngine.Moved()
    }
    return (plaintext, seal([]))
  }

  func seal(_ bytes: [UInt8]) -> [UInt8] {
    var made: [UInt8] = []
    var rest = bytes[...]
    var moved = TLSEngine.Moved()
    repeat {
      moved = rest.withUnsafeBytes { rest in room.withUnsafeMutableBytes { engine.send(rest, into: $0) } }
      made += room[..<moved.made]
      rest = rest.dropFirst(moved.taken)
    } while moved != TLSEngine.Moved()
    return made
  }

  func end() -> [UInt8] {
    guard isClean else { return [] }
    engine.close()
    return seal([])
  }
}
