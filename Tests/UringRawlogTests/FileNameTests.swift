import Testing

@testable import UringRawlog

@Suite struct FileNameTests {
  private func session(_ client: PeerAddress, number: UInt64) -> Session {
    var session = Session()
    session.client = client
    session.number = number
    session.nameTime = Array("20260131-081500".utf8).withUnsafeBytes { LocalTimeText($0) }
    return session
  }

  @Test(arguments: [
    (PeerAddress(ipv4: 0xC000_0207, port: 40000), "192.0.2.7-"),
    (PeerAddress(ipv6: 0x2001_0DB8_0000_0000, 1, port: 40000), "2001:db8::1-"),
    (PeerAddress(ipv6: 0, 0xFFFF_C000_0207, port: 40000), "192.0.2.7-"), (PeerAddress.unix, "unix-"),
  ])
  func names(client: PeerAddress, prefix: String) {
    for (number, processID) in [(1, 1), (65537, 4_194_304), (UInt64.max, Int32.max)] as [(UInt64, Int32)] {
      let session = session(client, number: number)
      let stem = "20260131-081500.\(processID).\(number)"
      for (addressInName, expected) in [(false, stem), (true, prefix + stem)] {
        let fileName = FileName(processID: processID, addressInName: addressInName)
        var text = Bytes()
        fileName.appendStem(of: session, to: &text)
        let made = text.text
        #expect(made == expected)
        for (direction, suffix) in [(Direction.in, ".in"), (.out, ".out")] {
          text.removeAll()
          fileName.append(direction, of: session, to: &text)
          let name = text.text
          #expect(name == expected + suffix && !name.contains("/"))
        }
      }
    }
  }

  @Test func aFreshTimeIsAllZeros() {
    var text = Bytes()
    LocalTimeText().append(to: &text)
    let zeros = text.text
    #expect(zeros == String(repeating: "0", count: LocalTimeText.count))
    text.removeAll()
    session(.unix, number: 1).nameTime.appendDate(to: &text)
    let date = text.text
    #expect(date == "20260131")
  }
}
