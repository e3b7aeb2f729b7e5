@preconcurrency import Glibc

/// The process that relays and records, and how it comes about.
enum PostloginRecorder {
  /// Makes the recorder, and this process's descriptors 0 and 1 a socket to it.
  ///
  /// Everything that it needs is there before it is: what is refused is known while the session can still go on without.
  /// - Throws: why there is no recorder; then nothing has changed.
  static func start(
    _ path: borrowing PostloginDirectory.Path, _ options: PostloginOptions, _ restriction: Restriction
  ) throws(Restriction.Failure) {
    holdStandardDescriptors()
    let ring: SmallRing
    do throws(Errno) {
      ring = try SmallRing.make(entries: Limits.postloginOperations)
    } catch {
      throw Restriction.Failure(RingAvailability.explain(error))
    }
    let bytes = PostloginLoop<SmallRing>.memoryBytes
    guard let memory = mapMemory(bytes) else { throw Restriction.Failure(call: "mmap()") }
    var pair: [2 of Int32] = [-1, -1]
    var isPair = false
    var span = pair.mutableSpan
    span.withUnsafeMutableBufferPointer {
      let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
      isPair = socketpair(AF_UNIX, type, 0, $0.baseAddress!) == 0
    }
    guard isPair else {
      let failure = Restriction.Failure(call: "socketpair()")
      munmap(memory, bytes)
      throw failure
    }
    let program = getpid()
    let recorder: pid_t
    do throws(Errno) {
      recorder = try forkDetached()
    } catch {
      munmap(memory, bytes)
      close(pair[0])
      close(pair[1])
      throw Restriction.Failure("fork() failed: \(error.text)")
    }
    guard recorder != 0 else {
      record(path, options, restriction, ring: ring, socket: pair[0], program: program, memory: memory)
    }
    dup2(pair[1], STDIN_FILENO)
    dup2(pair[1], STDOUT_FILENO)
    // The other end is the recorder's alone; both are closed by execve(2), unless that fails.
  }

  /// The recorder itself.
  private static func record(
    _ path: borrowing PostloginDirectory.Path, _ options: PostloginOptions, _ restriction: Restriction,
    ring: consuming SmallRing, socket: Int32, program: pid_t, memory: UnsafeMutableRawPointer
  ) -> Never {
    // What else is open is the program's: a pipe whose other end waits for its end must not be kept by us.
    closeDescriptors(except: ring.descriptor, socket)
    // The session ends when its two sides do. A file at its size limit is a result of a write.
    for number in [SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGXFSZ] { signal(number, SIG_IGN) }
    do throws(Errno) {
      try ring.enable()
    } catch {
      PostloginMessage.say(.error, "rawlog: \(RingAvailability.explain(error)); the session ends")
      _exit(1)
    }
    let files = open(path, options, restriction)
    setTitle(program)
    let encoder = Encoder(timestamps: options.timestamps, boundaries: options.boundaries)
    var loop = PostloginLoop(
      ring: ring, client: (STDIN_FILENO, STDOUT_FILENO), program: socket, files: files, encoder: encoder, memory: memory)
    loop.run()
    _exit(0)
  }

  /// Takes the user's rights on and creates the files. Whatever fails is said, and the session goes on without.
  private static func open(
    _ path: borrowing PostloginDirectory.Path, _ options: PostloginOptions, _ restriction: Restriction
  ) -> PostloginPair.Descriptors {
    var clock = Clock()
    clock.set(.current)
    // Before the root changes: what the time zone is may be known only here.
    let time = clock.localName()
    do throws(Restriction.Failure) {
      try restriction.apply(home: getenv("HOME"))
    } catch {
      PostloginMessage.sayNotRecorded(error.message)
      return [-1, -1]
    }
    var pair = PostloginPair(
      directory: path.recorder, address: options.addressInName ? getenv("IP") : nil, time: time, processID: getpid())
    return pair.create(options)
  }

  /// What ps(1) shows: `NAME [USER:PID rawlog]`, with the id of the program that is recorded. It goes where the arguments
  /// and, if need be, the environment are, which nobody reads any more.
  private static func setTitle(_ program: pid_t) {
    var title = Bytes()
    guard let arguments = CommandLine.unsafeArgv[0] else { return }
    title.append(cString: arguments)
    title.append(" [")
    title.append(text: getenv("USER").map { String(cString: $0) } ?? "?")
    title.append(":")
    title.append(decimal: UInt64(program))
    title.append(" rawlog]")
    var end = arguments
    var place = CommandLine.unsafeArgv
    // The strings lie one behind the other, the environment's behind the arguments'.
    while let text = place.pointee, text == end || text == end + 1 {
      end = text + strlen(text)
      place += 1
    }
    let room = end - arguments
    memset(arguments, 0, room)
    memcpy(arguments, title.start, min(title.count, room))
  }
}
