import CBench
import Glibc

/// A relay of nothing but IORING_OP_SPLICE through pipes of 1 MiB, one connection at a time: what `--relay splice` would
/// be if the ring did the splicing.
public enum SpliceRelay {
  static func subject() -> Subject {
    Subject(
      name: "IORING_OP_SPLICE", role: .variant,
      configuration: "a bare relay of linked IORING_OP_SPLICE operations, pipes of 1 MiB"
    ) { (server, _) throws(BenchError) in
      let process = try ChildProcess([ownProgram, "bench-load", "splice-relay", "\(server)"], reads: .standardOutput)
      guard let line = try process.line(), line.hasPrefix("port "), let port = UInt16(line.dropFirst(5)) else {
        throw BenchError("the relay with IORING_OP_SPLICE does not start")
      }
      return RunningSubject(process: process, port: port)
    }
  }

  public static func run(server: UInt16) throws(BenchError) {
    signal(SIGPIPE, SIG_IGN)
    let listener = try Loopback.listen()
    _ = fcntl(listener, F_SETFL, 0)
    LoadServer.say("port \(try Loopback.port(of: listener))")
    while true {
      let client = bench_accept(listener, 0)
      guard client >= 0 else { continue }
      Loopback.prepare(client)
      let other = try Loopback.connect(server)
      var connecting = pollfd(fd: other, events: Int16(POLLOUT), revents: 0)
      _ = poll(&connecting, 1, 10_000)
      // The kernel's workers wait on the sockets: they must block.
      _ = fcntl(other, F_SETFL, 0)
      let result = bench_splice_relay(client, other, 1 << 20)
      close(client)
      close(other)
      guard result == 0 else { throw BenchError("IORING_OP_SPLICE", -result) }
    }
  }
}
