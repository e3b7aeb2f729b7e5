import Glibc
import Testing

@testable import UringRawlog

@Suite struct CompletionTests {
  @Test func everyPartComesBack() {
    let token = Token(.receiveServer, slot: 5, generation: 6)
    for result in [0, 1, Int32.max, -ENOBUFS, Int32.min + 1] {
      for buffer in [-1, 0, 1, 127, 32767] as [Int32] {
        for more in [false, true] {
          let completion = Completion(token: token, result: result, buffer: buffer, more: more)
          #expect(completion.token == token && completion.result == result)
          #expect(completion.buffer == buffer && completion.more == more)
          #expect(completion.error == (result < 0 ? Errno(-result) : nil))
        }
      }
    }
  }

  /// The kernel's completion entries are copied as they are (io_uring(7)).
  @Test func theLayoutIsTheKernels() {
    #expect(MemoryLayout<Completion>.size == 16 && MemoryLayout<Completion>.stride == 16)
    var completion = Completion(token: Token(.sendClient, slot: 1, generation: 2), result: -5, buffer: 3, more: true)
    withUnsafeBytes(of: &completion) { bytes in
      #expect(bytes.load(as: UInt64.self) == Token(.sendClient, slot: 1, generation: 2).rawValue)
      #expect(bytes.load(fromByteOffset: 8, as: Int32.self) == -5)
      // IORING_CQE_F_BUFFER, IORING_CQE_F_MORE, and the buffer above them.
      #expect(bytes.load(fromByteOffset: 12, as: UInt32.self) == 1 | 2 | 3 << 16)
    }
  }

  @Test func errors() {
    #expect(Errno(EINTR).isRetry && Errno(EAGAIN).isRetry && !Errno(EIO).isRetry)
    #expect(Errno(EMFILE).isOutOfDescriptors && Errno(ENFILE).isOutOfDescriptors && !Errno(ENOMEM).isOutOfDescriptors)
    #expect(Errno(ENOENT).text == "No such file or directory" && Errno(ENOENT) != Errno(EPERM))
  }
}
