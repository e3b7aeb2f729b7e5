import Glibc
import Testing

@testable import Benchmarks

/// Client and server of the load, face to face, and with somebody between them who does not pass on what he gets.
@Suite struct ConversationTests {
  /// What happens to the bytes between the two.
  private enum Fault: CaseIterable {
    case none
    /// The first byte, one in the middle, and the last one that goes this way.
    case firstByte
    case middleByte
    case lastByte
    case lostByte
    case repeatedByte
    /// The connection ends in the middle.
    case end
  }

  /// How a conversation ended.
  private struct Ending {
    var client: Conversation
    var server: Conversation
    var failures: [String] = []
    /// Neither side waits for anything that will come.
    var isStuck = false
    var answers = 0

    /// As the benchmark judges it.
    var isWhole: Bool {
      failures.isEmpty && !isStuck && totals(client.sent) == totals(server.received)
        && totals(server.sent) == totals(client.received)
    }

    func totals(_ checksum: Checksum) -> StreamTotals {
      var totals = StreamTotals()
      totals.add(checksum)
      return totals
    }
  }

  private static func pair() throws -> (Int32, Int32) {
    var ends: [Int32] = [-1, -1]
    let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
    try #require(socketpair(AF_UNIX, type, 0, &ends) == 0)
    return (ends[0], ends[1])
  }

  /// One way between the two, byte by byte the same but for its fault.
  private struct Wire {
    let from: Int32
    let to: Int32
    var fault: Fault
    /// Bytes that go this way without a fault.
    var expected: Int
    private var passed = 0
    private var waiting: [UInt8] = []
    private(set) var hasEnded = false
    private var isShut = false

    init(from: Int32, to: Int32, fault: Fault, expected: Int) {
      self.from = from
      self.to = to
      self.fault = fault
      self.expected = expected
    }

    /// True when something moved.
    mutating func move() -> Bool {
      var hasMoved = false
      var bytes = [UInt8](repeating: 0, count: 50_000)
      let count = waiting.count < 100_000 && !hasEnded ? recv(from, &bytes, bytes.count, 0) : -1
      if count > 0 {
        let begin = passed
        passed += count
        var taken = Array(bytes[..<count])
        let place: Int
        switch fault {
        case .none: place = -1
        case .firstByte: place = 0
        case .middleByte, .lostByte, .repeatedByte, .end: place = expected / 2
        case .lastByte: place = expected - 1
        }
        if (begin..<passed).contains(place) {
          let index = place - begin
          switch fault {
          case .none: break
          // Not the mark that ends a stream whose length nobody knows.
          case .firstByte, .middleByte, .lastByte: taken[index] ^= 0x80
          case .lostByte: taken.remove(at: index)
          case .repeatedByte: taken.insert(taken[index], at: index)
          case .end:
            taken.removeSubrange(index...)
            hasEnded = true
          }
        }
        waiting += taken
        hasMoved = true
      } else if count == 0 {
        hasEnded = true
        hasMoved = true
      }
      if !waiting.isEmpty {
        let count = Glibc.send(to, waiting, waiting.count, Int32(MSG_NOSIGNAL))
        if count > 0 {
          waiting.removeFirst(count)
          hasMoved = true
        }
      }
      if hasEnded, waiting.isEmpty, !isShut {
        isShut = true
        shutdown(to, Int32(SHUT_WR))
        hasMoved = true
      }
      return hasMoved
    }
  }

