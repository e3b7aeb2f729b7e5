/// Feeds the parser of PROXY headers with whatever libFuzzer thinks of (`make fuzz`).
///
/// The lowest bit of an input's first byte says whether a header is required; the rest is what a client sends first. It
/// is delivered whole, byte by byte, and in reads whose sizes come from the input: all must come to the same.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzProxy(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  guard count > 1 else { return 0 }
  let input = Array(UnsafeBufferPointer(start: start, count: count))
  let policy: ProxyPolicy = input[0] & 1 == 0 ? .required : .refused
  let stream = Array(input[1...])
  let whole = FuzzedClient(stream, policy) { _ in Int.max }
  let bytes = FuzzedClient(stream, policy) { _ in 1 }
  let parts = FuzzedClient(stream, policy) { 1 + Int(stream[$0]) % 23 }
  precondition(whole == bytes && whole == parts, "the split matters")
  whole.check(stream, policy)
  return 0
}

/// The only limit that the parser goes by; `Limits.swift` itself needs the whole of the library.
enum Limits {
  static let proxyHeaderBytes = 4096
}

private struct FuzzedClient: Equatable {
  enum End: Equatable {
    case waiting
    case accepted
    case passed
    case refused(ProxyFault)
  }

  private var end = End.waiting
  private var header: ProxyHeader?
  private var headerBytes: [UInt8] = []
  private var forwarded: [UInt8] = []

  /// - Parameter size: the length of the read that begins at this place.
  init(_ stream: [UInt8], _ policy: ProxyPolicy, size: (Int) -> Int) {
    var parser = ProxyHeaderParser(policy)
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: policy.bytesKept, alignment: 1)
    defer { memory.deallocate() }
    var place = 0
    while place < stream.count {
      // A copy by itself, so that the address sanitizer sees who reads behind its end.
      let read = Array(stream[place..<place + min(size(place), stream.count - place)])
      place += read.count
      switch end {
      case .waiting: read.withUnsafeBytes { take($0, &parser, memory) }
      case .accepted, .passed: forwarded += read
      case .refused: return
      }
    }
  }

  private mutating func take(
    _ bytes: UnsafeRawBufferPointer, _ parser: inout ProxyHeaderParser, _ memory: UnsafeMutableRawBufferPointer
  ) {
    switch parser.take(bytes, memory: memory.baseAddress!) {
    case .wait: break
    case .accept(let found, let taken):
      end = .accepted
      header = found
      headerBytes = Array(parser.bytes(of: found, in: bytes, memory: memory.baseAddress!))
      forwarded = Array(bytes[taken...])
    case .pass:
      end = .passed
      forwarded = memory[parser.unreleased] + Array(bytes)
    case .refuse(let fault): end = .refused(fault)
    }
  }

  /// What must hold of any input.
  func check(_ stream: [UInt8], _ policy: ProxyPolicy) {
    switch end {
    case .waiting: precondition(stream.count < policy.bytesKept, "it waits for ever")
    case .refused: precondition(forwarded.isEmpty, "what was refused is passed on")
    case .passed: precondition(policy == .refused && forwarded == stream, "bytes are lost")
    case .accepted:
      precondition(policy == .required && headerBytes + forwarded == stream, "bytes are lost")
      writtenAgainItIsTheSame()
    }
  }

  private func writtenAgainItIsTheSame() {
    guard let header, header.namesClient, header.source.family != .unix, header.source != .unspecified else { return }
    let writer = ProxyHeaderWriter(source: header.source, destination: header.destination)
    for version in [ProxyHeader.Version.v1, .v2] {
      var text = Bytes()
      switch version {
      case .v1: writer.appendLine(to: &text)
      case .v2:
        headerBytes.withUnsafeBytes { all in
          let id = header.uniqueID.map { UnsafeRawBufferPointer(rebasing: all[$0]) }
          let tls = header.tls.map { ProxyHeaderWriter.TLS.copied(UnsafeRawBufferPointer(rebasing: all[$0])) }
          let none = UnsafeRawBufferPointer(start: nil, count: 0)
          writer.appendBlock(uniqueID: id ?? none, tls: tls ?? .none, checksum: true, to: &text)
        }
      }
      precondition(text.count <= Limits.proxyHeaderBytes, "it is too long")
      guard case .complete(let again) = ProxyHeader.parse(text.span) else { preconditionFailure("it is refused") }
      precondition(again.source == header.source && again.byteCount == text.count, "it says something else")
    }
  }
}
