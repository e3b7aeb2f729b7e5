import Testing

/// `#require` for the answer of a call on a noncopyable value, which the macro cannot take apart.
func found<Value>(_ value: Value?, _ sourceLocation: SourceLocation = #_sourceLocation) throws -> Value {
  try #require(value, sourceLocation: sourceLocation)
}
