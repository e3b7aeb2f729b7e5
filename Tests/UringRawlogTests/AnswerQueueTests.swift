import Testing

@testable import UringRawlog

@Suite struct AnswerQueueTests {
  private func drain(_ queue: AnswerQueue) -> [ExpectedAnswer] {
    var queue = queue
    var answers: [ExpectedAnswer] = []
    while let front = queue.front {
      answers.append(front)
      queue.popFront()
    }
    return answers
  }

  @Test func answersComeInOrder() {
    let kinds: [ExpectedAnswer] = [.single, .recipient, .data, .login, .exchange, .multiLine]
    for seed in 1...UInt64(300) {
      var random = SeededGenerator(seed: seed)
      var queue = AnswerQueue()
      var expected: [ExpectedAnswer] = []
      for _ in 0..<random.below(200) {
        if random.once(in: 2), let first = expected.first {
          #expect(queue.front == first)
          queue.popFront()
          expected.removeFirst()
        } else {
          let kind = random.once(in: 4) ? kinds[random.below(kinds.count)] : expected.last ?? .single
          queue.push(kind)
          expected.append(kind)
        }
        if queue.isLost { break }
        #expect(queue.number { $0 == .login } == expected.count { $0 == .login })
      }
      #expect(queue.isLost || drain(queue) == expected, "seed \(seed)")
    }
  }

  @Test func equalAnswersTakeOnePlace() {
    var queue = AnswerQueue()
    for _ in 0..<100_000 { queue.push(.recipient) }
    queue.push(.data)
    #expect(!queue.isLost && queue.number { $0 == .recipient } == 100_000)
  }

  @Test func tooManyAreLostUntilItIsEmptied() {
    var queue = AnswerQueue()
    for _ in 0..<30 {
      queue.push(.single)
      queue.push(.multiLine)
    }
    #expect(queue.isLost && queue.front == nil)
    queue.push(.login)
    #expect(queue.isEmpty)
    queue.removeAll()
    queue.push(.login)
    #expect(queue.front == .login)
  }

  @Test func skipsToWhatIsWanted() {
    var queue = AnswerQueue()
    for answer in [ExpectedAnswer.single, .single, .reset, .exchange, .exchange, .single] { queue.push(answer) }
    #expect(!queue.skip { $0 == .data })
    #expect(queue.skip { $0 == .exchange })
    #expect(drain(queue) == [.exchange, .exchange, .single])
  }

  // MARK: By tags

  private func hash(_ tag: String) -> UInt32 {
    tag.utf8.reduce(TaggedCommands.emptyHash) { TaggedCommands.hash($0, $1) }
  }

  @Test func theOldestOfATagIsAnsweredFirst() {
    var commands = TaggedCommands()
    commands.push(hash("a"), .single)
    commands.push(hash("b"), .login)
    commands.push(hash("a"), .login)
    #expect(commands.remove(hash("c")) == nil)
    #expect(commands.remove(hash("a"))?.answer == .single)
    let answered = commands.remove(hash("a"))
    #expect(answered?.answer == .login && answered?.loginsBefore == 1 && answered?.isLast == true)
    #expect(commands.remove(hash("a")) == nil)
    #expect(commands.remove(hash("b"))?.loginsBefore == 0)
  }

  @Test func ordinaryCommandsGiveWayWhenThereAreMany() {
    var commands = TaggedCommands()
    for number in 0..<16 { commands.push(hash("x\(number)"), .single) }
    commands.push(hash("y"), .single)
    #expect(commands.isUncertain)
    commands.push(hash("z"), .login)
    #expect(commands.remove(hash("z"))?.answer == .login)
    #expect(commands.remove(hash("x0")) == nil && commands.remove(hash("y")) == nil)
    #expect(!commands.isUncertain)
    #expect(commands.remove(hash("x1"))?.answer == .single)
  }
}
