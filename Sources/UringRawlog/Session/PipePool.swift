/// The pipes through which bytes are spliced: those that a flow has bytes in, and empty ones kept for the next.
struct PipePool: ~Copyable {
  /// The most that there may be at once.
  let limit: Int
  /// Those that a flow has.
  private(set) var usedCount = 0
  private(set) var idleCount = 0
  /// By their numbers; a number that has no pipe is unused.
  private let pipes: UnsafeMutablePointer<Pipe>
  /// The numbers: first those of idle pipes, then those that are unused. Those in use are in neither.
  private let idle: UnsafeMutablePointer<Int32>
  private let unused: UnsafeMutablePointer<Int32>
  private var unusedCount: Int

  init(limit: Int) {
    self.limit = limit
    pipes = .allocate(capacity: limit)
    idle = .allocate(capacity: limit)
    unused = .allocate(capacity: limit)
    pipes.initialize(repeating: Pipe(reading: -1, writing: -1, bytes: 0), count: limit)
    idle.initialize(repeating: -1, count: limit)
    unused.initialize(repeating: -1, count: limit)
    for number in 0..<limit { unused[number] = Int32(limit - 1 - number) }
    unusedCount = limit
  }

  deinit {
    pipes.deallocate()
    idle.deallocate()
    unused.deallocate()
  }

  /// A further pipe may be made.
  var hasRoom: Bool { unusedCount > 0 }

  subscript(number: Int32) -> Pipe { pipes[Int(number)] }

  /// The number of an empty pipe, the last one given back; nil when there is none.
  mutating func takeIdle() -> Int32? {
    guard idleCount > 0 else { return nil }
    idleCount -= 1
    usedCount += 1
    return idle[idleCount]
  }

  /// Takes up a pipe that was just made; only while there is room.
  mutating func add(_ pipe: Pipe) -> Int32 {
    unusedCount -= 1
    usedCount += 1
    let number = unused[unusedCount]
    pipes[Int(number)] = pipe
    return number
  }

  /// Takes back an empty pipe; the answer is the pipe when enough are kept, and it is to be closed.
  mutating func giveBack(_ number: Int32) -> Pipe? {
    guard idleCount < Limits.pipesIdle else { return remove(number) }
    usedCount -= 1
    idle[idleCount] = number
    idleCount += 1
    return nil
  }

  /// Forgets a pipe that a flow had; it is to be closed.
  mutating func remove(_ number: Int32) -> Pipe {
    usedCount -= 1
    unused[unusedCount] = number
    unusedCount += 1
    return pipes[Int(number)]
  }
}
