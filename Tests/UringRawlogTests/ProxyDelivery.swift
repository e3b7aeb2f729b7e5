@testable import UringRawlog

/// What becomes of a connection's bytes, delivered to a parser read by read.
struct ProxyDelivery: Equatable {
  enum End: Equatable {
    case waiting
    case accepted
    case passed
    case refused(ProxyFault)
  }

  var end = End.waiting
  var header: ProxyHeader?
  /// The bytes of the header.
  var headerBytes: [UInt8] = []
  /// What would go to the server.
  var forwarded: [UInt8] = []

  init(_ reads: some Sequence<[UInt8]>, _ policy: ProxyPolicy) {
    var parser = ProxyHeaderParser(policy)
    // What lies behind the parser's memory must stay as it is.
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: policy.bytesKept + 16, alignment: 1)
    memory.initializeMemory(as: UInt8.self, repeating: 0xEE)
    defer {
      precondition(memory[policy.bytesKept...].allSatisfy { $0 == 0xEE })
      memory.deallocate()
    }
    for read in reads {
      guard end == .waiting else {
        forwarded += read
        continue
      }
      read.withUnsafeBytes { bytes in
        switch parser.take(bytes, memory: memory.baseAddress!) {
        case .wait: break
        case .accept(let header, let taken):
          end = .accepted
          self.header = header
          headerBytes = Array(parser.bytes(of: header, in: bytes, memory: memory.baseAddress!))
          forwarded = Array(bytes[taken...])
        case .pass:
          end = .passed
          forwarded = memory[parser.unreleased] + Array(bytes)
        case .refuse(let fault): end = .refused(fault)
        }
      }
    }
    if case .refused = end { forwarded = [] }
  }

  init(_ bytes: [UInt8], _ policy: ProxyPolicy) {
    self.init([bytes], policy)
  }

  /// The reads of a stream that is cut at the given places.
  static func reads(of bytes: [UInt8], cutAt places: some Sequence<Int>) -> [[UInt8]] {
    var reads: [[UInt8]] = []
    var start = 0
    for place in places {
      reads.append(Array(bytes[start..<place]))
      start = place
    }
    return reads + [Array(bytes[start...])]
  }

  /// Whether a stream fares the same however it is cut: in two at every place, byte by byte, and at places drawn.
  static func isSameHoweverCut(_ bytes: [UInt8], _ random: inout SeededGenerator) -> Bool {
    for policy in [ProxyPolicy.required, .refused] {
      let whole = Self(bytes, policy)
      for place in bytes.indices where Self(reads(of: bytes, cutAt: [place]), policy) != whole { return false }
      let places = bytes.indices.filter { _ in random.once(in: 3) }
      if Self(reads(of: bytes, cutAt: places), policy) != whole { return false }
      if Self(bytes.map { [$0] }, policy) != whole { return false }
    }
    return true
  }
}