  /// Both sides and the wires between them, in one thread.
  private static func talk(
    _ workload: Workload, units: Int, number: Int = 7, faultToServer: Fault = .none, faultToClient: Fault = .none,
    expected: (toServer: Int, toClient: Int) = (0, 0)
  ) throws -> Ending {
    let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 4096)
    defer { scratch.deallocate() }
    let (clientEnd, clientWire) = try pair()
    let (serverWire, serverEnd) = try pair()
    var toServer = Wire(from: clientWire, to: serverWire, fault: faultToServer, expected: expected.toServer)
    var toClient = Wire(from: serverWire, to: clientWire, fault: faultToClient, expected: expected.toClient)
    let clientScript = Script.make(workload, unitsPerConnection: units)
    // As the server of the load: it does not know how much there will be.
    let serverScript = Script.make(workload, unitsPerConnection: 1 << 40)
    var ending = Ending(
      client: Conversation(socket: clientEnd, number: number, began: 0),
      server: Conversation(socket: serverEnd, number: 4711, began: 0))
    var isClientOver = false
    var isServerOver = false
    defer { for descriptor in [clientEnd, clientWire, serverWire, serverEnd] { close(descriptor) } }

    /// True when the side is over.
    func end(_ outcome: Conversation.Outcome, _ descriptor: Int32) -> Bool {
      switch outcome {
      case .waitsToRead, .waitsToWrite: return false
      case .finished: break
      case .failed(let reason): ending.failures.append(reason)
      }
      shutdown(descriptor, Int32(SHUT_RDWR))
      return true
    }

