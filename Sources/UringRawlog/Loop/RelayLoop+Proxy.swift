import Glibc

/// The PROXY protocol: whom a connection is for, as a proxy in front says it, and as the server is told.
extension RelayLoop where R: ~Copyable {
  /// What is expected of a client's first bytes; nil where nothing looks for a header.
  mutating func proxyPolicy(_ client: PeerAddress) -> ProxyPolicy? {
    guard looksForProxy else { return nil }
    let isTrusted =
      client.family == .unix
      ? configuration.proxyFromUnix : configuration.proxyFrom.contains { $0.contains(client) }
    return isTrusted ? .required : .refused
  }

  /// Begins to look for a header in what a client sends first.
  mutating func awaitProxyHeader(_ slot: Int, _ policy: ProxyPolicy) {
    sessions[slot].proxying = policy == .required ? .required : .refused
    guard policy == .required else { return }
    sessions[slot].phase = .handshaking
    guard configuration.handshakeNanoseconds > 0 else { return }
    sessions[slot].handshakeDeadline = clock.now.nanoseconds + configuration.handshakeNanoseconds
    heap.tighten(slot, to: sessions[slot].handshakeDeadline, in: &sessions)
  }

  /// Looks at what a client sent while it is not known whether that is a header.
  mutating func takeProxied(_ flow: FlowIndex, _ completion: Completion) {
    let slot = flow.slot
    let buffer = Int(completion.buffer)
    // A receive that may bring a header fills one buffer at the most.
    let bytes = UnsafeRawBufferPointer(start: ring.bufferAddress(buffer), count: Int(completion.result))
    sessions[slot].activeNanoseconds = clock.now.nanoseconds
    var parser: ProxyHeaderParser
    let kept = proxies[slot]
    if let kept {
      parser = kept.parser
    } else {
      parser = ProxyHeaderParser(sessions[slot].proxying == .required ? .required : .refused)
    }
    let memory = kept?.memory ?? proxyScratch.memory
    let verdict = parser.take(bytes, memory: memory)
    switch verdict {
    case .wait:
      keepProxied(slot, parser)
    case .accept(let header, let taken):
      noteProxyHeader(slot, header, parser.bytes(of: header, in: bytes, memory: memory))
      endProxied(slot)
      guard !header.namesClient || admitProxied(slot) else { break }
      meetClient(slot)
      if taken < bytes.count { takeUnproxied(flow, UnsafeRawBufferPointer(rebasing: bytes[taken...])) }
    case .pass:
      let held = parser.unreleased
      if !held.isEmpty {
        takeUnproxied(flow, UnsafeRawBufferPointer(start: memory + held.lowerBound, count: held.count))
      }
      endProxied(slot)
      takeUnproxied(flow, bytes)
    case .refuse(let fault):
      refuseProxied(slot, fault)
    }
    ring.returnBuffer(buffer)
  }

  private mutating func keepProxied(_ slot: Int, _ parser: ProxyHeaderParser) {
    if let kept = proxies[slot] {
      kept.parser = parser
    } else {
      // The scratch memory becomes the session's, and the next one gets another.
      proxyScratch.parser = parser
      proxies[slot] = proxyScratch
      proxyScratch = ProxyMemory()
    }
    guard sessions[slot].proxying == .refused, configuration.handshakeNanoseconds > 0,
      sessions[slot].handshakeDeadline == 0, !parser.unreleased.isEmpty
    else { return }
    sessions[slot].handshakeDeadline = clock.now.nanoseconds + configuration.handshakeNanoseconds
    heap.tighten(slot, to: sessions[slot].handshakeDeadline, in: &sessions)
  }

  private mutating func endProxied(_ slot: Int) {
    sessions[slot].proxying = .none
    // The time for TLS goes on.
    if sessions[slot].sealing != .handshaking { sessions[slot].handshakeDeadline = 0 }
    if !proxies.isEmpty { proxies[slot] = nil }
  }

  /// The client's stream ended while that was not known; true when the session goes on.
  mutating func endOfProxied(_ slot: Int) -> Bool {
    let policy: ProxyPolicy = sessions[slot].proxying == .required ? .required : .refused
    switch (proxies[slot]?.parser ?? ProxyHeaderParser(policy)).end() {
    case .refuse(let fault):
      refuseProxied(slot, fault)
      return false
    case .wait, .accept, .pass:
      releaseProxied(slot)
      endProxied(slot)
      return true
    }
  }

  /// What was kept back goes to the server.
  private mutating func releaseProxied(_ slot: Int) {
    guard let kept = proxies[slot] else { return }
    let held = kept.parser.unreleased
    guard !held.isEmpty else { return }
    kept.parser.release()
    takeUnproxied(
      FlowIndex(slot, .in), UnsafeRawBufferPointer(start: kept.memory + held.lowerBound, count: held.count))
  }

  mutating func workHandshakeDeadline(_ slot: Int) {
    guard sessions[slot].handshakeDeadline > 0, clock.now.nanoseconds >= sessions[slot].handshakeDeadline else {
      return
    }
    sessions[slot].handshakeDeadline = 0
    if sessions[slot].sealing == .handshaking || sessions[slot].sealing == .asking {
      workTLSDeadline(slot)
      return
    }
    let policy: ProxyPolicy = sessions[slot].proxying == .required ? .required : .refused
    if case .refuse(let fault) = (proxies[slot]?.parser ?? ProxyHeaderParser(policy)).expire() {
      refuseProxied(slot, fault)
    } else {
      releaseProxied(slot)
    }
  }

