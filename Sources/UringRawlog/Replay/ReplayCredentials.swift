/// Puts credentials back that were left out of a recording.
///
/// A password stands as it is in commands, and in base64 where SASL wants it so: alone behind AUTH LOGIN, together with
/// the user behind AUTH PLAIN (RFC 4616). What needs a challenge to be answered cannot be put back.
struct ReplayCredentials {
  private let password: [UInt8]?
  private let user: String
  private let redacted: UInt64
  private var mechanism = ""
  private static let mark = Array("<redacted>".utf8)

  /// - Throws: 65 when credentials are missing and there is no password.
  init(_ session: ExportedSession, _ password: [UInt8]?) throws(StartError) {
    self.password = password
    guard case .end(let end)? = session.record?.event else {
      (user, redacted) = ("", 0)
      return
    }
    (user, redacted) = (end.user ?? "", end.redacted)
    if redacted > 0, password == nil {
      throw StartError(
        .dataError,
        "session \(session.id) lacks \(redacted) credentials, which were left out of the recording; "
          + "give the password with --password-file")
    }
  }

  /// What one line, or a part of one, is to be sent as.
  ///
  /// - Throws: 65 when a credential cannot be known.
  mutating func filled(_ bytes: UnsafeRawBufferPointer) throws(StartError) -> [UInt8] {
    let line = Array(bytes)
    let words = String(decoding: line, as: UTF8.self).uppercased().split(whereSeparator: \.isWhitespace)
    if let place = words.firstIndex(where: { $0 == "AUTH" || $0 == "AUTHENTICATE" }), place + 1 < words.count {
      mechanism = words[place + 1].trimmed
    }
    guard redacted > 0, let password, let place = Self.find(line) else { return line }
    let credential: [UInt8]
    switch mechanism {
    case "": credential = password
    case "PLAIN": credential = Self.base64([0] + Array(user.utf8) + [0] + password)
    case "LOGIN": credential = Self.base64(password)
    case let other:
      throw StartError(
        .dataError, "the answer to \(other.escapedForMessage) depends on the server; such a session cannot be replayed")
    }
    return Array(line[..<place]) + credential + Array(line[(place + Self.mark.count)...])
  }

  private static func find(_ line: [UInt8]) -> Int? {
    guard line.count >= mark.count else { return nil }
    return (0...line.count - mark.count).first { line[$0..<$0 + mark.count].elementsEqual(mark) }
  }

  private static func base64(_ bytes: [UInt8]) -> [UInt8] {
    var text = Bytes()
    bytes.withUnsafeBytes { text.append(base64: $0) }
    return Array(text.span)
  }
}

extension Substring {
  /// Without the quotes that ManageSieve has around it.
  fileprivate var trimmed: String { String(filter { $0 != "\"" }) }
}