    while !isClientOver || !isServerOver {
      let before =
        ending.client.sent.count + ending.client.received.count + ending.server.sent.count
        + ending.server.received.count
      let wasOver = (isClientOver, isServerOver)
      if !isClientOver {
        var answers = 0
        isClientOver = end(
          ending.client.advance(.client, clientScript, scratch: scratch) { _ in answers += 1 }, clientEnd)
        ending.answers += answers
      }
      if !isServerOver {
        isServerOver = end(ending.server.advance(.server, serverScript, scratch: scratch) { _ in }, serverEnd)
      }
      let (first, second) = (toServer.move(), toClient.move())
      let after =
        ending.client.sent.count + ending.client.received.count + ending.server.sent.count
        + ending.server.received.count
      if before == after, wasOver == (isClientOver, isServerOver), !first, !second {
        ending.isStuck = true
        break
      }
    }
    return ending
  }

  private static func units(_ workload: Workload) -> Int {
    switch workload {
    case .bulk, .bulk16, .tlsBulk: 1_000_003
    case .pingpong, .sizes: 300
    case .mail, .churn, .idle, .postlogin, .tlsChurn: 1
    }
  }

  @Test(arguments: Workload.allCases)
  func bothSidesComeToTheSameEnd(_ workload: Workload) throws {
    let units = Self.units(workload)
    let ending = try Self.talk(workload, units: units)
    #expect(ending.isWhole, "\(ending.failures) \(ending.isStuck)")
    #expect(ending.client.sent.count > 0 && ending.client.received.count > 0)
    switch workload {
    case .bulk, .bulk16, .tlsBulk:
      #expect(ending.client.sent.count == UInt64(units) && ending.client.received.count == 6)
    case .pingpong, .sizes:
      // Requests and answers are both messages, of 64 bytes each.
      #expect(
        ending.client.sent.count == UInt64(units / 2 * 64) && ending.client.received.count == UInt64(units / 2 * 64))
      #expect(ending.answers == units / 2)
    case .mail:
      #expect(ending.answers == 9 && ending.client.received.count > 20_000)
    case .churn, .postlogin, .tlsChurn: #expect(ending.answers == 6)
    case .idle: #expect(ending.answers == 2)
    }
  }

  /// So that bytes that went to another session are noticed.
  @Test(arguments: [Workload.pingpong, .mail, .churn])
  func noTwoSessionsAreAlike(_ workload: Workload) throws {
    let one = try Self.talk(workload, units: Self.units(workload), number: 1)
    let same = try Self.talk(workload, units: Self.units(workload), number: 1)
    let other = try Self.talk(workload, units: Self.units(workload), number: 99_999_999)
    #expect(one.client.sent.value == same.client.sent.value)
    #expect(one.client.sent.value != other.client.sent.value && one.client.sent.count == other.client.sent.count)
  }

  /// Whatever is done to the bytes on their way, the benchmark does not take it for a success.
  @Test(arguments: Workload.allCases)
  func aRelayThatChangesBytesIsNoticed(_ workload: Workload) throws {
    let units = Self.units(workload)
    let right = try Self.talk(workload, units: units)
    let expected = (toServer: Int(right.client.sent.count), toClient: Int(right.client.received.count))
    for fault in Fault.allCases where fault != .none {
      let toServer = try Self.talk(workload, units: units, faultToServer: fault, expected: expected)
      #expect(!toServer.isWhole, "\(fault) to the server")
      let toClient = try Self.talk(workload, units: units, faultToClient: fault, expected: expected)
      #expect(!toClient.isWhole, "\(fault) to the client")
    }
    // And the fault's machinery itself does no harm.
    #expect(try Self.talk(workload, units: units, expected: expected).isWhole)
  }

  /// A client of a server that this test plays.
  private static func client(_ workload: Workload, _ answers: [UInt8], endsThere: Bool) throws -> Conversation.Outcome {
    let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 4096)
    defer { scratch.deallocate() }
    let (ours, theirs) = try pair()
    defer {
      close(ours)
      close(theirs)
    }
    try #require(Glibc.send(theirs, answers, answers.count, Int32(MSG_NOSIGNAL)) == answers.count)
    if endsThere { shutdown(theirs, Int32(SHUT_WR)) }
    var conversation = Conversation(socket: ours, number: 1, began: 0)
    let script = Script.make(workload, unitsPerConnection: 1)
    var outcome = Conversation.Outcome.waitsToRead
    // A part that was sent is followed by waiting, once.
    for _ in 0..<10 {
      outcome = conversation.advance(.client, script, scratch: scratch) { _ in }
      if case .waitsToRead = outcome { continue }
      break
    }
    return outcome
  }

  @Test func aServerThatEndsEarlyIsAFailure() throws {
    let script = Script.make(.churn, unitsPerConnection: 1)
    let greeting = withExtendedLifetime(script) { Array(script.part(0).bytes) }
    guard case .failed(let reason) = try Self.client(.churn, Array(greeting.dropLast()), endsThere: true) else {
      Issue.record("it is none")
      return
    }
    #expect(reason.contains("ended early") && reason.contains("part 0") && reason.contains("\(greeting.count - 1) of"))
    guard case .failed(let second) = try Self.client(.churn, greeting, endsThere: true) else {
      Issue.record("it is none between two parts either")
      return
    }
    #expect(second.contains("ended early") && second.contains("part 2"))
  }

  @Test func aServerThatSaysMoreIsAFailure() throws {
    let script = Script.make(.churn, unitsPerConnection: 1)
    let all = withExtendedLifetime(script) {
      stride(from: 0, to: script.partCount, by: 2).flatMap { Array(script.part($0).bytes) }
    }
    guard case .finished = try Self.client(.churn, all, endsThere: true) else {
      Issue.record("the whole script is no success")
      return
    }
    guard case .failed(let reason) = try Self.client(.churn, all + [10], endsThere: true) else {
      Issue.record("a byte more is none")
      return
    }
    #expect(reason.contains("behind the last part"))
    guard case .waitsToRead = try Self.client(.churn, all, endsThere: false) else {
      Issue.record("the client does not wait for the end")
      return
    }
  }

  @Test func aConnectionThatBreaksIsAFailure() throws {
    let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 4096)
    defer { scratch.deallocate() }
    let (ours, theirs) = try Self.pair()
    close(theirs)
    defer { close(ours) }
    var conversation = Conversation(socket: ours, number: 1, began: 0)
    let script = Script.make(.bulk, unitsPerConnection: 1000)
    guard case .failed(let reason) = conversation.advance(.client, script, scratch: scratch, answered: { _ in }) else {
      Issue.record("it is none")
      return
    }
    #expect(reason.hasPrefix("send: "))
  }
}
