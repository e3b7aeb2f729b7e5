import CBench
import Glibc

/// The server's side of the load, in a process of its own: it accepts, follows the script, and adds up what it saw.
///
/// On standard output it says `port N`; on `report` on standard input it answers, when all connections are over,
/// `report CONNECTIONS RECEIVED SENT CPU`, and begins anew. The end of standard input ends it.
public enum LoadServer {
  public static func run(_ workload: Workload, messageBytes: Int) throws(BenchError) {
    signal(SIGPIPE, SIG_IGN)
    raiseDescriptorLimit()
    let listener = try Loopback.listen()
    // Rounds without end: the client says how many there are by leaving.
    let script = Script.make(workload, unitsPerConnection: 1 << 40, messageBytes: messageBytes)
    let poller = try Poller()
    let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 4096)
    defer { scratch.deallocate() }
    var open: [Int32: Conversation] = [:]
    var accepted = 0
    var received = StreamTotals()
    var sent = StreamTotals()
    var failures: [String] = []
    var commands = LineReader(STDIN_FILENO)
    var isReportWanted = false
    var isEnded = false
    say("port \(try Loopback.port(of: listener))")
    poller.add(STDIN_FILENO, key: Int(STDIN_FILENO), events: Poller.read)
    poller.add(listener, key: Int(listener), events: Poller.read)

    func proceed(_ socket: Int32) {
      guard var conversation = open.removeValue(forKey: socket) else { return }
      switch conversation.advance(.server, script, scratch: scratch, answered: { _ in }) {
      case .waitsToRead, .waitsToWrite:
        break
      case .finished:
        received.add(conversation.received)
        sent.add(conversation.sent)
        close(socket)
        return
      case .failed(let reason):
        failures.append(reason)
        close(socket)
        return
      }
      open[socket] = conversation
    }

    while !isEnded {
      try poller.wait { (key) throws(BenchError) in
        let descriptor = Int32(key)
        if descriptor == STDIN_FILENO {
          guard let lines = try commands.readAvailable() else {
            isEnded = true
            return
          }
          if lines.contains("report") { isReportWanted = true }
        } else if descriptor == listener {
          while true {
            let socket = bench_accept(listener, 1)
            guard socket >= 0 else { break }
            Loopback.prepare(socket)
            open[socket] = Conversation(socket: socket, number: accepted, began: 0)
            accepted += 1
            poller.add(socket, key: Int(socket), events: Poller.edges)
            proceed(socket)
          }
        } else {
          proceed(descriptor)
        }
      }
      if isReportWanted, open.isEmpty {
        isReportWanted = false
        if let first = failures.first {
          say("failed \(failures.count) connections, the first: \(first)")
        } else {
          say("report \(received.text) \(sent.text) \(ownCPUNanoseconds())")
        }
        received = StreamTotals()
        sent = StreamTotals()
        failures = []
      }
    }
  }

  /// One connection, which is standard input and output already, as a process of its own.
  public static func serveOne(_ workload: Workload) throws(BenchError) {
    signal(SIGPIPE, SIG_IGN)
    let script = Script.make(workload, unitsPerConnection: 1 << 40)
    let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 4096)
    defer { scratch.deallocate() }
    _ = fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK)
    let poller = try Poller()
    poller.add(STDIN_FILENO, key: 0, events: Poller.edges)
    var conversation = Conversation(socket: STDIN_FILENO, number: Int(getpid()), began: 0)
    while true {
      switch conversation.advance(.server, script, scratch: scratch, answered: { _ in }) {
      case .waitsToRead, .waitsToWrite: try poller.wait { (_) throws(BenchError) in }
      case .finished: return
      case .failed(let reason): throw BenchError(reason)
      }
    }
  }

  static func say(_ line: String) {
    let bytes = Array("\(line)\n".utf8)
    _ = write(STDOUT_FILENO, bytes, bytes.count)
  }
}

/// Stream sockets on 127.0.0.1.
enum Loopback {
  static func address(_ port: UInt16) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    return address
  }

  private static func socket() throws(BenchError) -> Int32 {
    let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
    let descriptor = Glibc.socket(AF_INET, type, 0)
    guard descriptor >= 0 else { throw BenchError("socket", errno) }
    return descriptor
  }

  /// A listening socket on a port that the kernel chose.
  static func listen() throws(BenchError) -> Int32 {
    let descriptor = try socket()
    var address = address(0)
    let size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, size) }
    }
    guard result == 0, Glibc.listen(descriptor, 4096) == 0 else { throw BenchError("listen", errno) }
    return descriptor
  }

  static func port(of descriptor: Int32) throws(BenchError) -> UInt16 {
    var address = sockaddr_in()
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let result = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &size) }
    }
    guard result == 0 else { throw BenchError("getsockname", errno) }
    return UInt16(bigEndian: address.sin_port)
  }

  /// A port that nobody listens on, for a program that must be told one.
  static func freePort() throws(BenchError) -> UInt16 {
    let descriptor = try listen()
    defer { close(descriptor) }
    return try port(of: descriptor)
  }

  /// Begins to connect; the socket does not block.
  static func connect(_ port: UInt16) throws(BenchError) -> Int32 {
    let descriptor = try socket()
    prepare(descriptor)
    var address = address(port)
    let size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { Glibc.connect(descriptor, $0, size) }
    }
    guard result == 0 || errno == EINPROGRESS else {
      close(descriptor)
      throw BenchError("connect to 127.0.0.1:\(port)", errno)
    }
    return descriptor
  }

  static func prepare(_ descriptor: Int32) {
    var on: Int32 = 1
    setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
  }
}

/// User and system time of this process, all its threads.
func ownCPUNanoseconds() -> UInt64 {
  var time = timespec()
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
  return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
}

func raiseDescriptorLimit() {
  var limit = rlimit()
  getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
  limit.rlim_cur = limit.rlim_max
  setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
}
