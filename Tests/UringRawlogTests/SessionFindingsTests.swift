import Testing

@testable import UringRawlog

@Suite struct SessionFindingsTests {
  private typealias Counts = SessionRecord.Counts

  private func end(
    bytes: Counts, recorded: Counts? = nil, file: Counts? = nil, gaps: [RecordingGap] = [], dropped: UInt64? = nil,
    recording: String = "complete", redacted: UInt64 = 0
  ) -> SessionRecord.End {
    var end = SessionRecord.End()
    end.bytes = bytes
    end.recorded = recorded ?? bytes
    end.file = file ?? end.recorded
    end.gaps = gaps
    end.dropped = dropped ?? gaps.reduce(0) { $0 + $1.bytes }
    end.recording = recording
    end.redacted = redacted
    return end
  }

  private func found(_ end: SessionRecord.End) -> [String] {
    var findings = SessionFindings()
    findings.check(end)
    return findings.session
  }

  private func gap(_ direction: Direction, _ offset: UInt64, _ bytes: UInt64) -> RecordingGap {
    RecordingGap(direction: direction, offset: offset, bytes: bytes)
  }

  @Test func rightRecords() {
    #expect(found(end(bytes: Counts())) == [])
    #expect(found(end(bytes: Counts(in: 10, out: 20), file: Counts(in: 30, out: 60))) == [])
    // `-f in`, one that was not recorded, and those that end early.
    #expect(found(end(bytes: Counts(in: 10, out: 20), recorded: Counts(in: 10))) == [])
    #expect(found(end(bytes: Counts(in: 10, out: 20), recorded: Counts(), recording: "none")) == [])
    for recording in ["truncated", "failed", "pre-login", "something new"] {
      #expect(found(end(bytes: Counts(in: 10, out: 20), recorded: Counts(in: 3, out: 20), recording: recording)) == [])
    }
    let gaps = [gap(.in, 2, 3), gap(.out, 0, 5), gap(.in, 6, 4)]
    let lossy = Counts(in: 3, out: 15)
    #expect(found(end(bytes: Counts(in: 10, out: 20), recorded: lossy, gaps: gaps, recording: "lossy")) == [])
    // Cut by --max-recording as well.
    #expect(found(end(bytes: Counts(in: 11, out: 20), recorded: lossy, gaps: gaps, recording: "lossy")) == [])
    // What a collector lost on the way has no gap.
    #expect(found(end(bytes: Counts(in: 10, out: 20), recording: "lossy")) == [])
    // Credentials are shorter or longer than what stands for them.
    #expect(found(end(bytes: Counts(in: 10), file: Counts(in: 5), redacted: 1)) == [])
  }

  @Test func wrongRecords() {
    let bytes = Counts(in: 10, out: 20)
    let cases: [(SessionRecord.End, String)] = [
      (end(bytes: bytes, recorded: Counts(in: 9, out: 20)), "'complete', and has 9 of 10"),
      (end(bytes: bytes, recorded: Counts(in: 11, out: 20)), "more than the 10 relayed"),
      (
        end(bytes: bytes, recorded: Counts(in: .max, out: 20), gaps: [gap(.in, 0, 9)], recording: "lossy"),
        "more than the 10"
      ),
      (
        end(bytes: bytes, recorded: Counts(in: 8, out: 20), gaps: [gap(.in, 0, 3)], recording: "lossy"),
        "more than the 10"
      ),
      (end(bytes: bytes, file: Counts(in: 9, out: 20)), "a file of 9 bytes cannot have 10"),
      (end(bytes: bytes, gaps: [gap(.in, 0, 0)]), "not behind the one before"),
      (
        end(bytes: bytes, recorded: Counts(in: 5, out: 20), gaps: [gap(.in, 8, 3)], recording: "lossy"),
        "within the stream"
      ),
      (
        end(
          bytes: bytes, recorded: Counts(in: 2, out: 20), gaps: [gap(.in, 4, 2), gap(.in, 3, 1)], recording: "lossy"),
        "not behind the one before"
      ),
      (end(bytes: bytes, gaps: [gap(.in, .max, 2)], dropped: 0), "not behind the one before"),
      (
        end(bytes: bytes, recorded: Counts(in: 7, out: 20), gaps: [gap(.in, 0, 3)], dropped: 4, recording: "lossy"),
        "'dropped' is 4"
      ),
      (end(bytes: bytes, recorded: Counts(in: 7, out: 20), gaps: [gap(.in, 0, 3)]), "'complete' and has gaps"),
      (end(bytes: bytes, recording: "none"), "'none', and has 10 bytes"),
    ]
    for (end, words) in cases {
      #expect(found(end).contains { $0.contains(words) }, "\(words): \(found(end))")
    }
  }

  private func files(
    _ content: SessionFindings.Content, _ end: SessionRecord.End, _ kind: RecordingName.Kind = .in
  ) -> [String] {
    var findings = SessionFindings()
    findings.check(content, of: kind, end)
    return findings.files.map(\.text)
  }

  @Test func sizesAndContents() {
    typealias Content = SessionFindings.Content
    let stamped = end(bytes: Counts(in: 10), file: Counts(in: 28))
    #expect(files(Content(bytes: 28, relayed: Counts(in: 10)), stamped) == [])
    #expect(files(Content(bytes: 28), stamped) == [])
    #expect(files(Content(bytes: 27), stamped) == ["1 of 28 bytes are missing"])
    #expect(files(Content(bytes: 30), stamped) == ["2 bytes more than the 28 that the index says"])
    #expect(
      files(Content(bytes: 28, relayed: Counts(in: 11)), stamped) == ["holds 11 relayed bytes, and the index says 10"])
    // Boundaries that were data: markers are four bytes.
    for (counted, isRight) in [(10, true), (6, true), (2, true), (9, false), (11, false), (14, false)] {
      let content = Content(bytes: 28, relayed: Counts(in: UInt64(counted)), isLeast: true)
      #expect(files(content, stamped).isEmpty == isRight, "\(counted)")
    }
    // A relay that did not wait for its disk knows the least.
    let failed = end(bytes: Counts(in: 10), recorded: Counts(in: 5), file: Counts(in: 20), recording: "failed")
    #expect(files(Content(bytes: 28, relayed: Counts(in: 10)), failed) == [])
    #expect(
      files(Content(bytes: 20, relayed: Counts(in: 4)), failed) == ["holds 4 relayed bytes, and the index says 5"])
    #expect(files(Content(bytes: 19), failed) == ["1 of 20 bytes are missing"])
    let redacted = end(bytes: Counts(in: 10), file: Counts(in: 28), redacted: 1)
    #expect(files(Content(bytes: 28, relayed: Counts(in: 17)), redacted) == [])
    let merged = end(bytes: Counts(in: 10, out: 20), file: Counts(in: 31, out: 41))
    #expect(files(Content(bytes: 72, relayed: Counts(in: 10, out: 20)), merged, .merged) == [])
    #expect(files(Content(bytes: 72, relayed: Counts(in: 10, out: 19)), merged, .merged).count == 1)
    #expect(files(Content(bytes: 31), merged, .merged) == ["41 of 72 bytes are missing"])
  }

  @Test func missingFiles() {
    var findings = SessionFindings()
    let some = end(bytes: Counts(in: 10))
    findings.checkMissing(.in, some)
    findings.checkMissing(.out, some)
    #expect(findings.files.map(\.text) == ["missing; the index says that it has 10 bytes"])
  }
}
