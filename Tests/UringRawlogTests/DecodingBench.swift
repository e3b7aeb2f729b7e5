@testable import UringRawlog

/// What a decoder made of a file: pieces with copies of their bytes, and remarks.
struct Decoded: Equatable {
  struct Piece: Equatable {
    var direction = Direction.in
    var time: Int64?
    var continues = false
    var beginsRead = false
    var bytes: [UInt8] = []
  }

  var pieces: [Piece] = []
  var remarks: [Remark] = []
  var gaps: [RecordingGap] = []
  /// Stamps and marks, in bytes.
  var markup = 0

  var data: [UInt8] { pieces.flatMap(\.bytes) }
  func data(_ direction: Direction) -> [UInt8] { pieces.filter { $0.direction == direction }.flatMap(\.bytes) }
  /// The pieces as text, for samples.
  var texts: [String] { pieces.map { String(decoding: $0.bytes, as: UTF8.self) } }
}

/// Decodes a file that becomes known in parts: up to each place of `cuts`, and then to its end.
///
/// - Parameter tailAtCuts: what the end of the known part means there.
func decode(
  _ decoder: some RecordingDecoder, _ file: [UInt8], cuts: [Int] = [], tailAtCuts: FileTail = .growing
) -> Decoded {
  var decoder = decoder
  var decoded = Decoded()
  var used = 0
  var stepsLeft = 8 * file.count + 1000
  for (number, known) in (cuts + [file.count]).enumerated() {
    let tail: FileTail = number == cuts.count ? .whole : tailAtCuts
    var needsMore = false
    while !needsMore {
      stepsLeft -= 1
      precondition(stepsLeft > 0, "the decoder does not get on")
      file.withUnsafeBytes { bytes in
        // As the file reader does, no more is shown than its window holds.
        let end = min(known, used + Limits.windowBytes)
        let window = UnsafeRawBufferPointer(rebasing: bytes[used..<end])
        switch decoder.next(window, end == known ? tail : .growing) {
        case .needsMore:
          precondition(end == known, "the decoder wants more than a window")
          needsMore = true
        case .markup(let count):
          precondition(count > 0 && count <= window.count)
          used += count
          decoded.markup += count
        case .gap(let gap, let count):
          precondition(count > 0 && count <= window.count)
          used += count
          decoded.markup += count
          decoded.gaps.append(gap)
        case .remark(let remark): decoded.remarks.append(remark)
        case .piece(let piece):
          precondition(piece.count > 0 && piece.count <= min(window.count, Limits.pieceBytes))
          decoded.pieces.append(
            Decoded.Piece(
              direction: piece.direction, time: piece.time, continues: piece.continuesLine,
              beginsRead: piece.beginsRead, bytes: Array(window[..<piece.count])))
          used += piece.count
        }
      }
    }
  }
  precondition(used == file.count, "bytes were left: \(used) of \(file.count)")
  return decoded
}

/// A stream as the relay records it, each chunk at its time.
func encode(_ chunks: [(time: Int64, bytes: [UInt8])], timestamps: Bool, boundaries: Bool) -> [UInt8] {
  let encoder = Encoder(timestamps: timestamps, boundaries: boundaries)
  var state = Encoder.State()
  var file: [UInt8] = []
  for chunk in chunks where !chunk.bytes.isEmpty {
    var place = 0
    var isDone = false
    while !isDone {
      var output = [UInt8](repeating: 0, count: 4096)
      let result = chunk.bytes[place...].withUnsafeBytes { input in
        output.withUnsafeMutableBytes {
          encoder.encode(
            input, startsChunk: place == 0, endsChunk: true, stamp: Encoder.Stamp(microseconds: chunk.time),
            state: &state, into: $0)
        }
      }
      file += output[..<result.produced]
      place += result.consumed
      isDone = result.isDone
    }
  }
  return file
}
