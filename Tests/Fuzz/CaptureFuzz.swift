import Glibc

/// Feeds the readers of captures with whatever libFuzzer thinks of (`make fuzz`).
///
/// An input is a capture, a side file or a compressed capture, by its first byte. Whatever it holds, reading it ends: with
/// what is there, or with an error that says what is wrong.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzCapture(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  guard count > 0 else { return 0 }
  // A copy by itself, so that the address sanitizer sees who reads behind its end.
  let input = FuzzedInput(Array(UnsafeBufferPointer(start: start + 1, count: count - 1)))
  switch start[0] & 3 {
  case 0: _ = try? CaptureIndexReader(input)
  case 1:
    if let compressed = try? CompressedCapture(input) { read(compressed) }
  default: read(input)
  }
  return 0
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
