import Testing

@testable import UringRawlog

@Suite struct AddressTests {
  @Test(
    arguments: [
      ("localhost:143", "localhost", 143), ("mail.example:25", "mail.example", 25),
      ("192.0.2.1:65535", "192.0.2.1", 65535),
      ("[::1]:143", "::1", 143), ("[2001:db8::1]:1", "2001:db8::1", 1), ("[fe80::1%eth0]:143", "fe80::1%eth0", 143),
      (":143", nil, 143), ("host:0143", "host", 143), ("mail-1.example.:993", "mail-1.example.", 993),
      ("[::ffff:192.0.2.1]:143", "::ffff:192.0.2.1", 143),
    ] as [(String, String?, UInt16)])
  func hosts(text: String, host: String?, port: UInt16) throws {
    for address in [try Address(listening: text), try Address(connecting: text)] {
      #expect(address.text == text && address.target == .host(host, port: port))
    }
  }

  @Test func portZeroIsForListeningOnly() throws {
    #expect(try Address(listening: ":0").target == .host(nil, port: 0))
    #expect(try Address(listening: "127.0.0.1:0").target == .host("127.0.0.1", port: 0))
    let error = #expect(throws: ValueError.self) { try Address(connecting: "127.0.0.1:0") }
    #expect(error?.description == "'127.0.0.1:0': the port is a number from 1 to 65535")
  }

  @Test func unixSockets() throws {
    let longest = "/" + String(repeating: "x", count: 106)
    for path in ["/run/mail.sock", "/", "/with:colon", "/with space/\u{FC}", longest] {
      #expect(try Address(listening: "unix:\(path)").target == .unix(path: path))
      #expect(try Address(connecting: "unix:\(path)").target == .unix(path: path))
    }
    for path in ["", "run/mail.sock", "./x", "@abstract"] {
      let error = #expect(throws: ValueError.self) { try Address(connecting: "unix:\(path)") }
      #expect(error?.description == "'unix:\(path)' needs an absolute path, as in unix:/run/mail.sock")
    }
    // The limit is one of bytes, not of characters.
    for path in [longest + "x", "/" + String(repeating: "\u{FC}", count: 54)] {
      let error = #expect(throws: ValueError.self) { try Address(listening: "unix:\(path)") }
      #expect(error?.description == "'unix:\(path)' is too long: the path of a unix socket has at most 107 bytes")
    }
  }

  @Test func descriptors() throws {
    for number in [0, 3, 1023, Int32.max] {
      #expect(try Address(listening: "fd:\(number)").target == .descriptor(number))
    }
    for number in ["", "-1", "+3", "x", "3 ", "2147483648", "99999999999999999999", "3:4"] {
      let error = #expect(throws: ValueError.self) { try Address(listening: "fd:\(number)") }
      #expect(error?.description == "'fd:\(number)' needs the number of a descriptor behind 'fd:', as in fd:3")
    }
  }

  @Test(arguments: ["fd:3", "fd:", "fd:x"])
  func descriptorsAreForListeningOnly(text: String) {
    let error = #expect(throws: ValueError.self) { try Address(connecting: text) }
    #expect(error?.description == "'\(text)': a socket that is passed on can only be listened on")
  }

  @Test(arguments: [
    "host:", "host:x", "host:65536", "host:-1", "host:+1", "host:1 ", ":", "host:1.5", "host:\u{0661}", "[::1]:",
  ])
  func ports(text: String) {
    let error = #expect(throws: ValueError.self) { try Address(listening: text) }
    #expect(error?.description == "'\(text)': the port is a number from 0 to 65535")
  }

  @Test(arguments: [
    "host", "143", "", "[::1]", "[::1]143", "[::1", "[]:143", "[:143", "a b:143", "host/x:143", "ho[st:143", "\t:143",
  ])
  func formsThatThereAreNot(text: String) {
    let listening = #expect(throws: ValueError.self) { try Address(listening: text) }
    #expect(
      listening?.description.hasSuffix(" is not host:port, [v6]:port, :port, unix:/path, fd:N or systemd") == true)
    let connecting = #expect(throws: ValueError.self) { try Address(connecting: text) }
    #expect(connecting?.description.hasSuffix(" is not host:port, [v6]:port, :port or unix:/path") == true)
  }

  @Test(arguments: ["::1:143", "2001:db8::1:143", "::"])
  func anIPv6AddressStandsInBrackets(text: String) {
    let error = #expect(throws: ValueError.self) { try Address(listening: text) }
    #expect(error?.description.contains("an IPv6 address stands in brackets, as in [::1]:143") == true)
  }

  @Test(arguments: ["[127.0.0.1]:143", "[localhost]:143", "[::g]:143", "[1]:143", "[%eth0]:143"])
  func onlyAnIPv6AddressStandsInBrackets(text: String) {
    let error = #expect(throws: ValueError.self) { try Address(listening: text) }
    #expect(error?.description == "'\(text)': only an IPv6 address stands in brackets")
  }

  @Test(arguments: ["192.0.2.256:143", "192.0.2:143", "1:143", "1.2.3.4.5:143", "...:143"])
  func numbersAreIPv4Addresses(text: String) {
    let error = #expect(throws: ValueError.self) { try Address(connecting: text) }
    #expect(error?.description == "'\(text)': '\(text.dropLast(4))' is not an IPv4 address")
  }

  @Test(arguments: ["host\u{0}:143", "unix:/run/\u{0}", ":143\u{0}"])
  func aNulByteIsRefused(text: String) {
    for error in [
      #expect(throws: ValueError.self) { try Address(listening: text) },
      #expect(throws: ValueError.self) { try Address(connecting: text) },
    ] {
      #expect(error?.description == "'\(text.escapedForMessage)' holds a NUL byte")
    }
  }

  @Test func messagesAreEscaped() {
    for text in ["\u{1B}[2J", "fd:\u{1B}[2J", "unix:\u{1B}[2J", "host:\u{1B}[2J", "[\u{1B}]:1", "::\u{1B}:1"] {
      let error = #expect(throws: ValueError.self) { try Address(listening: text) }
      let shown = error?.description ?? ""
      #expect(shown.contains("\\x1b") && shown.escapedForMessage == shown, "\(shown)")
    }
  }
}
