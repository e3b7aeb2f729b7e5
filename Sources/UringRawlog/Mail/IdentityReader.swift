/// Reads out of a SASL response, already decoded, who logs in, and enters it into the newest attempt. It takes one byte
/// at a time and keeps none itself.
struct IdentityReader {
  private enum Phase: UInt8 {
    /// What comes is of no interest, or the whole response is a name.
    case ignored
    case whole
    /// PLAIN: authzid NUL authcid NUL password.
    case plainAuthorization
    case plainAuthentication
    /// CRAM-MD5: name, space, digest.
    case nameAndDigest
    /// GS2 header (RFC 5801 section 4): a flag, a comma, perhaps `a=` and a name, a comma.
    case gs2Flag
    case gs2Key
    case gs2Name
    /// SCRAM: `n=` and a name; an extension may come before it.
    case scramKey
    case scramName
    case scramExtension
    /// XOAUTH2: `user=`, a name, ^A.
    case xoauthKey
    case xoauthName
  }

  private var phase = Phase.ignored
  private var mechanism = Mechanism.unknown
  /// Letters of a key that matched, or of an escaped character of a SCRAM name.
  private var matched: UInt8 = 0
  private var escape: UInt8 = 0
  /// In CRAM-MD5's response: where the name ends, since the digest has no space.
  private var lastSpace: UInt16?
  private var isUnreadable = false
  /// A control byte came: what is read is no user name.
  private(set) var hasControls = false

  /// The first response of an exchange begins; the others do not say who it is.
  mutating func begin(_ mechanism: Mechanism, attempts: inout LoginAttempts) {
    self = IdentityReader()
    self.mechanism = mechanism
    switch mechanism {
    case .unknown: return
    case .plain: phase = .plainAuthorization
    case .login, .external: phase = .whole
    case .cramMD5: phase = .nameAndDigest
    case .scram, .oauthBearer: phase = .gs2Flag
    case .xoauth2: phase = .xoauthKey
    }
    attempts.beginName()
  }

  /// A response that cannot be read: nobody is named.
  mutating func spoil() { isUnreadable = true }

  mutating func take(_ byte: UInt8, attempts: inout LoginAttempts, _ memory: UnsafeMutablePointer<LoginMemory>) {
    if byte < 0x20 || byte == 0x7F { hasControls = true }
    switch phase {
    case .ignored: break
    case .whole: attempts.append(byte, memory)
    case .nameAndDigest:
      if byte == UInt8(ascii: " ") { lastSpace = UInt16(clamping: attempts.nameCount) }
      attempts.append(byte, memory)
    case .plainAuthorization:
      guard byte == 0 else { return attempts.append(byte, memory) }
      enterAuthorization(&attempts)
      phase = .plainAuthentication
      attempts.beginName()
    case .plainAuthentication:
      guard byte == 0 else { return attempts.append(byte, memory) }
      enterAuthentication(attempts.endName(), &attempts)
    case .gs2Flag: if byte == UInt8(ascii: ",") { phase = .gs2Key }
    case .gs2Key: takeKey(byte, "a=", then: .gs2Name, orComma: mechanism == .scram ? .scramKey : .ignored)
    case .gs2Name:
      guard byte == UInt8(ascii: ",") else { return takeEscaped(byte, &attempts, memory) }
      if mechanism == .scram {
        enterAuthorization(&attempts)
        phase = .scramKey
        matched = 0
        attempts.beginName()
      } else {
        // Who the token belongs to is not said: this is the only name.
        enterAuthentication(readName(&attempts), &attempts)
      }
    case .scramKey: takeKey(byte, "n=", then: .scramName, orComma: .scramKey)
    case .scramExtension:
      if byte == UInt8(ascii: ",") {
        phase = .scramKey
        matched = 0
      }
    case .scramName:
      guard byte == UInt8(ascii: ",") else { return takeEscaped(byte, &attempts, memory) }
      enterAuthentication(readName(&attempts), &attempts)
    case .xoauthKey: takeKey(byte, "user=", then: .xoauthName, orComma: .ignored)
    case .xoauthName:
      guard byte == 1 else { return attempts.append(byte, memory) }
      enterAuthentication(attempts.endName(), &attempts)
    }
  }

  /// The response ends.
  mutating func end(attempts: inout LoginAttempts) {
    switch phase {
    case .ignored: break
    case .whole: enterAuthentication(attempts.endName(), &attempts)
    case .nameAndDigest:
      let name = attempts.endName(droppingFrom: lastSpace.map(Int.init))
      enterAuthentication(lastSpace == nil ? LoginAttempts.Name(state: .unusable) : name, &attempts)
    case .plainAuthorization, .plainAuthentication, .gs2Flag, .gs2Key, .gs2Name, .scramKey, .scramName, .scramExtension,
      .xoauthKey, .xoauthName:
      isUnreadable = true
    }
    if isUnreadable, mechanism != .unknown { attempts.newest = .unusable }
    phase = .ignored
  }

  private mutating func takeKey(_ byte: UInt8, _ key: StaticString, then name: Phase, orComma next: Phase) {
    if matched == 0, byte == UInt8(ascii: ",") {
      phase = next
    } else if byte == key.utf8Start[Int(matched)] {
      matched += 1
      if Int(matched) == key.utf8CodeUnitCount {
        phase = name
        matched = 0
      }
    } else if phase == .scramKey {
      phase = .scramExtension
    } else {
      isUnreadable = true
      phase = .ignored
    }
  }

  /// In a name of SCRAM or a GS2 header a comma is `=2C`, and an equals sign `=3D` (RFC 5802 section 5.1).
  private mutating func takeEscaped(
    _ byte: UInt8, _ attempts: inout LoginAttempts, _ memory: UnsafeMutablePointer<LoginMemory>
  ) {
    switch (escape, byte) {
    case (0, UInt8(ascii: "=")): escape = 1
    case (0, _): attempts.append(byte, memory)
    case (1, UInt8(ascii: "2")), (1, UInt8(ascii: "3")): escape = byte
    case (UInt8(ascii: "2"), UInt8(ascii: "C")), (UInt8(ascii: "2"), UInt8(ascii: "c")):
      escape = 0
      attempts.append(UInt8(ascii: ","), memory)
    case (UInt8(ascii: "3"), UInt8(ascii: "D")), (UInt8(ascii: "3"), UInt8(ascii: "d")):
      escape = 0
      attempts.append(UInt8(ascii: "="), memory)
    default: isUnreadable = true
    }
  }

  private mutating func readName(_ attempts: inout LoginAttempts) -> LoginAttempts.Name {
    if escape != 0 { isUnreadable = true }
    return attempts.endName()
  }

  /// An empty authorization identity is none.
  private mutating func enterAuthorization(_ attempts: inout LoginAttempts) {
    let name = readName(&attempts)
    if name.state == .unusable || name.count > 0 { attempts.newest?.authorization = name }
  }

  private mutating func enterAuthentication(_ name: LoginAttempts.Name, _ attempts: inout LoginAttempts) {
    // EXTERNAL says only whose mailbox it is, and may leave that to the certificate.
    if mechanism != .external || name.state == .unusable || name.count > 0 { attempts.newest?.authentication = name }
    phase = .ignored
  }
}
