@testable import UringRawlog

/// Two engines and the two streams of ciphertext between them, delivered in whatever parts a test wants.
struct TLSLink: ~Copyable {
  enum End {
    case client
    case server
  }

  /// One engine, and what came in and out of it.
  struct Peer: ~Copyable {
    var engine: TLSEngine
    /// All ciphertext that it ever made.
    var made: [UInt8] = []
    /// How much of the other's ciphertext it was given.
    var given = 0
    /// All plaintext that came out of it.
    var plaintext: [UInt8] = []
    /// The steps of its handshake that were costly.
    var costlySteps = 0
    /// Room that each of its calls has for plaintext and for ciphertext.
    var plaintextRoom = TLSEngine.plaintextRoom(1 << 16)
    var ciphertextRoom = TLSEngine.ciphertextRoom(1 << 16)

    init(_ engine: consuming TLSEngine) {
      self.engine = engine
    }

    /// Hands in ciphertext as a loop would: handshake first, then the rest.
    mutating func take(_ bytes: ArraySlice<UInt8>) {
      // An allocation of its own, so that a sanitizer sees a read beyond it.
      let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
      let room = UnsafeMutableRawBufferPointer.allocate(byteCount: plaintextRoom, alignment: 1)
      memory.copyBytes(from: bytes)
      var rest = UnsafeRawBufferPointer(memory)
      if engine.state == .handshaking {
        let step = engine.handshake(rest, at: engine.place)
        costlySteps += step.isCostly ? 1 : 0
        rest = UnsafeRawBufferPointer(rebasing: rest[step.taken...])
      }
      var moved = TLSEngine.Moved()
      repeat {
        moved = engine.receive(rest, at: engine.place, into: room)
        plaintext += room[..<moved.made]
        rest = UnsafeRawBufferPointer(rebasing: rest[moved.taken...])
      } while moved != TLSEngine.Moved()
      given += bytes.count - rest.count
      memory.deallocate()
      room.deallocate()
    }

    /// Puts plaintext in, and fetches all ciphertext.
    mutating func send(_ bytes: [UInt8] = []) {
      let room = UnsafeMutableRawBufferPointer.allocate(byteCount: ciphertextRoom, alignment: 1)
      var rest = bytes[...]
      var moved = TLSEngine.Moved()
      repeat {
        moved = rest.withUnsafeBytes { engine.send($0, into: room) }
        made += room[..<moved.made]
        rest = rest.dropFirst(moved.taken)
      } while moved != TLSEngine.Moved()
      room.deallocate()
    }
  }

  var client: Peer
  var server: Peer

  init(_ client: consuming TLSEngine, _ server: consuming TLSEngine) {
    self.client = Peer(client)
    self.server = Peer(server)
  }

  init(trust: borrowing TLSTrust, identity: borrowing TLSIdentity) {
    self.init(TLSEngine(connecting: trust), TLSEngine(serving: identity))
  }

  /// Delivers what there is until nothing moves any more.
  ///
  /// - Parameter parts: how many of the next bytes for an end come at once, by their place in the stream.
  mutating func settle(parts: (End, Int) -> Int = { _, _ in .max }) {
    // The client speaks first.
    client.take([])
    client.send()
    var isMoving = true
    while isMoving {
      let before = client.given + server.given
      deliver(to: .server, parts)
      deliver(to: .client, parts)
      isMoving = client.given + server.given > before
    }
  }

  /// Gives the next bytes to one end, and fetches its answer.
  mutating func deliver(to end: End, _ parts: (End, Int) -> Int = { _, _ in .max }) {
    switch end {
    case .client:
      let count = min(server.made.count - client.given, parts(.client, client.given))
      guard count > 0 else { return }
      client.take(server.made[client.given..<client.given + count])
      client.send()
    case .server:
      let count = min(client.made.count - server.given, parts(.server, server.given))
      guard count > 0 else { return }
      server.take(client.made[server.given..<server.given + count])
      server.send()
    }
  }
}
