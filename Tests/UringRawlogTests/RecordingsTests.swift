import Glibc
import Testing

@testable import Benchmarks
@testable import UringRawlog

/// Reading recordings back: whatever the reading cuts, the stamps come off and every byte counts.
@Suite struct RecordingsTests {
  private static func write(_ bytes: [UInt8], _ name: String, in directory: TemporaryDirectory) throws {
    let descriptor = open("\(directory.path)/\(name)", O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    try #require(descriptor >= 0)
    defer { close(descriptor) }
    var place = 0
    while place < bytes.count {
      let count = bytes[place...].withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
      try #require(count > 0)
      place += count
    }
  }

  private static func totals(_ streams: [[UInt8]]) -> StreamTotals {
    var totals = StreamTotals()
    for stream in streams {
      var checksum = Checksum()
      stream.withUnsafeBytes { checksum.add($0) }
      totals.add(checksum)
    }
    return totals
  }

  private static let stamp = Array("1795340682.000017 ".utf8)

  /// A stream as `-t` records it.
  private static func stamped(_ stream: [UInt8]) -> [UInt8] {
    var file: [UInt8] = []
    var atLineStart = true
    for byte in stream {
      if atLineStart { file += stamp }
      file.append(byte)
      atLineStart = byte == 10
    }
    return file
  }

  /// Lines of many lengths with spaces in them, empty ones too.
  private static func stream(_ count: Int, seed: UInt64, firstLine: Int = 5) -> [UInt8] {
    var random = SeededGenerator(seed: seed)
    var bytes = Array(repeating: UInt8(ascii: "f"), count: firstLine) + [10]
    while bytes.count < count {
      for _ in 0..<random.below(200) { bytes.append([32, 49, 46, 97, 255, 0].randomElement(using: &random)!) }
      bytes += random.once(in: 2) ? [13, 10] : [10]
    }
    return Array(bytes[..<count])
  }

  @Test func filesAreReadAsTheyAre() throws {
    let directory = try TemporaryDirectory()
    let (input, output) = (Self.stream(300_000, seed: 1), Self.stream(70, seed: 2))
    try Self.write(input, "a.in", in: directory)
    try Self.write(output, "a.out", in: directory)
    try Self.write([], "b.in", in: directory)
    try Self.write(Array("{}\n".utf8), "sessions.jsonl", in: directory)
    try Self.write(input, "warm.in", in: directory)
    let found = try Recordings(directory: directory.path, hasStamps: false).read(ignoring: ["warm.in"])
    #expect(found.in == Self.totals([input, []]) && found.out == Self.totals([output]))
    #expect(found.sizes.sorted() == [0, 70, 300_000])
    let names = Recordings(directory: directory.path, hasStamps: false).files()
    #expect(Set(names) == ["a.in", "a.out", "b.in", "warm.in"])
  }

  /// Readings are of 256 KiB: the first line's length moves each place of a stamp, and the line feed before it, over
  /// that border.
  @Test(arguments: 0..<24)
  func stampsComeOffWhereverAReadingEnds(shift: Int) throws {
    let directory = try TemporaryDirectory()
    let piece = 256 << 10
    // One line that ends so that the next stamp begins `shift` bytes before the border, or a little less.
    var stream = Array(repeating: UInt8(ascii: "x"), count: piece - Self.stamp.count - shift)
    stream.append(10)
    stream += Self.stream(600_000, seed: UInt64(shift))
    let file = Self.stamped(stream)
    try #require(file[(piece - shift + 1)...].starts(with: Self.stamp))
    try Self.write(file, "a.in", in: directory)
    let found = try Recordings(directory: directory.path, hasStamps: true).read(ignoring: [])
    #expect(found.in == Self.totals([stream]) && found.sizes == [file.count])
  }

  @Test(arguments: ["", "\n", "a", "a\n", "\n\n\n", "a b c", " \n ", "1795340682.000017 x\n"])
  func shortStampedStreams(text: String) throws {
    let directory = try TemporaryDirectory()
    let stream = Array(text.utf8)
    try Self.write(Self.stamped(stream), "a.out", in: directory)
    let found = try Recordings(directory: directory.path, hasStamps: true).read(ignoring: [])
    #expect(found.out == Self.totals([stream]) && found.in == StreamTotals())
  }

  @Test func whatIsWrongIsNoticed() throws {
    let directory = try TemporaryDirectory()
    let streams = (0..<3).map { Self.stream(100_000 + 40_000 * $0, seed: UInt64(10 + $0), firstLine: 3) }
    let right = Self.totals(streams)
    for (number, stream) in streams.enumerated() { try Self.write(Self.stamped(stream), "\(number).in", in: directory) }
    let recordings = Recordings(directory: directory.path, hasStamps: true)
    #expect(try recordings.read(ignoring: []).in == right)

    let file = Self.stamped(streams[1])
    let lineFeeds = file.indices.filter { file[$0] == 10 }
    let middle = lineFeeds[lineFeeds.count / 2]
    // One byte of a line, the last byte, a byte more, a byte less.
    var changed = file
    changed[middle - 1] ^= 1
    var faulty = [changed, file + [97], Array(file.dropLast())]
    changed = file
    changed[file.count - 1] ^= 0x40
    faulty.append(changed)
    // A stamp that is missing, and one too many.
    changed = file
    changed.removeSubrange(middle + 1..<middle + 1 + Self.stamp.count)
    faulty.append(changed)
    faulty.append(Array(file[...middle]) + Self.stamp + file[(middle + 1)...])
    // Two lines that are the other way round.
    let (second, third, fourth) = (lineFeeds[0] + 1, lineFeeds[1] + 1, lineFeeds[2] + 1)
    try #require(file[second..<third] != file[third..<fourth])
    faulty.append(Array(file[..<second] + file[third..<fourth] + file[second..<third] + file[fourth...]))
    for (number, bytes) in faulty.enumerated() {
      try Self.write(bytes, "1.in", in: directory)
      #expect(try recordings.read(ignoring: []).in != right, "fault \(number)")
    }
    // A stream in the other direction's file, and a file that is missing.
    try Self.write(file, "1.in", in: directory)
    #expect(try recordings.read(ignoring: []).in == right)
    try #require(rename("\(directory.path)/1.in", "\(directory.path)/1.out") == 0)
    #expect(try recordings.read(ignoring: []).in != right && recordings.read(ignoring: []).out != StreamTotals())
    try #require(unlink("\(directory.path)/1.out") == 0)
    let found = try recordings.read(ignoring: [])
    #expect(found.in != right && found.in.streams == 2 && found.sizes.count == 2)
  }
}
