import Glibc

/// Counts the end records of an index as it grows.
struct IndexTail {
  let path: String
  private(set) var ends = 0
  private var offset: off_t = 0
  private var line: [UInt8] = []

  init(path: String) { self.path = path }

  mutating func read() {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: 256 << 10)
    while true {
      let count = pread(descriptor, &bytes, bytes.count, offset)
      guard count > 0 else { return }
      offset += off_t(count)
      for byte in bytes[..<count] {
        if byte == UInt8(ascii: "\n") {
          if line.starts(with: "{\"event\":\"end\"".utf8) { ends += 1 }
          line.removeAll(keepingCapacity: true)
        } else if line.count < 16 {
          line.append(byte)
        }
      }
    }
  }
}
