import Glibc

/// Turns relayed bytes into recorded bytes, as Dovecot's rawlog does (`docs/FORMAT.md`).
///
/// Pure: what comes out depends only on the bytes, the stamps and, with boundaries, where each read began and ended. It
/// may be given a read in pieces, and little room: it takes what fits, and never splits a stamp or a marker.
struct Encoder {
  /// `SECONDS.MICROSECONDS ` in front of each line (`-t`).
  var timestamps = false
  /// `<<<` and `>>>` around what each read returned (`-b`).
  var boundaries = false

  /// What a file's encoder remembers from one read to the next.
  struct State {
    /// The next byte begins a line: nothing was recorded yet, or the last byte was a line feed.
    var atLineStart = true
    /// `<<<` was written and its `>>>` was not.
    var insideChunk = false
  }

  /// The text of a stamp, at most `maximumBytes` long.
  struct Stamp {
    static let maximumBytes = 24
    private(set) var text = InlineArray<24, UInt8>(repeating: 0)
    private(set) var count = 0

    /// - Parameter microseconds: since the epoch (CLOCK_REALTIME).
    init(microseconds: Int64) {
      let clamped = UInt64(max(0, microseconds))
      let seconds = clamped / 1_000_000
      var secondDigits = 1
      var rest = seconds
      while rest >= 10 {
        rest /= 10
        secondDigits += 1
      }
      count = secondDigits + 8
      var span = text.mutableSpan
      span.withUnsafeMutableBytes { bytes in
        let start = bytes.baseAddress!
        writeDecimal(seconds, at: start, digits: secondDigits)
        start.storeBytes(of: UInt8(ascii: "."), toByteOffset: secondDigits, as: UInt8.self)
        writeDecimal(clamped % 1_000_000, at: start + secondDigits + 1, digits: 6)
        start.storeBytes(of: UInt8(ascii: " "), toByteOffset: secondDigits + 7, as: UInt8.self)
      }
    }
  }

  struct Result {
    /// Input bytes that are recorded, and output bytes that record them.
    var consumed: Int
    var produced: Int
    /// The input, and the marker behind it, are complete.
    var isDone: Bool
  }

  /// Output in which an encoder always gets on: two markers, a stamp and a byte fit.
  static let leastOutput = 2 * markerBytes + Stamp.maximumBytes + 1
  private static let markerBytes = 4

  /// Encodes as much of `input` as `output` has room for.
  ///
  /// - Parameters:
  ///   - startsChunk: the input begins what a read returned; an open chunk is closed first.
  ///   - endsChunk: the input ends what a read returned.
  func encode(
    _ input: UnsafeRawBufferPointer, startsChunk: Bool, endsChunk: Bool, stamp: borrowing Stamp, state: inout State,
    into output: UnsafeMutableRawBufferPointer
  ) -> Result {
    var room = output.count
    var to = output.baseAddress!
    if boundaries && !input.isEmpty && (startsChunk || !state.insideChunk) {
      guard room >= Self.leastOutput else { return Result(consumed: 0, produced: 0, isDone: false) }
      if state.insideChunk { put(UInt8(ascii: ">"), &to, &room) }
      put(UInt8(ascii: "<"), &to, &room)
      state.insideChunk = true
    }
    let consumed =
      timestamps
      ? copyLines(input, stamp: stamp, state: &state, &to, &room) : copy(input, state: &state, &to, &room)
    guard consumed == input.count else {
      return Result(consumed: consumed, produced: output.count - room, isDone: false)
    }
    if boundaries && endsChunk && state.insideChunk {
      guard room >= Self.markerBytes else {
        return Result(consumed: consumed, produced: output.count - room, isDone: false)
      }
      put(UInt8(ascii: ">"), &to, &room)
      state.insideChunk = false
    }
    return Result(consumed: consumed, produced: output.count - room, isDone: true)
  }

  /// A marker line: the byte three times and a line feed. It neither gets a stamp nor begins a line of the data.
  @inline(__always)
  private func put(_ byte: UInt8, _ to: inout UnsafeMutableRawPointer, _ room: inout Int) {
    to.storeBytes(of: byte, as: UInt8.self)
    to.storeBytes(of: byte, toByteOffset: 1, as: UInt8.self)
    to.storeBytes(of: byte, toByteOffset: 2, as: UInt8.self)
    to.storeBytes(of: UInt8(ascii: "\n"), toByteOffset: 3, as: UInt8.self)
    to += Self.markerBytes
    room -= Self.markerBytes
  }

  @inline(__always)
  private func copy(
    _ input: UnsafeRawBufferPointer, state: inout State, _ to: inout UnsafeMutableRawPointer, _ room: inout Int
  ) -> Int {
    let count = min(input.count, room)
    guard count > 0 else { return 0 }
    to.copyMemory(from: input.baseAddress!, byteCount: count)
    state.atLineStart = input[count - 1] == UInt8(ascii: "\n")
    to += count
    room -= count
    return count
  }

  private func copyLines(
    _ input: UnsafeRawBufferPointer, stamp: borrowing Stamp, state: inout State,
    _ to: inout UnsafeMutableRawPointer, _ room: inout Int
  ) -> Int {
    guard let start = input.baseAddress else { return 0 }
    var consumed = 0
    let stampBytes = stamp.count
    while consumed < input.count {
      if state.atLineStart {
        // A stamp is written only together with a byte behind it.
        guard room > stampBytes else { break }
        // A fixed count is two moves, and what lies behind the stamp is overwritten by the line.
        if room > Stamp.maximumBytes {
          stamp.text.span.withUnsafeBytes { to.copyMemory(from: $0.baseAddress!, byteCount: Stamp.maximumBytes) }
        } else {
          stamp.text.span.withUnsafeBytes { to.copyMemory(from: $0.baseAddress!, byteCount: stampBytes) }
        }
        to += stampBytes
        room -= stampBytes
        state.atLineStart = false
      }
      let line = start + consumed
      let rest = min(input.count - consumed, room)
      guard rest > 0 else { break }
      var count = rest
      if let end = memchr(line, Int32(UInt8(ascii: "\n")), rest) {
        count = UnsafeRawPointer(end) - line + 1
        state.atLineStart = true
      }
      to.copyMemory(from: line, byteCount: count)
      to += count
      room -= count
      consumed += count
    }
    return consumed
  }

  /// How many relayed bytes the first `count` bytes of an encoded run hold; with boundaries nil, since the data may
  /// look like markers.
  ///
  /// - Parameter atLineStart: whether the run began at the beginning of a line. It must not begin inside a stamp.
  func relayedBytes(inFirst count: Int, of encoded: UnsafeRawBufferPointer, atLineStart: Bool) -> Int? {
    guard !boundaries else { return nil }
    guard timestamps else { return count }
    var relayed = 0
    var place = 0
    var atLineStart = atLineStart
    while place < count {
      if atLineStart {
        while place < count && encoded[place] != UInt8(ascii: " ") { place += 1 }
        place += 1
        atLineStart = false
      } else {
        relayed += 1
        atLineStart = encoded[place] == UInt8(ascii: "\n")
        place += 1
      }
    }
    return relayed
  }
}
