import COpenSSL
import Glibc

/// The content of a file that may hold a key or a password. The memory is wiped before it is given back.
struct SecretFile: ~Copyable {
  let path: String
  private let memory: UnsafeMutableRawBufferPointer
  private let count: Int

  /// Reads a whole file. It must be an ordinary one: it is read again on SIGHUP, and nobody may have to wait for it.
  init(_ path: String, _ option: TLSSetupError.Option) throws(TLSSetupError) {
    (memory, count) = try Self.read(path, option)
    self.path = path
  }

  private static func read(
    _ path: String, _ option: TLSSetupError.Option
  ) throws(TLSSetupError) -> (UnsafeMutableRawBufferPointer, Int) {
    // Without O_NONBLOCK opening a pipe waits for somebody who writes to it.
    let descriptor = openFile(path, flags: O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
    guard descriptor >= 0 else { throw .reading(option, path: path, .failed(.current)) }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw .reading(option, path: path, .failed(.current)) }
    switch status.st_mode & S_IFMT {
    case S_IFREG: break
    case S_IFDIR: throw .reading(option, path: path, .directory)
    default: throw .reading(option, path: path, .notRegular)
    }
    guard status.st_size <= Limits.tlsFileBytes else { throw .reading(option, path: path, .tooLarge) }
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(status.st_size) + 1, alignment: 16)
    var count = 0
    while count < memory.count {
      let part = Glibc.read(descriptor, memory.baseAddress! + count, memory.count - count)
      if part == 0 { break }
      guard part > 0 else {
        let error = Errno.current
        if error.isRetry { continue }
        wipe(memory)
        throw .reading(option, path: path, .failed(error))
      }
      count += part
    }
    return (memory, count)
  }

  private static func wipe(_ memory: UnsafeMutableRawBufferPointer) {
    explicit_bzero(memory.baseAddress!, memory.count)
    memory.deallocate()
  }

  deinit { Self.wipe(memory) }

  var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: memory[..<count]) }

  /// The first line, without its end.
  var firstLine: UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(rebasing: bytes.prefix { $0 != UInt8(ascii: "\n") && $0 != UInt8(ascii: "\r") })
  }

  /// Gives the content to `body` as OpenSSL reads it, without a copy.
  func withReader<Result>(_ body: (OpaquePointer) throws(TLSSetupError) -> Result) throws(TLSSetupError) -> Result {
    guard let reader = BIO_new_mem_buf(bytes.baseAddress, Int32(bytes.count)) else {
      throw .openSSL(reason: OpenSSLError.take()?.text ?? "no memory")
    }
    defer { BIO_free(reader) }
    return try body(reader)
  }
}
