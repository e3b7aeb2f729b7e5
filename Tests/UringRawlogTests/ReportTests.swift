import Foundation
import Glibc
import Synchronization
import Testing

@testable import UringRawlog

@Suite struct ReportTests {
  /// A pipe whose reading end never blocks.
  private final class Pipe: Sendable {
    let reading: Int32
    let writing: Int32

    init() throws {
      var ends: [Int32] = [-1, -1]
      try #require(pipe(&ends) == 0)
      (reading, writing) = (ends[0], ends[1])
      _ = fcntl(reading, F_SETFL, O_NONBLOCK)
    }

    deinit {
      close(reading)
      close(writing)
    }

    /// All that was written since the last time.
    func text() -> String {
      var all: [UInt8] = []
      var bytes = [UInt8](repeating: 0, count: 65536)
      while true {
        let count = read(reading, &bytes, bytes.count)
        guard count > 0 else { return String(decoding: all, as: UTF8.self) }
        all += bytes[..<count]
      }
    }

    /// Fills the pipe to the last byte.
    func fill() {
      _ = fcntl(writing, F_SETFL, O_NONBLOCK)
      let byte = [UInt8(ascii: ".")]
      let block = [UInt8](repeating: UInt8(ascii: "."), count: 4096)
      while write(writing, block, block.count) > 0 {}
      while write(writing, byte, 1) > 0 {}
      _ = fcntl(writing, F_SETFL, 0)
    }
  }

  @Test func messagesAreLines() throws {
    let pipe = try Pipe()
    var report = Report(descriptor: pipe.writing)
    report.say("one")
    report.say(at: 5, "two")
    report.say("")
    report.sumUp()
    let text = pipe.text()
    #expect(text == "uring-rawlog: one\nuring-rawlog: two\nuring-rawlog: \n")
  }

  @Test func whatPeersSentStaysOnItsLine() throws {
    let pipe = try Pipe()
    var report = Report(descriptor: pipe.writing)
    report.say("a\nuring-rawlog: forged\u{1B}[2J\r")
    let text = pipe.text()
    #expect(text == "uring-rawlog: a\\x0auring-rawlog: forged\\x1b[2J\\x0d\n")
  }

  /// A pipe takes a line of at most 4096 bytes without waiting.
  @Test func aLongMessageIsCut() throws {
    let pipe = try Pipe()
    var report = Report(descriptor: pipe.writing)
    report.say(String(repeating: "x", count: 10_000))
    report.say("next")
    let lines = pipe.text().split(separator: "\n")
    #expect(lines.count == 2 && lines[0].utf8.count <= 4095 && lines[0].hasSuffix("xxx"))
    #expect(lines.last == "uring-rawlog: next")
  }

  @Test func linesAboutSessionsAreLimitedAndSummedUp() throws {
    let pipe = try Pipe()
    var report = Report(descriptor: pipe.writing)
    var made = 0
    func text(_ number: Int) -> String {
      made += 1
      return "session \(number)"
    }
    let second: UInt64 = 1_000_000_000
    for number in 0..<Limits.messagesPerSecond + 50 { report.say(at: 7 * second + UInt64(number), text(number)) }
    var lines = pipe.text().split(separator: "\n")
    #expect(
      lines.count == Limits.messagesPerSecond && lines.last == "uring-rawlog: session \(Limits.messagesPerSecond - 1)")
    // What is left out is not even made.
    #expect(made == Limits.messagesPerSecond)
    let suppressed = report.suppressed
    #expect(suppressed == 50)
    // Others are not limited.
    report.say("important")
    #expect(pipe.text() == "uring-rawlog: important\n")
    // The next second begins with what is missing.
    report.say(at: 8 * second, text(1000))
    lines = pipe.text().split(separator: "\n")
    #expect(
      lines.count == 2 && lines[0].hasPrefix("uring-rawlog: 50 more messages ")
        && lines[1] == "uring-rawlog: session 1000")
    report.sumUp()
    report.say(at: 9 * second, text(1001))
    #expect(pipe.text() == "uring-rawlog: session 1001\n")
    // And the limit is there again.
    for number in 0..<Limits.messagesPerSecond + 1 { report.say(at: 9 * second, text(number)) }
    let again = report.suppressed
    #expect(again == 52)
    _ = pipe.text()
    report.sumUp()
    #expect(pipe.text().hasPrefix("uring-rawlog: 2 more messages "))
    for number in 0..<Limits.messagesPerSecond { report.say(at: 10 * second, text(number)) }
    report.say(at: 10 * second, text(0))
    _ = pipe.text()
    report.sumUp()
    #expect(pipe.text().hasPrefix("uring-rawlog: 1 more message "))
  }

  /// Mail does not wait for a reader of messages: what a full pipe does not take is left out and counted.
  @Test func aFullPipeDoesNotBlock() throws {
    let pipe = try Pipe()
    pipe.fill()
    let isDone = DispatchSemaphore(value: 0)
    let suppressed = Atomic<UInt64>(0)
    Thread.detachNewThread {
      var report = Report(descriptor: pipe.writing)
      for number in 0..<10 { report.say("message \(number)") }
      report.say(at: 5, "about a session")
      let count = report.suppressed
      suppressed.store(count, ordering: .sequentiallyConsistent)
      _ = pipe.text()
      report.sumUp()
      isDone.signal()
    }
    // Only a report that blocks takes any of this time.
    try #require(isDone.wait(timeout: .now() + 20) == .success)
    #expect(suppressed.load(ordering: .sequentiallyConsistent) == 11)
    #expect(pipe.text().hasPrefix("uring-rawlog: 11 more messages "))
  }

  /// The sum itself finds the pipe full: the next one has to tell all.
  @Test func aSumThatIsLeftOutIsSaidLater() throws {
    let pipe = try Pipe()
    pipe.fill()
    var report = Report(descriptor: pipe.writing)
    for number in 0..<10 { report.say("message \(number)") }
    report.sumUp()
    _ = pipe.text()
    report.sumUp()
    let text = pipe.text()
    #expect(text.hasPrefix("uring-rawlog: 10 more messages "))
  }

  @Test func withoutADescriptorNothingIsWritten() {
    var report = Report(descriptor: -1)
    report.say("one")
    report.say(at: 1, "two")
    let suppressed = report.suppressed
    #expect(suppressed == 0)
  }
}
