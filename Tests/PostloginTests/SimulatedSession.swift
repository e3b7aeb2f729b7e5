import Glibc

@testable import rawlog

/// A client, a program and two files in memory, on the other side of the drop-in's ring.
///
/// Operations complete in seeded random order, late, in parts or with an error. What everybody sent and got is kept for
/// the oracles.
final class SimulatedSession {
  /// How often each fault strikes: about once in so many chances; 0 never.
  struct Faults {
    /// Errors that pass: EAGAIN, EINTR, and ENOMEM of a socket.
    var passing = 0
    /// A side breaks its connection.
    var breaking = 0
    /// A side closes its socket where it would only have ended its stream.
    var leaving = 0
    /// A side does not take anything for a while.
    var stalling = 0
    var shortWrite = 0
    /// From so many bytes on a file cannot be written.
    var fileBytes = Int.max
    /// From so many bytes on no write of a file completes for so long.
    var hangingBytes = Int.max
    var hangingNanoseconds: UInt64 = 0
    /// A side says nothing for three seconds.
    var pausing = 0
  }

  /// A side: it sends a script, takes what comes, and ends.
  struct Side {
    var script: [UInt8]
    var sentCount = 0
    /// Sent and not yet read.
    var incoming: [UInt8] = []
    var received: [UInt8] = []
    var hasEnded = false
    var isGone = false
    var sawEnd = false
    var refuses = false
    var stalledUntil: UInt64 = 0
    var pausedUntil: UInt64 = 0
    var isWatched = false
  }

  struct Operation {
    enum Kind {
      case read(UnsafeMutableRawBufferPointer)
      case write(UnsafeRawBufferPointer, offset: Int64)
      case poll
      case watch
    }
    var kind: Kind
    var descriptor: Int32
    var token: Token
  }

  /// Numbers that no process has: the loop closes files that failed.
  static let client: Int32 = 1_000_000_000
  static let program: Int32 = 1_000_000_001
  static let files: [Int32] = [1_000_000_002, 1_000_000_003]
  private static let window = 20_000

  var random: SeededGenerator
  var faults = Faults()
  /// Files hold relayed bytes and nothing else, and no fault of a file is planted.
  var checksFlush = false
  var now = Instant(nanoseconds: 5_000_000_000, epochMicroseconds: 1_700_000_000_000_000)
  /// The client, then the program.
  var sides: [Side]
  var files: [[UInt8]] = [[], []]
  private var operations: [Operation] = []
  private var ready: [Completion] = []
  /// A read of each side that is complete, and that the loop has not heard of.
  private var delivered: [(token: Token, bytes: [UInt8])?] = [nil, nil]
  /// What the loop read from each side.
  private(set) var read: [[UInt8]] = [[], []]
  private(set) var violations: [String] = []
  private(set) var turns = 0
  private(set) var hasDiscarded = false
  private var hangingUntil: UInt64 = 0
  /// When the loop last read from each side.
  private var readTime: [UInt64] = [.max, .max]

  init(seed: UInt64, client: [UInt8], program: [UInt8]) {
    random = SeededGenerator(seed: seed)
    sides = [Side(script: client), Side(script: program)]
  }

  func violate(_ text: String) { violations.append(text) }

  private func side(_ descriptor: Int32) -> Int? {
    descriptor == Self.client ? 0 : descriptor == Self.program ? 1 : nil
  }

  func submit(_ operation: Operation) {
    if operations.contains(where: { $0.token == operation.token }) {
      violate("\(operation.token) is in flight already")
    }
    operations.append(operation)
  }

  func take(_ limit: Int) -> [Completion] {
    let count = random.once(in: 3) ? random.below(ready.count + 1) : ready.count
    let taken = Array(ready.prefix(min(limit, count)))
    ready.removeFirst(taken.count)
    for index in 0..<2 where taken.contains(where: { $0.token == delivered[index]?.token }) {
      read[index] += delivered[index]!.bytes
      readTime[index] = now.nanoseconds
      delivered[index] = nil
    }
    return taken
  }

