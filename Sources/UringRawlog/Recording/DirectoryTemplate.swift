/// The value of `--dir`: a directory, or with `%{…}` a directory for each session.
public struct DirectoryTemplate: Sendable {
  enum Piece: Sendable, Equatable {
    case text(String)
    case ip
    case date
    case listener
    case localPort
    case user
  }

  public let text: String
  let pieces: [Piece]
  /// The part of the path before the first component with a variable; the whole of it when there is none.
  public let fixedPart: String

  /// It is known only when somebody has logged in.
  public var needsUser: Bool { pieces.contains(.user) }
  public var hasVariables: Bool { pieces.count != 1 || pieces[0] != .text(text) }

  /// - Throws: `ValueError` for an unknown variable or an open `%{`.
  public init(_ text: String) throws(ValueError) {
    let shown = "'\(text.escapedForMessage)'"
    guard !text.isEmpty else { throw ValueError("'' is empty; name a directory") }
    guard !text.utf8.contains(0) else { throw ValueError("\(shown) holds a NUL byte") }
    var pieces: [Piece] = []
    var literal = ""
    var rest = Substring(text)
    var beforeFirst: String?
    while let character = rest.first {
      guard rest.hasPrefix("%{") else {
        literal.append(character)
        rest.removeFirst()
        continue
      }
      guard let end = rest.firstIndex(of: "}") else { throw ValueError("\(shown): '%{' without '}'") }
      let name = rest[rest.index(rest.startIndex, offsetBy: 2)..<end]
      if !literal.isEmpty { pieces.append(.text(literal)) }
      if beforeFirst == nil { beforeFirst = literal }
      literal = ""
      switch name {
      case "ip": pieces.append(.ip)
      case "date": pieces.append(.date)
      case "listener": pieces.append(.listener)
      case "local_port": pieces.append(.localPort)
      case "user": pieces.append(.user)
      default:
        throw ValueError(
          "\(shown): unknown variable '%{\(String(name).escapedForMessage)}'; "
            + "there are %{ip}, %{date}, %{listener}, %{local_port} and %{user}")
      }
      rest = rest[rest.index(after: end)...]
    }
    if !literal.isEmpty { pieces.append(.text(literal)) }
    self.text = text
    self.pieces = pieces
    if let beforeFirst {
      if let slash = beforeFirst.lastIndex(of: "/") {
        fixedPart = slash == beforeFirst.startIndex ? "/" : String(beforeFirst[..<slash])
      } else {
        fixedPart = "."
      }
    } else {
      fixedPart = text
    }
  }

  /// Appends the directory of one session. A value cannot leave its path component: addresses, dates and ports hold no
  /// slash, in the listener's address each is made `_`, and a user whose name has one is not recorded.
  func append(
    to path: inout Bytes, client: PeerAddress, time: LocalTimeText, listener: String, localPort: UInt16,
    user: [UInt8] = []
  ) {
    for piece in pieces {
      switch piece {
      case .text(let text): path.append(text: text)
      case .ip: client.appendHost(to: &path)
      case .date: time.appendDate(to: &path)
      case .listener:
        for byte in listener.utf8 { path.append(byte == UInt8(ascii: "/") ? UInt8(ascii: "_") : byte) }
      case .user: path.append(user)
      case .localPort:
        if client.family == .unix { path.append("unix") } else { path.append(decimal: UInt64(localPort)) }
      }
    }
  }
}
