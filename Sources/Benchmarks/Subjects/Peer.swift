import Glibc

/// A program of somebody else's that is measured on the same load, when it is installed.
struct Peer {
  let name: String
  let version: String
  /// The subjects that it is, for one workload.
  let subjects: @Sendable (Workload) -> [Subject]

  func subjects(for workload: Workload) -> [Subject] {
    subjects(workload).map {
      var subject = $0
      subject.version = version
      return subject
    }
  }

  /// Those that are installed; of the others it is said.
  static func installed() -> [Peer] {
    let candidates: [(String, () throws(BenchError) -> Peer)] = [
      ("nginx with its stream module", nginx), ("HAProxy", haproxy), ("socat", socat), ("Dovecot's rawlog", rawlog),
    ]
    var peers: [Peer] = []
    for (name, find) in candidates {
      do {
        peers.append(try find())
      } catch {
        Progress.say("no row for \(name): \(error)")
      }
    }
    return peers
  }

  // MARK: nginx

  private static func nginx() throws(BenchError) -> Peer {
    let program = try find("nginx")
    let module = ["/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/usr/share/nginx/modules"]
      .map { $0 + "/ngx_stream_module.so" }.first { (path: String) in access(path, R_OK) == 0 }
    let version = try firstLine([program, "-v"])
    @Sendable func text(_ listen: String, _ server: String, _ directory: String, _ extra: String) -> String {
      """
      \(module.map { "load_module \($0);\n" } ?? "")daemon off;
      worker_processes 1;
      worker_rlimit_nofile 20000;
      pid \(directory)/nginx.pid;
      error_log \(directory)/error.log crit;
      events { worker_connections 16384; }
      stream {
        server {
          listen 127.0.0.1:\(listen) backlog=4096;
          proxy_pass 127.0.0.1:\(server);\(extra)
        }
      }

      """
    }
    @Sendable func subject(_ name: String, _ extra: String) -> Subject {
      configured(name, text("PORT", "SERVER", "DIR", extra)) { (listen, server, directory) in
        let path = "\(directory)/nginx.conf"
        return (path, text("\(listen)", "\(server)", directory, extra), [program, "-c", path, "-p", directory])
      }
    }
    return Peer(name: "nginx", version: version) { workload in
      let usual = subject("nginx", "")
      switch workload {
      case .bulk, .bulk16: return [usual, subject("nginx, 256K buffers", "\n    proxy_buffer_size 256k;")]
      case .pingpong, .sizes, .mail, .churn, .idle, .postlogin: return [usual]
      case .tlsBulk, .tlsChurn: return []
      }
    }
  }

  // MARK: HAProxy

  private static func haproxy() throws(BenchError) -> Peer {
    let program = try find("haproxy")
    let version = try firstLine([program, "-v"])
    @Sendable func text(
      _ listen: String, _ server: String, _ extra: String, _ threads: String, _ tls: String = ""
    ) -> String {
      """
      global
        maxconn 4000\(threads)
      defaults
        mode tcp
        timeout connect 10s
        timeout client 35m
        timeout server 35m\(extra)
      listen relay
        bind 127.0.0.1:\(listen) backlog 4096\(tls)
        server mail 127.0.0.1:\(server)

      """
    }
    @Sendable func subject(_ name: String, _ extra: String, _ threads: String) -> Subject {
      configured(name, text("PORT", "SERVER", extra, threads)) { (listen, server, directory) in
        let path = "\(directory)/haproxy.cfg"
        return (path, text("\(listen)", "\(server)", extra, threads), [program, "-db", "-f", path])
      }
    }
    // Whole handshakes, as the load wants them; HAProxy resumes sessions unless it is told not to, and so do we.
    @Sendable func terminating() -> Subject {
      configured(
        "HAProxy, TLS, 1 thread", text("PORT", "SERVER", "", "\n  nbthread 1", " ssl crt DIR/certificate.pem")
      ) { (listen, server, directory) throws(BenchError) in
        let path = "\(directory)/haproxy.cfg"
        let certificate = "\(directory)/certificate.pem"
        try OwnRelay.writeCertificate(certificate)
        let configuration = text("\(listen)", "\(server)", "", "\n  nbthread 1", " ssl crt \(certificate)")
        return (path, configuration, [program, "-db", "-f", path])
      }
    }
    return Peer(name: "HAProxy", version: version) { workload in
      // By default it has as many threads as there are processors.
      let usual = subject("HAProxy", "", "")
      let single = subject("HAProxy, 1 thread", "", "\n  nbthread 1")
      switch workload {
      case .bulk, .bulk16: return [usual, subject("HAProxy, splice", "\n  option splice-auto", "")]
      case .pingpong, .mail, .churn: return [usual, single]
      case .sizes, .idle, .postlogin: return [usual]
      case .tlsBulk, .tlsChurn: return [terminating()]
      }
    }
  }

  // MARK: socat

  private static func socat() throws(BenchError) -> Peer {
    let program = try find("socat")
    let version = try firstLine([program, "-V"], line: 1)
    let configuration =
      "socat -t 30 -b 65536 -r DIR/in -R DIR/out TCP-LISTEN:PORT,bind=127.0.0.1,reuseaddr,backlog=4096,fork,nodelay "
      + "TCP:127.0.0.1:SERVER,nodelay"
    return Peer(name: "socat", version: version) { workload in
      var subject = Subject(name: "socat -r -R", role: .peer, configuration: configuration) {
        (server, directory) throws(BenchError) in
        let listen = try Loopback.freePort()
        let process = try ChildProcess(
          [
            program, "-t", "30", "-b", "65536", "-r", "\(directory)/in", "-R", "\(directory)/out",
            "TCP-LISTEN:\(listen),bind=127.0.0.1,reuseaddr,backlog=4096,fork,nodelay",
            "TCP:127.0.0.1:\(server),nodelay",
          ], reads: .file("\(directory)/output"))
        try awaitListening(listen, process, "\(directory)/output")
        return RunningSubject(process: process, port: listen)
      }
      subject.forks = true
      subject.share = workload == .churn || workload == .mail ? 0.25 : 1
      // A thousand processes say nothing about a connection that waits.
      return workload == .idle || workload.usesTLS ? [] : [subject]
    }
  }

