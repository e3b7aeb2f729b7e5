import COpenSSL

/// A private key of a PEM file, in any of the forms that OpenSSL reads, encrypted or not.
struct PrivateKey: ~Copyable {
  /// The longest password: OpenSSL's own room for one (PEM_BUFSIZE).
  static let passwordBytes = Int(PEM_BUFSIZE)

  /// OpenSSL's key (EVP_PKEY).
  let pointer: OpaquePointer

  /// What OpenSSL is told when it asks for a password. Without this it would ask on the terminal.
  private struct Answer {
    var password: UnsafeRawBufferPointer?
    var wasAsked = false
  }

  /// - Parameter passwordFile: its first line is the password of a key that is encrypted.
  init(_ path: String, passwordFile: String?) throws(TLSSetupError) {
    let file = try SecretFile(path, .key)
    guard let passwordFile else {
      pointer = try Self.read(file, Answer()) { _ in .key(path: path, .locked) }
      return
    }
    let password = try SecretFile(passwordFile, .password)
    let line = password.firstLine
    guard !line.isEmpty else { throw .password(path: passwordFile, .empty) }
    guard line.count <= Self.passwordBytes else { throw .password(path: passwordFile, .tooLong) }
    pointer = try Self.read(file, Answer(password: line)) { _ in .password(path: passwordFile, .wrong(key: path)) }
  }

  deinit { EVP_PKEY_free(pointer) }

  private static func read(
    _ file: borrowing SecretFile, _ answer: Answer, locked: (OpenSSLError?) -> TLSSetupError
  ) throws(TLSSetupError) -> OpaquePointer {
    var answer = answer
    OpenSSLError.clear()
    let key = try file.withReader { reader throws(TLSSetupError) in
      PEM_read_bio_PrivateKey(
        reader, nil,
        { into, room, _, argument in
          let answer = argument!.assumingMemoryBound(to: Answer.self)
          answer.pointee.wasAsked = true
          guard let password = answer.pointee.password, password.count <= room else { return -1 }
          UnsafeMutableRawPointer(into!).copyMemory(from: password.baseAddress!, byteCount: password.count)
          return Int32(password.count)
        }, &answer)
    }
    let error = OpenSSLError.take()
    if let key { return key }
    if answer.wasAsked { throw locked(error) }
    if let error, !error.isOfPEM, error.reason != ERR_R_UNSUPPORTED {
      throw .key(path: file.path, .malformed(reason: error.text))
    }
    throw .key(path: file.path, .none)
  }
}
