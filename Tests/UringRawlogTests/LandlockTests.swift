import Foundation
import Testing

@testable import UringRawlog

@Suite struct LandlockTests {
  @Test(arguments: [
    ("/a/b", "/a"), ("/a/b/", "/a"), ("/a", "/"), ("/", "/"), ("//", "/"), ("a", "."), ("a/b", "a"), ("/a//b", "/a"),
    ("", "."),
  ])
  func parents(_ path: String, _ parent: String) {
    #expect(Landlock.parent(of: path) == parent)
  }

  @Test func linksAreFollowedToTheirTargets() throws {
    let directory = try TemporaryDirectory()
    let base = directory.path
    for name in ["live", "archive", "store"] {
      try FileManager.default.createDirectory(atPath: "\(base)/\(name)", withIntermediateDirectories: false)
    }
    try Data().write(to: URL(fileURLWithPath: "\(base)/store/key"))
    symlink("../archive/key", "\(base)/live/key")
    symlink("\(base)/store/key", "\(base)/archive/key")
    var landlock = Landlock()
    landlock.allowReadingAgain("\(base)/live/key")
    for directory in ["live", "live/../archive", "store"] {
      #expect(landlock.rules.contains(Landlock.Rule(path: "\(base)/\(directory)", access: .reading)))
    }
  }

  @Test func linksThatLeadInACircleEnd() throws {
    let directory = try TemporaryDirectory()
    symlink("b", "\(directory.path)/a")
    symlink("a", "\(directory.path)/b")
    var landlock = Landlock()
    landlock.allowReadingAgain("\(directory.path)/a")
    let paths = [directory.path, "\(directory.path)/a", "\(directory.path)/b"]
    #expect(landlock.rules.allSatisfy { paths.contains($0.path) })
  }

  @Test func whatLiesInTheRootIsAllowedAlone() {
    var landlock = Landlock()
    landlock.allowReadingAgain("/key.pem")
    #expect(landlock.rules == [Landlock.Rule(path: "/key.pem", access: .reading)])
  }

  @Test func aDirectoryCanBeMadeAgainByItsNameAndWhereThatLeads() throws {
    let directory = try TemporaryDirectory()
    let base = directory.path
    for name in ["named", "real", "real/recordings"] { #expect(mkdir("\(base)/\(name)", 0o700) == 0) }
    symlink("../real/recordings", "\(base)/named/link")
    var landlock = Landlock()
    landlock.allowRecording("\(base)/named/link")
    #expect(landlock.rules.contains(Landlock.Rule(path: "\(base)/named/link", access: .recording)))
    #expect(landlock.rules.contains(Landlock.Rule(path: "\(base)/named", access: .remaking)))
    #expect(landlock.rules.contains { $0.path.hasSuffix("/real") && $0.access == .remaking })
  }

  @Test func allIsNotAllowedForWhatLiesInTheRoot() {
    var landlock = Landlock()
    landlock.allowRecording("/dev")
    #expect(landlock.rules == [Landlock.Rule(path: "/dev", access: .recording)])
  }
}
