import Glibc

/// Reads the side file of a capture.
struct CaptureIndexReader {
  private(set) var entries: [CaptureIndex.Entry] = []
  /// Its last line is there: the capture was ended, with so many bytes.
  private(set) var captureBytes: UInt64?
  private var lines: UInt64 = 0

  /// - Parameter id: only entries of this session; nil for all.
  /// - Throws: 66 when it cannot be read; 65 when it is no such file, or with the line that is wrong. A last line without
  ///   a line feed is what a crash left, and not wrong.
  init(_ source: any CaptureSource, only id: String? = nil) throws(StartError) {
    let wanted = id.map { Array("\($0) ".utf8) }
    let window = UnsafeMutableRawBufferPointer.allocate(byteCount: Limits.captureWindowBytes, alignment: 16)
    defer { window.deallocate() }
    var (end, place) = (0, UInt64(0))
    while true {
      let count = try source.read(UnsafeMutableRawBufferPointer(rebasing: window[end...]), at: place)
      place += UInt64(count)
      end += count
      var start = 0
      while let found = memchr(window.baseAddress! + start, Int32(UInt8(ascii: "\n")), end - start) {
        let next = UnsafeRawPointer(found) - UnsafeRawPointer(window.baseAddress!) + 1
        try take(UnsafeRawBufferPointer(rebasing: window[start..<next - 1]), wanted, source.path)
        start = next
      }
      if start == 0 && end == window.count { throw wrong(source.path, "a line has no end") }
      window.baseAddress!.copyMemory(from: window.baseAddress! + start, byteCount: end - start)
      end -= start
      if count == 0 { break }
    }
    guard lines > 0 else { throw Self.notIndex(source.path) }
  }

  private mutating func take(_ line: UnsafeRawBufferPointer, _ wanted: [UInt8]?, _ path: String) throws(StartError) {
    lines += 1
    guard lines > 1 else {
      let heading = UnsafeRawBufferPointer(
        start: CaptureIndex.heading.utf8Start, count: CaptureIndex.heading.utf8CodeUnitCount - 1)
      guard line.elementsEqual(heading) else { throw Self.notIndex(path) }
      return
    }
    guard captureBytes == nil else { throw wrong(path, "nothing comes behind the total") }
    let isTotal = line.starts(with: Self.totalWord)
    if let wanted, !isTotal, !line.starts(with: wanted) { return }
    let words = String(decoding: line, as: UTF8.self).split(separator: " ", omittingEmptySubsequences: false)
    guard !isTotal else {
      guard words.count == 3, let count = UInt64(words[1]), let bytes = UInt64(words[2]), count == lines - 2 else {
        throw wrong(path, "the total is not that of the lines before")
      }
      captureBytes = bytes
      return
    }
    guard words.count == 5, !words[0].isEmpty, let first = UInt64(words[1]), let last = UInt64(words[2]),
      let blocks = UInt64(words[3]), let part = CaptureIndex.Part(rawValue: String(words[4])), first <= last, blocks > 0
    else { throw wrong(path, "it is not 'ID FIRST LAST BLOCKS PART'") }
    entries.append(
      CaptureIndex.Entry(id: String(words[0]), firstBlock: first, lastBlock: last, blocks: blocks, part: part))
  }

  private static let totalWord = Array("total ".utf8)

  private func wrong(_ path: String, _ words: String) -> StartError {
    StartError(.dataError, "'\(path)' is damaged in line \(lines): \(words); read the capture without it")
  }

  private static func notIndex(_ path: String) -> StartError {
    StartError(.dataError, "'\(path)' is no .idx file of uring-rawlog; read the capture without it")
  }
}
