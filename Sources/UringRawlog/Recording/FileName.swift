/// The names of one session's files: `[IP-]YYYYMMDD-HHMMSS.PID.N` and `.in`, `.out` or `.rawlog` behind it.
struct FileName {
  let processID: Int32
  let addressInName: Bool
  var layout = RelayConfiguration.Layout.pair

  /// The stem: the session's id in the index.
  func appendStem(of session: borrowing Session, to text: inout Bytes) {
    if addressInName {
      session.client.appendHost(to: &text)
      text.append(UInt8(ascii: "-"))
    }
    session.nameTime.append(to: &text)
    text.append(UInt8(ascii: "."))
    text.append(decimal: UInt64(processID))
    text.append(UInt8(ascii: "."))
    text.append(decimal: session.number)
  }

  func append(_ direction: Direction, of session: borrowing Session, to text: inout Bytes) {
    appendStem(of: session, to: &text)
    switch (layout, direction) {
    case (.pair, .in): text.append(".in")
    case (.pair, .out): text.append(".out")
    case (.merged, _): text.append(".rawlog")
    case (.pcapng, _): break
    }
  }
}
