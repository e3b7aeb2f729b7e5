import Glibc

/// Two TLS engines face to face, without a network: what TLS itself costs, and how much memory it keeps.
///
/// CPU time is this thread's, taken around the calls of one side. Unlike the other rehearsals this is for time, not for
/// instructions: what OpenSSL does depends on the processor.
struct TLSRehearsal: ~Copyable {
  /// As much as the loop receives at once.
  private static let chunkBytes = Limits.receiveBufferBytes
  /// The most that an idle engine may keep. A single buffer for a record would be 16 KiB more.
  private static let idleBytes = 24 << 10
  private static let idleCountLeast = 200

  private let identity: TLSIdentity
  private let trust: TLSTrust
  private let plaintext = UnsafeMutableRawBufferPointer.allocate(byteCount: chunkBytes, alignment: 64)
  private let ciphertext = UnsafeMutableRawBufferPointer.allocate(
    byteCount: TLSEngine.ciphertextRoom(chunkBytes), alignment: 64)
  private let result = UnsafeMutableRawBufferPointer.allocate(
    byteCount: TLSEngine.plaintextRoom(TLSEngine.ciphertextRoom(chunkBytes)), alignment: 64)

  deinit {
    plaintext.deallocate()
    ciphertext.deallocate()
    result.deallocate()
  }

  private init(_ identity: consuming TLSIdentity, _ trust: consuming TLSTrust) {
    self.identity = identity
    self.trust = trust
    for place in 0..<plaintext.count { plaintext[place] = UInt8(truncatingIfNeeded: place &* 131) }
  }

  private static func make(_ kind: SelfSignedCertificate.Kind) throws(ValueError) -> TLSRehearsal {
    let path = try temporaryFile()
    defer { unlink(path) }
    try SelfSignedCertificate.write(kind, to: path)
    do throws(TLSSetupError) {
      return TLSRehearsal(
        try TLSIdentity.make(TLSIdentityFiles(pairs: [.init(certificate: path, key: path)])),
        try TLSTrust.make(.host(SelfSignedCertificate.name), authorities: .file(path)))
    } catch {
      throw ValueError(error.message)
    }
  }

