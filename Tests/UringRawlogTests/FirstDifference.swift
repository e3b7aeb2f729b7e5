/// Where two runs of bytes differ first; nil when they are the same.
///
/// An expectation that compares long arrays looks for the shortest edit between them when it fails, which takes for
/// ever.
func firstDifference(_ one: [UInt8]?, _ other: [UInt8]?) -> String? {
  guard let one, let other else { return one == nil && other == nil ? nil : "one is missing" }
  if one == other { return nil }
  let place = zip(one, other).enumerated().first { $0.element.0 != $0.element.1 }?.offset ?? min(one.count, other.count)
  return "byte \(place) of \(one.count) and \(other.count)"
}
