import CZstd
import Glibc

/// `uring-rawlog compress`: a capture that was ended becomes `.pcapng.zst`.
///
/// It runs as a process of its own, of the lowest priority, which the relay starts with itself (`Compressor`).
public enum Compress {
  /// Compresses the captures whose names come on a socket of packets (unix(7), SOCK_SEQPACKET), one at a time, and answers
  /// each with a byte; until the other end is closed.
  ///
  /// - Parameter complain: is given what went wrong with one.
  public static func serve(_ socket: Int32, complain: (StartError) -> Void) {
    let room = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(PATH_MAX), alignment: 1)
    defer { room.deallocate() }
    while true {
      let count = recv(socket, room.baseAddress, room.count, 0)
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { return }
      do throws(StartError) {
        try run(String(decoding: room[..<count], as: UTF8.self))
      } catch {
        complain(error)
      }
      var done: UInt8 = 1
      guard send(socket, &done, 1, Int32(MSG_NOSIGNAL)) == 1 else { return }
    }
  }

  /// Compresses a capture, and removes what it was.
  ///
  /// - Throws: 64 when it is no capture that was ended, 66 when it cannot be read, 73 and 74 when the other cannot be
  ///   written. The capture stays then. Nothing is done when somebody else does it already.
  public static func run(_ path: String) throws(StartError) {
    yieldToOthers()
    let name = Sweep.name(path)
    guard let stored = StoredName(name), stored.kind == .capture, !stored.isPartial, path.hasSuffix(".pcapng") else {
      throw StartError(.usage, "'\(path)' is no capture that was ended; name a .pcapng of uring-rawlog")
    }
    let opened = try RecordingFiles.open(path, followsLinks: false)
    // Another process at the same work has the lock.
    guard flock(opened.descriptor, LOCK_EX | LOCK_NB) == 0 else {
      close(opened.descriptor)
      return
    }
    let source = CaptureFile(opened)
    let partPath = path + ".zst.part"
    // One that a crash left has no lock.
    unlink(partPath)
    let file = openFile(partPath, flags: O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode: 0o600)
    guard file >= 0 else {
      throw StartError(.cannotCreate, "cannot create '\(partPath)': \(Errno.current.text); make the directory writable")
    }
    flock(file, LOCK_EX | LOCK_NB)
    defer { close(file) }
    do throws(StartError) {
      try write(source, to: file, partPath)
      // It is as old as what it holds.
      let times = [opened.status.st_atim, opened.status.st_mtim]
      futimens(file, times)
      guard renameFile(partPath, to: path + ".zst") else {
        throw StartError(.ioError, "cannot rename '\(partPath)': \(Errno.current.text); remove what has its name")
      }
    } catch {
      unlink(partPath)
      throw error
    }
    unlink(path)
  }

  /// Whatever else wants the processor or the disk comes first.
  private static func yieldToOthers() {
    var none = sigset_t()
    sigemptyset(&none)
    // The relay that started this blocks signals.
    sigprocmask(SIG_SETMASK, &none, nil)
    setpriority(Int32(PRIO_PROCESS.rawValue), 0, 19)
    useIdleDisk()
  }

  private static func write(_ source: CaptureFile, to file: Int32, _ path: String) throws(StartError) {
    let compression = ZSTD_createCCtx()
    defer { ZSTD_freeCCtx(compression) }
    ZSTD_CCtx_setParameter(compression, ZSTD_c_checksumFlag, 1)
    let content = UnsafeMutableRawBufferPointer.allocate(byteCount: Limits.captureFrameBytes, alignment: 16)
    let packed = UnsafeMutableRawBufferPointer.allocate(
      byteCount: ZSTD_compressBound(Limits.captureFrameBytes), alignment: 16)
    defer {
      content.deallocate()
      packed.deallocate()
    }
    var table = Bytes(capacity: 4096)
    table.append(number: SeekableFormat.skippableMagic.littleEndian)
    table.append(number: UInt32(0))
    var frames: UInt32 = 0
    var place: UInt64 = 0
    while true {
      let count = try source.read(content, at: place)
      guard count > 0 else { break }
      place += UInt64(count)
      let result = ZSTD_compress2(compression, packed.baseAddress, packed.count, content.baseAddress, count)
      guard ZSTD_isError(result) == 0 else {
        throw StartError(.osError, "cannot compress '\(source.path)': \(String(cString: ZSTD_getErrorName(result)))")
      }
      try writeAll(UnsafeRawBufferPointer(rebasing: packed[..<result]), to: file, path)
      table.append(number: UInt32(result).littleEndian)
      table.append(number: UInt32(count).littleEndian)
      frames += 1
    }
    table.append(number: frames.littleEndian)
    table.append(0)
    table.append(number: SeekableFormat.tableMagic.littleEndian)
    let bytes = UInt32(table.count - SeekableFormat.tableHeadBytes)
    table.start.storeBytes(of: bytes.littleEndian, toByteOffset: 4, as: UInt32.self)
    try writeAll(table.span, to: file, path)
  }

  private static func writeAll(_ bytes: UnsafeRawBufferPointer, to file: Int32, _ path: String) throws(StartError) {
    var done = 0
    while done < bytes.count {
      let count = Glibc.write(file, bytes.baseAddress! + done, bytes.count - done)
      if count < 0 {
        if errno == EINTR { continue }
        throw StartError(.ioError, "cannot write '\(path)': \(Errno.current.text); the capture stays as it is")
      }
      done += count
    }
  }
}
