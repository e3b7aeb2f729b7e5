/// Reads a capture block by block, from its beginning or from a place that is known, in bounded memory.
///
/// Only captures of this program are read: what foreign ones lack is needed to tell sessions apart. Blocks of other
/// kinds are passed over. A capture that a crash cut is readable up to its last whole block.
final class CaptureReader {
  enum Step {
    case packet(CapturedPacket)
    case damage(CaptureDamage)
    /// The block that a section ends with: how many packets it has.
    case end(packets: UInt64)
    /// Another section begins: captures were put together, and numbers of sessions begin anew.
    case section
  }

  /// What was found behind the last block.
  enum Tail: Equatable {
    /// Nothing, and the last block is the one that a capture ends with.
    case complete
    /// Nothing, but the capture was not ended: it is being written, or the recorder was killed.
    case unfinished
    /// A part of a block begins at a place.
    case cut(at: UInt64)
  }

  /// What is read at first after a jump; it doubles while reading goes straight on.
  private static let leastReadBytes = 4 << 10

  let source: any CaptureSource
  /// Its first section.
  private(set) var section: CaptureSection
  /// What `next` found when it last gave nil.
  private(set) var tail = Tail.unfinished
  private let window = UnsafeMutableRawBufferPointer.allocate(byteCount: Limits.captureWindowBytes, alignment: 16)
  private var start = 0
  private var end = 0
  /// Where in the capture the window's first byte that was not used lies.
  private(set) var place: UInt64 = 0
  /// Where the section begins that is being read.
  private(set) var sectionPlace: UInt64 = 0
  private var readBytes = leastReadBytes
  private var hasInterface = false
  private var endsWithStatistics = false
  /// The block that was given, dropped at the next call.
  private var usedBytes = 0

  /// - Throws: 65 when this is no capture of ours, or is cut within its first blocks; 66 when it cannot be read.
  init(_ source: any CaptureSource) throws(StartError) {
    self.source = source
    section = CaptureSection(
      application: "", operatingSystem: "", hardware: "", comment: "", interfaceName: "", interfaceDescription: "")
    try readBeginning()
  }

  deinit { window.deallocate() }

  private func readBeginning() throws(StartError) {
    guard try fill(PcapngFormat.leastBlockBytes) else {
      let isEmpty = end == start
      throw StartError(
        .dataError,
        isEmpty
          ? "\(shown) is empty: nothing was recorded yet, or it was not written before a crash"
          : "\(shown) is no pcapng capture; name one that uring-rawlog wrote")
    }
    guard bytes.number(at: 0, as: UInt32.self) == PcapngFormat.section else { throw notPcapng() }
    try checkByteOrder()
    guard let block = try wholeBlock() else { throw cutAtBeginning() }
    try readSection(block, isFirst: true)
    drop(block.count)
    guard try fill(PcapngFormat.leastBlockBytes), let block = try wholeBlock() else { throw cutAtBeginning() }
    guard block.number(at: 0, as: UInt32.self) == PcapngFormat.interface else {
      throw damaged("the second block describes no interface")
    }
    try readInterface(block)
    drop(block.count)
  }

  // MARK: Blocks

  /// The next packet, or what is to be said about one; nil at the end, of which `tail` tells more. More may have been
  /// written when it is called again.
  ///
  /// - Throws: 65 where a block cannot be told from the next, or a section of another program begins: nothing more can be
  ///   read. 66 when the capture cannot be read.
  func next() throws(StartError) -> Step? {
    drop(usedBytes)
    usedBytes = 0
    while true {
      guard let block = try nextBlock() else { return nil }
      let type = block.number(at: 0, as: UInt32.self)
      if type == PcapngFormat.statistics || type == PcapngFormat.packet {
        endsWithStatistics = type == PcapngFormat.statistics
      }
      switch type {
      case PcapngFormat.packet:
        usedBytes = block.count
        if block.count >= PcapngFormat.packetHeadBytes + 4, hasInterface,
          let packet = CapturedPacket(block, at: place, section: sectionPlace)
        {
          return .packet(packet)
        }
        return .damage(CaptureDamage(kind: .strange, block: place, session: 0))
      case PcapngFormat.statistics:
        let packets = Self.packets(block)
        drop(block.count)
        if let packets { return .end(packets: packets) }
      case PcapngFormat.section:
        try readSection(block, isFirst: false)
        drop(block.count)
        return .section
      case PcapngFormat.interface:
        try readInterface(block)
        drop(block.count)
      default:
        drop(block.count)
      }
    }
  }

