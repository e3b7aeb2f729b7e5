import Glibc

extension Sandbox {
  /// The files and ports that a configuration needs until the end of the program.
  init(_ configuration: RelayConfiguration, listeners: [Listener], targets: [SocketAddress]) {
    var landlock = Landlock()
    // Names are resolved again on SIGHUP, and OpenSSL and the C library may load parts of theirs late.
    for path in ["/etc", "/usr", "/lib", "/lib64", "/run/systemd/resolve"] { landlock.allow(path, .reading) }
    landlock.allowReadingAgain("/etc/resolv.conf")
    var directories = [RecordingDirectory.indexDirectory(configuration)]
    if configuration.collector == nil { directories.append(configuration.directory.fixedPart) }
    let remaking: Landlock.Access =
      configuration.deletes ? .remakingSwept : configuration.compresses ? .remakingListed : .remaking
    for directory in directories { landlock.allowRecording(directory, remaking: remaking) }
    for listener in listeners where !listener.path.isEmpty {
      landlock.allow(below: Landlock.parent(of: listener.path), .removing)
    }
    for pair in configuration.identity?.pairs ?? [] {
      landlock.allowReadingAgain(pair.certificate)
      landlock.allowReadingAgain(pair.key)
    }
    if let file = configuration.identity?.passwordFile { landlock.allowReadingAgain(file) }
    if case .file(let path) = configuration.serverTrust { landlock.allowReadingAgain(path) }
    if let file = getenv("SSL_CERT_FILE") { landlock.allowReadingAgain(String(cString: file)) }
    for directory in (getenv("SSL_CERT_DIR").map { String(cString: $0) } ?? "").split(separator: ":") {
      landlock.allow(below: String(directory), .reading)
    }
    // Name servers are asked again by TCP when an answer is long.
    landlock.ports = [53]
    for address in [configuration.connect, configuration.collector].compactMap(\.self) {
      if case .host(_, let port) = address.target { landlock.ports.append(port) }
    }
    for target in targets where target.family != AF_UNIX { landlock.ports.append(target.peer.port) }
    self.init(landlock: landlock)
  }
}