  /// Lets time pass until something completes, or the time is over.
  func run(nanoseconds: UInt64?) throws(Errno) {
    turns += 1
    guard turns < 200_000 else { throw Errno(ELOOP) }
    let end = nanoseconds.map { now.nanoseconds + $0 }
    var rounds = 0
    while ready.isEmpty {
      advance(by: UInt64(random.below(3_000_000)))
      for index in 0..<2 { move(index) }
      work()
      checkFlush()
      rounds += 1
      if let end, now.nanoseconds >= end { return }
      guard rounds > 100_000 else { continue }
      guard let end else {
        violate("nothing can complete, and the loop waits without end")
        throw Errno(EDEADLK)
      }
      advance(by: end - now.nanoseconds)
      return
    }
  }

  private func advance(by nanoseconds: UInt64) {
    now.nanoseconds += nanoseconds
    now.epochMicroseconds += Int64(nanoseconds / 1000)
  }

  /// What is older than a second, and the time of the write, is in the files.
  private func checkFlush() {
    guard checksFlush else { return }
    for index in 0..<2 where readTime[index] != .max && now.nanoseconds > readTime[index] + 1_500_000_000 {
      if files[index].count != read[index].count {
        violate("file \(index) has \(files[index].count) of \(read[index].count) bytes after 1.5 s")
        readTime[index] = .max
      }
    }
  }

  private func move(_ index: Int) {
    guard !sides[index].isGone else { return }
    if random.once(in: faults.stalling) { sides[index].stalledUntil = now.nanoseconds + 50_000_000 }
    if random.once(in: faults.breaking) {
      sides[index].isGone = true
      sides[index].hasEnded = true
      if random.once(in: 2) { sides[index].incoming = [] }
      return
    }
    guard sides[index].pausedUntil <= now.nanoseconds else { return }
    if random.once(in: faults.pausing) { sides[index].pausedUntil = now.nanoseconds + 3_000_000_000 }
    let left = sides[index].script.count - sides[index].sentCount
    if left > 0 {
      let room = Self.window - sides[index].incoming.count
      let count = min(left, room, 1 + random.below(random.once(in: 4) ? 20_000 : 200))
      guard count > 0, !sides[index].hasEnded else { return }
      let from = sides[index].sentCount
      sides[index].incoming += sides[index].script[from..<from + count]
      sides[index].sentCount += count
    } else if !sides[index].hasEnded {
      sides[index].hasEnded = true
      if random.once(in: faults.leaving) { sides[index].isGone = true }
    } else if sides[index].sawEnd {
      sides[index].isGone = true
    }
  }

  private func work() {
    var place = 0
    while place < operations.count {
      let operation = operations[place]
      if random.once(in: 3) {
        place += 1
      } else if let completion = work(operation) {
        if !completion.more { operations.remove(at: place) } else { place += 1 }
        ready.append(completion)
      } else {
        place += 1
      }
    }
  }

  private func work(_ operation: Operation) -> Completion? {
    func done(_ result: Int32, more: Bool = false) -> Completion {
      Completion(token: operation.token, result: result, buffer: -1, more: more)
    }
    if case .watch = operation.kind, let index = side(operation.descriptor) {
      // Multishot: once for the state that there is, and once for each change.
      let isWatched = sides[index].isWatched
      if sides[index].isGone {
        guard !isWatched || random.once(in: 2) else { return nil }
        sides[index].isWatched = true
        return done(Int32(POLLHUP))
      }
      guard sides[index].hasEnded, !isWatched else { return nil }
      sides[index].isWatched = true
      return done(0x2000, more: true)
    }
    if case .poll = operation.kind { return done(Int32(POLLIN | POLLOUT)) }
    if random.once(in: faults.passing) {
      return done([-EAGAIN, -EINTR, -ENOMEM][random.below(side(operation.descriptor) == nil ? 2 : 3)])
    }
    if case .read(let space) = operation.kind, let index = side(operation.descriptor) {
      return receive(index, space, operation.token).map { done($0) }
    }
    guard case .write(let bytes, let offset) = operation.kind else { return nil }
    if let index = side(operation.descriptor) {
      let result = deliver(index, bytes)
      return result == -EAGAIN ? nil : done(Int32(result))
    }
    let index = Self.files.firstIndex(of: operation.descriptor)!
    if files[index].count >= faults.hangingBytes {
      if hangingUntil == 0 { hangingUntil = now.nanoseconds + faults.hangingNanoseconds }
      if now.nanoseconds < hangingUntil { return nil }
    }
    return done(Int32(store(index, bytes, offset)))
  }

