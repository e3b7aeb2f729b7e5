import Glibc

/// Reads `sessions.jsonl` line by line.
struct IndexReader: ~Copyable {
  static let name = "sessions.jsonl"

  enum Line {
    case record(SessionRecord)
    /// An event that is not known, or an empty line.
    case nothing
    /// The last line, without its line feed.
    case unended
    /// No record of a session: not JSON, or not the fields that each has.
    case wrong
    case tooLong
  }

  let path: String
  let status: stat
  /// The number of the line that `next` gave, from 1, and where in the file it begins.
  private(set) var lineNumber: UInt64 = 0
  private(set) var lineOffset: UInt64 = 0
  /// Where the bytes of that line are in the buffer.
  private var lineRange = 0..<0
  private let descriptor: Int32
  private var buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 16)
  /// What was read and not used: where it lies in the buffer, and where it begins in the file.
  private var start = 0
  private var end = 0
  private var offset: UInt64 = 0
  /// The beginning of the line was dropped because it is too long.
  private var isPassingOver = false

  static func path(in directory: String) -> String {
    directory.hasSuffix("/") ? directory + name : directory + "/" + name
  }

  /// - Returns: nil when there is none.
  /// - Throws: 66 when it cannot be read, or is a symbolic link.
  static func open(directory: String) throws(StartError) -> IndexReader? {
    let path = path(in: directory)
    var status = stat()
    guard lstat(path, &status) == 0 else {
      let error = Errno.current
      if error.code == ENOENT { return nil }
      throw StartError(.noInput, "cannot read the index '\(path)': \(error.text); name its directory with --index")
    }
    return IndexReader(try RecordingFiles.open(path, followsLinks: false))
  }

  /// That of a day that is over.
  static func open(path: String) throws(StartError) -> IndexReader {
    IndexReader(try RecordingFiles.open(path, followsLinks: false))
  }

  static func missing(in directory: String, option: String = "") -> StartError {
    StartError(.noInput, "\(option)there is no index '\(path(in: directory))'; name its directory with --index")
  }

  private init(_ opened: RecordingFiles.Opened) {
    path = opened.path
    status = opened.status
    descriptor = opened.descriptor
  }

  deinit {
    buffer.deallocate()
    close(descriptor)
  }

  /// The next line; nil when there is none yet.
  ///
  /// - Parameter isWhole: what stands behind the last line feed is a line too.
  mutating func next(isWhole: Bool) throws(StartError) -> Line? {
    var searched = 0
    while true {
      let rest = end - start
      if let found = memchr(buffer.baseAddress! + start + searched, Int32(UInt8(ascii: "\n")), rest - searched) {
        return line(UnsafeRawPointer(found) - UnsafeRawPointer(buffer.baseAddress! + start), hasLineFeed: true)
      }
      searched = rest
      if rest > Limits.indexLineBytes {
        isPassingOver = true
        offset += UInt64(rest)
        start = end
        searched = 0
      }
      if try fill() { continue }
      guard isWhole, end > start || isPassingOver else { return nil }
      return line(end - start, hasLineFeed: false)
    }
  }

  /// The bytes of the line that `next` gave, without the line feed; valid until it is called again.
  var lineBytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: buffer[lineRange]) }

  private mutating func line(_ count: Int, hasLineFeed: Bool) -> Line {
    lineRange = start..<start + count
    let bytes = lineBytes
    let used = count + (hasLineFeed ? 1 : 0)
    lineNumber += 1
    lineOffset = offset
    offset += UInt64(used)
    start += used
    if isPassingOver || count > Limits.indexLineBytes {
      isPassingOver = false
      return .tooLong
    }
    guard hasLineFeed else { return .unended }
    return count == 0 ? .nothing : Self.parse(bytes)
  }

  private static func parse(_ bytes: UnsafeRawBufferPointer) -> Line {
    do throws(JSONError) {
      return try SessionRecord(bytes).map { .record($0) } ?? .nothing
    } catch {
      return .wrong
    }
  }

  /// Reads more behind what is there.
  ///
  /// - Returns: whether there was anything.
  private mutating func fill() throws(StartError) -> Bool {
    if start > 0 {
      buffer.baseAddress!.copyMemory(from: buffer.baseAddress! + start, byteCount: end - start)
      end -= start
      start = 0
    }
    if end == buffer.count {
      let larger = UnsafeMutableRawBufferPointer.allocate(byteCount: buffer.count * 2, alignment: 16)
      larger.baseAddress!.copyMemory(from: buffer.baseAddress!, byteCount: end)
      buffer.deallocate()
      buffer = larger
    }
    let count = try read(UnsafeMutableRawBufferPointer(rebasing: buffer[end...]), at: offset + UInt64(end))
    end += count
    return count > 0
  }

  private func read(_ memory: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(StartError) -> Int {
    var count = 0
    repeat {
      count = pread(descriptor, memory.baseAddress, memory.count, off_t(offset))
    } while count < 0 && errno == EINTR
    guard count >= 0 else {
      throw StartError(.noInput, "cannot read the index '\(path)': \(Errno.current.text); copy what can be saved of it")
    }
    return count
  }

  /// The record that begins at a place where `next` found one; nil when the file was changed since.
  func record(at offset: UInt64) throws(StartError) -> SessionRecord? {
    guard let line = try line(at: offset), case .record(let record) = line.withUnsafeBytes({ Self.parse($0) }) else {
      return nil
    }
    return record
  }

  /// The line that begins at a place, without its line feed.
  func line(at offset: UInt64) throws(StartError) -> [UInt8]? {
    var bytes = 4 << 10
    while bytes <= 2 * Limits.indexLineBytes {
      let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes, alignment: 16)
      defer { memory.deallocate() }
      let count = try read(memory, at: offset)
      if let found = memchr(memory.baseAddress!, Int32(UInt8(ascii: "\n")), count) {
        return Array(
          UnsafeRawBufferPointer(
            start: memory.baseAddress, count: UnsafeMutableRawPointer(found) - memory.baseAddress!))
      }
      guard count == bytes else { return nil }
      bytes *= 8
    }
    return nil
  }
}
