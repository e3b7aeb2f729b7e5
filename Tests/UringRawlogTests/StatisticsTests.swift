import Testing

@testable import Benchmarks

@Suite struct StatisticsTests {
  @Test(
    arguments: [
      ([5], 5), ([1, 2], 1.5), ([3, 1, 2], 2), ([4, 1, 3, 2], 2.5), ([9, 1, 1, 1, 9], 1), ([-1, 1], 0),
    ] as [([Double], Double)])
  func median(values: [Double], expected: Double) {
    #expect(Statistics.median(values) == expected)
    #expect(Statistics.median(values.reversed()) == expected)
  }

  @Test func quantilesLieBetweenTheirNeighbours() {
    let values: [Double] = [40, 10, 30, 20, 50]
    for (share, expected) in [(0, 10), (0.25, 20), (0.5, 30), (0.75, 40), (1, 50), (0.125, 15), (0.9, 46)]
      as [(Double, Double)]
    {
      #expect(abs(Statistics.quantile(values, share) - expected) < 1e-9, "\(share)")
    }
    #expect(Statistics.quantile([7], 0) == 7 && Statistics.quantile([7], 1) == 7)
  }

  @Test func nothingHasNoMedian() {
    #expect(Statistics.median([]).isNaN)
    #expect(!Statistics.isStable([], allowed: 1))
    let spread = Statistics.spread([])
    #expect(spread.count == 2 && spread[0].isNaN && spread[1].isNaN)
  }

  @Test func spreadIsLeastAndMost() {
    #expect(Statistics.spread([3, 1, 2]) == [1, 3])
    #expect(Statistics.spread([2]) == [2, 2])
  }

  @Test func oneDisturbedRepetitionDoesNotSpoilAFigure() {
    #expect(Statistics.isStable([1], allowed: 0.15))
    #expect(Statistics.isStable([1, 1.01, 0.99, 1.02, 1], allowed: 0.15))
    #expect(Statistics.isStable([1, 1.01, 0.99, 1.02, 9], allowed: 0.15))
    #expect(!Statistics.isStable([1, 2, 3, 4, 5], allowed: 0.15))
    #expect(!Statistics.isStable([1, 1, 2, 2, 2], allowed: 0.15))
    // The quartiles are 1 and 1.25 around a median of 1.125: two ninths.
    #expect(Statistics.isStable([0.875, 1, 1.125, 1.25, 1.5], allowed: 0.23))
    #expect(!Statistics.isStable([0.875, 1, 1.125, 1.25, 1.5], allowed: 0.22))
    #expect(!Statistics.isStable([1, .nan, .nan], allowed: 0.15))
  }
}

@Suite struct TableTests {
  @Test(
    arguments: [
      (0, 2, "0.00"), (1, 2, "1.00"), (1.005, 1, "1.0"), (1.25, 1, "1.3"), (0.05, 2, "0.05"), (12.345678, 3, "12.346"),
      (0.999, 2, "1.00"), (-1.5, 1, "-1.5"), (-0.001, 2, "0.00"), (1234.6, 0, "1235"), (0.007, 3, "0.007"),
      (.nan, 2, "-"), (.infinity, 2, "-"), (1e300, 2, "-"), (-1e300, 0, "-"), (1e15, 2, "1000000000000000.00"),
    ] as [(Double, Int, String)])
  func decimals(value: Double, places: Int, expected: String) {
    #expect(Table.decimal(value, places) == expected)
  }

  @Test func unitsFitWhatIsMeasured() {
    #expect(Table.cost(1.2345, "byte") == "1.235 ns" || Table.cost(1.2345, "byte") == "1.234 ns")
    #expect(Table.cost(12_340, "session") == "12.34 µs")
    #expect(Table.cost(-1500, "message") == "-1.50 µs")
    #expect(Table.rate(3 * 1_048_576, "byte") == "3 MiB/s")
    #expect(Table.rate(1234.4, "message") == "1234/s")
  }

  @Test func everyRowNamesWhatItIsAbout() throws {
    var result = BenchResult.sample
    result.workloads[0].variants = [
      BenchResult.Variant(
        name: "recorded -t", cpuNanoseconds: 2, perSecond: 9, p50Microseconds: nil, p99Microseconds: nil, ratio: 1.75,
        spread: [1.5, 2])
    ]
    result.peers = [.sample(of: "bulk", plain: 0.5, recorded: 1), .sample(of: "mail", plain: 2, recorded: 3)]
    result.idle = [BenchResult.Idle(name: "plain", bytes: 812.4, connections: 10)]
    let lines = Table.lines(result)
    let bulk = try #require(lines.firstIndex { $0.hasPrefix("bulk ") })
    let mail = try #require(lines.firstIndex { $0.hasPrefix("mail ") })
    let idle = try #require(lines.firstIndex { $0.hasPrefix("idle ") })
    #expect(bulk < mail && mail < idle)
    let inBulk = lines[bulk..<mail].joined(separator: "\n")
    for text in ["CPU a byte", "plain relaying", "recorded -t", "1.75", "a peer", "checksum abc", "recording adds"] {
      #expect(inBulk.contains(text), "\(text)")
    }
    // The peer's row says how it compares with plain relaying, not the other way round.
    let peer = try #require(lines[bulk..<mail].first { $0.hasPrefix("a peer") })
    #expect(peer.split(separator: " ").contains("2.00"))
    // Mail's figure is unstable, and that is said instead of one.
    let inMail = lines[mail..<idle].joined(separator: "\n")
    #expect(inMail.contains("unstable") && inMail.contains("no stable figure"))
    #expect(lines.last == "plain" + String(repeating: " ", count: lines.last!.count - 14) + "812 bytes")
    // Columns stand below each other, and nothing trails.
    for line in lines { #expect(line.last != " ") }
    let ends = lines[bulk...(bulk + 2)].map { line in line.range(of: "MiB/s").map { line[..<$0.upperBound].count } }
    #expect(ends[1] != nil && ends[1] == ends[2])
  }
}
