/// One capture while it is written: what its next block must know. The file itself belongs to whoever writes.
///
/// Plain data: blocks are composed in memory of the caller, one behind the other, and everything that was composed is
/// to be written at the capture's beginning in that order.
struct Capture {
  /// Which capture of the process it is: the N of its name.
  let number: UInt64
  /// Bytes composed so far: where the next block begins.
  private(set) var position: UInt64
  /// Packets composed so far, and gaps that they told of.
  private(set) var packets: UInt64 = 0
  private(set) var gaps: UInt64 = 0
  private let startMicroseconds: Int64

  /// None yet.
  init() {
    number = 0
    position = 0
    startMicroseconds = 0
  }

  /// A capture that begins with `section`, whose blocks are appended to `bytes`.
  ///
  /// - Parameter microseconds: the time of now, since the epoch.
  init(number: UInt64, section: CaptureSection, at microseconds: Int64, to bytes: inout Bytes) {
    self.number = number
    startMicroseconds = microseconds
    let start = bytes.count
    section.append(to: &bytes)
    position = UInt64(bytes.count - start)
  }

  /// A packet of so many bytes in all was composed.
  @inline(__always)
  mutating func note(_ bytes: Int) {
    position &+= UInt64(bytes)
    packets &+= 1
  }

  mutating func noteGap() { gaps &+= 1 }

  /// The block that a capture ends with: a reader knows by it that nothing is missing.
  mutating func appendStatistics(at microseconds: Int64, to bytes: inout Bytes) {
    let start = bytes.count
    bytes.append(number: PcapngFormat.statistics)
    bytes.append(number: UInt32(Self.statisticsBytes))
    // The interface, which is the first.
    bytes.append(number: UInt32(0))
    Self.time(microseconds, to: &bytes)
    for (code, time) in [
      (PcapngFormat.Option.startTime, startMicroseconds), (PcapngFormat.Option.endTime, microseconds),
    ] {
      bytes.append(number: code)
      bytes.append(number: UInt16(8))
      Self.time(time, to: &bytes)
    }
    for (code, count) in [(PcapngFormat.Option.received, packets), (PcapngFormat.Option.dropped, gaps)] {
      bytes.append(number: code)
      bytes.append(number: UInt16(8))
      bytes.append(number: count)
    }
    bytes.append(number: UInt32(0))
    bytes.append(number: UInt32(Self.statisticsBytes))
    position += UInt64(bytes.count - start)
  }

  /// The head, four options of eight bytes, their end, the length again.
  static let statisticsBytes = 20 + 4 * 12 + 4 + 4

  /// A time is two words, the high one first, in any byte order.
  private static func time(_ microseconds: Int64, to bytes: inout Bytes) {
    let time = UInt64(max(0, microseconds))
    bytes.append(number: UInt32(truncatingIfNeeded: time >> 32))
    bytes.append(number: UInt32(truncatingIfNeeded: time))
  }
}
