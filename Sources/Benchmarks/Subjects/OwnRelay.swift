import Glibc
import UringRawlog

/// This program as the subject: the very binary, in a process of its own.
enum OwnRelay {
  /// The same path through the program as a recorded flow, without the recording.
  static func plain(tls: Bool = false) -> Subject {
    subject("plain", .plain, notRecorded + ["--relay", "copy"], tls: tls)
  }
  static func recorded(tls: Bool = false) -> Subject { subject("recorded", .recorded, [], tls: tls) }
  static func stamped() -> Subject { subject("recorded -t", .variant, ["-t"]) }
  static let capturedName = "recorded, --layout pcapng"
  /// One capture for all sessions.
  static func captured() -> Subject { subject(capturedName, .variant, ["--layout", "pcapng"]) }
  static func relaying(_ mode: String) -> Subject {
    subject("plain, --relay \(mode)", .variant, notRecorded + ["--relay", mode])
  }

  /// Without io_uring.
  static func onEpoll() -> [Subject] {
    let options = ["--engine", "epoll"]
    return [
      subject("plain, --engine epoll", .variant, notRecorded + ["--relay", "copy"] + options),
      subject("recorded, --engine epoll", .variant, options),
    ]
  }

  /// It listens to the dialogue, and leaves the passwords of the load out.
  static func listening() -> Subject { subject(listeningName, .variant, listeningOptions) }
  private static let listeningName = "recorded --protocol imap"
  private static let listeningOptions = ["--protocol", "imap"]

  static func writeCertificate(_ path: String) throws(BenchError) {
    do throws(ValueError) {
      try SelfSignedCertificate.write(.ecdsa, to: path)
    } catch {
      throw BenchError("\(error)")
    }
  }

  static let inMemoryName = "recorded on tmpfs"
  static func recordedInMemory() -> Subject { subject(inMemoryName, .variant, []) }

  /// Clients of a network that is kept for documentation (RFC 5737) never come: nobody is recorded, all are relayed.
  private static let notRecorded = ["--only", "192.0.2.1"]

  /// - Parameter tls: clients speak TLS, which it terminates with a new certificate (ECDSA, P-256).
  static func subject(_ name: String, _ role: Subject.Role, _ options: [String], tls: Bool = false) -> Subject {
    let identity = tls ? ["--tls-cert", "CERT", "--tls-key", "CERT"] : []
    let line = (["uring-rawlog --listen 127.0.0.1:0 --connect 127.0.0.1:PORT --dir DIR"] + options + identity).joined(
      separator: " ")
    return Subject(name: name, role: role, configuration: line) { (server, directory) throws(BenchError) in
      let certificate = directory + "-certificate.pem"
      if tls { try writeCertificate(certificate) }
      let arguments =
        [ownProgram, "relay", "--listen", "127.0.0.1:0", "--connect", "127.0.0.1:\(server)", "--dir", directory]
        + options + identity.map { $0 == "CERT" ? certificate : $0 }
      let process = try ChildProcess(arguments, reads: .standardError)
      var said: [String] = []
      while let line = try process.line() {
        if let end = line.lastIndex(of: ":"), line.contains("listening on "),
          let port = UInt16(line[line.index(after: end)...])
        {
          var recordings = Recordings(directory: directory, hasStamps: options.contains("-t"))
          recordings.areCaptures = options.contains("pcapng")
          if options == listeningOptions { recordings.mark = (Array("<redacted>".utf8), Array(Script.password.utf8)) }
          return RunningSubject(
            process: process, port: port,
            recordings: role == .plain || options.starts(with: notRecorded) ? nil : recordings,
            index: directory + "/sessions.jsonl")
        }
        said.append(line)
      }
      process.wait()
      throw BenchError("the relay does not start: \(said.last ?? "it says nothing")")
    }
  }
}