  private mutating func refuseProxied(_ slot: Int, _ fault: ProxyFault) {
    path.removeAll()
    sessions[slot].client.append(to: &path)
    report.say(
      at: clock.now.nanoseconds,
      "no session for '\(String(decoding: path.span, as: UTF8.self))': \(fault.reason); see --proxy-from")
    endProxied(slot)
    if sessions[slot].isRecorded == false { writeStart(slot) }
    terminate(slot, .proxyError)
  }

  /// The client is who the header says.
  private mutating func noteProxyHeader(_ slot: Int, _ header: ProxyHeader, _ bytes: UnsafeRawBufferPointer) {
    sessions[slot].via = header.version == .v1 ? .proxy1 : .proxy2
    guard header.namesClient else { return }
    sessions[slot].client = header.source
    proxied[slot] = ProxiedClient(
      destination: header.destination,
      tls: configuration.sendProxy == .v2 ? header.tls.map { Array(bytes[$0]) } : nil)
    unixClients[slot] = header.sourcePath.map {
      jsonString("unix:" + String(decoding: bytes[$0], as: UTF8.self))
    }
  }

  // MARK: To the server

  /// Makes the header that tells the server who the client is. With `--leg back` it is the first of what the server is
  /// sent in the recording too, so it is made before any byte of the client is looked at.
  mutating func makeProxyHeader(_ slot: Int) {
    guard let version = configuration.sendProxy else { return }
    let given = proxied[slot]
    let header = ProxyOutgoing()
    let writer = ProxyHeaderWriter(
      source: sessions[slot].client,
      destination: given?.destination ?? ring.localAddress(of: sessions[slot].clientSocket) ?? .unspecified)
    switch version {
    case .v1:
      writer.appendLine(to: &header.bytes)
    case .v2:
      path.removeAll()
      fileName.appendStem(of: sessions[slot], to: &path)
      let id = UnsafeRawBufferPointer(rebasing: path.span.prefix(ProxyHeader.uniqueIDBytesMaximum))
      if let client = tls(slot, .client) {
        client.withAgreed { version, cipher in
          writer.appendBlock(
            uniqueID: id, tls: .terminated(version: version, cipher: cipher), checksum: false, to: &header.bytes)
        }
      } else {
        (given?.tls ?? []).withUnsafeBytes {
          writer.appendBlock(uniqueID: id, tls: $0.isEmpty ? .none : .copied($0), checksum: false, to: &header.bytes)
        }
      }
    }
    proxyHeaders[slot] = header
    recordProxyHeader(slot, header)
  }

  /// Sends it; the session is relayed when all of it is sent.
  mutating func sendProxyHeader(_ slot: Int, _ header: ProxyOutgoing) {
    header.sent = 0
    sendProxyRest(slot, header)
  }

  private mutating func sendProxyRest(_ slot: Int, _ header: ProxyOutgoing) {
    sessions[slot].socketOperations += 1
    ring.send(
      sessions[slot].serverSocket, UnsafeRawBufferPointer(rebasing: header.bytes.span[header.sent...]),
      token: token(.sendServer, slot))
  }

  /// A send of the header ended.
  mutating func proxyHeaderSent(_ slot: Int, _ completion: Completion) {
    sessions[slot].socketOperations -= 1
    guard let header = proxyHeaders[slot] else { return }
    if let error = completion.error {
      if error.isRetry, clock.now.nanoseconds < sessions[slot].connectDeadline {
        sendProxyRest(slot, header)
      } else {
        connectionFailed(slot, error)
      }
      return
    }
    header.sent += Int(completion.result)
    guard header.sent >= header.bytes.count else {
      sendProxyRest(slot, header)
      return
    }
    proxyHeaders[slot] = nil
    serverReached(slot)
  }

  private mutating func recordProxyHeader(_ slot: Int, _ header: ProxyOutgoing) {
    if isCaptured {
      if isBackLegRecorded, sessions[file: FlowIndex(slot, .in)].isRecording { captureHeaders[slot] = header }
      return
    }
    recordUnrelayed(FlowIndex(slot, .in), header.bytes.span, on: .back)
  }

  /// Nothing is kept of a session that is over.
  mutating func forgetProxied(_ slot: Int) {
    if !proxies.isEmpty { proxies[slot] = nil }
    if !proxied.isEmpty { proxied[slot] = nil }
    if !proxyHeaders.isEmpty { proxyHeaders[slot] = nil }
    if !captureHeaders.isEmpty { captureHeaders[slot] = nil }
  }
}

/// What a client sent while it is not known whether that is a PROXY header.
final class ProxyMemory {
  var parser = ProxyHeaderParser(.refused)
  let memory = UnsafeMutableRawPointer.allocate(byteCount: Limits.proxyHeaderBytes, alignment: 16)

  deinit { memory.deallocate() }
}

/// What a PROXY header said beside the client's address.
struct ProxiedClient {
  var destination: PeerAddress
  /// The value of its SSL TLV, to be sent on.
  var tls: [UInt8]?
}

/// A PROXY header on its way to the server.
final class ProxyOutgoing {
  var bytes = Bytes()
  var sent = 0
}
