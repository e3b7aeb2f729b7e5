import Glibc

/// An address as the user types it: `host:port`, `[v6]:port`, `:port`, `unix:/path`, and for listening `fd:N`, `systemd`
/// and `systemd:NAME`.
public struct Address: Sendable, Equatable {
  public enum Target: Sendable, Equatable {
    /// A name or an IP address; nil for `:port`.
    case host(String?, port: UInt16)
    case unix(path: String)
    /// A listening socket that the parent process passed on.
    case descriptor(Int32)
    /// The listening sockets that systemd passed on, or those of one name (FileDescriptorName=).
    case systemd(name: String?)
  }

  /// The address as given.
  public let text: String
  public let target: Target

  /// - Throws: `ValueError` naming what is wrong and what is right.
  public init(listening text: String) throws(ValueError) {
    self.text = text
    if let number = text.dropPrefix("fd:") {
      guard let descriptor = Int32(number), descriptor >= 0, number.allSatisfy(\.isWholeNumber) else {
        throw ValueError("'\(text.escapedForMessage)' needs the number of a descriptor behind 'fd:', as in fd:3")
      }
      target = .descriptor(descriptor)
    } else if text == "systemd" {
      target = .systemd(name: nil)
    } else if let name = text.dropPrefix("systemd:") {
      guard PassedSockets.isName(name) else {
        throw ValueError(
          "'\(text.escapedForMessage)' needs the socket's FileDescriptorName= behind 'systemd:', as in systemd:imap")
      }
      target = .systemd(name: name)
    } else {
      target = try Self.parse(text, leastPort: 0, forms: "host:port, [v6]:port, :port, unix:/path, fd:N or systemd")
    }
  }

  /// - Throws: `ValueError` naming what is wrong and what is right.
  public init(connecting text: String) throws(ValueError) {
    self.text = text
    target = try Self.parse(text, leastPort: 1, forms: "host:port, [v6]:port, :port or unix:/path")
  }

  private static func parse(_ text: String, leastPort: UInt16, forms: String) throws(ValueError) -> Target {
    let shown = "'\(text.escapedForMessage)'"
    guard !text.utf8.contains(0) else { throw ValueError("\(shown) holds a NUL byte") }
    guard text.dropPrefix("fd:") == nil, text != "systemd", text.dropPrefix("systemd:") == nil else {
      throw ValueError("\(shown): a socket that is passed on can only be listened on")
    }
    if let path = text.dropPrefix("unix:") {
      guard path.hasPrefix("/") else { throw ValueError("\(shown) needs an absolute path, as in unix:/run/mail.sock") }
      guard SocketAddress(unixPath: path) != nil else {
        throw ValueError("\(shown) is too long: the path of a unix socket has at most 107 bytes")
      }
      return .unix(path: path)
    }
    guard let colon = text.lastIndex(of: ":") else { throw ValueError("\(shown) is not \(forms)") }
    let portText = text[text.index(after: colon)...]
    var host = String(text[..<colon])
    if host.hasPrefix("[") {
      guard host.hasSuffix("]"), host.count > 2 else { throw ValueError("\(shown) is not \(forms)") }
      host = String(host.dropFirst().dropLast())
      guard isIPv6(host) else { throw ValueError("\(shown): only an IPv6 address stands in brackets") }
    } else if host.contains(":") {
      throw ValueError("\(shown) is not \(forms); an IPv6 address stands in brackets, as in [::1]:143")
    }
    guard !portText.isEmpty, portText.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
      let port = UInt16(portText), port >= leastPort
    else {
      throw ValueError("\(shown): the port is a number from \(leastPort) to 65535")
    }
    guard !host.contains(where: { $0.isWhitespace || $0 == "/" || $0 == "[" || $0 == "]" }) else {
      throw ValueError("\(shown) is not \(forms)")
    }
    if host.allSatisfy({ $0.isNumber || $0 == "." }), !host.isEmpty {
      var address = in_addr()
      guard inet_pton(AF_INET, host, &address) == 1 else {
        throw ValueError("\(shown): '\(host)' is not an IPv4 address")
      }
    }
    return .host(host.isEmpty ? nil : host, port: port)
  }

  /// An IPv6 address, perhaps with the interface that it belongs to behind a `%` (RFC 4007 §11).
  private static func isIPv6(_ host: String) -> Bool {
    var address = in6_addr()
    return inet_pton(AF_INET6, String(host.prefix { $0 != "%" }), &address) == 1
  }
}

extension String {
  /// What stands behind a prefix; nil without it.
  package func dropPrefix(_ prefix: String) -> String? {
    hasPrefix(prefix) ? String(dropFirst(prefix.count)) : nil
  }
}
