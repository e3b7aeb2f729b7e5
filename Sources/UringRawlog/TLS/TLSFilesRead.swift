/// What the files of TLS amount to: who we are, and whom we trust. Read at start and again on SIGHUP.
struct TLSFilesRead: Sendable {
  var front: TLSFront?
  var back: TLSBack?

  /// Reads whatever the options name.
  static func read(_ configuration: RelayConfiguration) throws(TLSSetupError) -> TLSFilesRead {
    var read = TLSFilesRead()
    if let files = configuration.identity, configuration.frontTLS != nil {
      read.front = TLSFront(try TLSIdentity.make(files, versions: configuration.tlsVersions))
    }
    if configuration.backTLS != nil {
      read.back = TLSBack(
        try TLSTrust.make(
          configuration.serverName ?? configuration.connect.serverName, authorities: configuration.serverTrust,
          versions: configuration.tlsVersions))
    }
    return read
  }

  /// The first of the files that cannot be read with the rights that the process has now.
  static func firstUnreadable(_ configuration: RelayConfiguration) -> TLSSetupError? {
    if let error = configuration.identity?.firstUnreadable() { return error }
    guard configuration.backTLS != nil, case .file(let path) = configuration.serverTrust else { return nil }
    do throws(TLSSetupError) {
      _ = try SecretFile(path, .authorities)
      return nil
    } catch {
      return error
    }
  }
}

extension Address {
  /// What a server's certificate must be for, where nothing else is said: the name or address that is connected to.
  public var serverName: ServerName? {
    switch target {
    case .host(let host, port: _): try? ServerName(host ?? "localhost")
    case .unix, .descriptor, .systemd: nil
    }
  }
}
