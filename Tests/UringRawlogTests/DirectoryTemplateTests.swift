import Testing

@testable import UringRawlog

@Suite struct DirectoryTemplateTests {
  private func expand(
    _ text: String, client: PeerAddress = PeerAddress(ipv4: 0xC000_0207, port: 40000), listener: String = ":143",
    localPort: UInt16 = 143
  ) throws -> String {
    let template = try DirectoryTemplate(text)
    let time = Array("20260131-081500".utf8).withUnsafeBytes { LocalTimeText($0) }
    var path = Bytes()
    template.append(to: &path, client: client, time: time, listener: listener, localPort: localPort)
    return path.text
  }

  @Test(arguments: [
    ("/var/log/rawlog", "/var/log/rawlog"), ("%{ip}", "192.0.2.7"), ("/r/%{ip}/x", "/r/192.0.2.7/x"),
    ("/r/%{date}", "/r/20260131"), ("/r/%{local_port}", "/r/143"), ("/r/%{listener}", "/r/:143"),
    ("/r/%{date}-%{ip}%{local_port}", "/r/20260131-192.0.2.7143"), ("100%", "100%"), ("a%b/%", "a%b/%"),
    ("{ip}", "{ip}"),
    ("%%{ip}", "%192.0.2.7"), ("/r/}%{ip}}", "/r/}192.0.2.7}"), ("/t\u{FC}rk/%{ip}", "/t\u{FC}rk/192.0.2.7"),
  ])
  func expansion(text: String, expected: String) throws {
    #expect(try expand(text) == expected)
  }

  @Test func otherClients() throws {
    let ipv6 = PeerAddress(ipv6: 0x2001_0DB8_0000_0000, 1, port: 1)
    #expect(try expand("/r/%{ip}/%{local_port}", client: ipv6, localPort: 0) == "/r/2001:db8::1/0")
    let local = PeerAddress(ipv6: 0xFE80_0000_0000_0000, 1, scope: 3, port: 1)
    #expect(try expand("/r/%{ip}", client: local) == "/r/fe80::1%3")
    #expect(try expand("/r/%{ip}/%{local_port}", client: .unix) == "/r/unix/unix")
    #expect(try expand("/r/%{ip}", client: .unknown) == "/r/unknown")
  }

  /// Whatever the values are, each stays within the component of the path that it is written in.
  @Test func valuesStayInTheirComponent() throws {
    let listeners = [
      "unix:/run/mail.sock", "unix:/../../etc", "[::1]:143", "unix:///", "unix:/..", "fd:3", "host:143", "unix:/.",
    ]
    let clients = [
      PeerAddress(ipv4: .max, port: .max), PeerAddress(ipv6: .max, .max, scope: .max, port: .max), .unix, .unknown,
      PeerAddress(ipv6: 0, 1, port: 0),
    ]
    for listener in listeners {
      for client in clients {
        let path = try expand("/r/%{listener}/%{ip}/%{date}/%{local_port}", client: client, listener: listener)
        let components = path.split(separator: "/", omittingEmptySubsequences: false)
        #expect(components.count == 6 && components.prefix(2) == ["", "r"], "\(path)")
        #expect(!components.dropFirst().contains { $0 == "" || $0 == "." || $0 == ".." }, "\(path)")
        #expect(components[2] == Substring(listener.replacing("/", with: "_")))
      }
    }
  }

  @Test(arguments: [
    ("/var/log/rawlog", "/var/log/rawlog", false), ("relative/dir/", "relative/dir/", false), ("100%", "100%", false),
    ("%{ip}", ".", true), ("x%{ip}", ".", true), ("/%{ip}", "/", true), ("/x%{ip}/y", "/", true),
    ("a/%{ip}", "a", true),
    ("a/b%{ip}", "a", true), ("/r/s/%{date}/%{ip}", "/r/s", true), ("/r/%{date}/s/%{ip}", "/r", true),
  ])
  func fixedPart(text: String, fixedPart: String, hasVariables: Bool) throws {
    let template = try DirectoryTemplate(text)
    #expect(template.fixedPart == fixedPart && template.hasVariables == hasVariables && template.text == text)
  }

  @Test(arguments: [
    ("%{", "'%{': '%{' without '}'"), ("/r/%{ip", "'/r/%{ip': '%{' without '}'"),
    ("/r/%{ip}%{date", "'/r/%{ip}%{date': '%{' without '}'"),
    ("/r/%{}", "'/r/%{}': unknown variable '%{}'; there are %{ip}, %{date}, %{listener}, %{local_port} and %{user}"),
    ("%{IP}", "'%{IP}': unknown variable '%{IP}'; there are %{ip}, %{date}, %{listener}, %{local_port} and %{user}"),
    ("%{ip }", "'%{ip }': unknown variable '%{ip }'; there are %{ip}, %{date}, %{listener}, %{local_port} and %{user}"),
    ("", "'' is empty; name a directory"), ("/r\u{0}/x", "'/r\\x00/x' holds a NUL byte"),
  ])
  func wrongTemplates(text: String, message: String) {
    let error = #expect(throws: ValueError.self) { try DirectoryTemplate(text) }
    // Later variables may join those that there are.
    #expect(error?.description == message)
  }

  @Test func messagesAreEscaped() {
    let error = #expect(throws: ValueError.self) { try DirectoryTemplate("/r/%{\u{1B}[2J}") }
    let shown = error?.description ?? ""
    #expect(shown.contains("'%{\\x1b[2J}'") && shown.escapedForMessage == shown)
  }
}
