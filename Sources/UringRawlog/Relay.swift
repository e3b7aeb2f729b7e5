import Glibc

/// `uring-rawlog relay`: from the options to a running loop, and back to an exit.
public enum Relay {
  /// Relays until a signal ends it.
  ///
  /// Everything that can be wrong is found before anything is created: names and directories first, then the ring, then
  /// the addresses, the index last.
  ///
  /// - Throws: `StartError` with the exit code and one line for the user.
  public static func run(_ configuration: RelayConfiguration) throws(StartError) {
    var report = Report(descriptor: STDERR_FILENO)
    // A peer that is gone, and a file at its size limit, are results of operations and not signals.
    signal(SIGPIPE, SIG_IGN)
    signal(SIGXFSZ, SIG_IGN)
    let descriptors = DescriptorLimit.raise()
    let passed = PassedSockets.take()
    let supervisor = Supervisor.find()

    let identity = try Identity(user: configuration.user, group: configuration.group)
    let targets: [SocketAddress]
    do throws(ValueError) {
      targets = try AddressResolver.addresses(connecting: configuration.connect)
    } catch {
      throw StartError(.unavailable, "--connect: \(error); check the name and the resolver")
    }
    let collectors = try Collector.addresses(configuration)
    let tls = try readTLS(configuration)
    try identity.takeGroups()
    try identity.withRights { () throws(StartError) in
      try RecordingDirectory.check(
        directory: configuration.collector == nil ? configuration.directory : nil,
        indexDirectory: configuration.indexDirectory)
    }

    let signals: Int32
    let wake: Int32
    do throws(Errno) {
      signals = try SignalDescriptor.open([SIGTERM, SIGINT, SIGHUP])
      wake = try SignalDescriptor.openWake()
    } catch {
      throw StartError(.osError, "cannot make a descriptor for signals: \(error.text); raise the limit of open files")
    }
    let start = Start(
      descriptors: descriptors, passed: passed, supervisor: supervisor, identity: identity, targets: targets,
      collectors: collectors, tls: tls, signals: signals, wake: wake)
    try chooseEngine(configuration, start, &report)
  }

  /// What was found out before there was an engine.
  private struct Start {
    var descriptors: DescriptorLimit
    var passed: PassedSockets
    var supervisor: Supervisor
    var identity: Identity
    var targets: [SocketAddress]
    var collectors: [SocketAddress]
    var tls: TLSFilesRead
    var signals: Int32
    var wake: Int32
  }

  /// Relays with the engine of the option, or else with io_uring unless that is refused.
  private static func chooseEngine(
    _ configuration: RelayConfiguration, _ start: Start, _ report: inout Report
  ) throws(StartError) {
    let leftAside = try featuresLeftAside()
    let uring: KernelRing
    do throws(Errno) {
      guard configuration.engine != .epoll else { throw Errno(ENOSYS) }
      uring = try KernelRing.make(without: leftAside, restricted: configuration.isSandboxed)
    } catch {
      switch configuration.engine {
      case .epoll:
        break
      case .auto where RingAvailability.isRefusal(error):
        report.say("using epoll, which costs more than io_uring: \(RingAvailability.explain(error))")
      case .auto, .uring:
        throw StartError(.unavailable, RingAvailability.explain(error))
      }
      try relay(configuration, start, over: try makeEpoll(without: leftAside), &report)
      return
    }
    try relay(configuration, start, over: uring, &report)
  }

  private static func makeEpoll(without leftAside: RingFeatures) throws(StartError) -> EpollRing {
    do throws(Errno) {
      return try EpollRing.make(without: leftAside)
    } catch {
      throw StartError(.unavailable, "epoll cannot be set up: \(error.text); raise the limits of open files and memory")
    }
  }