  private static func temporaryFile() throws(ValueError) -> String {
    let directory = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
    var path = Array("\(directory)/uring-rawlog-rehearsal-XXXXXX".utf8CString)
    let descriptor = mkstemp(&path)
    guard descriptor >= 0 else { throw ValueError("cannot make a file in '\(directory)': \(Errno.current.text)") }
    close(descriptor)
    return String(decoding: path.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  // MARK: What is measured

  /// Encrypts and decrypts `count` bytes.
  static func bulk(_ count: Int) throws(ValueError) -> String {
    let rehearsal = try make(.ecdsa)
    var pair = Pair(TLSEngine(connecting: rehearsal.trust), TLSEngine(serving: rehearsal.identity))
    try rehearsal.shakeHands(&pair)
    let before = pair.nanoseconds
    var left = count
    while left > 0 {
      let part = UnsafeRawBufferPointer(rebasing: rehearsal.plaintext[..<min(left, chunkBytes)])
      let sent = pair.asClient { $0.send(part, into: rehearsal.ciphertext) }
      let bytes = UnsafeRawBufferPointer(rebasing: rehearsal.ciphertext[..<sent.made])
      let came = pair.asServer { $0.receive(bytes, at: $0.place, into: rehearsal.result) }
      guard sent.taken == part.count, came.taken == sent.made, came.made == part.count,
        memcmp(rehearsal.result.baseAddress!, part.baseAddress!, part.count) == 0
      else { throw ValueError("a chunk was not encrypted and decrypted to its end") }
      left -= part.count
    }
    let nanoseconds = pair.nanoseconds
    return "\(count) bytes in \((count + chunkBytes - 1) / chunkBytes) chunks with \(pair.cipher); "
      + "ns a byte: \(thousandths(nanoseconds.client - before.client, count)) to encrypt, "
      + "\(thousandths(nanoseconds.server - before.server, count)) to decrypt"
  }

  /// Shakes hands `count` times, each with new engines.
  static func handshakes(
    _ count: Int, _ kind: SelfSignedCertificate.Kind, resumes: Bool
  ) throws(ValueError) -> String {
    let rehearsal = try make(kind)
    var used = (client: 0, server: 0)
    var resumed = 0
    // A session to begin with.
    if resumes { _ = try rehearsal.handshake() }
    for _ in 0..<count {
      if !resumes { rehearsal.identity.rotateTicketKeys() }
      let one = try rehearsal.handshake()
      used.client += one.client
      used.server += one.server
      resumed += one.isResumed ? 1 : 0
    }
    try Rehearsal.check("resumed sessions", resumed, resumes ? count : 0)
    return
      "\(count) handshakes, \(resumed) resumed; us each: \(thousandths(used.server, count * 1000)) for the server, "
      + "\(thousandths(used.client, count * 1000)) for the client"
  }

  private borrowing func handshake() throws(ValueError) -> (client: Int, server: Int, isResumed: Bool) {
    var pair = Pair(TLSEngine(connecting: trust), TLSEngine(serving: identity))
    try shakeHands(&pair)
    return (pair.nanoseconds.client, pair.nanoseconds.server, pair.isResumed)
  }

  /// Makes `count` pairs of engines, has each exchange a large record, and looks at the memory that they keep.
  static func idle(_ count: Int) throws(ValueError) -> String {
    let rehearsal = try make(.ecdsa)
    // What OpenSSL allocates once is not theirs.
    _ = try rehearsal.handshake()
    let pairs = UnsafeMutablePointer<Pair>.allocate(capacity: count)
    let before = heapBytes
    for number in 0..<count {
      (pairs + number).initialize(
        to: Pair(TLSEngine(connecting: rehearsal.trust), TLSEngine(serving: rehearsal.identity)))
    }
    defer {
      pairs.deinitialize(count: count)
      pairs.deallocate()
    }
    for number in 0..<count {
      try rehearsal.shakeHands(&pairs[number])
      try rehearsal.exchange(&pairs[number])
    }
    let each = (heapBytes - before) / (2 * count)
    // Few are drowned by whatever else happens in the process meanwhile.
    guard count < idleCountLeast || each <= idleBytes else {
      throw ValueError("an idle engine keeps \(each) bytes, more than \(idleBytes)")
    }
    return "\(count) pairs of engines, idle after a handshake and 16 KiB each way; each engine keeps \(each) bytes"
  }

  // MARK: Two engines

  /// Two engines, and the CPU time of each.
  private struct Pair: ~Copyable {
    private var client: TLSEngine
    private var server: TLSEngine
    private(set) var nanoseconds = (client: 0, server: 0)

    init(_ client: consuming TLSEngine, _ server: consuming TLSEngine) {
      self.client = client
      self.server = server
    }

    var areBothOpen: Bool { client.state == .open && server.state == .open }
    var isResumed: Bool { server.isResumed }
    var cipher: String { server.cipher.map { String(cString: $0) } ?? "" }

    mutating func asClient<Result>(_ body: (inout TLSEngine) -> Result) -> Result {
      let start = cpuNanoseconds()
      defer { nanoseconds.client += cpuNanoseconds() - start }
      return body(&client)
    }

    mutating func asServer<Result>(_ body: (inout TLSEngine) -> Result) -> Result {
      let start = cpuNanoseconds()
      defer { nanoseconds.server += cpuNanoseconds() - start }
      return body(&server)
    }

    private func cpuNanoseconds() -> Int {
      var time = timespec()
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
      return time.tv_sec * 1_000_000_000 + time.tv_nsec
    }
  }

  private borrowing func shakeHands(_ pair: inout Pair) throws(ValueError) {
    var came = 0
    // Hello, answer, end; and the tickets, which are the client's last.
    for _ in 0..<3 {
      came = pair.asClient { step(&$0, came) }
      came = pair.asServer { step(&$0, came) }
    }
    guard pair.areBothOpen, came == 0 else { throw ValueError("a handshake was not brought to its end") }
  }

  /// Gives one engine what is in `ciphertext`, and takes its answer there.
  private borrowing func step(_ engine: inout TLSEngine, _ count: Int) -> Int {
    let bytes = UnsafeRawBufferPointer(rebasing: ciphertext[..<count])
    let taken = engine.handshake(bytes, at: engine.place).taken
    _ = engine.receive(UnsafeRawBufferPointer(rebasing: bytes[taken...]), at: engine.place, into: result)
    return engine.send(UnsafeRawBufferPointer(start: nil, count: 0), into: ciphertext).made
  }

  private borrowing func exchange(_ pair: inout Pair) throws(ValueError) {
    let record = UnsafeRawBufferPointer(rebasing: plaintext[..<TLSEngine.recordBytes])
    let asked = pair.asClient { $0.send(record, into: ciphertext) }
    let question = UnsafeRawBufferPointer(rebasing: ciphertext[..<asked.made])
    let heard = pair.asServer { $0.receive(question, at: $0.place, into: result) }
    let answered = pair.asServer { $0.send(record, into: ciphertext) }
    let answer = UnsafeRawBufferPointer(rebasing: ciphertext[..<answered.made])
    let came = pair.asClient { $0.receive(answer, at: $0.place, into: result) }
    try Rehearsal.check("bytes there and back", heard.made + came.made, 2 * record.count)
  }

  /// A quotient with three decimals.
  private static func thousandths(_ sum: Int, _ count: Int) -> String {
    let value = (sum * 1000 + count / 2) / count
    let rest = String(value % 1000)
    return "\(value / 1000).\(String(repeating: "0", count: 3 - rest.count))\(rest)"
  }
}
