import Foundation
import Glibc
import Testing

@testable import UringRawlog

/// `show --follow` in a thread of its own, told to stop by a pipe.
private final class Following: @unchecked Sendable {
  private let thread: Thread
  private let output: Int32
  private let stop: Int32
  private let done = DispatchSemaphore(value: 0)
  private var status: UringRawlog.ExitStatus?
  private var text: [UInt8] = []

  init(_ path: String, _ change: (inout ShowConfiguration) -> Void = { _ in }) throws {
    var (outputs, stops): ([Int32], [Int32]) = ([0, 0], [0, 0])
    try #require(pipe(&outputs) == 0 && pipe(&stops) == 0)
    output = outputs[0]
    stop = stops[1]
    var configuration = ShowConfiguration(path: path)
    configuration.follows = true
    change(&configuration)
    let (configured, ends) = (configuration, (outputs[1], stops[0]))
    let finished = done
    let box = Box()
    result = box
    thread = Thread {
      box.status = try? Show.run(configured, output: ends.0, errors: -1, stop: ends.1)
      close(ends.0)
      close(ends.1)
      finished.signal()
    }
    thread.start()
  }

  private final class Box: @unchecked Sendable { var status: UringRawlog.ExitStatus? }
  private let result: Box

  /// Reads until the transcript has `text`.
  func wait(for text: String) throws {
    let deadline = Date(timeIntervalSinceNow: 30)
    while !String(decoding: self.text, as: UTF8.self).contains(text) {
      var ready = pollfd(fd: output, events: Int16(POLLIN), revents: 0)
      try #require(poll(&ready, 1, 1000) >= 0)
      if ready.revents != 0 { try #require(readSome() > 0, "it ended: \(shown)") }
      try #require(Date() < deadline, "waiting for \(text): \(shown)")
    }
  }

  var shown: String { String(decoding: text, as: UTF8.self) }

  private func readSome() -> Int {
    var part = [UInt8](repeating: 0, count: 4096)
    let count = read(output, &part, part.count)
    if count > 0 { text += part[..<count] }
    return count
  }

  /// Tells it to stop; what it wrote, and how it ended.
  func end() throws -> (text: String, status: UringRawlog.ExitStatus?) {
    var byte: UInt8 = 0
    try #require(write(stop, &byte, 1) == 1)
    while readSome() > 0 {}
    done.wait()
    close(output)
    close(stop)
    return (shown, result.status)
  }
}

@Suite struct FollowTests {
  private let directory: TemporaryDirectory

  init() throws {
    directory = try TemporaryDirectory()
  }

  private func lines(_ text: String) -> [String] {
    text.split(separator: "\n").filter { !$0.hasPrefix("--") }.map {
      // Without times.
      $0.first!.isNumber ? String($0.dropFirst(16)) : String($0)
    }
  }

  @Test func aPairThatGrows() throws {
    try directory.write("a.in", "1769850900.000001 one\r\n")
    try directory.write("a.out", "1769850900.000002 two\r\n")
    let following = try Following(directory.path + "/a")
    try following.wait(for: "two\n")
    try directory.write("a.in", "1769850900.000003 three\r\n", appends: true)
    try directory.write("a.out", "1769850900.000004 four\r\n1769850900.000005 fi", appends: true)
    try following.wait(for: "four\n")
    try following.wait(for: "fi\n")
    try directory.write("a.out", "ve\r\n", appends: true)
    try following.wait(for: "ve\n")
    let ended = try following.end()
    #expect(
      lines(ended.text) == ["== a", "in  : one", "out : two", "in  : three", "out : four", "out : fi", "out + ve"])
    #expect(ended.status == .ok)
  }

  @Test func theOtherDirectionComesLater() throws {
    try directory.write("a.in", "1769850900.000001 one\r\n")
    let following = try Following(directory.path + "/a")
    try following.wait(for: "one\n")
    try directory.write("a.out", "1769850900.000002 two\r\n")
    try following.wait(for: "two\n")
    try directory.write("a.in", "1769850900.000003 three\r\n", appends: true)
    try following.wait(for: "three\n")
    #expect(lines(try following.end().text) == ["== a", "in  : one", "out : two", "in  : three"])
  }

  @Test func oneFileThroughALink() throws {
    try directory.makeDirectory("real")
    try directory.write("real/x.in", "one\r\n")
    try #require(symlink("real/x.in", directory.path + "/link.in") == 0)
    let following = try Following(directory.path + "/link.in")
    try following.wait(for: "one\n")
    try directory.write("real/x.in", "two\r\n", appends: true)
    try following.wait(for: "two\n")
    #expect(lines(try following.end().text) == ["== link", "in  : one", "in  : two"])
  }