  /// From an engine to the end.
  private static func relay<R: SystemRing & ~Copyable>(
    _ configuration: RelayConfiguration, _ start: Start, over ring: consuming R, _ report: inout Report
  ) throws(StartError) {
    let (descriptors, passed, identity) = (start.descriptors, start.passed, start.identity)
    let (targets, collectors, wake) = (start.targets, start.collectors, start.wake)
    let listeners = try open(configuration.listen, passed)
    var isRunning = false
    defer { if !isRunning { close(listeners) } }
    try checkForLoops(listeners, targets, collectors, configuration)
    let pipes = descriptors.pipes(configuration)
    let fitting = descriptors.sessions(files: configuration.filesPerSession, pipes: pipes)
    guard fitting > 0 else { throw descriptors.tooLow }
    try identity.drop()
    // The kernel allows them again when the user changes. Mail is secret, also where no key is in memory.
    if configuration.hasTLS || configuration.isSandboxed { try Secrecy.forbidDumps() }
    for name in passed.unused(configuration.listen) {
      report.say(
        "systemd passed the socket '\(name)', and no --listen names it: whoever connects there waits for nothing")
    }
    // What is created from here on is 0600, whatever the umask was; a unix socket has followed it.
    umask(0o077)
    if configuration.endsIndexDaily { RecordingDirectory.endIndexDay(configuration) }
    let index = try RecordingDirectory.openIndex(configuration)
    var directory: Int32 = -1
    if !configuration.directory.hasVariables, configuration.collector == nil {
      directory = openDirectoryPath(configuration.directory.text)
      guard directory >= 0 else {
        guard !Errno.current.isOutOfDescriptors else { throw descriptors.tooLow }
        throw StartError(
          .noPermission,
          "--dir: cannot open '\(configuration.directory.text)': \(Errno.current.text); let this user pass its parents")
      }
    }

    if fitting < configuration.maxSessions {
      report.say(
        "the limit of \(descriptors.limit) open files fits \(fitting) sessions at once, not --max-sessions "
          + "\(configuration.maxSessions); raise it (LimitNOFILE=, 'ulimit -Hn')")
    }
    let resolution = Renewal<[SocketAddress]>("resolve", wake: wake) { [address = configuration.connect] in
      do throws(ValueError) {
        return .success(try AddressResolver.addresses(connecting: address))
      } catch {
        return .failure(error)
      }
    }
    let reloading = Renewal<TLSFilesRead>("read certificates", wake: wake) {
      do throws(TLSSetupError) {
        return .success(try TLSFilesRead.read(configuration))
      } catch {
        return .failure(ValueError(error.message))
      }
    }
    let hasTLS = configuration.hasTLS
    let sweeper = try sweeper(configuration, wake: wake)
    let environment = RelayLoop<R>.Environment(
      listeners: listeners, targets: targets, collectors: collectors, directory: directory, index: index.descriptor,
      indexPath: index.path,
      indexEndsTorn: index.endsTorn, processID: getpid(), maxSessions: min(fitting, configuration.maxSessions),
      // Sessions that only wait for their disk must not take the place of new ones.
      maxSlots: min(fitting, configuration.maxSessions * 2),
      signals: start.signals, wake: wake, maxPipes: pipes, messages: STDERR_FILENO,
      captureEnded: { sweeper?.hurry() }, swept: { sweeper?.take() ?? [] },
      endSweeping: { sweeper?.end() ?? false },
      endIndexDay: { RecordingDirectory.endIndexDay(configuration, $0.date) },
      front: start.tls.front, back: start.tls.back, supervisor: start.supervisor,
      reopenIndex: { () throws(StartError) in
        let opened = try RecordingDirectory.openIndex(configuration)
        return (opened.descriptor, opened.endsTorn)
      }, resolve: { resolution.begin() }, resolved: { resolution.take() },
      reloadTLS: { if hasTLS { reloading.begin() } }, reloadedTLS: { reloading.take() },
      isRenewing: { resolution.isRunning || reloading.isRunning })
    if configuration.isSandboxed {
      try enterSandbox(
        Sandbox(configuration, listeners: listeners, targets: targets + collectors), configuration,
        ring.engine, &report)
    }
    try begin(sweeper)
    if let unreadable = TLSFilesRead.firstUnreadable(configuration) {
      report.say("\(unreadable.message) to have it read again on SIGHUP; until then only a restart does")
    }
    do throws(Errno) {
      var loop = try RelayLoop.make(configuration: configuration, environment: environment, ring: ring)
      if !configuration.redacts {
        report.say(
          "recordings hold what is sent, passwords included, in clear; keep '\(configuration.directory.text)' private")
      }
      for listener in listeners { report.say("listening on \(listener.bound)", .info) }
      isRunning = true
      try loop.run()
    } catch {
      for listener in listeners { listener.removePath() }
      throw StartError(.osError, "the ring failed: \(error.text); please report this with the kernel's version")
    }
  }

  /// Gives up what is not needed from here on. Root without its capabilities is a user like others.
  private static func enterSandbox(
    _ sandbox: Sandbox, _ configuration: RelayConfiguration, _ engine: Engine, _ report: inout Report
  ) throws(StartError) {
    let inForce = try sandbox.enter(engine)
    for missing in inForce.missing {
      report.say("the sandbox goes without what this system does not have: \(missing)")
    }
    do throws(StartError) {
      try RecordingDirectory.check(
        directory: configuration.collector == nil ? configuration.directory : nil,
        indexDirectory: configuration.indexDirectory)
    } catch {
      throw StartError(
        error.status, "\(error.message), or name its owner with --user: root has no privilege here once it has started")
    }
  }

  private static func begin(_ sweeper: Sweeper?) throws(StartError) {
    do throws(Errno) {
      try sweeper?.begin()
    } catch {
      throw cannotSweep(error)
    }
  }

  private static func cannotSweep(_ error: Errno) -> StartError {
    StartError(.osError, "cannot begin to delete recordings: \(error.text); raise the limits of this user")
  }

