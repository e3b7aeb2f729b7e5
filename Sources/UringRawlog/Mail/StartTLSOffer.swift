/// What the relay adds to a dialogue when it answers STARTTLS itself: the capability in the server's lists, and the answer
/// to the command.
///
/// Plain data; whole lines go in. It knows nothing of where in the dialogue a line stands but what it is told.
struct StartTLSOffer {
  /// A longer line is passed on as it comes, and is no command and no list.
  static let lineBytes = 8192

  let mailProtocol: MailProtocol
  /// The list that is being passed on has it already.
  private var isListed = false
  private var isInList = false

  init(_ mailProtocol: MailProtocol) {
    self.mailProtocol = mailProtocol
  }

  // MARK: The server's lists

  /// A line of the server, and what the client gets instead; nil for the line as it is.
  ///
  /// - Parameters:
  ///   - answersHello: it is of the answer to EHLO or LHLO.
  ///   - answersCapabilities: it is of the answer to POP3's CAPA.
  mutating func edited(_ line: UnsafeRawBufferPointer, answersHello: Bool, answersCapabilities: Bool) -> [UInt8]? {
    switch mailProtocol {
    case .imap: return editedIMAP(line)
    case .pop3: return editedPOP3(line, begins: answersCapabilities)
    case .smtp, .lmtp: return answersHello ? editedSMTP(line) : nil
    case .sieve: return editedSieve(line)
    }
  }

  private func editedIMAP(_ line: UnsafeRawBufferPointer) -> [UInt8]? {
    let place: Int
    if line.begins(with: "* CAPABILITY ") {
      place = 13
    } else if line.begins(with: "* OK [CAPABILITY ") {
      place = 17
    } else {
      return nil
    }
    let bytes = Array(line)
    let words = bytes[place...].split { $0 == 0x20 || $0 == 0x0D || $0 == 0x0A || $0 == UInt8(ascii: "]") }
    guard !words.contains(where: { $0.withUnsafeBytes { $0.isWord("STARTTLS") } }) else { return nil }
    return Array(bytes[..<place]) + Array("STARTTLS ".utf8) + bytes[place...]
  }

  private mutating func editedPOP3(_ line: UnsafeRawBufferPointer, begins: Bool) -> [UInt8]? {
    if begins {
      isInList = line.begins(with: "+OK")
      isListed = false
      return nil
    }
    guard isInList else { return nil }
    if line.isWord("STLS") { isListed = true }
    guard line.isWord(".") else { return nil }
    isInList = false
    return isListed ? nil : Array("STLS\r\n".utf8) + line
  }

  private mutating func editedSMTP(_ line: UnsafeRawBufferPointer) -> [UInt8]? {
    guard line.begins(with: "250"), line.count > 3 else { return nil }
    if !isInList { isListed = false }
    isInList = true
    if UnsafeRawBufferPointer(rebasing: line[4...]).isWord("STARTTLS") { isListed = true }
    guard line[3] != UInt8(ascii: "-") else { return nil }
    isInList = false
    guard !isListed else { return nil }
    // The last line says so, with a blank or with nothing behind the code; the list goes on behind it.
    let text = line.dropFirst(line[3] == 0x20 ? 4 : 3)
    return Array("250-".utf8) + text + Array("250 STARTTLS\r\n".utf8)
  }

  private mutating func editedSieve(_ line: UnsafeRawBufferPointer) -> [UInt8]? {
    if line.begins(with: "\"") {
      if !isInList { isListed = false }
      isInList = true
      if line.begins(with: "\"STARTTLS\"") { isListed = true }
      return nil
    }
    guard isInList else { return nil }
    isInList = false
    return line.begins(with: "OK") && !isListed ? Array("\"STARTTLS\"\r\n".utf8) + line : nil
  }

  // MARK: The client's command

  /// The answer to a line of the client that asks for TLS; nil for any other line.
  func answer(to line: UnsafeRawBufferPointer) -> [UInt8]? {
    switch mailProtocol {
    case .imap:
      // tag SP "STARTTLS"
      guard let space = line.firstIndex(of: 0x20), space > 0, space <= 64,
        UnsafeRawBufferPointer(rebasing: line[(space + 1)...]).isWord("STARTTLS"),
        line[..<space].allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "{") && $0 != .quote })
      else { return nil }
      return Array(line[..<space]) + Array(" OK Begin TLS negotiation now.\r\n".utf8)
    case .pop3: return line.isWord("STLS") ? Array("+OK Begin TLS negotiation now.\r\n".utf8) : nil
    case .smtp, .lmtp: return line.isWord("STARTTLS") ? Array("220 2.0.0 Ready to start TLS\r\n".utf8) : nil
    case .sieve: return line.isWord("STARTTLS") ? Array("OK \"Begin TLS negotiation now.\"\r\n".utf8) : nil
    }
  }
}
