import Glibc
import Synchronization

/// Keeps a directory of recordings within its limits, in a thread of its own: deleting many or large files takes long,
/// and the loop may not wait.
///
/// What was deleted is told to the loop, which lists it in the index.
final class Sweeper: Sendable {
  private let root: String
  private let retention: Retention
  private let compressor: Compressor?
  /// An eventfd(2) that is signalled when there is something to be told.
  private let wake: Int32
  /// Another that ends the wait for the next look.
  private let soon: Int32
  private let state = Mutex(State())

  private struct State {
    var news: [News] = []
    /// A look is being taken: recordings may be deleted.
    var isSweeping = false
    /// No further recording is to be deleted.
    var isEnding = false
  }

  enum News: Equatable {
    case deleted(Sweep.Deleted)
    /// A line for the user.
    case said(String)
  }

  /// - Throws: when no descriptor can be had.
  init(root: String, retention: Retention, compressor: Compressor?, wake: Int32) throws(Errno) {
    self.root = root
    self.retention = retention
    self.compressor = compressor
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
    state.withLock { state in
      defer { state.news = [] }
      return state.news
    }
  }

  /// Nothing more is to be deleted than what is just being.
  ///
  /// - Returns: something still is; the loop is told when that is over.
  func end() -> Bool {
    state.withLock { state in
      state.isEnding = true
      return state.isSweeping
    }
  }

  private func tell(_ news: News) {
    let isFirst = state.withLock { state in
      state.news.append(news)
      return state.news.count == 1
    }
    if isFirst { SignalDescriptor.wake(wake) }
  }

  private func work() {
    var said = Said()
    while true {
      do throws(Errno) {
        let captures = try sweep(&said)
        if compressor != nil { compress(captures, &said) }
      } catch {
        said.say("cannot read the directory '\(root)': \(error.text); nothing is deleted there", self)
      }
      wait()
    }
  }

  /// What the user was told, which is not told again.
  private struct Said {
    var isShortageSaid = false
    private var problems: Set<String> = []

    mutating func say(_ problem: String, _ sweeper: Sweeper) {
      if problems.insert(problem).inserted { sweeper.tell(.said(problem)) }
    }
  }

  /// Looks once, and deletes.
  ///
  /// - Returns: captures that may be compressed.
  private func sweep(_ said: inout Said) throws(Errno) -> [String] {
    let begins = state.withLock { state in
      state.isSweeping = !state.isEnding
      return state.isSweeping
    }
    guard begins else { return [] }
    defer {
      let isAwaited = state.withLock { state in
        state.isSweeping = false
        return state.isEnding
      }
      if isAwaited { SignalDescriptor.wake(wake) }
    }
    var sweep = try Sweep(
      root, retention, mayDelete: { !self.state.withLock { $0.isEnding } }, tell: { self.tell(.deleted($0)) })
    sweep.run()
    for problem in sweep.problems { said.say(problem, self) }
    if !sweep.isEnough, !said.isShortageSaid {
      tell(
        .said(
          "what is being recorded in '\(root)' is more than may be kept; raise the --keep limits, or rotate sooner"))
    }
    said.isShortageSaid = !sweep.isEnough
    return sweep.plainCaptures
  }

  /// Until it is time for the next look.
  private func wait() {
    var poll = pollfd(fd: soon, events: Int16(POLLIN), revents: 0)
    guard Glibc.poll(&poll, 1, Limits.sweepMilliseconds) > 0 else { return }
    var count: UInt64 = 0
    read(soon, &count, 8)
  }

  /// Has captures compressed, as long as there is somebody who does.
  private func compress(_ captures: [String], _ said: inout Said) {
    for capture in captures {
      guard let compressor, compressor.compress(root + "/" + capture) else {
        said.say("the process that compresses captures is gone; they stay as they are until a restart", self)
        return
      }
    }
  }
}
