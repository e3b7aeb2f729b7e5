/// What is wrong with certificates, keys or passwords: one line for the user, and the exit code at start.
public enum TLSSetupError: Error, Equatable, Sendable {
  /// The option that named a file.
  public enum Option: String, Sendable {
    case certificate = "--tls-cert"
    case key = "--tls-key"
    case password = "--tls-key-password-file"
    case authorities = "--connect-ca"
  }

  /// Why a file is not read.
  public enum Reading: Equatable, Sendable {
    case failed(Errno)
    case directory
    /// A pipe or a device, which may keep its reader waiting.
    case notRegular
    case tooLarge
  }

  /// What is wrong with a file of certificates.
  public enum Certificates: Equatable, Sendable {
    case none
    case malformed(reason: String)
  }

  /// What is wrong with a file of a key.
  public enum Key: Equatable, Sendable {
    /// There is none, or it is damaged: OpenSSL does not say which.
    case none
    /// It is encrypted, and there is no password.
    case locked
  }

  /// What is wrong with the file of a password.
  public enum Password: Equatable, Sendable {
    case empty
    case tooLong
    case wrong(key: String)
  }

  /// What is wrong with a certificate and its key, each of which can be read.
  public enum Pair: Equatable, Sendable {
    case mismatch(key: String)
    /// The key belongs to another certificate of the file, counted from 1.
    case wrongOrder(key: String, place: Int)
    case expired(end: String)
    case notYetValid(beginning: String)
    /// The key is of the same kind as that of another pair, and a server can have one of each kind only.
    case sameKind(other: String)
    /// OpenSSL's rules do not allow it: too short a key, too old a signature.
    case notAllowed(reason: String)
  }

  case reading(Option, path: String, Reading)
  case certificates(Option, path: String, Certificates)
  case key(path: String, Key)
  case password(path: String, Password)
  case pair(certificate: String, Pair)
  /// OpenSSL itself cannot be set up.
  case openSSL(reason: String)

  public var status: ExitStatus {
    switch self {
    case .reading: .noInput
    case .certificates, .key, .password, .pair: .badConfiguration
    case .openSSL: .unavailable
    }
  }

  /// The same for the start of the program.
  public var startError: StartError { StartError(status, message) }

  public var message: String {
    switch self {
    case .reading(let option, let path, let problem): "\(option.rawValue): \(problem.message(path))"
    case .certificates(let option, let path, let problem): "\(option.rawValue): \(problem.message(path))"
    case .key(let path, let problem): "--tls-key: \(problem.message(path))"
    case .password(let path, let problem): "--tls-key-password-file: \(problem.message(path))"
    case .pair(let certificate, let problem): "--tls-cert: \(problem.message(certificate))"
    case .openSSL(let reason): "OpenSSL cannot be used: \(reason); look at its configuration ('openssl version -d')"
    }
  }
}

extension TLSSetupError.Reading {
  fileprivate func message(_ path: String) -> String {
    switch self {
    case .failed(let error): "cannot read '\(path)': \(error.text); name a file that this user can read"
    case .directory: "'\(path)' is a directory; name a file"
    case .notRegular: "'\(path)' is not an ordinary file; name one, it is read again on SIGHUP"
    case .tooLarge: "'\(path)' is larger than \(Limits.tlsFileBytes >> 20)M; name a file in PEM form"
    }
  }
}

extension TLSSetupError.Certificates {
  fileprivate func message(_ path: String) -> String {
    switch self {
    case .none: "'\(path)' holds no certificate in PEM form; convert it ('openssl x509')"
    case .malformed(let reason): "a certificate in '\(path)' is broken: \(reason); restore the file"
    }
  }
}

extension TLSSetupError.Key {
  fileprivate func message(_ path: String) -> String {
    switch self {
    case .none: "'\(path)' holds no private key in PEM form, or a damaged one; restore or convert it ('openssl pkey')"
    case .locked: "'\(path)' is encrypted; name a file that holds its password with --tls-key-password-file"
    }
  }
}

extension TLSSetupError.Password {
  fileprivate func message(_ path: String) -> String {
    switch self {
    case .empty: "the first line of '\(path)' is empty; write the key's password there"
    case .tooLong:
      "the first line of '\(path)' is longer than \(PrivateKey.passwordBytes) bytes; write the password alone"
    case .wrong(let key): "the first line of '\(path)' is not the password of '\(key)'; correct it"
    }
  }
}

extension TLSSetupError.Pair {
  fileprivate func message(_ certificate: String) -> String {
    switch self {
    case .mismatch(let key):
      "'\(key)' is not the key of the certificate in '\(certificate)'; name the two that belong together"
    case .wrongOrder(let key, let place):
      "'\(key)' is the key of certificate \(place) in '\(certificate)'; put the server's own certificate first"
    case .expired(let end): "the certificate in '\(certificate)' expired on \(end); renew it"
    case .notYetValid(let beginning):
      "the certificate in '\(certificate)' is not valid before \(beginning); wait, or set the clock"
    case .sameKind(let other):
      "'\(certificate)' and '\(other)' are for keys of the same kind; leave one out"
    case .notAllowed(let reason):
      "OpenSSL does not allow the certificate in '\(certificate)': \(reason); make a stronger one"
    }
  }
}
