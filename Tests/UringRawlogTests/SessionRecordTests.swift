import Testing

@testable import UringRawlog

@Suite struct SessionRecordTests {
  private func record(_ text: String) throws -> SessionRecord? {
    let bytes = Array(text.utf8)
    return try bytes.withUnsafeBytes { try SessionRecord($0) }
  }

  @Test func starts() throws {
    let record = try #require(try record(IndexSample.start("a.1")))
    #expect(record.event == .start && record.id == "a.1" && record.client == "192.0.2.7:45584")
    #expect(record.server == "127.0.0.1:10143" && record.time == 1_769_850_900_504_671)
  }

  @Test func ends() throws {
    let text = IndexSample.end(
      "a.1", in: (10, 7, 9), out: (20, 18, 18), dropped: 5,
      gaps: #"{"direction":"out","offset":3,"bytes":2},{"direction":"in","offset":0,"bytes":3,"new":[{}]}"#,
      recording: "lossy", redacted: 4)
    let record = try #require(try record(text))
    guard case .end(let end) = record.event else {
      Issue.record("no end")
      return
    }
    #expect(end.reason == "server-eof" && end.seconds == "0.031239" && end.microseconds == 31239)
    #expect(end.bytes == SessionRecord.Counts(in: 10, out: 20) && end.recorded == SessionRecord.Counts(in: 7, out: 18))
    #expect(end.file == SessionRecord.Counts(in: 9, out: 18) && end.dropped == 5 && end.redacted == 4)
    #expect(
      end.gaps == [
        RecordingGap(direction: .out, offset: 3, bytes: 2), RecordingGap(direction: .in, offset: 0, bytes: 3),
      ])
    #expect(end.recording == "lossy" && end.user == nil && end.login == "none")
  }

  @Test func whatIsNotKnownIsPassedOver() throws {
    #expect(try record(#"{"event":"heartbeat","id":"x"}"#) == nil)
    let more = IndexSample.start("x").replacing(#""tls":null"#, with: #""tls":{"version":"1.3"},"more":[1,{"a":"b"}]"#)
    #expect(try record(more)?.id == "x")
  }

  @Test(arguments: [
    "", "x", "null", "[]", "{}", #"{"event":"start"}"#, #"{"id":"x"}"#, #"{"event":1,"id":"x"}"#,
    #"{"event":"start","id":null}"#,
    #"{"event":"start","id":"x"} y"#, #"{"event":"end","id":"x","in_bytes":-1}"#,
    #"{"event":"end","id":"x","in_bytes":"1"}"#,
    #"{"event":"end","id":"x","gaps":{}}"#, #"{"event":"end","id":"x","gaps":[{"direction":"up"}]}"#,
  ])
  func others(text: String) {
    #expect(throws: JSONError.self) { try record(text) }
  }

  @Test func everyTornLineIsNoticed() {
    let text = String(IndexSample.end("x", gaps: #"{"direction":"in","offset":3,"bytes":2}"#).dropLast())
    for count in 0..<text.utf8.count {
      #expect(throws: JSONError.self) { try record(String(text.prefix(count))) }
    }
  }

  @Test(
    arguments: [
      ("1970-01-01T00:00:00.000001Z", 1), ("2026-01-31T09:15:00.504671Z", 1_769_850_900_504_671),
      ("1969-12-31T23:59:59.999999Z", -1), ("2026-01-31T09:15:00Z", nil), ("2026-01-31 09:15:00.504671Z", nil),
      ("2026-01-31T09:15:00.504671+01:00", nil), ("", nil), ("2026-01-31T09:15:0x.504671Z", nil),
    ] as [(String, Int64?)])
  func times(text: String, expected: Int64?) {
    #expect(SessionRecord.microseconds(text) == expected)
  }
}