  private func receive(_ index: Int, _ space: UnsafeMutableRawBufferPointer, _ token: Token) -> Int32? {
    if sides[index].incoming.isEmpty {
      guard sides[index].hasEnded else { return nil }
      return sides[index].isGone && random.once(in: 2) ? -ECONNRESET : 0
    }
    let count = min(sides[index].incoming.count, space.count)
    space.copyBytes(from: sides[index].incoming[..<count])
    delivered[index] = (token, Array(sides[index].incoming[..<count]))
    sides[index].incoming.removeFirst(count)
    return Int32(count)
  }

  // MARK: Calls beside the ring

  /// What a side takes at once, or a negative error number.
  func deliver(_ index: Int, _ bytes: UnsafeRawBufferPointer) -> Int {
    if sides[index].sawEnd { violate("side \(index) gets bytes behind its end") }
    if sides[index].isGone { return Int(random.once(in: 2) ? -EPIPE : -ECONNRESET) }
    if sides[index].stalledUntil > now.nanoseconds { return Int(-EAGAIN) }
    let count = random.once(in: 3) ? 1 + random.below(bytes.count) : bytes.count
    sides[index].received += bytes[..<count]
    return count
  }

  func store(_ index: Int, _ bytes: UnsafeRawBufferPointer, _ offset: Int64) -> Int {
    if Int(offset) != files[index].count {
      violate("file \(index) is written at \(offset), it has \(files[index].count)")
    }
    let room = faults.fileBytes - files[index].count
    guard room > 0 else { return Int(-ENOSPC) }
    let wanted = min(bytes.count, room)
    let count = random.once(in: faults.shortWrite) ? 1 + random.below(wanted) : wanted
    files[index] += bytes[..<count]
    return count
  }

  func end(_ descriptor: Int32) {
    guard let index = side(descriptor) else { return violate("an end is passed on to \(descriptor)") }
    if sides[index].sawEnd { violate("side \(index) gets a second end") }
    sides[index].sawEnd = true
  }

  func refuse(_ descriptor: Int32) {
    guard let index = side(descriptor) else { return violate("\(descriptor) is refused") }
    sides[index].refuses = true
  }

  func discard() { hasDiscarded = true }
}

/// The drop-in's ring over a `SimulatedSession`.
struct SimulatedSessionRing: BasicRing, ~Copyable {
  let session: SimulatedSession

  mutating func read(_ descriptor: Int32, _ bytes: UnsafeMutableRawBufferPointer, token: Token) {
    session.submit(.init(kind: .read(bytes), descriptor: descriptor, token: token))
  }
  mutating func write(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer, offset: Int64, token: Token) {
    session.submit(.init(kind: .write(bytes, offset: offset), descriptor: descriptor, token: token))
  }
  mutating func poll(_ descriptor: Int32, events: UInt32, token: Token) {
    session.submit(.init(kind: .poll, descriptor: descriptor, token: token))
  }
  mutating func watch(_ socket: Int32, token: Token) {
    session.submit(.init(kind: .watch, descriptor: socket, token: token))
  }
  mutating func submitAndWait(nanoseconds: UInt64?) throws(Errno) { try session.run(nanoseconds: nanoseconds) }
  mutating func takeCompletions(into completions: UnsafeMutableBufferPointer<Completion>) -> Int {
    let taken = session.take(completions.count)
    for (place, completion) in taken.enumerated() { completions[place] = completion }
    return taken.count
  }
  func now() -> Instant { session.now }
  func sendNow(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Int {
    // Some kinds of client take nothing at once.
    if session.random.once(in: 3) { return Int(-ENOTSOCK) }
    return session.deliver(descriptor == SimulatedSession.client ? 0 : 1, bytes)
  }
  func writeNow(_ file: Int32, _ bytes: UnsafeRawBufferPointer, offset: Int64) -> Int {
    if session.random.once(in: session.faults.passing) { return Int(-EINTR) }
    return session.store(SimulatedSession.files.firstIndex(of: file)!, bytes, offset)
  }
  func endSending(_ descriptor: Int32) { session.end(descriptor) }
  func endReceiving(_ socket: Int32) { session.refuse(socket) }
  func discardReceived(_ socket: Int32) { session.discard() }
}
