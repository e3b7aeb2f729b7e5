@testable import UringRawlog

/// What this machine's kernel lets the tests do.
enum RealRing {
  static let isAllowed = probe { _ in true }
  static let hasBundles = probe { $0 }

  private static func probe(_ answer: (Bool) -> Bool) -> Bool {
    do throws(Errno) {
      let ring = try KernelRing.make(entries: 8, bufferCount: 1, bufferBytes: 4096)
      return answer(ring.hasBundles)
    } catch {
      return false
    }
  }
}
