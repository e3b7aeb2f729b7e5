import ArgumentParser
import UringRawlog

/// The options of `relay`, which `check` takes too. Values are read as text first, so that a wrong one is named in our
/// own words.
struct RelayOptions: ParsableArguments {
  @Option(
    name: .long,
    help: ArgumentHelp(
      """
      Where clients come in: host:port, [v6]:port, :port, unix:/path, fd:N, or systemd or systemd:NAME for sockets that \
      systemd passed on. May be given more than once.
      """,
      valueName: "address"))
  var listen: [String] = []

  @Option(
    name: .long,
    help: ArgumentHelp(
      "The server: host:port, [v6]:port, :port or unix:/path. Names are resolved at start and on SIGHUP.",
      valueName: "address"))
  var connect: String?

  @Option(
    name: .customLong("dir"),
    help: ArgumentHelp(
      """
      Where recordings go; it must exist. With %{ip}, %{date}, %{listener}, %{local_port} or (with --protocol) %{user} \
      each session has its own, and one whose directory does not exist is not recorded. With tcp:HOST:PORT recordings are sent there, a connection \
      a session (needs --layout merged and --index).
      """, valueName: "directory"))
  var directory: String?

  @Flag(
    name: .long,
    help: "With --dir tcp:HOST:PORT: it may be another machine, to which whole mail goes in the clear.")
  var collectorInsecure = false

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Where the session index, sessions.jsonl, goes. (default: --dir, up to its first variable)",
      valueName: "directory"))
  var index: String?

  @Option(
    name: .long,
    help: ArgumentHelp(
      """
      Two files a session; one whose lines say when they came and which direction they are of (I: and O:); or one capture \
      for all sessions, which Wireshark opens.
      """, valueName: "pair|merged|pcapng"))
  var layout = "pair"

  @Option(
    name: .long,
    help: ArgumentHelp(
      "With --layout pcapng: a capture of this size is ended, and another begun; 0 for any. (default: 1G)",
      valueName: "size"))
  var rotateSize: String?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "With --layout pcapng: the longest time that a capture is written to; 0 for any. (default: 1d)",
      valueName: "duration"))
  var rotateAge: String?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "With --layout pcapng: compress captures when they are ended, in a process of low priority. (default: none)",
      valueName: "none|zstd"))
  var compress: String?

  @Option(
    name: .long,
    help: ArgumentHelp(
      """
      The most that recordings may take on disk; the oldest that are not being written are deleted. (default: no limit)
      """, valueName: "size"))
  var keepSize: String?

  @Option(
    name: .long,
    help: ArgumentHelp("Delete recordings that are older. (default: never)", valueName: "duration"))
  var keepAge: String?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Delete the oldest recordings when less of the file system is free. (default: never)", valueName: "percent"))
  var keepFree: String?

  @Option(
    name: .long,
    help: ArgumentHelp(
      """
      Record between client and relay, or between relay and server: then .in is what the server answered, .out what it \
      was sent.
      """, valueName: "front|back"))
  var leg = "front"

  @Option(
    name: .customLong("protocol"),
    help: ArgumentHelp(
      "What is spoken: so credentials can be left out and logins be told.", valueName: "raw|imap|pop3|smtp|lmtp|sieve"))
  var mailProtocol = "raw"

  @Option(
    name: .long,
    help: ArgumentHelp(
      """
      Whether each password and SASL response becomes '<redacted>' in the recording. (default: redact when --protocol is \
      given; raw can only keep)
      """, valueName: "redact|keep"))
  var secrets: String?

  @Flag(
    name: .long,
    help: "Record up to the server's answer to a successful login; the session goes on unrecorded.")
  var preLogin = false

  @Flag(name: [.customShort("t"), .long], help: "Put 'SECONDS.MICROSECONDS ' in front of each line, as rawlog -t.")
  var timestamps = false

  @Flag(name: [.customShort("b"), .long], help: "Put '<<<' and '>>>' around what each read returned, as rawlog -b.")
  var boundaries = false

  @Flag(name: [.customShort("I"), .customLong("ip-in-name")], help: "Begin file names with the client's address.")
  var addressInName = false

  @Option(
    name: [.customShort("f", allowingJoined: true), .long],
    help: ArgumentHelp("Record one direction only.", valueName: "in|out"))
  var filter: String?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Record only these clients: an address or a network. May be given more than once. (default: everyone)",
      valueName: "cidr"))
  var only: [String] = []

  @Option(
    name: .long,
    help: ArgumentHelp("The longest time that recorded bytes stay in memory.", valueName: "milliseconds"))
  var flush = "100"

  @Option(
    name: .long,
    help: ArgumentHelp("The most memory for bytes waiting to be written, all sessions together.", valueName: "size"))
  var logMemory = "64M"

  @Option(
    name: .long,
    help: ArgumentHelp(
      """
      When that memory is full: hold the senders back, or lose recording and say so in the index. (default: wait; drop \
      with --dir tcp:HOST:PORT)
      """, valueName: "wait|drop"))
  var logFull: String?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "With --log-full wait: how long a sender is held back before recording is lost. (default: 2s)",
      valueName: "duration"))
  var logWait: String?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "When a recording cannot be written: go on unrecorded, or close the session.", valueName: "continue|close"))
  var logError = "continue"

  @Option(
    name: .long,
    help: ArgumentHelp(
      "The most bytes recorded a session and direction; then it goes on unrecorded. (default: no limit)",
      valueName: "size"))
  var maxRecording: String?

  @Option(
    name: .long,
    help: ArgumentHelp(
      """
      Accept and require a PROXY header (v1 or v2) from these addresses: a network, an address, or 'unix'. From others \
      one is refused. May be given more than once. (default: nothing looks for one)
      """, valueName: "cidr|unix"))
  var proxyFrom: [String] = []

  @Option(
    name: .long, help: ArgumentHelp("Tell the server with a PROXY header who the client is.", valueName: "v1|v2"))
  var sendProxy: String?

  @Option(
    name: .long,
    help: ArgumentHelp(
      """
      Terminate TLS from clients with this certificate, those that lead to its authority behind it (PEM). May be given \
      twice, for an ECDSA and an RSA key; each with a --tls-key. Read again on SIGHUP.
      """, valueName: "file"))
  var tlsCert: [String] = []

  @Option(
    name: .long, help: ArgumentHelp("The key of the certificate (PEM); may be the same file.", valueName: "file"))
  var tlsKey: [String] = []

  @Option(
    name: .long,
    help: ArgumentHelp("The password of an encrypted key is the first line of this file.", valueName: "file"))
  var tlsKeyPasswordFile: String?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "TLS from clients begins with the first byte, or behind their STARTTLS. (default: implicit)",
      valueName: "implicit|starttls"))
  var tls: String?

  @Option(name: .long, help: ArgumentHelp("The oldest version of TLS on either leg.", valueName: "1.2|1.3"))
  var tlsMinVersion = "1.2"

  @Option(
    name: .long,
    help: ArgumentHelp(
      "TLS towards the server: none, from the first byte, or behind STARTTLS. (default: off; with --tls starttls: starttls)",
      valueName: "off|implicit|starttls"))
  var connectTls: String?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "The authorities that may vouch for the server's certificate, or that certificate itself (PEM). (default: the system's)",
      valueName: "file"))
  var connectCa: String?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "The name that the server's certificate must be for. (default: the host in --connect)", valueName: "name"))
  var connectName: String?

  @Flag(name: .long, help: "Accept any certificate of the server: whoever is in between can read and change mail.")
  var connectInsecure = false

  @Option(
    name: .long,
    help: ArgumentHelp(
      "How long a PROXY header may take, and the handshakes of TLS; 0 for no limit.", valueName: "duration"))
  var handshakeTimeout = "10s"

  @Option(
    name: .long,
    help: ArgumentHelp(
      "How bytes that are not recorded travel: copied through memory, spliced through a pipe, or as suits the flow.",
      valueName: "auto|copy|splice"))
  var relay = "auto"

  @Option(
    name: .long,
    help: ArgumentHelp(
      "What the relay works with: io_uring, or epoll, which costs more and is for where io_uring is refused.",
      valueName: "auto|io_uring|epoll"))
  var engine = "auto"

  @Option(
    name: .long,
    help: ArgumentHelp("Sessions at once; those beyond wait in the listen backlog.", valueName: "number"))
  var maxSessions = "65536"

  @Option(
    name: .long,
    help: ArgumentHelp(
      """
      Sessions of one client at once, an IPv4 address or an IPv6 /64; connections beyond are closed at once. (default: no \
      limit)
      """, valueName: "number"))
  var maxSessionsPerIp: String?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Sessions that one client may begin, as 10/s or 100/m: so many at once, then at that rate. (default: no limit)",
      valueName: "number/s"))
  var maxRatePerIp: String?

  @Option(
    name: .long,
    help: ArgumentHelp("End a session in which nothing moves for this long; 0 for never.", valueName: "duration"))
  var idleTimeout = "35m"

  @Option(
    name: .long,
    help: ArgumentHelp(
      "How long connecting to the server may take, all its addresses together; 0 for no limit.",
      valueName: "duration"))
  var connectTimeout = "10s"

  @Option(
    name: .long,
    help: ArgumentHelp("After SIGTERM or SIGINT: how long sessions may go on.", valueName: "duration"))
  var drain = "30s"

  @Option(
    name: .long,
    help: ArgumentHelp(
      """
      After the start give up all that is not needed: capabilities, system calls, files but for recordings, certificates \
      and what resolving needs, and core files. 'off' is for finding a fault.
      """, valueName: "auto|off"))
  var sandbox = "auto"

  @Option(name: .long, help: ArgumentHelp("Become this user after binding. Needs root.", valueName: "name"))
  var user: String?

  @Option(name: .long, help: ArgumentHelp("Become this group after binding. Needs root.", valueName: "name"))
  var group: String?

  // MARK: Reading the values

  /// The options as the relay takes them.
  ///
  /// - Throws: `StartError` (64) naming the option, its value and the remedy.
  func configuration() throws(StartError) -> RelayConfiguration {
    guard !listen.isEmpty else { throw Self.wrong("--listen is missing: say where clients come in, as in :1143") }
    guard let connect else { throw Self.wrong("--connect is missing: name the server, as in 127.0.0.1:143") }
    guard let directory else { throw Self.wrong("--dir is missing: name the directory for recordings") }
    var addresses: [Address] = []
    for text in listen {
      addresses.append(try Self.read("--listen") { () throws(ValueError) in try Address(listening: text) })
    }
    for (place, address) in addresses.enumerated() where addresses[..<place].contains(address) {
      // With port 0 the kernel chooses a different one for each.
      if case .host(_, port: 0) = address.target { continue }
      throw Self.wrong("--listen: '\(address.text)' is given twice; leave one out")
    }
    guard
      !addresses.contains(where: { $0.target == .systemd(name: nil) })
        || !addresses.contains(where: { $0.text.hasPrefix("systemd:") })
    else {
      throw Self.wrong(
        "--listen: 'systemd' takes every socket that systemd passed, also those of a name; leave one out")
    }
    var configuration = RelayConfiguration(
      listen: addresses,
      connect: try Self.read("--connect") { () throws(ValueError) in try Address(connecting: connect) },
      directory: try Self.read("--dir") { () throws(ValueError) in try DirectoryTemplate(directory) })
    try readRecording(into: &configuration)
    try readLimits(into: &configuration)
    try readTLS(into: &configuration)
    switch sandbox {
    case "auto": configuration.isSandboxed = true
    case "off": configuration.isSandboxed = false
    default: throw Self.wrong("--sandbox: '\(sandbox.escapedForMessage)' is not 'auto' or 'off'")
    }
    configuration.user = user
    configuration.group = group
    return configuration
  }

  private func readRecording(into configuration: inout RelayConfiguration) throws(StartError) {
    if let index {
      guard !index.isEmpty else { throw Self.wrong("--index is empty: name a directory") }
      configuration.indexDirectory = index
    }
    configuration.leg = try Self.choice("--leg", leg)
    try readProtocol(into: &configuration)
    configuration.layout = try Self.choice("--layout", layout)
    if let collector = configuration.directory.text.dropPrefix("tcp:") {
      try readCollector(collector, into: &configuration)
    } else if collectorInsecure {
      throw Self.wrong(
        "--collector-insecure: there is no collector; name one with --dir tcp:HOST:PORT, or leave it out")
    }
    configuration.timestamps = timestamps
    configuration.boundaries = boundaries
    if configuration.layout == .merged, boundaries {
      throw Self.wrong("--boundaries: layout merged has lines and no reads; leave one of them out")
    }
    try readRotation(into: &configuration)
    try readRetention(into: &configuration)
    configuration.addressInName = addressInName
    if let filter { configuration.filter = try Self.choice("--filter", filter) }
    for text in only {
      configuration.only.append(try Self.read("--only") { () throws(ValueError) in try CIDR(text) })
    }
    let milliseconds = try Self.read("--flush") { () throws(ValueError) in
      try Values.number(flush, from: 0, to: 3_600_000, unit: "bare number of milliseconds")
    }
    configuration.flushNanoseconds = UInt64(milliseconds) * 1_000_000
    configuration.logMemoryBytes = try Self.read("--log-memory") { () throws(ValueError) in
      let size = try Values.size(logMemory)
      guard size >= RelayConfiguration.logMemoryMinimum else {
        throw ValueError(
          "'\(logMemory.escapedForMessage)' is too little; give at least \(RelayConfiguration.logMemoryMinimum >> 10)K")
      }
      return size
    }
    configuration.logFull = try Self.choice("--log-full", logFull ?? (configuration.collector == nil ? "wait" : "drop"))
    if let logWait {
      guard configuration.logFull == .wait else {
        throw Self.wrong("--log-wait: nothing waits with --log-full drop; leave one of them out")
      }
      configuration.logWaitNanoseconds = try Self.read("--log-wait") { () throws(ValueError) in
        try Values.duration(logWait)
      }
    }
    configuration.logError = try Self.choice("--log-error", logError)
    if let maxRecording {
      let size = try Self.read("--max-recording") { () throws(ValueError) in try Values.size(maxRecording) }
      configuration.maxRecordingBytes = UInt64(size)
    }
  }

  private func readRotation(into configuration: inout RelayConfiguration) throws(StartError) {
    guard configuration.layout == .pcapng else {
      for (option, value) in [("--rotate-size", rotateSize), ("--rotate-age", rotateAge), ("--compress", compress)]
      where value != nil {
        throw Self.wrong("\(option): there are captures in layout pcapng only; add --layout pcapng, or leave it out")
      }
      return
    }
    switch compress {
    case nil, "none": break
    case "zstd": configuration.compresses = true
    case let other?: throw Self.wrong("--compress: '\(other.escapedForMessage)' is not 'none' or 'zstd'")
    }
    if boundaries {
      throw Self.wrong("--boundaries: each read is a packet in layout pcapng; leave one of them out")
    }
    if configuration.directory.hasVariables {
      throw Self.wrong("--dir: all sessions go to one capture in layout pcapng, so there is nothing for %{...}")
    }
    if let rotateSize {
      let size = try Self.read("--rotate-size") { () throws(ValueError) in try Values.size(rotateSize) }
      guard size == 0 || size >= RelayConfiguration.rotateBytesMinimum else {
        throw Self.wrong(
          "--rotate-size: '\(rotateSize.escapedForMessage)' is too little; give at least 64K, or 0 for any")
      }
      configuration.rotateBytes = UInt64(size)
    }
    if let rotateAge {
      configuration.rotateNanoseconds = try Self.read("--rotate-age") { () throws(ValueError) in
        try Values.duration(rotateAge)
      }
    }
  }

  private func readRetention(into configuration: inout RelayConfiguration) throws(StartError) {
    for (option, value) in [("--keep-size", keepSize), ("--keep-age", keepAge), ("--keep-free", keepFree)]
    where value != nil && configuration.collector != nil {
      throw Self.wrong("\(option): recordings are kept by the collector; leave it out")
    }
    if let keepSize {
      let size = try Self.read("--keep-size") { () throws(ValueError) in try Values.size(keepSize) }
      guard size > 0 else { throw Self.wrong("--keep-size: nothing could be kept; give a size such as 100G") }
      configuration.keepBytes = UInt64(size)
    }
    if let keepAge {
      configuration.keepNanoseconds = try Self.read("--keep-age") { () throws(ValueError) in
        try Values.duration(keepAge)
      }
      guard configuration.keepNanoseconds > 0 else {
        throw Self.wrong("--keep-age: nothing could be kept; give a duration such as 14d")
      }
    }
    if let keepFree {
      let percent = keepFree.hasSuffix("%") ? String(keepFree.dropLast()) : keepFree
      configuration.keepFreePercent = try Self.read("--keep-free") { () throws(ValueError) in
        try Values.number(percent, from: 1, to: 99, unit: "percentage")
      }
    }
  }

  private func readProtocol(into configuration: inout RelayConfiguration) throws(StartError) {
    if mailProtocol != "raw" {
      guard let known = MailProtocol(rawValue: mailProtocol) else {
        let choices = (["raw"] + MailProtocol.allCases.map(\.rawValue)).joined(separator: ", ")
        throw Self.wrong("--protocol: '\(mailProtocol.escapedForMessage)' is none of \(choices)")
      }
      configuration.mailProtocol = known
    }
    switch secrets {
    case "keep": configuration.keepsSecrets = true
    case "redact" where configuration.mailProtocol == nil:
      throw Self.wrong("--secrets redact: what credentials are is known only of a protocol; add --protocol")
    case nil, "redact": configuration.keepsSecrets = configuration.mailProtocol == nil
    case let other?: throw Self.wrong("--secrets: '\(other.escapedForMessage)' is not 'redact' or 'keep'")
    }
    configuration.preLogin = preLogin
    if preLogin, configuration.mailProtocol == nil || configuration.mailProtocol == .lmtp {
      throw Self.wrong("--pre-login: there is no login in \(mailProtocol); name --protocol imap, pop3, smtp or sieve")
    }
    if configuration.directory.needsUser, configuration.mailProtocol == nil || configuration.mailProtocol == .lmtp {
      throw Self.wrong(
        "--dir: nobody logs in with \(mailProtocol), so there is no %{user}; name --protocol imap, pop3, smtp or sieve")
    }
  }

  private func readCollector(_ text: String, into configuration: inout RelayConfiguration) throws(StartError) {
    let address = try Self.read("--dir") { () throws(ValueError) in try Address(connecting: text) }
    guard case .host = address.target else { throw Self.wrong("--dir: a collector is tcp:HOST:PORT") }
    guard configuration.layout == .merged else {
      throw Self.wrong("--dir: a collector gets one stream a session; add --layout merged")
    }
    guard index != nil else {
      throw Self.wrong("--dir: a collector keeps no session index; name a directory for it with --index")
    }
    configuration.collector = address
    configuration.allowsRemoteCollector = collectorInsecure
  }

  private func readLimits(into configuration: inout RelayConfiguration) throws(StartError) {
    configuration.maxSessions = try Self.read("--max-sessions") { () throws(ValueError) in
      try Values.number(maxSessions, from: 1, to: RelayConfiguration.maxSessionsMaximum)
    }
    if let maxSessionsPerIp {
      configuration.maxSessionsPerClient = try Self.read("--max-sessions-per-ip") { () throws(ValueError) in
        try Values.number(maxSessionsPerIp, from: 1, to: RelayConfiguration.maxSessionsMaximum)
      }
    }
    if let maxRatePerIp {
      let rate = try Self.read("--max-rate-per-ip") { () throws(ValueError) in try Values.rate(maxRatePerIp) }
      configuration.limitRate(count: rate.count, nanoseconds: rate.nanoseconds)
    }
    configuration.idleNanoseconds = try Self.read("--idle-timeout") { () throws(ValueError) in
      try Values.duration(idleTimeout)
    }
    configuration.connectNanoseconds = try Self.read("--connect-timeout") { () throws(ValueError) in
      try Values.duration(connectTimeout)
    }
    configuration.relay = try Self.choice("--relay", relay)
    configuration.engine = try Self.choice("--engine", engine)
    configuration.handshakeNanoseconds = try Self.read("--handshake-timeout") { () throws(ValueError) in
      try Values.duration(handshakeTimeout)
    }
    for text in proxyFrom {
      if text == "unix" {
        configuration.proxyFromUnix = true
      } else {
        configuration.proxyFrom.append(try Self.read("--proxy-from") { () throws(ValueError) in try CIDR(text) })
      }
    }
    if let sendProxy { configuration.sendProxy = try Self.choice("--send-proxy", sendProxy) }
    configuration.drainNanoseconds = try Self.read("--drain") { () throws(ValueError) in try Values.duration(drain) }
  }

  private func readTLS(into configuration: inout RelayConfiguration) throws(StartError) {
    try readFrontTLS(into: &configuration)
    try readBackTLS(into: &configuration)
    guard let oldest = TLSVersion(rawValue: tlsMinVersion) else {
      throw Self.wrong("--tls-min-version: '\(tlsMinVersion.escapedForMessage)' is not '1.2' or '1.3'")
    }
    if oldest > TLSVersion.all.lowerBound, configuration.frontTLS == nil, configuration.backTLS == nil {
      throw Self.wrong("--tls-min-version: neither leg has TLS; add --tls-cert or --connect-tls, or leave it out")
    }
    configuration.tlsVersions = oldest...TLSVersion.all.upperBound
    for (option, beginning) in [("--tls", configuration.frontTLS), ("--connect-tls", configuration.backTLS)]
    where beginning == .startTLS && configuration.mailProtocol == nil {
      throw Self.wrong("\(option) starttls: how it is asked for depends on the protocol; add --protocol")
    }
  }

  private func readFrontTLS(into configuration: inout RelayConfiguration) throws(StartError) {
    guard !tlsCert.isEmpty || !tlsKey.isEmpty else {
      if tls != nil { throw Self.wrong("--tls: name the certificate with --tls-cert and its key with --tls-key") }
      if tlsKeyPasswordFile != nil {
        throw Self.wrong("--tls-key-password-file: there is no key; name one with --tls-key, or leave it out")
      }
      return
    }
    guard tlsCert.count == tlsKey.count else {
      throw Self.wrong(
        tlsCert.count > tlsKey.count
          ? "--tls-key is missing: each --tls-cert needs one; it may name the same file"
          : "--tls-cert is missing: each --tls-key needs one; it may name the same file")
    }
    let pairs = zip(tlsCert, tlsKey).map { TLSIdentityFiles.Pair(certificate: $0, key: $1) }
    configuration.identity = TLSIdentityFiles(pairs: pairs, passwordFile: tlsKeyPasswordFile)
    configuration.frontTLS = try Self.choice("--tls", tls ?? "implicit")
  }

  private func readBackTLS(into configuration: inout RelayConfiguration) throws(StartError) {
    switch connectTls {
    case "off": break
    case nil: if configuration.frontTLS == .startTLS { configuration.backTLS = .startTLS }
    case "implicit": configuration.backTLS = .implicit
    case "starttls": configuration.backTLS = .startTLS
    case let other?:
      throw Self.wrong("--connect-tls: '\(other.escapedForMessage)' is not 'off' or 'implicit' or 'starttls'")
    }
    guard configuration.backTLS != nil else {
      let named = [("--connect-ca", connectCa != nil), ("--connect-name", connectName != nil)]
      for (option, isGiven) in named + [("--connect-insecure", connectInsecure)] where isGiven {
        throw Self.wrong("\(option): the server's leg has no TLS; add --connect-tls, or leave it out")
      }
      return
    }
    if let connectName {
      configuration.serverName = try Self.read("--connect-name") { () throws(ValueError) in
        try ServerName(connectName)
      }
    }
    if connectInsecure {
      guard connectCa == nil else {
        throw Self.wrong("--connect-insecure: nothing is verified, so --connect-ca has no use; leave one of them out")
      }
      configuration.serverTrust = .none
    } else if let connectCa {
      configuration.serverTrust = .file(connectCa)
    }
    guard connectInsecure || configuration.serverName != nil || configuration.connect.serverName != nil else {
      throw Self.wrong(
        "--connect-name is missing: '\(configuration.connect.text)' does not say which name the server's certificate is for"
      )
    }
  }

  private static func wrong(_ text: String) -> StartError {
    StartError(.usage, text)
  }

  static func read<Value>(_ option: String, _ body: () throws(ValueError) -> Value) throws(StartError) -> Value {
    do throws(ValueError) {
      return try body()
    } catch {
      throw wrong("\(option): \(error)")
    }
  }

  static func choice<Choice: RawRepresentable<String> & CaseIterable>(_ option: String, _ text: String)
    throws(StartError) -> Choice
  {
    guard let choice = Choice(rawValue: text) else {
      let choices = Choice.allCases.map { "'\($0.rawValue)'" }.joined(separator: " or ")
      throw wrong("\(option): '\(text.escapedForMessage)' is not \(choices)")
    }
    return choice
  }
}
