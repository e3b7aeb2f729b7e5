import Glibc
import Testing

@testable import Benchmarks
@testable import UringRawlog

/// The benchmark's own reader of captures, against what went into them.
@Suite struct CapturedStreamsTests {
  private func totals(_ sample: CaptureSample, _ direction: Direction) -> StreamTotals {
    var totals = StreamTotals()
    for session in sample.sessions {
      var checksum = Checksum()
      session.streams[direction.rawValue].bytes.withUnsafeBytes { checksum.add($0) }
      totals.add(checksum)
    }
    return totals
  }

  @Test func everySessionOfSeveralCaptures() throws {
    let directory = try TemporaryDirectory()
    let sample = CaptureSample(sessions: 40, seed: 3, rotateBytes: 300_000)
    #expect(sample.captures.count > 1)
    var streams = CapturedStreams()
    for capture in sample.captures {
      let path = "\(directory.path)/\(capture.number)"
      try directory.write("\(capture.number)", capture.bytes)
      #expect(try streams.read(path) == capture.bytes.count)
    }
    #expect(streams.in == totals(sample, .in))
    #expect(streams.out == totals(sample, .out))
  }

  /// One byte of one packet is another: the benchmark would say so.
  @Test func anotherByteIsNoticed() throws {
    let directory = try TemporaryDirectory()
    let sample = CaptureSample(sessions: 3, seed: 4)
    var bytes = sample.captures[0].bytes
    let payload = sample.sessions[0].streams[1].bytes
    let place = try #require(bytes.indices.first { bytes[$0...].starts(with: payload.prefix(16)) })
    bytes[place] ^= 1
    try directory.write("changed", bytes)
    var streams = CapturedStreams()
    _ = try streams.read("\(directory.path)/changed")
    #expect(streams.out != totals(sample, .out))
    #expect(streams.out.bytes == totals(sample, .out).bytes)
    #expect(streams.in == totals(sample, .in))
  }

  @Test func aCutCaptureIsRefused() throws {
    let directory = try TemporaryDirectory()
    try directory.write("cut", Array(CaptureSample(sessions: 1, seed: 1).captures[0].bytes.dropLast(3)))
    #expect(throws: BenchError.self) {
      var streams = CapturedStreams()
      _ = try streams.read("\(directory.path)/cut")
    }
  }
}
