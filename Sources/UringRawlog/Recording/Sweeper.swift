import Glibc
import Synchronization

/// Keeps a directory of recordings within its limits, in a thread of its own: deleting many or large files takes long,
/// and the loop may not wait.
///
/// What was deleted is told to the loop, which lists it in the index.
final class Sweeper: Sendable {
  private let root: String
  private let retention: Retention
  private let compression: Compression?
  /// An eventfd(2) that is signalled when there is something to be told.
  private let wake: Int32
  /// Another that ends the wait for the next look.
  private let soon: Int32
  private let news = Mutex<[News]>([])

  enum News: Equatable {
    case deleted(Sweep.Deleted)
    /// A line for the user.
    case said(String)
  }

  /// How captures that were ended are compressed.
  struct Compression: Sendable {
    /// The program that does so: this one.
    var program: String
  }

  /// - Throws: when no descriptor can be had.
  init(root: String, retention: Retention, compression: Compression?, wake: Int32) throws(Errno) {
    self.root = root
    self.retention = retention
    self.compression = compression
    self.wake = wake
    soon = try SignalDescriptor.openWake()
  }

  /// Begins; it goes on until the process ends.
  ///
  /// - Throws: when there can be no thread.
  func begin() throws(Errno) {
    var thread = pthread_t()
    let retained = Unmanaged.passRetained(self)
    let failure = pthread_create(
      &thread, nil,
      { argument in
        Unmanaged<Sweeper>.fromOpaque(argument!).takeRetainedValue().work()
        return nil
      }, retained.toOpaque())
    guard failure == 0 else {
      retained.release()
      throw Errno(failure)
    }
    pthread_detach(thread)
  }

  /// Looks soon: a capture was ended.
  func hurry() { SignalDescriptor.wake(soon) }

  /// What is new, once.
  func take() -> [News] {
    news.withLock { news in
      defer { news = [] }
      return news
    }
  }

  private func work() {
    var isShortageSaid = false
    var problemsSaid: Set<String> = []
    while true {
      var told: [News] = []
      do throws(Errno) {
        var sweep = try Sweep(root, retention)
        sweep.run()
        told = sweep.deleted.map { .deleted($0) }
        for problem in sweep.problems where problemsSaid.insert(problem).inserted { told.append(.said(problem)) }
        if !sweep.isEnough, !isShortageSaid {
          told.append(
            .said(
              "what is being recorded in '\(root)' is more than may be kept; raise the --keep limits, or rotate sooner")
          )
        }
        isShortageSaid = !sweep.isEnough
        if compression != nil { compress(sweep.plainCaptures, &told) }
      } catch {
        let problem = "cannot read the directory '\(root)': \(error.text); nothing is deleted there"
        if problemsSaid.insert(problem).inserted { told = [.said(problem)] }
      }
      if !told.isEmpty {
        news.withLock { $0 += told }
        SignalDescriptor.wake(wake)
      }
      wait()
    }
  }

  /// Until it is time for the next look.
  private func wait() {
    var poll = pollfd(fd: soon, events: Int16(POLLIN), revents: 0)
    guard Glibc.poll(&poll, 1, Limits.sweepMilliseconds) > 0 else { return }
    var count: UInt64 = 0
    read(soon, &count, 8)
  }

  private func compress(_ captures: [String], _ told: inout [News]) {
    for capture in captures {
      if let problem = Self.compress(root + "/" + capture, with: compression!.program) { told.append(.said(problem)) }
    }
  }

  /// Runs the process that compresses one capture: what went wrong, in words.
  private static func compress(_ path: String, with program: String) -> String? {
    var process = pid_t()
    let words = [program, "compress", path]
    let arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
    defer { for argument in arguments { free(argument) } }
    let failure = posix_spawn(&process, program, nil, nil, arguments, environ)
    guard failure == 0 else { return "cannot start '\(program)' to compress '\(path)': \(Errno(failure).text)" }
    var status: Int32 = 0
    while waitpid(process, &status, 0) < 0, errno == EINTR {}
    // The process has said itself what was wrong.
    return nil
  }
}
