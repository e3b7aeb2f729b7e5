import Testing

@testable import UringRawlog

@Suite struct CaptureIndexReaderTests {
  private func read(_ text: String, only id: String? = nil) throws -> CaptureIndexReader {
    try CaptureIndexReader(CaptureInMemory(Array(text.utf8), "a.idx"), only: id)
  }

  private let whole = """
    uring-rawlog-idx 1
    20260131-091500.4711.1 320 12816 9 whole
    20260131-091500.4711.12 500 500 1 begins
    total 2 12912

    """

  @Test func lines() throws {
    let index = try read(whole)
    #expect(
      index.entries == [
        CaptureIndex.Entry(id: "20260131-091500.4711.1", firstBlock: 320, lastBlock: 12816, blocks: 9, part: .whole),
        CaptureIndex.Entry(id: "20260131-091500.4711.12", firstBlock: 500, lastBlock: 500, blocks: 1, part: .begins),
      ])
    #expect(index.captureBytes == 12912)
    let one = try read(whole, only: "20260131-091500.4711.1")
    #expect(one.entries == [index.entries[0]] && one.captureBytes == 12912)
  }

  @Test func aLineThatACrashCut() throws {
    let text = Array(whole.utf8)
    for count in 0..<text.count {
      let cut = String(decoding: text[..<count], as: UTF8.self)
      guard cut.contains("\n") else {
        #expect(try #require(throws: StartError.self) { try read(cut) }.status == .dataError)
        continue
      }
      let index = try read(cut)
      #expect(index.captureBytes == nil && index.entries.count == min(2, cut.count { $0 == "\n" } - 1))
    }
  }

  @Test(arguments: [
    "20260131-091500.4711.1 320 12816 9", "a 1 2 3 whole more", "a 5 4 1 whole", "a 1 2 0 whole", "a 1 x 3 whole",
    "a 1 -2 3 whole", "a 1 2 3 Whole", "", " 1 2 3 whole", "a 1 99999999999999999999 3 whole", "total 1 5", "total 0",
    "total 0 5\na 1 2 3 whole",
  ])
  func wrongLines(line: String) throws {
    let error = try #require(throws: StartError.self) { try read("uring-rawlog-idx 1\n\(line)\n") }
    #expect(error.status == .dataError && error.message.contains("line "))
  }

  @Test(arguments: ["", "\n", "uring-rawlog-idx 2\n", "sessions\n", "uring-rawlog-idx 1"])
  func otherFiles(text: String) throws {
    #expect(try #require(throws: StartError.self) { try read(text) }.message.contains("is no .idx file"))
  }

  @Test func aLineWithoutEnd() throws {
    let endless = String(repeating: "x", count: 3 << 20)
    #expect(
      try #require(throws: StartError.self) { try read("uring-rawlog-idx 1\n\(endless)") }.message.contains(
        "has no end"))
  }

  @Test func manyLines() throws {
    var text = "uring-rawlog-idx 1\n"
    for number in 1...40_000 { text += "20260131-091500.4711.\(number) \(number) \(number + 1) 2 whole\n" }
    text += "total 40000 9\n"
    #expect(try read(text).entries.count == 40_000)
    #expect(try read(text, only: "20260131-091500.4711.39999").entries.map(\.firstBlock) == [39999])
  }

  @Test func parts() {
    for part in CaptureIndex.Part.allCases {
      #expect("\(part.word)" == part.rawValue)
      #expect(CaptureIndex.Part(isCarriedOn: !part.beginsHere, goesOn: !part.endsHere) == part)
    }
  }
}
