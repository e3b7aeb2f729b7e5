/// From when on a flow counts as moving bulk, and from when on no longer.
struct SpliceThresholds {
  /// What it moves in bulk before it is spliced.
  var bulkBytes = Limits.bulkBytes
  /// What a turn must bring to count whole.
  var bulkReceiveBytes = Limits.bulkReceiveBytes
  /// So many wake-ups in a row that each moved less than this end it.
  var thinWakeBytes = Limits.thinWakeBytes
  var thinWakes = Limits.thinWakes
  /// The most that one flow moves in a turn.
  var bytesPerFlow = Limits.splicedBytesPerFlow
}
