/// What one leg of a session keeps for TLS: its engine, and ciphertext on its way in either direction.
///
/// A leg that says nothing keeps no plaintext and no ciphertext.
final class TLSLeg {
  var engine: TLSEngine
  /// The place in the leg's stream of the next byte for the engine.
  var place: UInt64
  /// What the peer sent and the engine has not taken: a handshake waits for its turn.
  var held: [UInt8] = []
  /// It is in the list of handshakes that wait for their turn.
  var isQueued = false
  /// The peer's stream ended while the handshake waited.
  var isInputEnded = false
  /// Both sides know each other's keys.
  var isSettled = false
  /// What is sent to the peer before this place in the stream is in the clear.
  let clearUntil: UInt64
  /// Ciphertext on its way to the peer, and what of it was sent; nil when there is none.
  private(set) var output: UnsafeMutableRawBufferPointer?
  private var outputStart = 0
  private var outputEnd = 0
  /// A send of it is with the kernel, and since when (monotonic nanoseconds).
  var isSending = false
  var sendingSince: UInt64 = 0

  init(_ engine: consuming TLSEngine, from place: UInt64, clearUntil: UInt64) {
    self.engine = engine
    self.place = place
    self.clearUntil = clearUntil
  }

  deinit { output?.deallocate() }

  /// There is ciphertext that the kernel has not taken.
  var isBusy: Bool { output != nil }

  /// Memory for the ciphertext of so many bytes; only while there is none.
  func makeOutput(for bytes: Int) -> UnsafeMutableRawBufferPointer {
    assert(output == nil && !isSending)
    let memory = UnsafeMutableRawBufferPointer.allocate(
      byteCount: TLSEngine.ciphertextRoom(bytes) + engine.pendingBytes, alignment: 16)
    output = memory
    outputStart = 0
    outputEnd = 0
    return memory
  }

  /// So much of it was filled.
  func filled(_ bytes: Int) {
    outputEnd = bytes
    if bytes == 0 { releaseOutput() }
  }

  /// What is still to be sent.
  var unsent: UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(rebasing: output.unsafelyUnwrapped[outputStart..<outputEnd])
  }

  /// The socket took so many bytes.
  func sent(_ bytes: Int) {
    outputStart += bytes
    if outputStart == outputEnd { releaseOutput() }
  }

  func releaseOutput() {
    output?.deallocate()
    output = nil
  }

  /// Calls with the names of the version and of the cipher.
  func withAgreed(_ body: (_ version: UnsafeRawBufferPointer, _ cipher: UnsafeRawBufferPointer) -> Void) {
    Array(String(cString: engine.version).utf8).withUnsafeBytes { version in
      Array((engine.cipher.map { String(cString: $0) } ?? "").utf8).withUnsafeBytes { body(version, $0) }
    }
  }

  /// The version, the cipher and the name that was asked for, as JSON for the index.
  var facts: [UInt8] {
    let version = String(cString: engine.version)
    let cipher = engine.cipher.map { String(cString: $0) } ?? ""
    var text = Array("{\"version\":".utf8) + jsonString(version) + Array(",\"cipher\":".utf8) + jsonString(cipher)
    text += Array(",\"sni\":".utf8)
    text += engine.serverName.map { jsonString(String(cString: $0)) } ?? Array("null".utf8)
    return text + [UInt8(ascii: "}")]
  }
}

/// A server's identity towards clients, as engines are made from it; exchanged when files are read again.
final class TLSFront: Sendable {
  let identity: TLSIdentity

  init(_ identity: consuming TLSIdentity) {
    self.identity = identity
  }
}

/// Whom we trust as the server, as engines are made from it; exchanged when files are read again.
final class TLSBack: Sendable {
  let trust: TLSTrust

  init(_ trust: consuming TLSTrust) {
    self.trust = trust
  }
}
