import Glibc

/// What stands at the beginning of a capture: which program wrote it where, and on which listeners.
///
/// There is one interface for all listeners: libpcap (1.10) refuses a second one whose link type is not numbered there
/// as in the file, which raw IP is not. A session's own listener is in its end record.
struct CaptureSection: Equatable {
  /// The program and its version; a reader goes by what stands before the first space.
  var application: String
  var operatingSystem: String
  var hardware: String
  /// What else is to be said: which process on which node.
  var comment: String
  /// The listeners, as the user gave their addresses.
  var interfaceName: String
  var interfaceDescription: String

  /// The application of every capture that this program writes begins with it.
  static let applicationName = "uring-rawlog"

  /// The blocks that a capture begins with: one for the section, one for the interface.
  func append(to bytes: inout Bytes) {
    Self.block(PcapngFormat.section, to: &bytes) { (bytes) in
      bytes.append(number: PcapngFormat.byteOrderMagic)
      bytes.append(number: UInt16(1))
      bytes.append(number: UInt16(0))
      // The length is not known before the end.
      bytes.append(number: UInt64.max)
      Self.option(PcapngFormat.Option.hardware, hardware, to: &bytes)
      Self.option(PcapngFormat.Option.operatingSystem, operatingSystem, to: &bytes)
      Self.option(PcapngFormat.Option.application, application, to: &bytes)
      Self.option(PcapngFormat.Option.comment, comment, to: &bytes)
      bytes.append(number: UInt32(0))
    }
    Self.block(PcapngFormat.interface, to: &bytes) { (bytes) in
      bytes.append(number: PcapngFormat.linkTypeRaw)
      bytes.append(number: UInt16(0))
      // No packet is cut.
      bytes.append(number: UInt32(0))
      Self.option(PcapngFormat.Option.name, interfaceName, to: &bytes)
      Self.option(PcapngFormat.Option.description, interfaceDescription, to: &bytes)
      bytes.append(number: PcapngFormat.Option.timeResolution)
      bytes.append(number: UInt16(1))
      bytes.append(number: UInt32(littleEndian: UInt32(PcapngFormat.microseconds)))
      bytes.append(number: UInt32(0))
    }
  }

  private static func block(_ type: UInt32, to bytes: inout Bytes, _ body: (inout Bytes) -> Void) {
    let start = bytes.count
    bytes.append(number: type)
    bytes.append(number: UInt32(0))
    body(&bytes)
    let length = UInt32(bytes.count - start + 4)
    bytes.append(number: length)
    bytes.start.storeBytes(of: length, toByteOffset: start + 4, as: UInt32.self)
  }

  /// A text of more than `Limits.captureTextBytes` is cut in front of a character; an empty one is left out.
  private static func option(_ code: UInt16, _ text: String, to bytes: inout Bytes) {
    let all = Array(text.utf8)
    var count = min(all.count, Limits.captureTextBytes)
    while count > 0, count < all.count, all[count] & 0xC0 == 0x80 { count -= 1 }
    guard count > 0 else { return }
    bytes.append(number: code)
    bytes.append(number: UInt16(count))
    bytes.append(Array(all[..<count]))
    for _ in 0..<PcapngFormat.padding(count) { bytes.append(0) }
  }

}

extension Bytes {
  /// A number in the byte order of this machine.
  mutating func append<Number: FixedWidthInteger & BitwiseCopyable>(number: Number) {
    withUnsafeBytes(of: number) { append($0) }
  }
}

extension CaptureSection {
  /// That of a recorder on this machine.
  init(leg: RelayConfiguration.RecordedLeg, listeners: [String], processID: Int32) {
    var names = utsname()
    uname(&names)
    self.init(
      application: "\(Self.applicationName) \(programVersion)",
      operatingSystem: "\(Self.text(&names.sysname)) \(Self.text(&names.release))",
      hardware: Self.text(&names.machine),
      comment: "recorded by process \(processID) on \(Self.text(&names.nodename))",
      interfaceName: listeners.joined(separator: ", "),
      interfaceDescription: leg == .front ? "between client and relay" : "between relay and server")
  }

  private static func text<Characters>(_ characters: inout Characters) -> String {
    withUnsafeBytes(of: &characters) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
  }
}
