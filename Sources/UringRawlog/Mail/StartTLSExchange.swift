/// How the relay itself asks a server for TLS, before a client's first byte is passed on: it reads the greeting, asks, and
/// reads the answer.
///
/// Plain data; lines go in, and what is to be done comes out. The greeting is kept for the client, who knows nothing of
/// this: the server does not repeat it under TLS, except with ManageSieve.
struct StartTLSExchange {
  enum Step: Equatable {
    /// More lines are needed.
    case wait
    /// These bytes go to the server.
    case send(StaticString)
    /// The server's next byte is TLS.
    case granted
    /// There will be no TLS: why, in words that are ours.
    case refused(String)

    static func == (one: Step, other: Step) -> Bool {
      switch (one, other) {
      case (.wait, .wait), (.granted, .granted): true
      case (.send(let one), .send(let other)): one.description == other.description
      case (.refused(let one), .refused(let other)): one == other
      case (.wait, _), (.send, _), (.granted, _), (.refused, _): false
      }
    }
  }

  private enum Phase {
    case greeting
    /// SMTP and LMTP: the list of extensions.
    case extensions
    case answer
  }

  /// A longer line ends it (RFC 5321 section 4.5.3.1 has 512, IMAP none).
  static let lineBytes = 8192
  /// More lines than any greeting has.
  private static let linesMaximum = 200

  let mailProtocol: MailProtocol
  private var phase = Phase.greeting
  private var offersTLS = false
  private var lines = 0
  /// What the client is greeted with.
  private(set) var greeting: [UInt8] = []

  init(_ mailProtocol: MailProtocol) {
    self.mailProtocol = mailProtocol
  }

  /// - Parameter line: a line of the server, with the end of line.
  mutating func take(_ line: UnsafeRawBufferPointer) -> Step {
    lines += 1
    guard lines <= Self.linesMaximum else { return .refused("the server talks without end before TLS") }
    switch mailProtocol {
    case .imap: return takeIMAP(line)
    case .pop3: return takePOP3(line)
    case .smtp, .lmtp: return takeSMTP(line)
    case .sieve: return takeSieve(line)
    }
  }

  private mutating func ask(_ command: StaticString) -> Step {
    phase = .answer
    return .send(command)
  }

  private static let notOffered = Step.refused("the server does not offer STARTTLS")
  private static let refusal = Step.refused("the server refused STARTTLS")

  // MARK: IMAP (RFC 9051 section 6.2.1)

  private mutating func takeIMAP(_ line: UnsafeRawBufferPointer) -> Step {
    switch phase {
    case .greeting:
      if line.begins(with: "* PREAUTH") { return .refused("the server greets with PREAUTH, which allows no STARTTLS") }
      guard line.begins(with: "* OK") else { return .refused("the server does not greet with OK") }
      greeting = Self.withoutCapabilities(line)
      return ask("rawlog STARTTLS\r\n")
    case .extensions, .answer:
      if line.begins(with: "rawlog OK") { return .granted }
      if line.begins(with: "rawlog ") { return Self.refusal }
      return line.begins(with: "* BYE") ? .refused("the server said BYE instead of starting TLS") : .wait
    }
  }

  /// The greeting without a list of capabilities, which are others under TLS.
  private static func withoutCapabilities(_ line: UnsafeRawBufferPointer) -> [UInt8] {
    let bytes = Array(line)
    let head = Array("* OK ".utf8)
    guard line.begins(with: "* OK [CAPABILITY "), let end = bytes.firstIndex(of: UInt8(ascii: "]")) else {
      return bytes
    }
    let rest = bytes[(end + 1)...].drop { $0 == UInt8(ascii: " ") }
    return head + rest
  }

  // MARK: POP3 (RFC 2595 section 4)

  private mutating func takePOP3(_ line: UnsafeRawBufferPointer) -> Step {
    switch phase {
    case .greeting:
      guard line.begins(with: "+OK") else { return .refused("the server does not greet with +OK") }
      greeting = Array(line)
      return ask("STLS\r\n")
    case .extensions, .answer:
      return line.begins(with: "+OK") ? .granted : Self.refusal
    }
  }

  // MARK: SMTP and LMTP (RFC 3207)

  private mutating func takeSMTP(_ line: UnsafeRawBufferPointer) -> Step {
    let isLast = line.count < 4 || line[3] != UInt8(ascii: "-")
    switch phase {
    case .greeting:
      guard line.begins(with: "220") else { return .refused("the server does not greet with 220") }
      greeting += Array(line)
      guard isLast else { return .wait }
      phase = .extensions
      return .send(mailProtocol == .smtp ? "EHLO localhost\r\n" : "LHLO localhost\r\n")
    case .extensions:
      guard line.begins(with: "250") else { return Self.notOffered }
      if UnsafeRawBufferPointer(rebasing: line.dropFirst(4)).isWord("STARTTLS") { offersTLS = true }
      guard isLast else { return .wait }
      return offersTLS ? ask("STARTTLS\r\n") : Self.notOffered
    case .answer:
      guard line.begins(with: "220") else { return Self.refusal }
      return isLast ? .granted : .wait
    }
  }

  // MARK: ManageSieve (RFC 5804 section 2.2)

  private mutating func takeSieve(_ line: UnsafeRawBufferPointer) -> Step {
    switch phase {
    case .greeting:
      if line.begins(with: "\"STARTTLS\"") { offersTLS = true }
      if line.begins(with: "NO") || line.begins(with: "BYE") { return .refused("the server does not greet with OK") }
      guard line.begins(with: "OK") else { return .wait }
      return offersTLS ? ask("STARTTLS\r\n") : Self.notOffered
    case .extensions, .answer:
      return line.begins(with: "OK") ? .granted : Self.refusal
    }
  }
}

extension UnsafeRawBufferPointer {
  /// Whether they begin so, letters of either case being the same.
  func begins(with text: StaticString) -> Bool {
    guard count >= text.utf8CodeUnitCount else { return false }
    for place in 0..<text.utf8CodeUnitCount where self[place].uppercased != text.utf8Start[place].uppercased {
      return false
    }
    return true
  }

  /// Whether they are that word and nothing else but the end of the line and blanks.
  func isWord(_ text: StaticString) -> Bool {
    begins(with: text) && dropFirst(text.utf8CodeUnitCount).allSatisfy { $0 == 0x20 || $0 == 0x0D || $0 == 0x0A }
  }
}

extension UInt8 {
  /// The capital of an ASCII letter.
  fileprivate var uppercased: UInt8 { self &- UInt8(ascii: "a") < 26 ? self & 0xDF : self }
}
