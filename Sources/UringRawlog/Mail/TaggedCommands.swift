/// The IMAP commands whose answers are outstanding, by a hash of their tags.
///
/// Of several with the same hash, the oldest is answered first. A client may have any number under way; of those that
/// have no place only the number is kept, and they are none that matter.
struct TaggedCommands {
  struct Answered {
    var answer: ExpectedAnswer
    /// Logins under way that were sent before it.
    var loginsBefore = 0
    /// It was the command sent last.
    var isLast = false
    /// It was a SASL exchange, and none was sent behind it.
    var isLastExchange = false
  }

  private static let most = 16
  private var hashes = InlineArray<16, UInt32>(repeating: 0)
  private var expected = InlineArray<16, ExpectedAnswer>(repeating: .single)
  private var count: UInt8 = 0
  private var untracked: UInt32 = 0

  /// There are commands under way whose tags are forgotten: an answer might be theirs.
  var isUncertain: Bool { untracked > 0 }

  var isEmpty: Bool { count == 0 }

  /// There is an IDLE among them.
  var isIdling: Bool { (0..<Int(count)).contains { expected[$0] == .idle } }

  static let emptyHash: UInt32 = 0x811C_9DC5

  /// FNV-1a.
  @inline(__always)
  static func hash(_ hash: UInt32, _ byte: UInt8) -> UInt32 { (hash ^ UInt32(byte)) &* 16_777_619 }

  mutating func push(_ hash: UInt32, _ answer: ExpectedAnswer) {
    if count == Self.most {
      untracked &+= 1
      guard answer != .single, let place = (0..<Self.most).first(where: { expected[$0] == .single }) else {
        return
      }
      remove(at: place)
    }
    hashes[Int(count)] = hash
    expected[Int(count)] = answer
    count += 1
  }

  /// The command that an answer with this tag is for.
  mutating func remove(_ hash: UInt32) -> Answered? {
    var loginsBefore = 0
    for place in 0..<Int(count) {
      if hashes[place] == hash {
        let hasExchangeBehind = (place + 1..<Int(count)).contains { expected[$0] == .exchange }
        let answered = Answered(
          answer: expected[place], loginsBefore: loginsBefore, isLast: place == Int(count) - 1,
          isLastExchange: expected[place] == .exchange && !hasExchangeBehind)
        remove(at: place)
        return answered
      }
      if expected[place].isLogin { loginsBefore += 1 }
    }
    if untracked > 0 { untracked -= 1 }
    return nil
  }

  private mutating func remove(at place: Int) {
    for next in place..<Int(count) - 1 {
      hashes[next] = hashes[next + 1]
      expected[next] = expected[next + 1]
    }
    count -= 1
  }
}
