@preconcurrency import Glibc
import Testing

@testable import rawlog

/// getopt(3) keeps its place in global variables, so one test runs at a time.
@Suite(.serialized) struct OptionsTests {
  private func parse(_ words: String...) throws(Options.Failure) -> Options {
    var arguments: [UnsafeMutablePointer<CChar>?] = (["rawlog"] + words).map { strdup($0) } + [nil]
    defer { for argument in arguments { free(argument) } }
    return try Options(count: Int32(words.count + 1), arguments: &arguments)
  }

  @Test func nothingButABinary() throws {
    let options = try parse("/bin/true")
    #expect(options == Options(binary: 1))
    #expect(options.records(.in) && options.records(.out))
  }

  @Test func flagsByThemselvesAndTogether() throws {
    for words in [["-t", "-b", "-I"], ["-tbI"], ["-I", "-bt"], ["-t", "-t", "-b", "-I", "-b"]] {
      var arguments: [UnsafeMutablePointer<CChar>?] =
        (["rawlog"] + words + ["/bin/true", "-f"]).map { strdup($0) } + [nil]
      defer { for argument in arguments { free(argument) } }
      let options = try Options(count: Int32(words.count + 3), arguments: &arguments)
      #expect(options.timestamps && options.boundaries && options.addressInName)
      #expect(options.binary == words.count + 1)
    }
  }

  @Test func filters() throws {
    for (words, expected) in [
      (("-f", "in"), (true, false)), (("-f", "out"), (false, true)), (("-fin", "-t"), (true, false)),
      (("-bfout", "-t"), (false, true)), (("-fin", "-fout"), (false, false)),
    ] {
      let options = try parse(words.0, words.1, "x")
      #expect(options.recordsIn == expected.0 && options.recordsOut == expected.1)
    }
  }

  @Test(arguments: ["", "IN", "inn", "i", "both", " in"]) func otherFilters(_ value: String) {
    #expect(throws: Options.Failure.filter(value)) { try parse("-f", value, "x") }
    #expect(Options.Failure.filter(value).message == "Invalid filter: \(value)")
  }

  @Test func optionsOfEveryProgramOfDovecot() throws {
    #expect(try parse("-c", "/etc/x", "-kOL", "-i", "name", "-o", "a=b", "x").binary == 8)
  }

  @Test func theBinaryEndsThem() throws {
    #expect(try parse("x", "-t").timestamps == false)
    #expect(try parse("--", "-t").binary == 2)
    #expect(try parse("-b", "--", "x", "-t") == Options(boundaries: true, binary: 3))
  }

  @Test func noBinary() {
    #expect(throws: Options.Failure.noBinary) { try parse() }
    #expect(throws: Options.Failure.noBinary) { try parse("-t") }
    #expect(throws: Options.Failure.noBinary) { try parse("-t", "--") }
    #expect(Options.Failure.noBinary.message == "Usage: rawlog [-f in|out] [-I] [-b] [-t] <binary> <arguments>")
  }

  /// What getopt(3) says itself is on standard error; the end-to-end tests read it there.
  @Test func whatIsNoOption() {
    opterr = 0
    defer { opterr = 1 }
    #expect(throws: Options.Failure.isSaid) { try parse("-x", "y") }
    #expect(throws: Options.Failure.isSaid) { try parse("--help") }
    #expect(throws: Options.Failure.isSaid) { try parse("-f") }
    #expect(Options.Failure.isSaid.message == nil)
  }
}
