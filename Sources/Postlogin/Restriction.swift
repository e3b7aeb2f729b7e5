import Glibc

/// Whom the recorder works as: the RESTRICT_* of the environment, with which Dovecot hands rights from one of its
/// programs to the next.
struct Restriction {
  /// RESTRICT_SETUID, RESTRICT_SETGID, RESTRICT_SETGID_PRIV.
  var user: uid_t?
  var group: gid_t?
  var privilegedGroup: gid_t?
  /// RESTRICT_GID_FIRST and RESTRICT_GID_LAST: of the groups that the process has, those outside are dropped. 0 is no
  /// bound.
  var firstGroup: gid_t = 0
  var lastGroup: gid_t = 0
  /// RESTRICT_SETEXTRAGROUPS, RESTRICT_USER and RESTRICT_CHROOT; nil when unset or empty.
  var extraGroups: String?
  var groupsOf: String?
  var root: String?

  /// What cannot be done, in words for the administrator.
  struct Failure: Error {
    let message: String

    init(_ message: String) { self.message = message }

    /// A call that failed just now.
    init(call: String) { message = "\(call) failed: \(Errno.current.text)" }
  }

  /// - Parameter value: looks a variable up.
  init(_ value: (StaticString) -> UnsafePointer<CChar>?) throws(Failure) {
    user = try Self.number("RESTRICT_SETUID", value)
    group = try Self.number("RESTRICT_SETGID", value)
    privilegedGroup = try Self.number("RESTRICT_SETGID_PRIV", value)
    firstGroup = try Self.number("RESTRICT_GID_FIRST", value) ?? 0
    lastGroup = try Self.number("RESTRICT_GID_LAST", value) ?? 0
    extraGroups = Self.text("RESTRICT_SETEXTRAGROUPS", value)
    groupsOf = Self.text("RESTRICT_USER", value)
    root = Self.text("RESTRICT_CHROOT", value)
  }

  private static func number(_ name: StaticString, _ value: (StaticString) -> UnsafePointer<CChar>?) throws(Failure)
    -> UInt32?
  {
    guard let text = value(name) else { return nil }
    // (uid_t)-1 means "no change" to the kernel and must not pass for a user.
    guard let number = UInt32(String(cString: text)), number != .max, text[0] != CChar(UInt8(ascii: "+")) else {
      throw Failure("\(name) is '\(String(cString: text))', which is no number of a user or group")
    }
    return number
  }

  private static func text(_ name: StaticString, _ value: (StaticString) -> UnsafePointer<CChar>?) -> String? {
    guard let text = value(name), text[0] != 0 else { return nil }
    return String(cString: text)
  }

  /// Whether a root process stays root with it: then nothing may be written into a user's directory.
  var staysRoot: Bool { (getuid() == 0 || geteuid() == 0) && (user ?? 0) == 0 }

  /// Takes the rights on for good.
  ///
  /// - Parameter home: where to stand under a new root; nil for the root itself.
  func apply(home: UnsafePointer<CChar>?) throws(Failure) {
    let isRoot = geteuid() == 0
    let primary = group ?? getegid()
    let privileged = privilegedGroup == group ? nil : privilegedGroup
    if group != nil || privileged != nil { try takeGroups(primary, privileged) }
    if isRoot { try takeSupplementaryGroups(primary, keepPrimary: privileged != nil) }
    if let root { try changeRoot(root, home: home) }
    if let user, setuid(user) != 0 { throw Failure(call: "setuid(\(user))") }
    guard setuid(0) != 0 else { throw Failure("root is not given up; set RESTRICT_SETUID to the user's number") }
    try checkGroup(primary, privileged, wasRoot: isRoot)
  }

  private func takeGroups(_ primary: gid_t, _ privileged: gid_t?) throws(Failure) {
    let isThere = primary == getgid() && primary == getegid()
    if let privileged {
      if isThere, primary != 0 { return }
      guard setGroups(real: primary, effective: primary, saved: privileged) else {
        throw Failure(call: "setresgid(\(primary),\(primary),\(privileged))")
      }
    } else if !isThere, setgid(primary) != 0 {
      throw Failure(call: "setgid(\(primary))")
    }
  }

  /// Only root can, and must: what it has are not the user's.
  private func takeSupplementaryGroups(_ primary: gid_t, keepPrimary: Bool) throws(Failure) {
    var groups: [gid_t] = []
    if let groupsOf {
      guard initgroups(groupsOf, primary) == 0 else { throw Failure(call: "initgroups(\(groupsOf), \(primary))") }
      let count = getgroups(0, nil)
      groups = [gid_t](repeating: 0, count: Int(max(count, 0)))
      guard count >= 0, getgroups(count, &groups) == count else { throw Failure(call: "getgroups()") }
      groups.removeAll { $0 < firstGroup || lastGroup != 0 && $0 > lastGroup }
    }
    if groups.isEmpty || keepPrimary && !groups.contains(primary) { groups.append(primary) }
    for name in (extraGroups ?? "").split(whereSeparator: { $0 == "," || $0 == " " }) {
      let group = try Self.group(named: String(name))
      if group != primary { groups.append(group) }
    }
    guard setgroups(groups.count, groups) == 0 else { throw Failure(call: "setgroups()") }
  }

  private static func group(named name: String) throws(Failure) -> gid_t {
    if let number = UInt32(name) { return number }
    guard let entry = getgrnam(name) else {
      throw Failure("RESTRICT_SETEXTRAGROUPS names the group '\(name)', which there is not")
    }
    return entry.pointee.gr_gid
  }

  private func changeRoot(_ root: String, home: UnsafePointer<CChar>?) throws(Failure) {
    guard chroot(root) == 0 else { throw Failure(call: "chroot(\(root))") }
    if let home, chdir(home) == 0 { return }
    if let home {
      Message.say(.error, "chdir(\(String(cString: home))) failed: \(Errno.current.text)")
    }
    guard chdir("/") == 0 else { throw Failure(call: "chdir(/)") }
  }

  /// Root's group must be gone as well, unless it is the one that was asked for.
  private func checkGroup(_ primary: gid_t, _ privileged: gid_t?, wasRoot: Bool) throws(Failure) {
    let isAllowed = firstGroup == 0 && (primary == 0 || privileged == 0)
    guard !isAllowed, user != 0, user != nil || !wasRoot else { return }
    if getgid() == 0 || getegid() == 0 || setgid(0) == 0 {
      throw Failure("root's group is not given up; set RESTRICT_SETGID to the user's group")
    }
  }
}