  // MARK: Dovecot's rawlog

  private static func rawlog() throws(BenchError) -> Peer {
    let program = PostloginRecorder.original
    guard access(program, X_OK) == 0 else { throw BenchError("'\(program)' is not installed") }
    let version = (try? firstLine(["dovecot", "--version"])) ?? "unknown"
    return Peer(name: PostloginRecorder.originalName, version: version) { workload in
      switch workload {
      case .mail, .churn, .bulk: [rawlog(program, workload), serverAlone(workload)]
      case .bulk16, .pingpong, .sizes, .idle, .postlogin, .tlsBulk, .tlsChurn: []
      }
    }
  }

  /// The server runs under the rawlog, one process a connection, as Dovecot's own do; another run without the rawlog is
  /// taken off, so that only what the rawlog adds counts.
  private static func rawlog(_ program: String, _ workload: Workload) -> Subject {
    let configuration =
      "HOME=DIR \(program) SERVER, started for each connection with the socket as descriptors 0 and 1; "
      + "what SERVER needs when it is started without it is taken off"
    var subject = Subject(name: PostloginRecorder.originalName, role: .peer, configuration: configuration) {
      (_, directory) throws(BenchError) in
      let (_, environment) = try PostloginRecorder.prepare(directory)
      return try PostloginRecorder.acceptor([program] + server(workload), environment)
    }
    subject.control = serverAloneName
    subject.forks = true
    subject.isServer = true
    subject.share = workload == .churn || workload == .mail ? 0.1 : 0.5
    return subject
  }

  private static let serverAloneName = "server of Dovecot's rawlog"

  private static func serverAlone(_ workload: Workload) -> Subject {
    var subject = Subject(name: serverAloneName, role: .control) { (_, _) throws(BenchError) in
      try PostloginRecorder.acceptor(server(workload), [])
    }
    subject.forks = true
    subject.isServer = true
    subject.share = workload == .churn || workload == .mail ? 0.1 : 0.5
    return subject
  }

  private static func server(_ workload: Workload) -> [String] {
    [ownProgram, "bench-load", "serve-one", workload.rawValue]
  }

  // MARK: Starting them

  private static func configured(
    _ name: String, _ shown: String,
    _ make:
      @escaping @Sendable (UInt16, UInt16, String) throws(BenchError) -> (path: String, text: String, command: [String])
  ) -> Subject {
    Subject(name: name, role: .peer, configuration: shown) { (server, directory) throws(BenchError) in
      let listen = try Loopback.freePort()
      let (path, text, command) = try make(listen, server, directory)
      try writeFile(path, text)
      let output = "\(directory)/output"
      let process = try ChildProcess(command, reads: .file(output))
      try awaitListening(listen, process, output)
      return RunningSubject(process: process, port: listen)
    }
  }

  /// Waits until somebody listens on a port, without connecting to it: that would be a session of the load's server.
  private static func awaitListening(_ port: UInt16, _ process: ChildProcess, _ output: String) throws(BenchError) {
    let wanted = "0100007F:" + hexadecimal(port)
    for _ in 0..<1000 {
      let table = readText("/proc/net/tcp") ?? ""
      for line in table.split(separator: "\n") {
        let fields = line.split(separator: " ")
        // State 0A is LISTEN.
        if fields.count > 3, fields[1] == wanted, fields[3] == "0A" { return }
      }
      guard process.isRunning else {
        let said = readText(output)?.split(separator: "\n").last.map(String.init) ?? "it says nothing"
        throw BenchError("it ends at its start: \(said)")
      }
      usleep(5_000)
    }
    throw BenchError("it does not listen")
  }

  private static func hexadecimal(_ port: UInt16) -> String {
    let digits = String(port, radix: 16, uppercase: true)
    return String(repeating: "0", count: 4 - digits.count) + digits
  }

  private static func find(_ name: String) throws(BenchError) -> String {
    let path = (getenv("PATH").map { String(cString: $0) } ?? "") + ":/usr/sbin:/usr/local/sbin"
    for directory in path.split(separator: ":") where access("\(directory)/\(name)", X_OK) == 0 {
      return "\(directory)/\(name)"
    }
    throw BenchError("'\(name)' is not installed")
  }

  private static func firstLine(_ command: [String], line wanted: Int = 0) throws(BenchError) -> String {
    let process = try ChildProcess(command, reads: .both)
    var number = 0
    while let line = try process.line() {
      if number == wanted { return line }
      number += 1
    }
    throw BenchError("'\(command[0])' does not say its version")
  }
}

func parentDirectory(_ path: String) -> String {
  path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
}

/// Writes a file anew.
func writeFile(_ path: String, _ text: String) throws(BenchError) {
  let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
  guard descriptor >= 0 else {
    throw BenchError("cannot write '\(path)': \(String(cString: strerror(errno)))", status: 73)
  }
  defer { close(descriptor) }
  let bytes = Array(text.utf8)
  var written = 0
  while written < bytes.count {
    let count = bytes[written...].withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    guard count > 0 else { throw BenchError("cannot write '\(path)': \(String(cString: strerror(errno)))", status: 74) }
    written += count
  }
}