  /// The packet whose block begins at a place.
  ///
  /// - Parameter section: where the section begins that it lies in.
  /// - Throws: also 65 when there is none.
  func packet(at place: UInt64, section: UInt64) throws(StartError) -> CapturedPacket {
    seek(place, section: section)
    guard case .packet(let packet)? = try next(), packet.block == place else {
      throw StartError(.dataError, "\(shown) has no packet of uring-rawlog at byte \(place); read it without its .idx")
    }
    return packet
  }

  /// Goes to a place where a block begins.
  ///
  /// - Parameter section: where the section begins that it lies in.
  func seek(_ place: UInt64, section: UInt64) {
    sectionPlace = section
    hasInterface = true
    usedBytes = 0
    endsWithStatistics = false
    jump(to: place)
  }

  private func jump(to place: UInt64) {
    if place >= self.place, place - self.place <= UInt64(end - start) {
      drop(Int(place - self.place))
      return
    }
    start = 0
    end = 0
    self.place = place
    readBytes = Self.leastReadBytes
  }

  /// A block that is known, all of it; blocks of unknown kinds and any length are passed over.
  private func nextBlock() throws(StartError) -> UnsafeRawBufferPointer? {
    while true {
      guard try fill(PcapngFormat.leastBlockBytes) else {
        tail = end > start ? .cut(at: place) : endsWithStatistics ? .complete : .unfinished
        return nil
      }
      let type = bytes.number(at: 0, as: UInt32.self)
      let length = UInt64(bytes.number(at: 4, as: UInt32.self))
      // A file that a crash made longer before it was written.
      if type == 0 && length == 0 {
        tail = .cut(at: place)
        return nil
      }
      if type == PcapngFormat.section { try checkByteOrder() }
      switch type {
      case PcapngFormat.section, PcapngFormat.interface, PcapngFormat.packet, PcapngFormat.statistics:
        guard let block = try wholeBlock() else {
          tail = .cut(at: place)
          return nil
        }
        return block
      default:
        guard length >= UInt64(PcapngFormat.leastBlockBytes), length & 3 == 0 else {
          throw damaged("no block begins there")
        }
        guard try source.count() >= place + length else {
          tail = .cut(at: place)
          return nil
        }
        if length <= UInt64(end - start) { drop(Int(length)) } else { jump(to: place + length) }
      }
    }
  }

  /// The block that begins here; nil when the file ends before it does.
  private func wholeBlock() throws(StartError) -> UnsafeRawBufferPointer? {
    let length = Int(bytes.number(at: 4, as: UInt32.self))
    guard length >= PcapngFormat.leastBlockBytes, length & 3 == 0, length <= Limits.captureBlockBytes else {
      throw damaged("a block of \(length) bytes begins there")
    }
    guard try fill(length) else { return nil }
    let block = UnsafeRawBufferPointer(rebasing: bytes[..<length])
    guard Int(block.number(at: length - 4, as: UInt32.self)) == length else {
      throw damaged("the block there has two different lengths")
    }
    return block
  }

  /// Of the section that begins here; even the length of its first block depends on it.
  private func checkByteOrder() throws(StartError) {
    let magic = bytes.number(at: 8, as: UInt32.self)
    guard magic != PcapngFormat.byteOrderMagic else { return }
    guard magic == PcapngFormat.byteOrderMagic.byteSwapped else { throw notPcapng() }
    throw StartError(
      .dataError, "\(shown) was written on a machine of the other byte order; read it there, or with Wireshark")
  }

