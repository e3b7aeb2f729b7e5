import COpenSSL

/// TLS on one leg: ciphertext in and out, plaintext in and out, all of it in memory of the caller.
///
/// It has no socket, no clock and no thread. What OpenSSL wants to say by itself (handshake, alerts, tickets) waits in
/// the engine, `pendingBytes` of it, until `send` fetches it. Between calls it keeps no pointer to the caller's memory,
/// and no plaintext but that of a record for which `receive` had no room.
///
/// Every byte that is handed in comes with its place in the leg's stream. An engine takes the bytes from its first
/// place on, in their order and once; any other call is refused (`TLSFailure.outOfPlace`). So an engine that is made in
/// the middle of a stream, after STARTTLS, never takes what came in the clear before. That bytes in the clear stand
/// *behind* the command that starts TLS is for its caller to see: to an engine they are a broken handshake.
struct TLSEngine: ~Copyable {
  enum State: UInt8 {
    case handshaking
    /// Both directions are open.
    case open
    /// The peer sent close_notify: nothing more comes from it, and what is sent to it still arrives (RFC 8446 §6.1).
    case ended
    /// The peer's stream ended without close_notify: what came may be a part of what it sent.
    case truncated
    /// `failure` says why. An alert for the peer may be pending.
    case failed
  }

  /// What a call took from the memory with input, and what it put into the memory for output, in bytes.
  struct Moved: Equatable {
    var taken = 0
    var made = 0
  }

  /// What a step of the handshake did.
  struct Step: Equatable {
    /// Bytes of the input.
    var taken = 0
    /// It computed a flight (keys, a signature, the check of one): tens to hundreds of microseconds. A step that only
    /// waits for the rest of a message costs next to nothing.
    var isCostly = false
  }

  /// The most that a record carries (RFC 8446 §5.1).
  static let recordBytes = 16384
  /// What a record takes beside its content, at the most of the ciphers that are offered: header, nonce and tag of
  /// TLS 1.2 with AES-GCM are 29 bytes.
  static let recordOverhead = 32
  /// `send` makes no record with less content than this only because the room ends there; with so much room and the
  /// overhead it always gets on.
  static let leastFragment = 1024
  static let leastRoom = leastFragment + recordOverhead

  /// Room for the plaintext of any `count` bytes of ciphertext: with so much, `receive` takes all of them. What was
  /// taken of a record before may come out with them.
  static func plaintextRoom(_ count: Int) -> Int { count + recordBytes }

  /// Room for the ciphertext of `count` bytes of plaintext, pending bytes not counted.
  static func ciphertextRoom(_ count: Int) -> Int {
    count + (count + recordBytes - 1) / recordBytes * recordOverhead + leastFragment
  }

  private let object: OpenSSLObject
  /// Owned by the connection.
  private let transport: UnsafeMutablePointer<TLSTransport>
  /// The place in the leg's stream of the next byte that is taken.
  private(set) var place: UInt64
  private(set) var state = State.handshaking
  /// `close` was called: nothing more can be sent.
  private(set) var isClosed = false

  /// The server's side: a client connected to us.
  ///
  /// - Parameters:
  ///   - place: the place in the leg's stream of the first byte of TLS.
  init(serving identity: borrowing TLSIdentity, from place: UInt64 = 0) {
    self.init(settings: identity.settings.pointer, from: place)
    SSL_set_accept_state(ssl)
  }

  /// The client's side: we connected to a server. Its first step needs no input, and makes the first flight.
  init(connecting trust: borrowing TLSTrust, from place: UInt64 = 0) {
    self.init(settings: trust.settings.pointer, from: place)
    SSL_set_connect_state(ssl)
    trust.prepare(ssl)
  }

