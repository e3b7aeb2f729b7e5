import Glibc
import Testing

@testable import UringRawlog

/// Directories with recordings, and what `show` and `verify` say about them.
extension TemporaryDirectory {
  func write(_ name: String, _ bytes: [UInt8], mode: UInt32 = 0o600, appends: Bool = false) throws {
    let descriptor = openFile("\(path)/\(name)", flags: O_WRONLY | O_CREAT | (appends ? O_APPEND : O_TRUNC), mode: mode)
    try #require(descriptor >= 0)
    defer { close(descriptor) }
    var place = 0
    while place < bytes.count {
      let count = bytes[place...].withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
      try #require(count > 0)
      place += count
    }
    fchmod(descriptor, mode)
  }

  func write(_ name: String, _ text: String, mode: UInt32 = 0o600, appends: Bool = false) throws {
    try write(name, Array(text.utf8), mode: mode, appends: appends)
  }

  func makeDirectory(_ name: String) throws {
    try #require(mkdir("\(path)/\(name)", 0o700) == 0)
  }

  /// What `show` writes to its two outputs, and how it ends.
  func show(
    _ name: String = "", _ change: (inout ShowConfiguration) -> Void = { _ in }
  ) throws -> (status: UringRawlog.ExitStatus, text: String, errors: String) {
    var configuration = ShowConfiguration(path: name.isEmpty ? path : "\(path)/\(name)")
    change(&configuration)
    let output = openFile("\(path)/.output", flags: O_RDWR | O_CREAT | O_TRUNC, mode: 0o600)
    let errors = openFile("\(path)/.errors", flags: O_RDWR | O_CREAT | O_TRUNC, mode: 0o600)
    defer {
      close(output)
      close(errors)
    }
    let status: UringRawlog.ExitStatus
    do throws(StartError) {
      status = try Show.run(configuration, output: output, errors: errors)
    } catch {
      return (error.status, text(".output"), error.message)
    }
    return (status, text(".output"), text(".errors"))
  }

  func verify(_ name: String = "", index: String? = nil) throws -> (status: UringRawlog.ExitStatus, lines: [String]) {
    var configuration = VerifyConfiguration(path: name.isEmpty ? path : "\(path)/\(name)")
    configuration.indexDirectory = index
    let output = openFile("\(path)/.output", flags: O_RDWR | O_CREAT | O_TRUNC, mode: 0o600)
    defer { close(output) }
    do throws(StartError) {
      let status = try Verify.run(configuration, output: output)
      let lines = text(".output").split(separator: "\n").map { String($0).replacing(path + "/", with: "") }
      return (status, lines)
    } catch {
      return (error.status, [error.message.replacing(path, with: "DIR")])
    }
  }

  func text(_ name: String) -> String { String(decoding: content(name) ?? [], as: UTF8.self) }
}

/// A line of a transcript, taken apart again.
struct TranscriptLine: Equatable {
  var time: String?
  var direction: Direction
  var beginsRead = false
  var continues = false
  /// As it was sent, but for the line end CR LF.
  var bytes: [UInt8]

  /// nil for headings and notes.
  init?(_ line: Substring) {
    var rest = line
    if let first = rest.first, first.isNumber || first == " " {
      time = String(rest.prefix(DisplayedTime.bytes))
      if first == " " { time = nil }
      rest = rest.dropFirst(DisplayedTime.bytes + 1)
    }
    if rest.hasPrefix("in ") {
      direction = .in
    } else if rest.hasPrefix("out") {
      direction = .out
    } else {
      return nil
    }
    rest = rest.dropFirst(3)
    beginsRead = rest.first == "<"
    rest = rest.dropFirst()
    continues = rest.first == "+"
    bytes = Self.unescaped(Array(rest.dropFirst(2).utf8))
  }

  static func unescaped(_ text: [UInt8]) -> [UInt8] {
    var bytes: [UInt8] = []
    var place = 0
    while place < text.count {
      if text[place] == UInt8(ascii: "\\"), place + 3 < text.count, text[place + 1] == UInt8(ascii: "x"),
        let value = UInt8(String(decoding: text[place + 2...place + 3], as: UTF8.self), radix: 16)
      {
        bytes.append(value)
        place += 4
      } else {
        bytes.append(text[place])
        place += 1
      }
    }
    return bytes
  }

  /// What was sent in one direction, as a transcript has it. A line that does not end in LF ended in CR LF, unless it
  /// goes on or is the last and said to have no end.
  static func stream(_ transcript: String, _ direction: Direction) -> [UInt8] {
    let lines = transcript.utf8.split(separator: 10).compactMap { TranscriptLine(Substring($0)) }
      .filter { $0.direction == direction }
    let isUnended = transcript.contains("-- \(direction): the last line has no line feed\n")
    var bytes: [UInt8] = []
    for (number, line) in lines.enumerated() {
      bytes += line.bytes
      let goesOn = number + 1 < lines.count ? lines[number + 1].continues : isUnended
      if line.bytes.last != 10 && !goesOn { bytes += [13, 10] }
    }
    return bytes
  }
}

/// Lines of an index as the relay writes them.
enum IndexSample {
  static func start(_ id: String, time: String = "2026-01-31T09:15:00.504671Z") -> String {
    #"{"event":"start","id":"\#(id)","time":"\#(time)","listener":"[::]:143","protocol":"raw","#
      + #""client":"192.0.2.7:45584","server":"127.0.0.1:10143","via":null,"tls":null}"# + "\n"
  }

  static func end(
    _ id: String, in input: (bytes: Int, recorded: Int, file: Int) = (0, 0, 0),
    out output: (bytes: Int, recorded: Int, file: Int) = (0, 0, 0), dropped: Int = 0, gaps: String = "",
    recording: String = "complete", redacted: Int = 0
  ) -> String {
    start(id, time: "2026-01-31T09:15:00.535910Z").replacing("start", with: "end").dropLast(2)
      + #","user":null,"login":"none","reason":"server-eof","seconds":0.031239,"in_bytes":\#(input.bytes),"#
      + #""out_bytes":\#(output.bytes),"in_recorded":\#(input.recorded),"out_recorded":\#(output.recorded),"#
      + #""in_file":\#(input.file),"out_file":\#(output.file),"dropped":\#(dropped),"gaps":[\#(gaps)],"#
      + #""client_close":"clean","server_close":"clean","failed_logins":0,"server_tls":null,"#
      + #""redacted":\#(redacted),"recording":"\#(recording)"}"# + "\n"
  }
}
