import Glibc

/// `uring-rawlog check`: whether this machine can run the relay, one line a question.
public enum Check {
  public struct Line: Sendable {
    public let isGood: Bool
    /// The question and its answer; for a bad one also the remedy.
    public let text: String
  }

  /// - Parameters:
  ///   - configuration: the relay's options, with a stand-in for each that is required and was not given.
  ///   - directory, indexDirectory, connect: those as far as they were given.
  public static func run(
    _ configuration: RelayConfiguration, directory: DirectoryTemplate?, indexDirectory: String?, connect: Address?
  ) -> [Line] {
    var lines: [Line] = []
    func good(_ text: String) { lines.append(Line(isGood: true, text: text)) }
    func bad(_ text: String) { lines.append(Line(isGood: false, text: text)) }

    let engine = checkEngine(configuration, into: &lines)
    let descriptors = DescriptorLimit.raise()
    let maxSessions = configuration.maxSessions
    let fitting = descriptors.sessions(
      files: configuration.filesPerSession, pipes: descriptors.pipes(configuration))
    if fitting >= maxSessions {
      good("descriptors: the limit of \(descriptors.limit) open files fits --max-sessions \(maxSessions)")
    } else if fitting > 0 {
      good(
        "descriptors: the limit of \(descriptors.limit) open files fits \(fitting) sessions at once, not --max-sessions "
          + "\(maxSessions); raise it (LimitNOFILE=, 'ulimit -Hn') for more")
    } else {
      bad(
        "descriptors: the limit of \(descriptors.limit) open files fits no session; raise it (LimitNOFILE=, 'ulimit -Hn')"
      )
    }

    let identity: Identity
    do throws(StartError) {
      identity = try Identity(user: configuration.user, group: configuration.group)
      try identity.takeGroups()
    } catch {
      bad("user: \(error.message)")
      return lines
    }
    let directory = configuration.collector == nil ? directory : nil
    if directory != nil || indexDirectory != nil {
      do throws(StartError) {
        try identity.withRights { () throws(StartError) in
          try RecordingDirectory.check(directory: directory, indexDirectory: indexDirectory)
        }
        if let directory {
          good("directory: '\(directory.text)' \(directory.hasVariables ? "has a place for the index" : "is writable")")
        }
        if let indexDirectory { good("index: '\(indexDirectory)' is writable") }
      } catch {
        bad("directory: \(error.message)")
      }
    }
    if configuration.collector != nil { lines.append(collectorLine(configuration)) }
    if configuration.hasTLS { lines.append(tlsLine(configuration)) }
    lines.append(sandboxLine(configuration, engine))
    if let connect {
      do throws(ValueError) {
        let count = try AddressResolver.addresses(connecting: connect).count
        good("server: '\(connect.text)' has \(count) address\(count == 1 ? "" : "es")")
      } catch {
        bad("server: \(error); check the name and the resolver")
      }
    }
    return lines
  }

  /// Whether there is an engine, and which one the relay would use.
  private static func checkEngine(_ configuration: RelayConfiguration, into lines: inout [Line]) -> Engine {
    func say(_ isGood: Bool, _ text: String) { lines.append(Line(isGood: isGood, text: text)) }

    let (kernel, oldest) = (KernelVersion.running, RingAvailability.oldestKernel)
    guard configuration.engine != .epoll else {
      say(true, "kernel: \(kernel)")
      say(true, "engine: epoll, as --engine says; io_uring, from kernel \(oldest) on, costs less")
      return .epoll
    }
    var leftAside: RingFeatures = []
    do throws(StartError) {
      leftAside = try Relay.featuresLeftAside()
    } catch {
      say(false, "environment: \(error.message)")
    }
    do throws(Errno) {
      let ring = try KernelRing.make(without: leftAside)
      if kernel >= oldest {
        say(true, "kernel: \(kernel), \(oldest) or newer is needed")
      } else {
        say(false, "kernel: \(RingAvailability.explain(Errno(ENOSYS)))")
      }
      say(true, "io_uring: allowed, and the limit of locked memory is enough")
      let missing = RingAvailability.missingOperations()
      if missing.isEmpty {
        say(true, "operations: all found; bundled receives \(ring.hasBundles ? "used" : "not used (from kernel 6.16)")")
      } else {
        say(false, "operations: this kernel lacks \(missing.joined(separator: ", ")); run a newer one")
      }
      say(true, "engine: io_uring")
      return ring.engine
    } catch {
      let isReplaced = configuration.engine == .auto && RingAvailability.isRefusal(error)
      if kernel >= oldest { say(true, "kernel: \(kernel), \(oldest) or newer is needed") }
      say(isReplaced, "io_uring: \(RingAvailability.explain(error))")
      if isReplaced { say(true, "engine: epoll, which costs more than io_uring") }
      return .epoll
    }
  }

  /// What the relay would give up here. It is tried in a thread that ends then.
  private static func sandboxLine(_ configuration: RelayConfiguration, _ engine: Engine) -> Line {
    guard configuration.isSandboxed else {
      return Line(isGood: true, text: "sandbox: off; whoever takes the relay over can do what its user can")
    }
    let sandbox = Sandbox(configuration, listeners: [], targets: [])
    do throws(StartError) {
      let inForce = try sandbox.tried(engine)
      let missing = inForce.missing.isEmpty ? "" : "; this system lacks \(inForce.missing.joined(separator: ", "))"
      return Line(isGood: true, text: "sandbox: \(inForce.parts.joined(separator: ", ")), no core files\(missing)")
    } catch {
      return Line(isGood: false, text: "sandbox: \(error.message)")
    }
  }

  /// Whether certificates and keys can be read and used.
  private static func tlsLine(_ configuration: RelayConfiguration) -> Line {
    do throws(TLSSetupError) {
      _ = try TLSFilesRead.read(configuration)
    } catch {
      return Line(isGood: false, text: "TLS: \(error.message)")
    }
    let certificates = (configuration.identity?.pairs ?? []).map { "'\($0.certificate)'" }.joined(separator: " and ")
    let front = certificates.isEmpty ? "the server's leg can be set up" : "\(certificates) and the key can be used"
    return Line(isGood: true, text: "TLS: \(front)")
  }

  /// Whether the collector may be used, and answers. It sees a connection that says nothing.
  private static func collectorLine(_ configuration: RelayConfiguration) -> Line {
    let name = configuration.directory.text
    let addresses: [SocketAddress]
    do throws(StartError) {
      addresses = try Collector.addresses(configuration)
    } catch {
      return Line(isGood: false, text: "collector: \(error.message)")
    }
    do throws(Errno) {
      try Collector.reach(addresses)
      return Line(isGood: true, text: "collector: '\(name)' answers")
    } catch {
      return Line(
        isGood: false,
        text: "collector: '\(name)' cannot be reached: \(error.text); start it, the relay would try again and record "
          + "nothing until then")
    }
  }
}
