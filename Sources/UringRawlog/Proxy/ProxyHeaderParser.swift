/// Takes the first bytes of one connection, read by read, until it is known whether they are a PROXY header, and says
/// what is to be done about it.
///
/// A header that comes in pieces is kept in memory of the caller, so that no receive buffer waits for a slow peer. When
/// the first read decides, which is the ordinary case, nothing is copied and the memory is not touched.
struct ProxyHeaderParser {
  enum Verdict: Equatable {
    /// Nothing is decided. The bytes are kept, and go nowhere yet.
    case wait
    /// A whole header, as required. The first `taken` bytes of this read are the rest of it; those behind are the
    /// client's.
    case accept(ProxyHeader, taken: Int)
    /// No header, as required. What was kept of earlier reads (`unreleased`) and this whole read are the client's.
    case pass
    /// The connection ends with `proxy-error`, and nothing of it reaches the server.
    case refuse(ProxyFault)
  }

  let policy: ProxyPolicy
  /// Bytes of earlier reads, at the start of the memory.
  private(set) var kept = 0
  /// How many of them were let go already.
  private var released = 0

  init(_ policy: ProxyPolicy) {
    self.policy = policy
  }

  /// The bytes in the memory that were kept back and not let go.
  var unreleased: Range<Int> { released..<kept }

  /// - Parameters:
  ///   - bytes: what one read brought.
  ///   - memory: `policy.bytesKept` bytes, the same in each call.
  mutating func take(_ bytes: UnsafeRawBufferPointer, memory: UnsafeMutableRawPointer) -> Verdict {
    // The memory has room for what decides, so that no more is ever needed.
    let more = min(bytes.count, policy.bytesKept - kept)
    if kept > 0, more > 0 { (memory + kept).copyMemory(from: bytes.baseAddress!, byteCount: more) }
    let verdict = judge(kept > 0 ? UnsafeRawBufferPointer(start: memory, count: kept + more) : bytes)
    guard verdict == .wait else { return verdict }
    if kept == 0, more > 0 { memory.copyMemory(from: bytes.baseAddress!, byteCount: more) }
    kept += more
    return .wait
  }

  /// The bytes of a header that was accepted, which its ranges are places in: those kept, or else those of the read.
  ///
  /// - Parameters:
  ///   - bytes, memory: as in the call that accepted it.
  func bytes(
    of header: ProxyHeader, in bytes: UnsafeRawBufferPointer, memory: UnsafeMutableRawPointer
  ) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(start: kept > 0 ? UnsafeRawPointer(memory) : bytes.baseAddress, count: header.byteCount)
  }

  private func judge(_ bytes: UnsafeRawBufferPointer) -> Verdict {
    let outcome = ProxyHeader.parse(bytes)
    switch (policy, outcome) {
    case (.required, .needsMore), (.refused, .needsMore(isHeader: false)): return .wait
    case (.required, .complete(let header)): return .accept(header, taken: header.byteCount - kept)
    case (.required, .notHeader): return .refuse(.absent)
    case (.required, .malformed(let fault)): return .refuse(fault)
    case (.refused, .complete), (.refused, .needsMore(isHeader: true)): return .refuse(.uninvited)
    case (.refused, .malformed(let fault)): return fault.isOfHeader ? .refuse(.uninvited) : .pass
    case (.refused, .notHeader): return .pass
    }
  }

  /// The connection's stream ended before anything was decided.
  func end() -> Verdict {
    switch policy {
    case .required: .refuse(.ended)
    case .refused: .pass
    }
  }

  /// Nothing was decided within `--handshake-timeout`.
  ///
  /// Whom no header is required of may have reason to wait for an answer to what it sent, an empty line for instance. So
  /// what was kept back is let go: the verdict is `wait`, and the caller passes `unreleased` on and then calls
  /// `release`. Should a header still become of it, the connection ends before its deciding bytes reach the server.
  func expire() -> Verdict {
    switch policy {
    case .required: .refuse(.late)
    case .refused: .wait
    }
  }

  /// What was kept back is on its way to the server. The parser goes on.
  mutating func release() { released = kept }
}
