import COpenSSL

/// A private key of a PEM file, in any of the forms that OpenSSL reads, encrypted or not.
struct PrivateKey: ~Copyable {
  /// The longest password: OpenSSL's own room for one (PEM_BUFSIZE).
  static let passwordBytes = Int(PEM_BUFSIZE)

  private let object: OpenSSLObject
  /// OpenSSL's key (EVP_PKEY).
  var pointer: OpaquePointer { object.pointer }

  /// What OpenSSL is told when it asks for a password. Without this it would ask on the terminal.
  private struct Answer {
    var password: UnsafeRawBufferPointer?
    var wasAsked = false
  }

  /// - Parameter passwordFile: its first line is the password of a key that is encrypted.
  init(_ path: String, passwordFile: String?) throws(TLSSetupError) {
    let file = try SecretFile(path, .key)
    guard let passwordFile else {
      object = try Self.read(file, Answer(), locked: .key(path: path, .locked))
      return
    }
    let password = try SecretFile(passwordFile, .password)
    let line = password.firstLine
    guard !line.isEmpty else { throw .password(path: passwordFile, .empty) }
    guard line.count <= Self.passwordBytes else { throw .password(path: passwordFile, .tooLong) }
    object = try Self.read(file, Answer(password: line), locked: .password(path: passwordFile, .wrong(key: path)))
  }

  /// - Parameter locked: what is wrong when a password was asked for, and this was not the one.
  private static func read(
    _ file: borrowing SecretFile, _ answer: Answer, locked: TLSSetupError
  ) throws(TLSSetupError) -> OpenSSLObject {
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
    OpenSSLError.clear()
    if let key { return OpenSSLObject(key) { EVP_PKEY_free($0) } }
    if answer.wasAsked { throw locked }
    throw .key(path: file.path, .none)
  }
}
