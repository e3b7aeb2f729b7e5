import Glibc
import Testing

@testable import rawlog

@Suite struct FilePairTests {
  private static let time = LocalTimeText(UnsafeRawBufferPointer(start: strdup("20260131-091500"), count: 15))

  /// What is created in a directory: which of both, by its descriptor.
  private func create(_ directory: TemporaryDirectory, address: String? = nil, options: Options = Options())
    -> (in: Bool, out: Bool)
  {
    var pair = FilePair(
      directory: strdup(directory.path), address: address.map { strdup($0) }, time: Self.time, processID: 4711)
    let descriptors = pair.create(options)
    for index in 0..<2 where descriptors[index] >= 0 { close(descriptors[index]) }
    return (descriptors[0] >= 0, descriptors[1] >= 0)
  }

  @Test func names() throws {
    let directory = try TemporaryDirectory()
    #expect(create(directory) == (true, true))
    #expect(directory.names == ["20260131-091500-4711.in", "20260131-091500-4711.out"])
  }

  @Test(arguments: ["192.0.2.7", "2001:db8::1", ""]) func addresses(_ address: String) throws {
    let directory = try TemporaryDirectory()
    #expect(create(directory, address: address) == (true, true))
    #expect(directory.names == ["\(address)-20260131-091500-4711.in", "\(address)-20260131-091500-4711.out"])
  }

  @Test func filters() throws {
    let directory = try TemporaryDirectory()
    #expect(create(directory, options: Options(recordsOut: false)) == (true, false))
    #expect(create(directory, options: Options(recordsIn: false)) == (false, true))
    #expect(create(directory, options: Options(recordsIn: false, recordsOut: false)) == (false, false))
    #expect(directory.names == ["20260131-091500-4711.in", "20260131-091500-4711.out"])
  }

  @Test(arguments: [
    ([".in"], 1), ([".out"], 1), ([".in", ".out"], 1), ([".in", ".1.out"], 2), ([".out", ".1.in", ".2.out"], 3),
    ([".in", ".2.in"], 1),
  ]) func takenNames(_ taken: [String], _ number: Int) throws {
    let directory = try TemporaryDirectory()
    let stem = "20260131-091500-4711"
    for suffix in taken { try directory.make(stem + suffix, "mine") }
    #expect(create(directory) == (true, true))
    let new = Set(directory.names).subtracting(taken.map { stem + $0 })
    #expect(new == ["\(stem).\(number).in", "\(stem).\(number).out"])
    for suffix in taken { #expect(directory.content(stem + suffix) == Array("mine".utf8)) }
  }

  /// A link is a name that is taken, wherever it leads.
  @Test func links() throws {
    let directory = try TemporaryDirectory()
    try directory.make("elsewhere", "mine")
    symlink("\(directory.path)/elsewhere", "\(directory.path)/20260131-091500-4711.in")
    symlink("/nonexistent", "\(directory.path)/20260131-091500-4711.1.out")
    #expect(create(directory) == (true, true))
    #expect(directory.names.contains("20260131-091500-4711.2.in"))
    #expect(directory.content("elsewhere") == Array("mine".utf8))
  }

  @Test func aFilterLooksAtItsOwnNameOnly() throws {
    let directory = try TemporaryDirectory()
    try directory.make("20260131-091500-4711.out")
    #expect(create(directory, options: Options(recordsOut: false)) == (true, false))
    #expect(directory.names.contains("20260131-091500-4711.in"))
  }

  @Test func theNumbersRunOut() throws {
    let directory = try TemporaryDirectory()
    let stem = "20260131-091500-4711"
    try directory.make(stem + ".out")
    for number in 1..<Limits.nameAttempts { try directory.make("\(stem).\(number).out") }
    // One that can be had is recorded all the same.
    #expect(create(directory) == (true, false))
    #expect(directory.names.filter { $0.hasSuffix(".in") } == ["\(stem).\(Limits.nameAttempts - 1).in"])
  }

  @Test func oneNameIsTooLong() throws {
    let directory = try TemporaryDirectory()
    let address = String(repeating: "a", count: 255 - "-20260131-091500-4711.in".utf8.count)
    #expect(create(directory, address: address) == (true, false))
    #expect(directory.names.count == 1)
  }

  /// Somebody else who opens a file finds it locked, until it is closed.
  @Test func locks() throws {
    let directory = try TemporaryDirectory()
    var pair = FilePair(directory: strdup(directory.path), address: nil, time: Self.time, processID: 4711)
    let descriptors = pair.create(Options())
    for (index, name) in ["20260131-091500-4711.in", "20260131-091500-4711.out"].enumerated() {
      let other = open("\(directory.path)/\(name)", O_RDONLY)
      defer { close(other) }
      #expect(flock(other, LOCK_EX | LOCK_NB) == -1 && errno == EWOULDBLOCK)
      close(descriptors[index])
      #expect(flock(other, LOCK_EX | LOCK_NB) == 0)
    }
  }

  @Test func modes() throws {
    let directory = try TemporaryDirectory()
    #expect(create(directory) == (true, true))
    for name in directory.names {
      var status = stat()
      #expect(lstat("\(directory.path)/\(name)", &status) == 0)
      #expect(status.st_mode & 0o7777 == 0o600)
    }
  }
}
