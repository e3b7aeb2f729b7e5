/// Who somebody said to be.
enum LoginIdentity {
  case absent
  /// One was given, but it is too long or cannot be read.
  case unusable
  /// Its bytes, which anybody may have sent; they lie in the `LoginMemory` until the next scan.
  case known(UnsafeRawBufferPointer)
}

/// The logins whose answers are outstanding, each with the names that it was tried with.
///
/// Names are put one after the other into the owner's `LoginMemory`. When an impatient client tries so many at once
/// that a name has no room, it is unusable; it is never taken for another's.
struct LoginAttempts {
  /// Bytes of the longest name that is kept, and what of a response may stand around a name.
  static let longestName = 255
  private static let most = 4

  struct Name {
    enum State: UInt8 {
      case absent
      case unusable
      case known
    }
    var offset: UInt16 = 0
    var count: UInt8 = 0
    var state = State.absent
  }

  struct Attempt {
    var authentication = Name()
    var authorization = Name()

    static let unusable = Attempt(authentication: Name(state: .unusable), authorization: Name(state: .unusable))
  }

  private var attempts = InlineArray<4, Attempt>(repeating: Attempt())
  private(set) var count: UInt8 = 0
  /// Attempts behind those that have no place.
  private var untracked: UInt32 = 0
  /// Bytes of the memory that are in use, the name that is being read included.
  private var used: UInt16 = 0
  private var nameOffset: UInt16 = 0
  private var isTooLong = false
  /// The newest attempt has a place, and is not over.
  private var isNewestTracked = false

  // MARK: Attempts

  /// - Parameter keepsNames: a name that was read before belongs to it.
  mutating func begin(keepsNames: Bool = false) {
    if count == 0, !keepsNames { used = 0 }
    isNewestTracked = Int(count) < Self.most && untracked == 0
    guard isNewestTracked else {
      untracked &+= 1
      return
    }
    attempts[Int(count)] = Attempt()
    count += 1
  }

  /// The newest attempt, in which names are entered; elsewhere they are lost.
  var newest: Attempt? {
    get { isNewestTracked ? attempts[Int(count) - 1] : nil }
    set { if isNewestTracked, let newValue { attempts[Int(count) - 1] = newValue } }
  }

  /// An attempt is over.
  ///
  /// - Parameter place: how many before it are not.
  mutating func end(at place: Int) -> Attempt {
    guard place < Int(count) else {
      if untracked > 0 { untracked -= 1 }
      return .unusable
    }
    let attempt = attempts[place]
    if place == Int(count) - 1 { isNewestTracked = false }
    for next in place..<Int(count) - 1 { attempts[next] = attempts[next + 1] }
    count -= 1
    return attempt
  }

  /// The newest one was none.
  mutating func cancel() {
    _ = end(at: isNewestTracked ? Int(count) - 1 : Self.most)
  }

  mutating func removeAll() {
    count = 0
    untracked = 0
    isNewestTracked = false
  }

  // MARK: Names

  mutating func beginName() {
    if count == 0, untracked == 0 { used = 0 }
    nameOffset = used
    isTooLong = false
  }

  mutating func append(_ byte: UInt8, _ memory: UnsafeMutablePointer<LoginMemory>) {
    guard Int(used) < LoginMemory.nameBytes, !isTooLong else {
      isTooLong = true
      return
    }
    memory.pointee.names[Int(used)] = byte
    used += 1
  }

  /// The name that was read. What it did not need is free again.
  ///
  /// - Parameter droppedFrom: bytes from there on are not of the name.
  mutating func endName(droppingFrom kept: Int? = nil) -> Name {
    let count = min(kept ?? .max, Int(used - nameOffset))
    guard !isTooLong, count <= Self.longestName else {
      used = nameOffset
      return Name(state: .unusable)
    }
    used = nameOffset + UInt16(count)
    return Name(offset: nameOffset, count: UInt8(count), state: .known)
  }

  var nameCount: Int { Int(used - nameOffset) }
}
