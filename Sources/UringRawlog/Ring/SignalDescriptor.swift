import CLibUring
import Glibc

/// Signals and wake-ups as descriptors that the ring reads, so that everything that happens is a completion.
enum SignalDescriptor {
  /// Bytes of one record.
  static let recordBytes = MemoryLayout<signalfd_siginfo>.size

  /// Blocks the signals for this thread and those that it starts, and makes a descriptor that tells of them
  /// (signalfd(2)).
  static func open(_ signals: [Int32]) throws(Errno) -> Int32 {
    var set = sigset_t()
    sigemptyset(&set)
    for signal in signals { sigaddset(&set, signal) }
    let result = pthread_sigmask(SIG_BLOCK, &set, nil)
    guard result == 0 else { throw Errno(result) }
    let descriptor = signalfd(-1, &set, Int32(SFD_CLOEXEC))
    guard descriptor >= 0 else { throw Errno.current }
    return descriptor
  }

  /// The signal that a read of `count` bytes told of.
  static func number(in bytes: UnsafeMutableRawBufferPointer, count: Int) -> Int32? {
    guard count >= recordBytes else { return nil }
    return Int32(bytes.load(as: signalfd_siginfo.self).ssi_signo)
  }

  /// A descriptor that becomes readable when `wake` is called, from any thread (eventfd(2)).
  static func openWake() throws(Errno) -> Int32 {
    let descriptor = eventfd(0, Int32(EFD_CLOEXEC))
    guard descriptor >= 0 else { throw Errno.current }
    return descriptor
  }

  static func wake(_ descriptor: Int32) {
    eventfd_write(descriptor, 1)
  }
}
