/// A line of the index whose session was written anew.
enum AmendedIndexLine {
  /// Appends the line with other numbers in some of its fields.
  ///
  /// - Throws: `JSONError` when it is no JSON object, or such a field is no number.
  static func append(_ line: UnsafeRawBufferPointer, _ fields: [String: UInt64], to text: inout Bytes) throws(JSONError)
  {
    var cursor = JSONCursor(line)
    var values: [(start: Int, end: Int, number: UInt64)] = []
    try cursor.object { (cursor, name) throws(JSONError) in
      let start = cursor.place
      if let number = fields[name] {
        _ = try cursor.count()
        values.append((start, cursor.place, number))
      } else {
        try cursor.skip()
      }
    }
    var place = 0
    for value in values {
      text.append(UnsafeRawBufferPointer(rebasing: line[place..<value.start]))
      text.append(decimal: value.number)
      place = value.end
    }
    text.append(UnsafeRawBufferPointer(rebasing: line[place...]))
  }
}
