import CZstd
import Glibc

/// A capture that was compressed, `.pcapng.zst`: of its frames, the one that is read from is in memory.
final class CompressedCapture: CaptureSource {
  private struct Frame {
    /// Where it begins in the file, and in what it holds.
    var place: UInt64
    var contentPlace: UInt64
    var bytes: UInt32
    var contentBytes: UInt32
  }

  let path: String
  private let file: any CaptureSource
  private var frames: [Frame] = []
  private var contentBytes: UInt64 = 0
  /// Which frame is in memory; -1 for none.
  private var current = -1
  private var content: [UInt8] = []
  private let decompression = ZSTD_createDCtx()

  /// - Throws: 65 when it is not as this program compresses captures, 66 when it cannot be read.
  init(_ file: any CaptureSource) throws(StartError) {
    self.file = file
    path = file.path
    try readTable()
  }

  deinit { ZSTD_freeDCtx(decompression) }

  private func readTable() throws(StartError) {
    let size = try file.count()
    let footBytes = UInt64(SeekableFormat.tableFootBytes)
    let foot = try bytes(SeekableFormat.tableFootBytes, at: size - min(size, footBytes))
    guard foot.count == SeekableFormat.tableFootBytes, Self.number(foot, 5) == SeekableFormat.tableMagic else {
      throw wrong("it has no list of its frames; unpack it with 'zstd -d' and name the result")
    }
    let count = UInt64(Self.number(foot, 0))
    guard foot[4] & SeekableFormat.reservedBits == 0, count <= UInt64(Limits.captureFrames) else {
      throw wrong("its list of frames is not as uring-rawlog writes it")
    }
    let isChecked = foot[4] & SeekableFormat.hasChecksums != 0
    let entryBytes = isChecked ? SeekableFormat.entryBytesWithChecksum : SeekableFormat.entryBytes
    let tableBytes = count * UInt64(entryBytes) + footBytes
    guard size >= tableBytes + UInt64(SeekableFormat.tableHeadBytes) else { throw wrong("its list of frames is cut") }
    let start = size - tableBytes - UInt64(SeekableFormat.tableHeadBytes)
    let table = try bytes(Int(tableBytes) + SeekableFormat.tableHeadBytes, at: start)
    guard table.count == Int(tableBytes) + SeekableFormat.tableHeadBytes,
      Self.number(table, 0) == SeekableFormat.skippableMagic, UInt64(Self.number(table, 4)) == tableBytes
    else { throw wrong("its list of frames is not where it should begin") }
    var place: UInt64 = 0
    for number in 0..<Int(count) {
      let entry = SeekableFormat.tableHeadBytes + number * entryBytes
      let frame = Frame(
        place: place, contentPlace: contentBytes, bytes: Self.number(table, entry),
        contentBytes: Self.number(table, entry + 4))
      guard frame.contentBytes <= Limits.captureFrameBytes,
        UInt64(frame.bytes) <= UInt64(ZSTD_compressBound(Limits.captureFrameBytes))
      else {
        throw wrong("frame \(number) holds \(frame.contentBytes) bytes, more than uring-rawlog writes")
      }
      frames.append(frame)
      place += UInt64(frame.bytes)
      contentBytes += UInt64(frame.contentBytes)
    }
    guard place == start else { throw wrong("its frames have \(place) bytes, and its list begins at \(start)") }
  }

  func count() -> UInt64 { contentBytes }

  func read(_ memory: UnsafeMutableRawBufferPointer, at place: UInt64) throws(StartError) -> Int {
    var done = 0
    while done < memory.count, place + UInt64(done) < contentBytes {
      let frame = try load(place + UInt64(done))
      let from = Int(place + UInt64(done) - frames[frame].contentPlace)
      let count = min(memory.count - done, content.count - from)
      content.withUnsafeBytes {
        (memory.baseAddress! + done).copyMemory(from: $0.baseAddress! + from, byteCount: count)
      }
      done += count
    }
    return done
  }

  /// Unpacks the frame that holds the byte at a place.
  private func load(_ place: UInt64) throws(StartError) -> Int {
    if current >= 0, frames[current].contentPlace <= place,
      place < frames[current].contentPlace + UInt64(frames[current].contentBytes)
    {
      return current
    }
    var low = 0
    var high = frames.count - 1
    while low < high {
      let middle = (low + high + 1) / 2
      if frames[middle].contentPlace <= place { low = middle } else { high = middle - 1 }
    }
    // Of frames without content none is found: the last of those that begin at the place counts.
    let frame = frames[low]
    let packed = try bytes(Int(frame.bytes), at: frame.place)
    current = -1
    content = [UInt8](repeating: 0, count: Int(frame.contentBytes))
    let result = content.withUnsafeMutableBytes { to in
      packed.withUnsafeBytes { from in
        ZSTD_decompressDCtx(decompression, to.baseAddress, to.count, from.baseAddress, from.count)
      }
    }
    guard ZSTD_isError(result) == 0, result == content.count, packed.count == Int(frame.bytes) else {
      throw wrong("frame \(low), at byte \(frame.place), cannot be unpacked: it was changed or cut")
    }
    current = low
    return low
  }

  private func bytes(_ count: Int, at place: UInt64) throws(StartError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    let read = bytes.withUnsafeMutableBytes { memory -> Result<Int, StartError> in
      do throws(StartError) {
        return .success(try file.read(memory, at: place))
      } catch {
        return .failure(error)
      }
    }
    bytes.removeLast(count - (try read.get()))
    return bytes
  }

  /// A number with its low byte first.
  private static func number(_ bytes: [UInt8], _ place: Int) -> UInt32 {
    (0..<4).reduce(0) { $0 | UInt32(bytes[place + $1]) << (8 * UInt32($1)) }
  }

  private func wrong(_ words: String) -> StartError {
    StartError(.dataError, "'\(path)' is no compressed capture that can be read: \(words)")
  }
}
