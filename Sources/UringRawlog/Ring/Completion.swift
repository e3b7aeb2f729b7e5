/// One finished, or for a multishot operation one further, result: laid out as the kernel's completion entry
/// (struct io_uring_cqe), so that taking completions is one copy.
struct Completion {
  var token: Token
  /// Bytes or a descriptor; a negative error number when the operation failed.
  var result: Int32
  private var flags: UInt32

  /// - Parameters:
  ///   - buffer: the first provided buffer that a receive filled; -1 when it took none.
  ///   - more: the operation goes on and will complete again.
  init(token: Token, result: Int32, buffer: Int32, more: Bool) {
    self.token = token
    self.result = result
    flags = (more ? Self.moreFlag : 0) | (buffer >= 0 ? UInt32(buffer) << Self.bufferShift | Self.bufferFlag : 0)
  }

  // IORING_CQE_F_BUFFER, IORING_CQE_F_MORE and IORING_CQE_BUFFER_SHIFT of the kernel's interface.
  private static let bufferFlag: UInt32 = 1
  private static let moreFlag: UInt32 = 2
  private static let bufferShift: UInt32 = 16

  /// The first provided buffer that a receive filled; -1 when it took none.
  @inline(__always) var buffer: Int32 {
    flags & Self.bufferFlag != 0 ? Int32(truncatingIfNeeded: flags >> Self.bufferShift) : -1
  }
  /// The operation goes on and will complete again.
  @inline(__always) var more: Bool { flags & Self.moreFlag != 0 }
  /// The error of a failed operation.
  var error: Errno? { result < 0 ? Errno(-result) : nil }
}
