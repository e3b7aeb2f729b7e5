#if hasFeature(Embedded)
  @preconcurrency import CLibUring
  @preconcurrency import Glibc

  // What the toolchain's Glibc and standard library have in Swift, as far as it is used here: a build without the Swift
  // runtime has neither (Sources/EmbeddedGlibc).

  enum CommandLine {
    static var argc: Int32 { uring_argument_count }
    static var unsafeArgv: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?> { uring_arguments }
  }

  var errno: Int32 {
    get { embedded_errno().pointee }
    set { embedded_errno().pointee = newValue }
  }

  // swift-format-ignore: AlwaysUseLowerCamelCase
  var SIG_IGN: __sighandler_t { embedded_ignore_signal() }
  // swift-format-ignore: AlwaysUseLowerCamelCase
  var MAP_FAILED: UnsafeMutableRawPointer { embedded_map_failed() }

  // swift-format-ignore: AlwaysUseLowerCamelCase
  let S_IFMT: mode_t = 0o170000
  // swift-format-ignore: AlwaysUseLowerCamelCase
  let S_IFDIR: mode_t = 0o040000
  // swift-format-ignore: AlwaysUseLowerCamelCase
  let S_IFREG: mode_t = 0o100000

  func fcntl(_ descriptor: Int32, _ command: Int32) -> Int32 { embedded_fcntl(descriptor, command) }
#endif
