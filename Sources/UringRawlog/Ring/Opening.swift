import CLibUring
import Glibc

/// open(2), which Swift cannot call with a mode: a descriptor, or -1 and errno.
func openFile(_ path: UnsafePointer<CChar>, flags: Int32, mode: UInt32 = 0) -> Int32 { uring_open(path, flags, mode) }

/// openat(2), likewise.
func openFile(_ path: UnsafePointer<CChar>, in directory: Int32, flags: Int32, mode: UInt32 = 0) -> Int32 {
  uring_openat(directory, path, flags, mode)
}

/// Gives a file a name that nobody has yet: whether that was done.
@discardableResult
func renameFile(_ path: String, to other: String) -> Bool { uring_rename(path, other) == 0 }

/// A descriptor of a directory for opening files in it: -1 and errno when there is none.
func openDirectoryPath(_ path: String) -> Int32 { uring_open_directory(path) }

/// Makes sure that descriptors 0 to 2 are open: a socket or recording in the place of a closed standard error would get
/// the program's messages.
public func holdStandardDescriptors() {
  for descriptor in 0...2 where fcntl(Int32(descriptor), F_GETFD) < 0 { _ = uring_open("/dev/null", O_RDWR, 0) }
}

/// Lets everybody else use the disk first.
func useIdleDisk() { uring_use_idle_disk() }
