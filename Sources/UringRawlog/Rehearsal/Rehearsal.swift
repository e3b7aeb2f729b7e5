/// The measurements of `uring-rawlog rehearse`: a fixed piece of work without a kernel, for counting its instructions.
///
/// Each checks its own result, so that none can count doing nothing.
public enum Rehearsal: String, CaseIterable, Sendable {
  /// The encoder alone; the count is of bytes.
  case encoderPlain = "encoder-plain"
  case encoderTimestamps = "encoder-t"
  case encoderBoth = "encoder-bt"
  /// The scanner of each mail protocol alone, over sessions that log in and move messages; the count is of bytes.
  case scannerIMAP = "scanner-imap"
  case scannerPOP3 = "scanner-pop3"
  case scannerSMTP = "scanner-smtp"
  case scannerLMTP = "scanner-lmtp"
  case scannerSieve = "scanner-sieve"
  /// Messages of 64 bytes through the loop, in both directions of 100 sessions; the count is of messages.
  case messagePlain = "message-plain"
  case messageRecorded = "message-recorded"
  case messageRecordedTimestamps = "message-recorded-t"
  /// Short sessions from accept to close; the count is of sessions.
  case sessionPlain = "session-plain"
  case sessionRecorded = "session-recorded"
  /// Packets of 64 bytes for a capture; the count is of packets.
  case packetCaptured = "packet-captured"
  /// The largest packets, whose bytes stay where they are; the count is of bytes.
  case payloadCaptured = "payload-captured"
  /// A client's and a server's TLS engine: the count is of bytes of plaintext, of handshakes, of engines that do nothing.
  case tlsBulk = "tls-bulk"
  case tlsHandshakeECDSA = "tls-handshake-ecdsa"
  case tlsHandshakeRSA = "tls-handshake-rsa"
  case tlsResumption = "tls-resumption"
  case tlsIdle = "tls-idle"

  /// The largest count: far above what anybody waits for, far below what a counter takes.
  public static let countMaximum = 1 << 40

  /// Does the work and says in one line what was done.
  ///
  /// - Throws: `ValueError` when the result is not what it must be.
  public func run(count: Int) throws(ValueError) -> String {
    let done: String
    switch self {
    case .encoderPlain: done = try EncoderRehearsal(timestamps: false, boundaries: false).encode(count)
    case .encoderTimestamps: done = try EncoderRehearsal(timestamps: true, boundaries: false).encode(count)
    case .encoderBoth: done = try EncoderRehearsal(timestamps: true, boundaries: true).encode(count)
    case .scannerIMAP: done = try DialogueRehearsal(.imap).scan(count)
    case .scannerPOP3: done = try DialogueRehearsal(.pop3).scan(count)
    case .scannerSMTP: done = try DialogueRehearsal(.smtp).scan(count)
    case .scannerLMTP: done = try DialogueRehearsal(.lmtp).scan(count)
    case .scannerSieve: done = try DialogueRehearsal(.sieve).scan(count)
    case .messagePlain: done = try Self.messages(count, isRecorded: false)
    case .messageRecorded: done = try Self.messages(count, isRecorded: true)
    case .messageRecordedTimestamps: done = try Self.messages(count, isRecorded: true, timestamps: true)
    case .sessionPlain: done = try Self.sessions(count, isRecorded: false)
    case .sessionRecorded: done = try Self.sessions(count, isRecorded: true)
    case .packetCaptured: done = try CaptureRehearsal.packets(count)
    case .payloadCaptured: done = try CaptureRehearsal.bytes(count)
    case .tlsBulk: done = try TLSRehearsal.bulk(count)
    case .tlsHandshakeECDSA: done = try TLSRehearsal.handshakes(count, .ecdsa, resumes: false)
    case .tlsHandshakeRSA: done = try TLSRehearsal.handshakes(count, .rsa, resumes: false)
    case .tlsResumption: done = try TLSRehearsal.handshakes(count, .ecdsa, resumes: true)
    case .tlsIdle: done = try TLSRehearsal.idle(count)
    }
    return "\(rawValue): \(done)"
  }

  private static func messages(_ count: Int, isRecorded: Bool, timestamps: Bool = false) throws(ValueError) -> String {
    var rehearsal = try LoopRehearsal.make(isRecorded: isRecorded, timestamps: timestamps)
    return try rehearsal.relayMessages(count)
  }

  private static func sessions(_ count: Int, isRecorded: Bool) throws(ValueError) -> String {
    var rehearsal = try LoopRehearsal.make(isRecorded: isRecorded, timestamps: false)
    return try rehearsal.relaySessions(count)
  }

  static func check(_ name: String, _ value: Int, _ expected: Int) throws(ValueError) {
    guard value == expected else { throw ValueError("\(name): \(value) instead of \(expected)") }
  }
}
