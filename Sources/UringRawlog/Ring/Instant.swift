import Glibc

/// One reading of both clocks.
struct Instant: Equatable {
  /// CLOCK_MONOTONIC, for everything that is measured.
  var nanoseconds: UInt64
  /// CLOCK_REALTIME, for stamps and names.
  var epochMicroseconds: Int64
}

extension Instant {
  /// A reading of the system's clocks.
  @inline(__always)
  static var current: Instant {
    var monotonic = timespec()
    clock_gettime(CLOCK_MONOTONIC, &monotonic)
    var real = timespec()
    clock_gettime(CLOCK_REALTIME, &real)
    return Instant(
      nanoseconds: UInt64(monotonic.tv_sec) &* 1_000_000_000 &+ UInt64(monotonic.tv_nsec),
      epochMicroseconds: Int64(real.tv_sec) &* 1_000_000 &+ Int64(real.tv_nsec) / 1000)
  }
}
