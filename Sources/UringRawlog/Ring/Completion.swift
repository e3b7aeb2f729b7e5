/// One finished, or for a multishot operation one further, result.
struct Completion {
  var token: Token
  /// Bytes or a descriptor; a negative error number when the operation failed.
  var result: Int32
  /// The first provided buffer that a receive filled; -1 when it took none.
  var buffer: Int32
  /// The operation goes on and will complete again (IORING_CQE_F_MORE).
  var more: Bool

  /// The error of a failed operation.
  var error: Errno? { result < 0 ? Errno(-result) : nil }
}
