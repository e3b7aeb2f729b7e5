/// An object of OpenSSL with one owner, and the function that frees it.
///
/// Nothing else in this folder has a `deinit`, and this one names no function of OpenSSL. How a type is destroyed is in
/// its metadata, which the linker keeps for every type, used or not; so a program that never makes such an object (the
/// drop-in `rawlog`, which is linked statically) has no OpenSSL in it.
struct OpenSSLObject: ~Copyable {
  let pointer: OpaquePointer
  private let free: @convention(c) (OpaquePointer?) -> Void

  init(_ pointer: OpaquePointer, _ free: @escaping @convention(c) (OpaquePointer?) -> Void) {
    self.pointer = pointer
    self.free = free
  }

  deinit { free(pointer) }
}
