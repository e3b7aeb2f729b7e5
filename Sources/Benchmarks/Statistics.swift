/// Medians and spreads of a few numbers.
enum Statistics {
  static func median(_ values: [Double]) -> Double { quantile(values, 0.5) }

  static func quantile(_ values: [Double], _ share: Double) -> Double {
    guard !values.isEmpty else { return .nan }
    let sorted = values.sorted()
    let place = share * Double(sorted.count - 1)
    let below = Int(place)
    let above = min(below + 1, sorted.count - 1)
    return sorted[below] + (sorted[above] - sorted[below]) * (place - Double(below))
  }

  static func spread(_ values: [Double]) -> [Double] { [values.min() ?? .nan, values.max() ?? .nan] }

  /// Whether the middle half of the values lies within `allowed` of their median: one disturbed repetition does not
  /// spoil a figure, a machine that is never quiet does.
  static func isStable(_ values: [Double], allowed: Double) -> Bool {
    (quantile(values, 0.75) - quantile(values, 0.25)) <= allowed * median(values)
  }
}
