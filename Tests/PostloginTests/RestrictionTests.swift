import Glibc
import Testing

@testable import rawlog

@Suite struct RestrictionTests {
  private func restriction(_ values: [String: String]) throws -> Restriction {
    try Restriction { name in values["\(name)"].map { UnsafePointer(strdup($0)) } }
  }

  @Test func nothing() throws {
    let none = try restriction([:])
    #expect(none.user == nil && none.group == nil && none.privilegedGroup == nil)
    #expect(none.firstGroup == 0 && none.lastGroup == 0)
    #expect(none.extraGroups == nil && none.groupsOf == nil && none.root == nil)
    #expect(none.staysRoot == (getuid() == 0 || geteuid() == 0))
  }

  @Test func everything() throws {
    let all = try restriction([
      "RESTRICT_SETUID": "1000", "RESTRICT_SETGID": "0", "RESTRICT_SETGID_PRIV": "8", "RESTRICT_GID_FIRST": "1",
      "RESTRICT_GID_LAST": "4294967294", "RESTRICT_SETEXTRAGROUPS": "mail,7", "RESTRICT_USER": "alice",
      "RESTRICT_CHROOT": "/jail",
    ])
    #expect(all.user == 1000 && all.group == 0 && all.privilegedGroup == 8)
    #expect(all.firstGroup == 1 && all.lastGroup == 4_294_967_294)
    #expect(all.extraGroups == "mail,7" && all.groupsOf == "alice" && all.root == "/jail")
    #expect(!all.staysRoot)
  }

  @Test func emptyIsAsGoodAsNone() throws {
    let empty = try restriction(["RESTRICT_SETEXTRAGROUPS": "", "RESTRICT_USER": "", "RESTRICT_CHROOT": ""])
    #expect(empty.extraGroups == nil && empty.groupsOf == nil && empty.root == nil)
  }

  @Test func rootIsNoUserToDropTo() throws {
    #expect(try restriction(["RESTRICT_SETUID": "0"]).staysRoot == (getuid() == 0 || geteuid() == 0))
  }

  /// The last is what setuid(2) takes for "leave it".
  @Test(arguments: ["", "x", "-1", "+1", " 1", "1 ", "0x1", "1.0", "4294967295", "4294967296", "99999999999999999999"])
  func noNumbers(_ value: String) {
    for name in [
      "RESTRICT_SETUID", "RESTRICT_SETGID", "RESTRICT_SETGID_PRIV", "RESTRICT_GID_FIRST", "RESTRICT_GID_LAST",
    ] {
      #expect {
        try restriction([name: value])
      } throws: { error in
        (error as? Restriction.Failure)?.message == "\(name) is '\(value)', which is no number of a user or group"
      }
    }
  }
}
