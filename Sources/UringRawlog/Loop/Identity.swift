import Glibc

/// Whom the program works as after it has bound its addresses (`--user`, `--group`).
struct Identity {
  private let user: uid_t?
  private let group: gid_t?
  private let name: String?

  /// Looks both names up.
  ///
  /// - Throws: 64 for an unknown name, 77 when the program was not started as root.
  init(user: String?, group: String?) throws(StartError) {
    guard user != nil || group != nil else {
      self.user = nil
      self.group = nil
      name = nil
      return
    }
    var userID: uid_t?
    var groupID: gid_t?
    if let user {
      guard let entry = getpwnam(user) else {
        throw StartError(.usage, "--user: there is no user '\(user)'; name one of getent passwd")
      }
      userID = entry.pointee.pw_uid
      groupID = entry.pointee.pw_gid
    }
    if let group {
      guard let entry = getgrnam(group) else {
        throw StartError(.usage, "--group: there is no group '\(group)'; name one of getent group")
      }
      groupID = entry.pointee.gr_gid
    }
    guard geteuid() == 0 else {
      throw StartError(
        .noPermission,
        "--\(user == nil ? "group" : "user") needs root to drop; start the program as root or leave it out")
    }
    self.user = userID
    self.group = groupID
    name = user
  }

  /// Takes the groups on; the user stays root until `drop`.
  func takeGroups() throws(StartError) {
    guard let group else { return }
    var only = group
    let result = name.map { initgroups($0, group) } ?? setgroups(1, &only)
    guard result == 0, setgid(group) == 0 else {
      throw StartError(.osError, "cannot change the group: \(Errno.current.text); check the program's capabilities")
    }
  }

  /// Runs `body` with the rights that the program will have after `drop`.
  func withRights(_ body: () throws(StartError) -> Void) throws(StartError) {
    guard let user else { return try body() }
    guard seteuid(user) == 0 else {
      throw StartError(.osError, "cannot change the user: \(Errno.current.text); check the program's capabilities")
    }
    defer { _ = seteuid(0) }
    try body()
  }

  /// Gives root up for good.
  func drop() throws(StartError) {
    guard let user else { return }
    guard setuid(user) == 0, user == 0 || setuid(0) != 0 else {
      throw StartError(.osError, "cannot change the user: \(Errno.current.text); check the program's capabilities")
    }
  }
}
