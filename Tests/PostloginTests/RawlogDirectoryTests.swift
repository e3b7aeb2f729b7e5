import Glibc
import Testing

@testable import rawlog

@Suite struct RawlogDirectoryTests {
  private func paths(home: String?, root: String? = nil) -> (tested: String, used: String) {
    let path = RawlogDirectory.Path(home: home.map { strdup($0) }, root: root.map { strdup($0) })
    return (path.description, String(cString: path.recorder))
  }

  @Test func homes() {
    #expect(paths(home: "/home/alice") == ("/home/alice/dovecot.rawlog", "/home/alice/dovecot.rawlog"))
    #expect(paths(home: "/home/alice/").tested == "/home/alice//dovecot.rawlog")
    #expect(paths(home: "") == ("/dovecot.rawlog", "/dovecot.rawlog"))
    #expect(paths(home: nil) == ("./dovecot.rawlog", "./dovecot.rawlog"))
    #expect(paths(home: "relative").used == "relative/dovecot.rawlog")
  }

  /// The test is outside of the new root, the recording inside.
  @Test func roots() {
    #expect(paths(home: "/home", root: "/jail") == ("/jail/home/dovecot.rawlog", "/home/dovecot.rawlog"))
    #expect(paths(home: "", root: "/jail") == ("/jail/dovecot.rawlog", "/dovecot.rawlog"))
    #expect(paths(home: nil, root: "/jail") == ("/jail/dovecot.rawlog", "/dovecot.rawlog"))
    #expect(paths(home: "/home", root: "") == ("/home/dovecot.rawlog", "/home/dovecot.rawlog"))
  }

  @Test func longPaths() {
    let home = "/" + String(repeating: "x", count: 10_000)
    #expect(paths(home: home).tested == home + "/dovecot.rawlog")
  }

  @Test func onlyADirectoryCounts() throws {
    let directory = try TemporaryDirectory()
    let exists = {
      RawlogDirectory.exists(RawlogDirectory.Path(home: strdup(directory.path), root: nil), isVerbose: false)
    }
    #expect(!exists())
    try directory.make("dovecot.rawlog")
    #expect(!exists())
    unlink("\(directory.path)/dovecot.rawlog")
    symlink("/", "\(directory.path)/dovecot.rawlog")
    #expect(!exists())
    unlink("\(directory.path)/dovecot.rawlog")
    mkdir("\(directory.path)/dovecot.rawlog", 0o700)
    #expect(exists())
  }
}
