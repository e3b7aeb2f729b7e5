import Glibc
import Testing

@testable import UringRawlog

/// Captures in zstd: what was compressed is read from any place, and what was changed is found out.
@Suite struct CompressedCaptureTests {
  /// A capture by its name, of bytes that are not those of one: nothing here looks into it.
  private static func compress(_ bytes: [UInt8], in directory: TemporaryDirectory) throws -> String {
    let path = "\(directory.path)/20260131-080000.4711.1.pcapng"
    let file = openFile(path, flags: O_WRONLY | O_CREAT | O_EXCL, mode: 0o600)
    defer { close(file) }
    try #require(write(file, bytes, bytes.count) == bytes.count)
    try Compress.run(path)
    #expect(directory.names == ["20260131-080000.4711.1.pcapng.zst"])
    return path + ".zst"
  }

  private static func bytes(_ count: Int) -> [UInt8] {
    var random = SeededGenerator(seed: UInt64(count))
    return (0..<count).map { $0 % 3 == 0 ? UInt8(truncatingIfNeeded: random.next()) : UInt8(ascii: "x") }
  }

  private static func read(_ source: CompressedCapture, _ count: Int, at place: UInt64) throws -> [UInt8] {
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: max(1, count), alignment: 16)
    defer { memory.deallocate() }
    let found = try source.read(UnsafeMutableRawBufferPointer(rebasing: memory[..<count]), at: place)
    return Array(memory[..<found])
  }

  @Test(arguments: [0, 1, 1000, 1 << 20, (1 << 20) + 1, 3_500_000])
  func anyPlaceIsRead(_ count: Int) throws {
    let directory = try TemporaryDirectory()
    let bytes = Self.bytes(count)
    let path = try Self.compress(bytes, in: directory)
    let source = try CompressedCapture(CaptureFile(try RecordingFiles.open(path, followsLinks: false)))
    #expect(source.count() == UInt64(count))
    #expect(try Self.read(source, count + 10, at: 0) == bytes)
    var random = SeededGenerator(seed: 7)
    for _ in 0..<20 {
      let place = random.below(count + 1)
      let wanted = random.below(5000)
      #expect(try Self.read(source, wanted, at: UInt64(place)) == Array(bytes[place...].prefix(wanted)))
    }
    #expect(try Self.read(source, 10, at: UInt64(count) + 5) == [])
  }

  @Test func whatWasChangedIsFoundOut() throws {
    let directory = try TemporaryDirectory()
    let bytes = Self.bytes(30_000)
    let whole = try #require(
      directory.content(String(try Self.compress(bytes, in: directory).split(separator: "/").last!)))
    var (refused, unnoticed) = (0, 0)
    for place in stride(from: 0, to: whole.count, by: 37) {
      var changed = whole
      changed[place] ^= 0x10
      do throws(StartError) {
        let source = try CompressedCapture(CaptureInMemory(changed, "changed.zst"))
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 30_000, alignment: 16)
        defer { memory.deallocate() }
        let count = try source.read(memory, at: 0)
        #expect(memory[..<count].elementsEqual(bytes), "byte \(place)")
        unnoticed += 1
      } catch {
        #expect(error.status == .dataError)
        refused += 1
      }
    }
    // Some bits of zstd mean nothing; the bytes are right then.
    #expect(refused > 100 && unnoticed < refused / 20)
    for count in stride(from: 0, to: whole.count, by: 97) {
      #expect(throws: StartError.self) {
        try CompressedCapture(CaptureInMemory(Array(whole[..<count]), "cut.zst"))
      }
    }
  }

  @Test func whatIsNoCaptureIsRefused() throws {
    let directory = try TemporaryDirectory()
    for name in ["20260131-080000.4711.1.pcapng.part", "mail.pcapng", "20260131-080000.4711.1.in"] {
      let error = #expect(throws: StartError.self) { try Compress.run("\(directory.path)/\(name)") }
      #expect(error?.status == .usage)
    }
  }
}