  @Test func sessionsThatCome() throws {
    let (first, second) = ("20260131-091500.1.1", "20260131-091500.1.2")
    try directory.write("\(first).in", "1769850900.000001 one\r\n")
    try directory.write("sessions.jsonl", IndexSample.start(first))
    let following = try Following(directory.path)
    try following.wait(for: "one\n")
    try directory.write("\(second).in", "")
    try directory.write("\(second).out", "")
    try directory.write("sessions.jsonl", IndexSample.start(second), appends: true)
    try following.wait(for: "== \(second)\n")
    try directory.write("\(second).out", "1769850901.000001 hello\r\n", appends: true)
    try following.wait(for: "hello\n")
    try directory.write("\(first).in", "1769850902.000001 rest", appends: true)
    try following.wait(for: "rest\n")
    // The end of a session: what it still has, then the note.
    try directory.write("\(second).in", "1769850903.000001 bye", appends: true)
    let end = IndexSample.end(second, in: (3, 3, 21), out: (7, 7, 25))
    try directory.write("sessions.jsonl", String(end.prefix(50)), appends: true)
    try directory.write("sessions.jsonl", String(end.dropFirst(50)), appends: true)
    try following.wait(for: "recording complete\n")
    let ended = try following.end()
    #expect(
      lines(ended.text) == [
        "== \(first)", "in  : one", "== \(second)", "out : hello", "== \(first) goes on", "in  : rest",
        "== \(second) goes on", "in  : bye",
      ])
    #expect(ended.text.contains("ended by server-eof after 0.031239 s; recording complete\n"))
    #expect(ended.text.components(separatedBy: "client 192.0.2.7:45584").count == 3)
  }

  @Test func directoriesThatCome() throws {
    try directory.makeDirectory("old")
    let following = try Following(directory.path)
    try directory.write("old/20260131-091500.1.1.in", "one\r\n")
    try following.wait(for: "one\n")
    try directory.makeDirectory("new")
    try directory.write("new/20260131-091500.1.2.in", "two\r\n")
    try following.wait(for: "two\n")
    try directory.write("new/20260131-091500.1.2.in", "three\r\n", appends: true)
    try directory.write("new/other.in", "no\r\n")
    try following.wait(for: "three\n")
    #expect(
      lines(try following.end().text) == [
        "== old/20260131-091500.1.1", "in  : one", "== new/20260131-091500.1.2", "in  : two", "in  : three",
      ])
  }

  @Test func anIndexThatIsMovedAway() throws {
    let (first, second) = ("20260131-091500.1.1", "20260131-091500.1.2")
    try directory.write("sessions.jsonl", IndexSample.start(first))
    try directory.write("\(first).in", "one\r\n")
    try directory.write("\(second).in", "two\r\n")
    let following = try Following(directory.path)
    try following.wait(for: "two\n")
    try #require(rename(directory.path + "/sessions.jsonl", directory.path + "/sessions.jsonl.1") == 0)
    try directory.write("sessions.jsonl", IndexSample.end(first, in: (5, 5, 5)))
    try following.wait(for: "recording complete\n")
    try directory.write("sessions.jsonl", IndexSample.end(second, in: (5, 5, 5)), appends: true)
    try following.wait(for: "== \(second) goes on\n")
    #expect(try following.end().status == .ok)
  }

  @Test func oneSessionOfADirectory() throws {
    for number in 1...2 { try directory.write("20260131-091500.1.\(number).in", "number \(number)\r\n") }
    let following = try Following(directory.path) { $0.session = "20260131-091500.1.2" }
    try following.wait(for: "number 2\n")
    try directory.write("20260131-091500.1.1.in", "again\r\n", appends: true)
    try directory.write("20260131-091500.1.3.in", "number 3\r\n")
    try directory.write("20260131-091500.1.2.in", "and this\r\n", appends: true)
    try following.wait(for: "and this\n")
    #expect(lines(try following.end().text) == ["== 20260131-091500.1.2", "in  : number 2", "in  : and this"])
  }

  @Test func oneThatHasEnded() throws {
    try directory.write("a.in", "one\r\n")
    try directory.write("sessions.jsonl", IndexSample.start("a") + IndexSample.end("a", in: (5, 5, 5)))
    let following = try Following(directory.path + "/a")
    try following.wait(for: "in  : one\n")
    let ended = try following.end()
    #expect(ended.text.contains("recording complete") && ended.status == .ok)
  }

  @Test func thoseThatWereSilentForLongestAreGivenUp() throws {
    var state = FollowState(try DirectoryWatch())
    func session(_ number: Int) -> FollowedSession {
      let files = RecordingFiles(path: "s\(number)", id: "s\(number)", kinds: RecordingFiles.Kinds(.in))
      return FollowedSession(files, title: files.id, records: IndexTable.Records())
    }
    let most = Limits.followedSessions * 11 / 10
    let first = session(0)
    state.add(first)
    for number in 1..<most { state.add(session(number)) }
    state.note(first)
    var wasTooMany = state.keepToLimit()
    #expect(!wasTooMany)
    state.add(session(most))
    wasTooMany = state.keepToLimit()
    let kept = state.sessions
    #expect(wasTooMany && kept.count == Limits.followedSessions)
    #expect(kept["s0"] != nil && kept["s\(most)"] != nil && kept["s1"] == nil && kept["s\(most - 1)"] != nil)
  }

  @Test func whatIsHeldIsShownAtTheEnd() throws {
    try directory.write("a.in", "1769850900.000001 one\r\n")
    try directory.write("a.out", "")
    let following = try Following(directory.path + "/a")
    try following.wait(for: "one\n")
    try directory.write("a.in", "1769850900.000002 two\r\n1769850900.000003 without an end", appends: true)
    // Whether it was held or shown by now, it is there in the end.
    try following.wait(for: "two\n")
    #expect(lines(try following.end().text).suffix(2) == ["in  : two", "in  : without an end"])
  }
}
