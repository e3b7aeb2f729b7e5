import Glibc

/// What `uring-rawlog replay` was asked for.
public struct ReplayConfiguration: Sendable {
  /// A recording, its stem, a capture or a directory.
  public var path: String
  public var session: String?
  public var indexDirectory: String?
  public var connect: Address
  /// How many times as fast as it was recorded; 0 does not wait but for answers.
  public var speed = 1.0
  /// The first answer that differs is an end.
  public var expects = false
  /// What stands for credentials that were left out of the recording; nil without.
  public var password: [UInt8]?
  /// How long an answer may take.
  public var answerMilliseconds: Int32 = 10_000

  public init(path: String, connect: Address) {
    self.path = path
    self.connect = connect
  }
}

/// `uring-rawlog replay`: sends again what a client sent, and compares what is answered.
///
/// Answers are compared line by line. The client's side waits where it did in the recording: what it sent behind so many
/// lines of answers is sent when as many have come again.
public enum Replay {
  /// - Parameter output: gets the summary, and lines that differ.
  /// - Returns: whether all answers are those of the recording.
  /// - Throws: 65 when the recording cannot be replayed, 66 when it is not there, 69 when the server is not.
  public static func run(_ configuration: ReplayConfiguration, output: Int32) throws(StartError) -> Bool {
    signal(SIGPIPE, SIG_IGN)
    let session = try chosen(configuration)
    var credentials = try ReplayCredentials(session, configuration.password)
    let connection = try ReplayConnection(configuration.connect, answerMilliseconds: configuration.answerMilliseconds)
    var answers = ReplayedAnswers(output)
    var before: Int64?
    var sent: UInt64 = 0
    var waitsForAnswer = false
    while let event = try session.reader.head(.whole) {
      switch event {
      case .gap(let gap):
        throw StartError(
          .dataError,
          "session \(session.id) lacks \(gap.bytes) bytes of what was sent; only whole recordings can be replayed")
      case .remark(let remark):
        guard case .orderUnknown = remark else { break }
        throw StartError(
          .dataError, "session \(session.id) has no times (-t): what answered what is not known; it cannot be replayed")
      case .piece(let piece) where piece.direction == .out:
        answers.expect(piece.bytes)
        waitsForAnswer = true
        before = piece.time ?? before
      case .piece(let piece):
        if waitsForAnswer {
          try connection.receive(into: &answers)
          waitsForAnswer = false
          if configuration.expects, answers.hasDifference { return finish(&answers, sent, session.id) }
        }
        pause(before, piece.time, configuration.speed)
        before = piece.time ?? before
        let bytes = try credentials.filled(piece.bytes)
        try connection.send(bytes, into: &answers)
        sent += UInt64(bytes.count)
      }
      session.reader.removeHead()
    }
    try connection.end(into: &answers)
    answers.end()
    return finish(&answers, sent, session.id)
  }

  private static func finish(_ answers: inout ReplayedAnswers, _ sent: UInt64, _ id: String) -> Bool {
    answers.sumUp(sent: sent, id: id)
    return !answers.hasDifference
  }

  /// The one session that is meant.
  private static func chosen(_ configuration: ReplayConfiguration) throws(StartError) -> ExportedSession {
    var wanted = ExportConfiguration(path: configuration.path, format: .jsonl, output: "-")
    wanted.session = configuration.session
    wanted.indexDirectory = configuration.indexDirectory
    let sessions = try ExportedSessions(wanted, try ReadingTarget(configuration.path))
    var found: [ExportedSession] = []
    var problem: StartError?
    func note(_ error: StartError) { problem = problem ?? error }
    try sessions.forEach(note) { (session) throws(StartError) in
      if found.count < 2 { found.append(session) }
    }
    guard let session = found.first else {
      throw problem
        ?? StartError(.noInput, "there is no such session in '\(configuration.path)'; name one with --session")
    }
    guard found.count == 1 else {
      throw StartError(
        .usage,
        "'\(configuration.path)' has several sessions, such as \(session.id) and \(found[1].id); name one with --session"
      )
    }
    return session
  }

  /// The first line of a file.
  ///
  /// - Throws: 66 when it cannot be read, 65 when it has none.
  public static func password(_ path: String) throws(StartError) -> [UInt8] {
    let file = CaptureFile(try RecordingFiles.open(path, followsLinks: true))
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 16)
    defer { memory.deallocate() }
    let count = try file.read(memory, at: 0)
    let line = memory[..<count].prefix { $0 != UInt8(ascii: "\n") && $0 != UInt8(ascii: "\r") }
    guard !line.isEmpty, line.count < memory.count else {
      throw StartError(.dataError, "--password-file: the first line of '\(path)' is no password; write it there")
    }
    return Array(line)
  }

  /// As long as the client waited before it sent something.
  private static func pause(_ before: Int64?, _ time: Int64?, _ speed: Double) {
    guard let before, let time, time > before, speed > 0 else { return }
    let nanoseconds = Double(time - before) * 1000 / speed
    var wait = timespec(tv_sec: Int(nanoseconds / 1e9), tv_nsec: Int(nanoseconds.truncatingRemainder(dividingBy: 1e9)))
    var rest = timespec()
    while nanosleep(&wait, &rest) != 0, errno == EINTR { wait = rest }
  }
}
