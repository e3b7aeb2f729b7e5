/// The encoder by itself: reads of 64 KiB full of lines of 72 bytes, each encoded into memory that has room for it.
struct EncoderRehearsal {
  static let lineBytes = 72
  private static let readBytes = Limits.receiveBufferBytes

  private let encoder: Encoder

  init(timestamps: Bool, boundaries: Bool) {
    encoder = Encoder(timestamps: timestamps, boundaries: boundaries)
  }

  /// Encodes `count` bytes; the last read may be shorter than the others.
  func encode(_ count: Int) throws(ValueError) -> String {
    let input = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.readBytes, alignment: 64)
    let output = UnsafeMutableRawBufferPointer.allocate(byteCount: 2 * Self.readBytes, alignment: 64)
    defer {
      input.deallocate()
      output.deallocate()
    }
    for place in 0..<input.count {
      input[place] = place % Self.lineBytes == Self.lineBytes - 1 ? UInt8(ascii: "\n") : UInt8(ascii: "x")
    }
    var state = Encoder.State()
    var left = count
    var reads = 0
    var produced = 0
    var lastByte: UInt8 = 0
    while left > 0 {
      // Every read has its own time, as every turn of the loop has.
      let stamp = Encoder.Stamp(microseconds: encoder.timestamps ? 1_700_000_000_000_000 + Int64(reads) : 0)
      let read = UnsafeRawBufferPointer(rebasing: input[..<min(left, Self.readBytes)])
      let result = encoder.encode(read, startsChunk: true, endsChunk: true, stamp: stamp, state: &state, into: output)
      guard result.isDone, result.consumed == read.count else { throw ValueError("a read was not encoded to its end") }
      lastByte = output[result.produced - 1]
      produced += result.produced
      left -= read.count
      reads += 1
    }
    try check(count, reads: reads, produced: produced, lastByte: lastByte)
    return "\(count) bytes in \(reads) reads, encoded as \(produced)"
  }

  private func check(_ count: Int, reads: Int, produced: Int, lastByte: UInt8) throws(ValueError) {
    let last = count - (reads - 1) * Self.readBytes
    let endsLine = last % Self.lineBytes == 0
    // Every line feed begins a line, but for one at the very end; the first byte begins one too.
    let lines = 1 + (reads - 1) * (Self.readBytes / Self.lineBytes) + last / Self.lineBytes - (endsLine ? 1 : 0)
    // SECONDS.MICROSECONDS and a space; two markers of four bytes.
    let expected = count + (encoder.timestamps ? lines * 18 : 0) + (encoder.boundaries ? reads * 8 : 0)
    try Rehearsal.check("encoded bytes", produced, expected)
    let expectedLast = encoder.boundaries || endsLine ? UInt8(ascii: "\n") : UInt8(ascii: "x")
    try Rehearsal.check("last encoded byte", Int(lastByte), Int(expectedLast))
  }
}
