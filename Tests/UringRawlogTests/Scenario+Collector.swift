import Foundation

@testable import UringRawlog

/// What must hold of recordings that went to a collector.
extension Scenario {
  /// What is wrong with what a session's collector got of one direction.
  func faultsOfCollected(
    _ client: SimulatedWorld.Peer, _ direction: Direction, _ script: [UInt8], _ end: End
  ) -> [String] {
    let name = direction == .in ? "in" : "out"
    let (taken, recorded) = (end.number("\(name)_bytes"), end.number("\(name)_recorded"))
    var faults: [String] = []
    let gaps = (end.fields["gaps"] as? [[String: Any]] ?? []).filter { $0["direction"] as? String == name }
      .map { ($0["offset"] as? Int ?? -1)..<($0["offset"] as? Int ?? -1) + ($0["bytes"] as? Int ?? -1) }
    for (place, gap) in gaps.enumerated() {
      let after = place > 0 ? gaps[place - 1].upperBound + 1 : 0
      if gap.lowerBound < after || gap.isEmpty || gap.upperBound > taken { faults.append("a gap is out of place") }
    }
    if !faults.isEmpty { return faults }
    let lost = gaps.reduce(0) { $0 + $1.count }
    let wanted = configuration.isRecorded(direction) ? min(taken, Int(clamping: configuration.maxRecordingBytes)) : 0
    if recorded + lost != wanted { faults.append("\(recorded) recorded and \(lost) lost are not \(wanted)") }

    let connections = slots[client.number].flatMap { world.collected[$0] } ?? []
    let broken = connections.filter { $0.hasReset || $0.hasEnded }
    let recording = end.text("recording")
    switch recording {
    case "none" where isNeverBegun(client, end): break
    case "complete", "truncated": if lost > 0 { faults.append("has gaps") }
    case "lossy": if lost == 0, gaps.isEmpty, broken.isEmpty, !hasGaps(end) { faults.append("nothing is lost") }
    default: faults.append("unexpected")
    }
    // What was taken by a connection that broke may have come again over the next; everything else came once.
    guard broken.isEmpty else { return faults + faultsOfTorn(connections, direction, script) }
    if connections.filter({ !$0.received.isEmpty }).count > 1 { faults.append("came over several connections") }
    let stream = connections.first { !$0.received.isEmpty }?.received ?? []
    if stream.count != end.number("in_file") + end.number("out_file") {
      faults.append("the stream has \(stream.count) bytes, the index says otherwise")
    }
    var expected: [UInt8] = []
    var place = 0
    for gap in gaps {
      expected += script[place..<gap.lowerBound]
      place = gap.upperBound
    }
    if place < wanted { expected += script[place..<wanted] }
    let lines = MergedText.lines(stream).filter { $0.direction == direction }
    if lines.flatMap(\.text) != expected { faults.append("the stream is not what was relayed without the gaps") }
    // A gap at the end may have grown, or come to be, when the rest was given up.
    for line in lines {
      guard let told = line.gap, told.offset >= 0 else { continue }
      if !gaps.contains(where: { $0.contains(told.offset) && told.offset + told.bytes <= $0.upperBound }) {
        faults.append("a gap is told of that is none")
      }
    }
    return faults
  }

  private func hasGaps(_ end: End) -> Bool { !((end.fields["gaps"] as? [Any])?.isEmpty ?? true) }

  /// Each connection begins with a whole line, and has only what was relayed.
  private func faultsOfTorn(
    _ connections: [SimulatedWorld.Peer], _ direction: Direction, _ script: [UInt8]
  ) -> [String] {
    let relayed = Data(script)
    for connection in connections where !connection.received.isEmpty {
      if !MergedText.isHeader(connection.received.prefix(MergedText.headerBytes)) {
        return ["a connection does not begin with a line"]
      }
      var searched = relayed.startIndex
      for line in MergedText.lines(connection.received) where line.direction == direction && !line.text.isEmpty {
        guard let found = relayed.range(of: Data(line.text), in: searched..<relayed.endIndex) else {
          return ["a connection has what was not relayed"]
        }
        searched = found.upperBound
      }
    }
    return []
  }
}
