/// Where a server's certificates and keys are (`--tls-cert`, `--tls-key`, `--tls-key-password-file`).
public struct TLSIdentityFiles: Sendable, Equatable {
  /// A certificate, with those behind it that lead to an authority, and its key. Both may be in one file.
  public struct Pair: Sendable, Equatable {
    public var certificate: String
    public var key: String

    public init(certificate: String, key: String) {
      self.certificate = certificate
      self.key = key
    }
  }

  /// At least one; of several, each has a key of another kind (RSA, ECDSA), and the client's wishes decide.
  public var pairs: [Pair]
  /// Its first line is the password of every key that is encrypted.
  public var passwordFile: String?

  public init(pairs: [Pair], passwordFile: String? = nil) {
    self.pairs = pairs
    self.passwordFile = passwordFile
  }

  /// The first of the files that cannot be opened now, with the rights that the process has now. After root was given
  /// up it says whether the files can be read again on SIGHUP.
  func firstUnreadable() -> TLSSetupError? {
    let named =
      pairs.map { (TLSSetupError.Option.certificate, $0.certificate) } + pairs.map { (.key, $0.key) }
      + [passwordFile].compactMap(\.self).map { (.password, $0) }
    for (option, path) in named {
      do throws(TLSSetupError) {
        _ = try SecretFile(path, option)
      } catch {
        return error
      }
    }
    return nil
  }
}
