/// An object of OpenSSL with one owner, and the function that frees it.
///
/// What frees it is handed over when it is made, so that every kind of object is owned in the same way.
struct OpenSSLObject: ~Copyable {
  let pointer: OpaquePointer
  private let free: @convention(c) (OpaquePointer?) -> Void

  init(_ pointer: OpaquePointer, _ free: @escaping @convention(c) (OpaquePointer?) -> Void) {
    self.pointer = pointer
    self.free = free
  }

  deinit { free(pointer) }
}