  /// What deletes and compresses recordings; nil where nothing does.
  private static func sweeper(_ configuration: RelayConfiguration, wake: Int32) throws(StartError) -> Sweeper? {
    guard configuration.deletes || configuration.compresses else { return nil }
    var retention = Retention()
    if configuration.keepBytes > 0 { retention.mostBytes = configuration.keepBytes }
    if configuration.keepNanoseconds > 0 { retention.mostAge = Int64(configuration.keepNanoseconds) }
    retention.leastFreePercent = configuration.keepFreePercent
    // A program is executed, which is forbidden later; it has no privilege either.
    if configuration.compresses, configuration.isSandboxed { try Sandbox.dropPrivileges() }
    do throws(Errno) {
      return try Sweeper(
        root: configuration.directory.fixedPart, retention: retention,
        compressor: configuration.compresses ? try Compressor(program: "/proc/self/exe") : nil, wake: wake)
    } catch {
      throw cannotSweep(error)
    }
  }

  /// Reads certificates and keys, with the rights that the program was started with.
  private static func readTLS(_ configuration: RelayConfiguration) throws(StartError) -> TLSFilesRead {
    guard configuration.hasTLS else { return TLSFilesRead() }
    try Secrecy.forbidDumps()
    do throws(TLSSetupError) {
      return try TLSFilesRead.read(configuration)
    } catch {
      throw error.startError
    }
  }

  private static func open(_ addresses: [Address], _ passed: PassedSockets) throws(StartError) -> [Listener] {
    var listeners: [Listener] = []
    for address in addresses {
      do throws(StartError) {
        listeners += try Listener.open(address, passed: passed)
      } catch {
        close(listeners)
        throw error
      }
    }
    return listeners
  }

  /// A relay that is its own server, or its own collector, would connect to itself until nothing is left.
  private static func checkForLoops(
    _ listeners: [Listener], _ targets: [SocketAddress], _ collectors: [SocketAddress],
    _ configuration: RelayConfiguration
  ) throws(StartError) {
    for listener in listeners {
      guard let own = SocketAddress.local(of: listener.descriptor) else { continue }
      for target in targets where own.reaches(target) {
        throw StartError(
          .usage,
          "--connect: '\(configuration.connect.text)' is where '\(listener.given)' listens: the relay would connect to "
            + "itself; name the server")
      }
      for collector in collectors where own.reaches(collector) {
        throw StartError(
          .usage,
          "--dir: '\(configuration.directory.text)' is where '\(listener.given)' listens: the relay would record its own "
            + "recordings; name the collector")
      }
    }
  }

  private static func close(_ listeners: [Listener]) {
    for listener in listeners { listener.close() }
  }

  /// `URING_RAWLOG_WITHOUT` names features of the kernel to do without, for a kernel in which one is broken.
  static func featuresLeftAside() throws(StartError) -> RingFeatures {
    var features: RingFeatures = []
    guard let value = getenv("URING_RAWLOG_WITHOUT") else { return features }
    for name in String(cString: value).split(separator: ",") {
      guard let feature = RingFeatures.named(name) else {
        throw StartError(
          .usage, "URING_RAWLOG_WITHOUT: unknown feature '\(name)'; there are bundles, multishot and loop-files")
      }
      features.insert(feature)
    }
    return features
  }
}

/// How many descriptors the process may have, and how many sessions that is.
struct DescriptorLimit {
  let limit: Int

  var tooLow: StartError {
    StartError(
      .unavailable,
      "the limit of \(limit) open files leaves none for sessions; raise it (LimitNOFILE=, 'ulimit -n')")
  }

  /// Raises the soft limit to the hard one (setrlimit(2)).
  static func raise() -> DescriptorLimit {
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    if limit.rlim_cur < limit.rlim_max {
      limit.rlim_cur = limit.rlim_max
      if setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) != 0 {
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
      }
    }
    return DescriptorLimit(limit: Int(clamping: limit.rlim_cur))
  }

  /// How many sessions the descriptors that are still free are enough for.
  ///
  /// - Parameters:
  ///   - files: how many files a session records to.
  ///   - pipes: how many pipes there may be beside.
  func sessions(files: Int, pipes: Int) -> Int { (free - 2 * pipes) / (2 + files) }

  /// How many pipes there may be: none where all is recorded, and few where descriptors are few.
  func pipes(_ configuration: RelayConfiguration) -> Int {
    guard configuration.relay != .copy, configuration.leavesUnrecorded else { return 0 }
    return min(Limits.pipes, free / Limits.descriptorsPerPipe)
  }

  private var free: Int {
    var open = 0
    if let directory = opendir("/proc/self/fd") {
      while readdir(directory) != nil { open += 1 }
      closedir(directory)
    }
    return max(0, limit - open - Limits.descriptorReserve)
  }
}