  private init(settings: OpaquePointer, from place: UInt64) {
    guard let ssl = SSL_new(settings), let bio = TLSTransport.makeBIO(), let transport = TLSTransport.of(bio: bio)
    else {
      // As everywhere: without memory there is no going on.
      fatalError("no memory for a TLS connection")
    }
    SSL_set_bio(ssl, bio, bio)
    self.transport = transport
    self.place = place
    object = OpenSSLObject(ssl) { ssl in
      // Otherwise OpenSSL takes a session that ended without our close_notify for one that must not be resumed, as
      // versions before 1.1 had it (RFC 5246 §7.2.1). A failed one it knows by itself.
      SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN)
      SSL_free(ssl)
    }
  }

  private var ssl: OpaquePointer { object.pointer }

  // MARK: The handshake

  /// Goes on with the handshake, at most to the end of the peer's flight: that is the most that one call does, since
  /// the peer cannot say more before it is answered.
  ///
  /// It stops at the handshake's end, and may leave bytes of the input: they are for `receive`. In any other state it
  /// takes nothing.
  mutating func handshake(_ ciphertext: UnsafeRawBufferPointer, at place: UInt64) -> Step {
    guard state == .handshaking, isNext(place) else { return Step() }
    OpenSSLError.clear()
    let writtenBefore = transport.pointee.written
    transport.pointee.offer(input: ciphertext)
    let result = SSL_do_handshake(ssl)
    let taken = ciphertext.count - transport.pointee.inputLeft
    transport.pointee.withdraw()
    self.place += UInt64(taken)
    if result == 1 {
      state = .open
    } else {
      switch SSL_get_error(ssl, result) {
      case SSL_ERROR_WANT_READ: break
      // A close_notify in the middle of a handshake: an error without an entry in the queue.
      case SSL_ERROR_ZERO_RETURN: fail(.endedInHandshake)
      default: fail()
      }
    }
    return Step(taken: taken, isCostly: transport.pointee.written > writtenBefore || state != .handshaking)
  }

  // MARK: Ciphertext in, plaintext out

  /// Plaintext is left for which there was no room; `receive` gives it out, also without input.
  var hasPlaintext: Bool { state == .open && SSL_pending(ssl) > 0 }

  /// Takes ciphertext as long as there is room for its plaintext.
  ///
  /// In the state `handshaking` it takes nothing. Once the peer has ended, or the engine failed, what comes is taken
  /// and dropped (RFC 8446 §6.1: data after a closure alert is ignored).
  ///
  /// - Parameters:
  ///   - place: where `ciphertext` lies in the leg's stream.
  mutating func receive(
    _ ciphertext: UnsafeRawBufferPointer, at place: UInt64, into plaintext: UnsafeMutableRawBufferPointer
  ) -> Moved {
    guard state != .handshaking, isNext(place) else { return Moved() }
    var made = 0
    if state == .open {
      OpenSSLError.clear()
      transport.pointee.offer(input: ciphertext)
      while state == .open, made < plaintext.count, transport.pointee.inputLeft > 0 || SSL_pending(ssl) > 0 {
        var count = 0
        if SSL_read_ex(ssl, plaintext.baseAddress.unsafelyUnwrapped + made, plaintext.count - made, &count) == 1 {
          made += count
        } else {
          stopReading()
        }
      }
    }
    // Whatever comes behind an end is dropped.
    let left = state == .open ? transport.pointee.inputLeft : 0
    transport.pointee.withdraw()
    self.place += UInt64(ciphertext.count - left)
    return Moved(taken: ciphertext.count - left, made: made)
  }

  /// A read brought nothing.
  private mutating func stopReading() {
    switch SSL_get_error(ssl, 0) {
    case SSL_ERROR_WANT_READ: break
    case SSL_ERROR_ZERO_RETURN: state = .ended
    default: fail()
    }
  }

  /// The peer's stream ended below TLS. What it sent is complete only if close_notify came before.
  ///
  /// To be called when everything that came was taken, and its plaintext too (`hasPlaintext`).
  mutating func inputEnded() {
    assert(!hasPlaintext)
    switch state {
    case .handshaking: fail(.endedInHandshake)
    case .open: state = .truncated
    case .ended, .truncated, .failed: break
    }
  }

  // MARK: Plaintext in, ciphertext out

  /// Ciphertext that waits to be fetched by `send`. It counts as queued for the peer: while there is much of it, the
  /// peer does not take what it caused, and should not be read from.
  var pendingBytes: Int { transport.pointee.pendingCount }

  /// Fetches what is pending, then takes plaintext and makes records of it as long as there is room. Without plaintext
  /// it only fetches.
  ///
  /// Plaintext is taken in the states `open`, `ended` and `truncated`, until `close`: who sends nothing more may listen.
  /// What was taken is in `ciphertext`, or pending.
  ///
  /// - Parameters:
  ///   - ciphertext: at least `leastRoom` bytes, or it may not get on.
  mutating func send(_ plaintext: UnsafeRawBufferPointer, into ciphertext: UnsafeMutableRawBufferPointer) -> Moved {
    var moved = Moved(made: transport.pointee.takePending(into: ciphertext))
    guard maySend, pendingBytes == 0, !plaintext.isEmpty, moved.made < ciphertext.count else { return moved }
    OpenSSLError.clear()
    transport.pointee.offer(output: UnsafeMutableRawBufferPointer(rebasing: ciphertext[moved.made...]))
    while moved.taken < plaintext.count {
      let rest = plaintext.count - moved.taken
      let room = transport.pointee.outputLeft - Self.recordOverhead
      guard room >= min(rest, Self.leastFragment), pendingBytes == 0 else { break }
      var count = 0
      let start = plaintext.baseAddress.unsafelyUnwrapped + moved.taken
      guard SSL_write_ex(ssl, start, min(rest, room, Self.recordBytes), &count) == 1 else {
        fail()
        break
      }
      moved.taken += count
    }
    moved.made = ciphertext.count - transport.pointee.outputLeft
    transport.pointee.withdraw()
    return moved
  }

  private var maySend: Bool {
    switch state {
    case .open, .ended, .truncated: !isClosed
    case .handshaking, .failed: false
    }
  }

  /// Ends our direction with close_notify, which is pending then; what the peer sends can still be received. During the
  /// handshake and after a failure there is nothing to be closed.
  mutating func close() {
    guard maySend else { return }
    isClosed = true
    OpenSSLError.clear()
    // 0: close_notify was written, the peer's has not come. Negative: it could not be written, which memory always can.
    if SSL_shutdown(ssl) < 0 { fail() }
    OpenSSLError.clear()
  }

  // MARK: Failing

  /// Why the engine failed; nil in any other state.
  var failure: TLSFailure? { transport.pointee.failure }

  private mutating func isNext(_ place: UInt64) -> Bool {
    if place == self.place { return true }
    if state != .failed { fail(.outOfPlace) }
    return false
  }

  @inline(never)
  private mutating func fail(_ failure: TLSFailure? = nil) {
    state = .failed
    let error = OpenSSLError.take()
    // A verification that failed has left its own account.
    if transport.pointee.failure == nil { transport.pointee.failure = failure ?? TLSFailure(error) }
  }

  // MARK: Facts for the index

  /// `TLSv1.2` or `TLSv1.3`; only after the handshake.
  var version: UnsafePointer<CChar> { SSL_get_version(ssl) }

  /// OpenSSL's name of the cipher, such as `TLS_AES_128_GCM_SHA256`; nil before it was agreed.
  var cipher: UnsafePointer<CChar>? { SSL_get_current_cipher(ssl).flatMap { SSL_CIPHER_get_name($0) } }

  /// The name that the client asked for (SNI, RFC 6066 §3), at most 255 bytes and without NUL, but otherwise whatever
  /// the client chose. It is valid as long as the engine.
  var serverName: UnsafePointer<CChar>? { SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name) }

  /// An earlier session was resumed.
  var isResumed: Bool { SSL_session_reused(ssl) == 1 }
}
