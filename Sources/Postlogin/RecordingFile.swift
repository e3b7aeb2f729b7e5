import Glibc

/// One of the two files of a recording: encoded bytes gather in one block while the other is being written.
struct RecordingFile {
  /// -1: this direction is not recorded, or not any more.
  private(set) var descriptor: Int32
  var state = Encoder.State()
  private let blocks: UnsafeMutableRawPointer
  private var fillingBlock = 0
  private var filled = 0
  /// The bytes of the other block that the write under way has not taken yet.
  private var writing = 0..<0
  /// Where they go. Explicit, since a write that fails halfway may leave the file's own position where it was.
  private(set) var offset: Int64 = 0
  /// Since when both blocks are full, and the direction waits (CLOCK_MONOTONIC nanoseconds); nil while it does not.
  var stalledSince: UInt64?

  static let blockBytes = Limits.blockBytes

  /// - Parameter blocks: memory for two blocks; nobody else's.
  init(descriptor: Int32, blocks: UnsafeMutableRawPointer) {
    self.descriptor = descriptor
    self.blocks = blocks
  }

  var isRecording: Bool { descriptor >= 0 }
  var hasBytes: Bool { filled > 0 }
  var isWriting: Bool { !writing.isEmpty }

  /// Room for encoded bytes.
  var room: UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(start: block(fillingBlock) + filled, count: Self.blockBytes - filled)
  }

  mutating func added(_ count: Int) { filled += count }

  /// Hands what gathered over for writing; only while nothing is being written.
  mutating func beginWriting() {
    writing = 0..<filled
    fillingBlock = 1 - fillingBlock
    filled = 0
  }

  /// What is to be written next of what was handed over.
  var pending: UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(start: block(1 - fillingBlock) + writing.lowerBound, count: writing.count)
  }

  mutating func wrote(_ count: Int) {
    writing = writing.lowerBound + count..<writing.upperBound
    offset += Int64(count)
  }

  /// Nothing is recorded from here on.
  mutating func end() {
    if descriptor >= 0 { close(descriptor) }
    descriptor = -1
    filled = 0
    writing = 0..<0
    stalledSince = nil
  }

  private func block(_ number: Int) -> UnsafeMutableRawPointer { blocks + number * Self.blockBytes }
}