  private func readSection(_ block: UnsafeRawBufferPointer, isFirst: Bool) throws(StartError) {
    let wanted = "name a capture that uring-rawlog wrote, or open this one with Wireshark"
    guard block.count >= 28 else { throw damaged("its section header has \(block.count) bytes") }
    let version = block.number(at: 12, as: UInt16.self)
    guard version == 1 else { throw StartError(.dataError, "\(shown) is of pcapng version \(version); \(wanted)") }
    var found = section
    var list = OptionList(UnsafeRawBufferPointer(rebasing: block[24..<block.count - 4]))
    while let option = list.next() {
      switch option.code {
      case PcapngFormat.Option.hardware: found.hardware = option.text
      case PcapngFormat.Option.operatingSystem: found.operatingSystem = option.text
      case PcapngFormat.Option.application: found.application = option.text
      case PcapngFormat.Option.comment: found.comment = option.text
      default: break
      }
    }
    guard found.application.split(separator: " ").first == Substring(CaptureSection.applicationName) else {
      let writer = found.application.isEmpty ? "another program" : "'\(found.application.escapedForMessage)'"
      throw StartError(.dataError, "\(shown) was written by \(writer); \(wanted)")
    }
    if isFirst { section = found }
    sectionPlace = place
    hasInterface = false
    endsWithStatistics = false
  }

  private func readInterface(_ block: UnsafeRawBufferPointer) throws(StartError) {
    guard block.count >= 20, block.number(at: 8, as: UInt16.self) == PcapngFormat.linkTypeRaw, !hasInterface else {
      throw damaged("the interface there is not as uring-rawlog writes it")
    }
    hasInterface = true
    guard sectionPlace == 0 else { return }
    var list = OptionList(UnsafeRawBufferPointer(rebasing: block[16..<block.count - 4]))
    while let option = list.next() {
      switch option.code {
      case PcapngFormat.Option.name: section.interfaceName = option.text
      case PcapngFormat.Option.description: section.interfaceDescription = option.text
      default: break
      }
    }
  }

  /// How many packets the statistics of an interface count; nil when they do not say.
  private static func packets(_ block: UnsafeRawBufferPointer) -> UInt64? {
    guard block.count >= 24 else { return nil }
    var list = OptionList(UnsafeRawBufferPointer(rebasing: block[20..<block.count - 4]))
    while let option = list.next() {
      if option.code == PcapngFormat.Option.received, option.value.count == 8 {
        return option.value.number(at: 0, as: UInt64.self)
      }
    }
    return nil
  }

  // MARK: The window

  /// What was read and not used.
  private var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: window[start..<end]) }

  private func drop(_ count: Int) {
    start += count
    place += UInt64(count)
  }

  /// Reads on until so many bytes are there.
  ///
  /// - Returns: false when the capture has no more.
  private func fill(_ count: Int) throws(StartError) -> Bool {
    guard end - start < count else { return true }
    if start > 0 {
      window.baseAddress!.copyMemory(from: window.baseAddress! + start, byteCount: end - start)
      end -= start
      start = 0
    }
    let wanted = min(max(count - end, readBytes), window.count - end)
    readBytes = min(2 * readBytes, window.count)
    end += try source.read(
      UnsafeMutableRawBufferPointer(rebasing: window[end..<end + wanted]), at: place + UInt64(end))
    return end - start >= count
  }

  // MARK: Words

  private var shown: String { "'\(source.path)'" }

  private func damaged(_ words: String) -> StartError {
    StartError(.dataError, "\(shown) is damaged at byte \(place): \(words); what is before that can be read")
  }

  private func cutAtBeginning() -> StartError {
    StartError(.dataError, "\(shown) ends within its first blocks: it was not written further before a crash")
  }

  private func notPcapng() -> StartError {
    let kind: String
    switch bytes.number(at: 0, as: UInt32.self) {
    case 0xA1B2_C3D4, 0xD4C3_B2A1, 0xA1B2_3C4D, 0x4D3C_B2A1: kind = "a capture of the older pcap format"
    case UInt32(littleEndian: 0xFD2F_B528): kind = "compressed (zstd)"
    default: kind = "no pcapng capture"
    }
    return StartError(.dataError, "\(shown) is \(kind); name a capture that uring-rawlog wrote")
  }
}
