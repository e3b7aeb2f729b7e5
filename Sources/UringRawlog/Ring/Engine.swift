/// What a loop works with, as far as others must know: the sandbox leaves each what it needs.
enum Engine: Equatable {
  /// - Parameter isRestricted: the ring does only what the loop asks for; its operations do not pass the filter of system
  ///   calls.
  case uring(isRestricted: Bool)
  case epoll
}
