import Testing

@testable import UringRawlog

@Suite struct KernelVersionTests {
  @Test(arguments: [
    ("6.1.0-18-amd64", 6, 1), ("6.18.44", 6, 18), ("5.15", 5, 15), ("6.16.0-rc1+", 6, 16), ("10.0-generic", 10, 0),
    ("4.19.0.el7.x86_64", 4, 19),
  ])
  func releases(release: String, major: Int, minor: Int) {
    #expect(KernelVersion(release: release) == KernelVersion(major: major, minor: minor))
  }

  @Test(arguments: ["", "6", "six.one", "unknown", "-"])
  func notReleases(release: String) {
    #expect(KernelVersion(release: release) == nil)
  }

  @Test func order() {
    let ordered = [(0, 0), (5, 19), (6, 1), (6, 2), (6, 10), (6, 16), (7, 0), (10, 0)].map {
      KernelVersion(major: $0.0, minor: $0.1)
    }
    for (place, version) in ordered.enumerated() {
      for (otherPlace, other) in ordered.enumerated() {
        #expect((version < other) == (place < otherPlace))
        #expect((version == other) == (place == otherPlace))
      }
    }
  }

  @Test func text() {
    #expect("\(KernelVersion(major: 6, minor: 1))" == "6.1")
    #expect(KernelVersion.running > KernelVersion(major: 0, minor: 0))
  }
}
