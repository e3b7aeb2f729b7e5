import Glibc

/// Feeds whatever reads files and arguments with whatever libFuzzer thinks of (`make fuzz-readers`).
///
/// An input is a side file, a compressed capture, a capture, a recording of one direction or of both, lines of an index, or
/// an address, by its first byte. Whatever it holds, reading it ends: with what is there, or with an error that says what
/// is wrong.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzReaders(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  guard count > 0 else { return 0 }
  // A copy by itself, so that the address sanitizer sees who reads behind its end.
  let bytes = Array(UnsafeBufferPointer(start: start + 1, count: count - 1))
  switch start[0] & 7 {
  case 0: _ = try? CaptureIndexReader(FuzzedInput(bytes))
  case 1:
    if let compressed = try? CompressedCapture(FuzzedInput(bytes)) { read(compressed) }
  case 3:
    let inside = steps(StreamDecoder(.in), bytes, knownAtFirst: bytes.count)
    precondition(inside == steps(StreamDecoder(.in), bytes, knownAtFirst: bytes.count / 3), "it depends on the cut")
  case 4:
    let lines = steps(MergedDecoder(), bytes, knownAtFirst: bytes.count)
    precondition(lines == steps(MergedDecoder(), bytes, knownAtFirst: bytes.count / 3), "it depends on the cut")
  case 5:
    for line in bytes.split(separator: UInt8(ascii: "\n")) {
      line.withUnsafeBytes { _ = try? SessionRecord($0) }
    }
  case 6: readValues(String(decoding: bytes, as: UTF8.self))
  default: read(FuzzedInput(bytes))
  }
  return 0
}

/// What was typed, or stands in a configuration.
private func readValues(_ text: String) {
  _ = try? Address(listening: text)
  _ = try? Address(connecting: text)
  _ = try? CIDR(text)
  _ = try? DirectoryTemplate(text)
}

/// How many bytes were sent, in each direction, as a decoder sees it to which a file becomes known in two parts.
private func steps(_ decoder: some RecordingDecoder, _ file: [UInt8], knownAtFirst: Int) -> [Int] {
  var decoder = decoder
  var used = 0
  var sent = [0, 0]
  for known in [knownAtFirst, file.count] {
    var stepsLeft = 8 * file.count + 1000
    var needsMore = false
    while !needsMore {
      stepsLeft -= 1
      precondition(stepsLeft > 0, "the decoder does not get on")
      file.withUnsafeBytes { bytes in
        let end = min(known, used + Limits.windowBytes)
        let window = UnsafeRawBufferPointer(rebasing: bytes[used..<end])
        switch decoder.next(window, end == file.count && known == file.count ? .whole : .growing) {
        case .needsMore:
          precondition(end == known, "the decoder wants more than a window")
          needsMore = true
        case .markup(let count), .gap(_, let count):
          precondition(count > 0 && count <= window.count, "what is not there is used")
          used += count
        case .remark: break
        case .piece(let piece):
          precondition(piece.count > 0 && piece.count <= window.count, "what is not there was sent")
          used += piece.count
          sent[piece.direction.rawValue] += piece.count
        }
      }
    }
  }
  return sent
}

/// Reads all sessions of a capture, each by itself.
private func read(_ source: any CaptureSource) {
  guard let reader = try? CaptureReader(source) else { return }
  var listing = CaptureListing()
  _ = try? listing.read(reader)
  for session in listing.sessions.prefix(8) {
    let lines = CapturedLines(CapturedSessionReader([CapturedPart(source, session)], mostPlaces: 16))
    var events = 0
    while let event = try? lines.head(.whole) {
      if case .piece(let piece) = event { precondition(!piece.bytes.isEmpty, "a piece without bytes") }
      events += 1
      precondition(events < 1 << 20, "a session without an end")
      lines.removeHead()
    }
  }
}

/// A file as bytes.
private final class FuzzedInput: CaptureSource {
  let path = "input"
  private let bytes: [UInt8]

  init(_ bytes: [UInt8]) {
    self.bytes = bytes
  }

  func count() -> UInt64 { UInt64(bytes.count) }

  func read(_ memory: UnsafeMutableRawBufferPointer, at place: UInt64) -> Int {
    guard place < UInt64(bytes.count) else { return 0 }
    let part = bytes[Int(place)...].prefix(memory.count)
    memory.copyBytes(from: part)
    return part.count
  }
}
