@testable import UringRawlog

/// A capture, or a file beside one, as bytes; it remembers how much of it was read.
final class CaptureInMemory: CaptureSource {
  let path: String
  var bytes: [UInt8]
  private(set) var bytesRead = 0

  init(_ bytes: [UInt8], _ path: String = "test.pcapng") {
    self.bytes = bytes
    self.path = path
  }

  func count() -> UInt64 { UInt64(bytes.count) }

  func read(_ memory: UnsafeMutableRawBufferPointer, at place: UInt64) -> Int {
    guard place < UInt64(bytes.count) else { return 0 }
    let part = bytes[Int(place)...].prefix(memory.count)
    memory.copyBytes(from: part)
    bytesRead += part.count
    return part.count
  }
}

/// What a `CapturedSessionReader` gives, with bytes of its own.
struct CapturedRun: Equatable {
  struct Gap: Equatable {
    var direction: Direction
    var recorded: Int
    var place: UInt64
    var bytes: UInt64
  }

  var ids: [String] = []
  var continues: [Bool] = []
  var streams: [[UInt8]] = [[], []]
  var gaps: [Gap] = []
  var finished: [Direction] = []
  var resetBy: Direction?
  var record: [UInt8] = []
  var damages: [CaptureDamage] = []
  var times: [Int64] = []

  init(_ reader: CapturedSessionReader) throws {
    while let event = try reader.next() {
      switch event {
      case .beginning(let id, let continues, _, _, let time):
        ids.append(id)
        self.continues.append(continues)
        times.append(time)
      case .bytes(let direction, let bytes, let time):
        streams[direction.rawValue] += Array(bytes)
        times.append(time)
      case .gap(let gap, let time):
        gaps.append(
          Gap(
            direction: gap.direction, recorded: streams[gap.direction.rawValue].count, place: gap.offset,
            bytes: gap.bytes))
        times.append(time)
      case .finished(let direction, let time):
        finished.append(direction)
        times.append(time)
      case .reset(let direction, let time):
        resetBy = direction
        times.append(time)
      case .record(let text, let time):
        record = Array(text)
        times.append(time)
      case .damage(let damage): damages.append(damage)
      }
    }
  }
}
