@preconcurrency import Glibc

/// The process that relays and records, and how it comes about.
struct Recorder: ~Copyable {
  private let path: RawlogDirectory.Path
  private let options: Options
  private let restriction: Restriction
  private let ring: SmallRing
  /// The socket to the program, and the program.
  private let socket: Int32
  private let program: pid_t
  private let memory: UnsafeMutableRawPointer

  private typealias Loop = SessionLoop<SmallRing>

  /// Makes a recorder, and this process's descriptors 0 and 1 a socket to it. It begins when this process becomes the
  /// program.
  ///
  /// Everything that it needs is there before it is: what is refused is known while the session can still go on without.
  /// - Throws: why there is no recorder; then nothing has changed.
  static func start(
    _ path: consuming RawlogDirectory.Path, _ options: Options, _ restriction: Restriction
  ) throws(Restriction.Failure) {
    holdStandardDescriptors()
    let ring: SmallRing
    do throws(Errno) {
      ring = try SmallRing.make(entries: Limits.operations)
    } catch {
      throw Self.explain(error)
    }
    // The stack lies in front, so that it grows towards the guard.
    guard let memory = mapMemory(Limits.stackBytes + Loop.memoryBytes) else {
      throw Restriction.Failure(call: "mmap()")
    }
    guardFirstPage(of: memory)
    let pair = try socketPair()
    let recorder = UnsafeMutablePointer<Recorder>.allocate(capacity: 1)
    recorder.initialize(
      to: Recorder(
        path: path, options: options, restriction: restriction, ring: ring, socket: pair[0], program: getpid(),
        memory: memory + Limits.stackBytes))
    do throws(Errno) {
      try Successor.start(
        stack: UnsafeMutableRawBufferPointer(start: memory, count: Limits.stackBytes),
        body: { $0!.assumingMemoryBound(to: Recorder.self).move().run() }, context: recorder)
    } catch {
      close(pair[0])
      close(pair[1])
      throw Restriction.Failure("no process can be started: \(error.text); raise the limit of processes (ulimit -u)")
    }
    // All other descriptors of ours and the recorder's are closed by execve(2).
    dup2(pair[1], STDIN_FILENO)
    dup2(pair[1], STDOUT_FILENO)
  }

  private static func explain(_ error: Errno) -> Restriction.Failure {
    guard error.code == ENOMEM else { return Restriction.Failure(RingAvailability.explain(error)) }
    // It may be either: Dovecot limits the address space of all that it starts.
    return Restriction.Failure(
      "there is not enough memory for io_uring (\(error.text)); raise the limit of address space (vsz_limit in Dovecot) or "
        + "of locked memory (ulimit -l)")
  }

  private static func socketPair() throws(Restriction.Failure) -> [2 of Int32] {
    var pair: [2 of Int32] = [-1, -1]
    var span = pair.mutableSpan
    let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
    let result = span.withUnsafeMutableBufferPointer { socketpair(AF_UNIX, type, 0, $0.baseAddress!) }
    guard result == 0 else { throw Restriction.Failure(call: "socketpair()") }
    return pair
  }

  // MARK: In the process that records

  private consuming func run() {
    // What else is open is the program's: a pipe whose other end waits for its end must not be kept by us.
    closeDescriptors(except: ring.descriptor, socket)
    // The session ends when its two sides do. A file at its size limit is a result of a write.
    signal(SIGINT, SIG_IGN)
    signal(SIGTERM, SIG_IGN)
    signal(SIGHUP, SIG_IGN)
    signal(SIGUSR1, SIG_IGN)
    signal(SIGUSR2, SIG_IGN)
    signal(SIGXFSZ, SIG_IGN)
    do throws(Errno) {
      try ring.enable()
    } catch {
      return Message.say(.error, "rawlog: \(RingAvailability.explain(error)); the session ends")
    }
    let files = open()
    setTitle()
    let encoder = Encoder(timestamps: options.timestamps, boundaries: options.boundaries)
    var loop = Loop(
      ring: ring, client: (STDIN_FILENO, STDOUT_FILENO), program: socket, files: files, encoder: encoder, memory: memory
    )
    loop.run()
    _exit(0)
  }

  /// Takes the user's rights on and creates the files. Whatever fails is said, and the session goes on without.
  private func open() -> FilePair.Descriptors {
    var clock = Clock()
    clock.set(.current)
    // Before the root changes: what the time zone is may be known only here.
    let time = clock.localName()
    do throws(Restriction.Failure) {
      try restriction.apply(home: getenv("HOME"))
    } catch {
      Message.sayNotRecorded(error.message)
      return [-1, -1]
    }
    var pair = FilePair(
      directory: path.recorder, address: options.addressInName ? getenv("IP") : nil, time: time, processID: getpid())
    return pair.create(options)
  }

  /// What ps(1) shows: `NAME [USER:PID rawlog]`, with the id of the program that is recorded. It goes where the arguments
  /// are, and if need be the environment behind them; nobody reads either any more.
  private func setTitle() {
    guard CommandLine.argc > 0, let arguments = CommandLine.unsafeArgv[0] else { return }
    var title = Bytes()
    title.append(cString: arguments)
    title.append(" [")
    if let user = getenv("USER") { title.append(cString: user) }
    title.append(":")
    title.append(decimal: UInt64(program))
    title.append(" rawlog]\0")
    let end = Self.end(ofLast: CommandLine.unsafeArgv) ?? arguments
    let room = max(end, Self.end(ofLast: environ) ?? end) - arguments
    memset(arguments, 0, end - arguments)
    memcpy(arguments, title.start, min(title.count, room))
  }

  /// Where the last of some strings ends that lie one behind the other.
  private static func end(ofLast strings: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>)
    -> UnsafeMutablePointer<CChar>?
  {
    var place = strings
    while place.pointee != nil { place += 1 }
    guard place > strings, let last = (place - 1).pointee else { return nil }
    return last + strlen(last)
  }
}
