import Testing

@testable import UringRawlog

@Suite struct CapturedLinesTests {
  private struct Line: Equatable {
    var direction: Direction
    var text: String
    var continues = false
    var time: Int64
  }

  /// A capture with one session, its packets at the times 1, 2, 3, ...
  private func capture(_ sent: [(Direction, [UInt8])], gap: RecordingGap? = nil) -> [UInt8] {
    var bytes = Bytes()
    let section = CaptureSection(
      application: "uring-rawlog test", operatingSystem: "", hardware: "", comment: "", interfaceName: "",
      interfaceDescription: "")
    var capture = Capture(number: 1, section: section, at: 0, to: &bytes)
    var conversation = CapturedConversation(number: 1, opener: .in, from: .unix, to: .unix, port: 143)
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 128 << 10, alignment: 16)
    defer { memory.deallocate() }
    func take(_ count: Int) { bytes.append(UnsafeRawBufferPointer(rebasing: memory[..<count])) }
    let id = Array("id.1.1".utf8)
    take(id.withUnsafeBytes { conversation.open(id: $0, at: 0, in: &capture, into: memory) })
    for (number, (direction, payload)) in sent.enumerated() {
      if let gap, number == sent.count - 1 { conversation.lose(gap.bytes, at: gap.offset, gap.direction) }
      take(
        payload.withUnsafeBytes {
          conversation.add($0, direction, at: Int64(number + 1), in: &capture, into: memory)
        })
    }
    let record = Array("{\"event\":\"end\"}".utf8)
    take(record.withUnsafeBytes { conversation.end($0, resetBy: .in, at: 99, in: &capture, into: memory) })
    capture.appendStatistics(at: 99, to: &bytes)
    return Array(bytes.span)
  }

  private func lines(_ bytes: [UInt8]) throws -> CapturedLines {
    let source = CaptureInMemory(bytes)
    var listing = CaptureListing()
    try listing.read(try CaptureReader(source))
    return CapturedLines(CapturedSessionReader([CapturedPart(source, listing.sessions[0])]))
  }

  private func all(_ lines: CapturedLines) throws -> (pieces: [Line], others: [String]) {
    var pieces: [Line] = []
    var others: [String] = []
    while let event = try lines.head(.whole) {
      #expect(lines.isHolding)
      switch event {
      case .piece(let piece):
        let time = try #require(piece.time)
        pieces.append(
          Line(
            direction: piece.direction, text: String(decoding: piece.bytes, as: UTF8.self),
            continues: piece.continuesLine, time: time))
      case .gap(let gap): others.append("\(gap.direction) \(gap.bytes) \(gap.offset)")
      case .remark(let remark):
        #expect(remark.isDamage)
        others.append(remark.text)
      }
      lines.removeHead()
    }
    #expect(!lines.isHolding)
    return (pieces, others)
  }

  private func text(_ text: String) -> [UInt8] { Array(text.utf8) }

  @Test func linesOfPackets() throws {
    let lines = try lines(
      capture([
        (.in, text("a\r\nb\r\nc")), (.out, text("x\n")), (.in, text("d")), (.in, text("\n\n")), (.out, text("y")),
      ]))
    let (pieces, others) = try all(lines)
    #expect(
      pieces == [
        Line(direction: .in, text: "a\r\n", time: 1), Line(direction: .in, text: "b\r\n", time: 1),
        Line(direction: .in, text: "c", time: 1), Line(direction: .out, text: "x\n", time: 2),
        Line(direction: .in, text: "d", continues: true, time: 3),
        Line(direction: .in, text: "\n", continues: true, time: 4), Line(direction: .in, text: "\n", time: 4),
        Line(direction: .out, text: "y", time: 5),
      ])
    #expect(others.isEmpty && String(decoding: lines.record, as: UTF8.self) == "{\"event\":\"end\"}")
  }

  @Test func gapsAndDamages() throws {
    let gap = RecordingGap(direction: .in, offset: 2, bytes: 7)
    var bytes = capture([(.in, text("a\n")), (.out, text("b\n")), (.in, text("c\n"))], gap: gap)
    #expect(try all(lines(bytes)).others == ["in 7 2"])
    // The one byte "b" of a packet.
    let place = try #require((0..<bytes.count - 4).first { Array(bytes[$0..<$0 + 4]) == [98, 10, 0, 0] })
    bytes[place] = UInt8(ascii: "B")
    let (pieces, others) = try all(lines(bytes))
    #expect(pieces.map(\.text) == ["a\n", "B\n", "c\n"])
    #expect(others.count == 2 && others[0].contains("its checksum does not fit"))
  }

  @Test func longLinesComeInPieces() throws {
    let payload = [UInt8](repeating: 120, count: CapturedConversation.mostPayloadBytes)
    let (pieces, _) = try all(lines(capture([(.in, payload), (.in, payload + []), (.in, text("\nz"))])))
    #expect(pieces.allSatisfy { $0.text.utf8.count <= Limits.pieceBytes })
    #expect(pieces.map(\.continues) == [false, true, true, false])
    #expect(pieces.map(\.text).joined().utf8.count == 2 * payload.count + 2)
  }
}
