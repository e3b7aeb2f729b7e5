import Glibc
import Synchronization

/// Finds something out again in a thread of its own, since a name server or a file may take long and the loop may not.
final class Renewal<Value: Sendable>: Sendable {
  private enum State {
    case idle
    /// Under way; `again` when it was asked for once more meanwhile.
    case running(again: Bool)
  }

  private let what: String
  private let wake: Int32
  private let find: @Sendable () -> Result<Value, ValueError>
  private let state = Mutex(State.idle)
  private let result = Mutex<Result<Value, ValueError>?>(nil)

  /// - Parameters:
  ///   - what: what is done again, for a message: "resolve".
  ///   - wake: an eventfd(2) that is signalled when there is a result.
  init(_ what: String, wake: Int32, find: @escaping @Sendable () -> Result<Value, ValueError>) {
    self.what = what
    self.wake = wake
    self.find = find
  }

  /// Begins, and does not wait.
  func begin() {
    let isRunning = state.withLock { state in
      switch state {
      case .idle:
        state = .running(again: false)
        return false
      case .running:
        state = .running(again: true)
        return true
      }
    }
    guard !isRunning else { return }
    let failure = startThread { self.work() }
    guard failure != 0 else { return }
    state.withLock { $0 = .idle }
    finish(.failure(ValueError("cannot \(what) again: \(Errno(failure).text)")))
  }

  /// The newest result, once.
  func take() -> Result<Value, ValueError>? {
    result.withLock { result in
      defer { result = nil }
      return result
    }
  }

  /// It is under way.
  var isRunning: Bool {
    state.withLock { state in
      if case .running = state { true } else { false }
    }
  }

  private func work() {
    var isAgain = true
    while isAgain {
      finish(find())
      isAgain = state.withLock { state in
        if case .running(again: true) = state {
          state = .running(again: false)
          return true
        }
        state = .idle
        return false
      }
    }
    // Once more, for who waits until nothing is under way.
    SignalDescriptor.wake(wake)
  }

  private func finish(_ outcome: Result<Value, ValueError>) {
    result.withLock { $0 = outcome }
    SignalDescriptor.wake(wake)
  }
}

/// What a thread does.
private final class ThreadBody: Sendable {
  let run: @Sendable () -> Void

  init(_ run: @escaping @Sendable () -> Void) {
    self.run = run
  }
}

/// Runs a thread that nobody waits for (pthread_create(3)): 0, or an error number.
private func startThread(_ body: @escaping @Sendable () -> Void) -> Int32 {
  var thread = pthread_t()
  let retained = Unmanaged.passRetained(ThreadBody(body))
  let failure = pthread_create(
    &thread, nil,
    { argument in
      Unmanaged<ThreadBody>.fromOpaque(argument!).takeRetainedValue().run()
      return nil
    }, retained.toOpaque())
  if failure == 0 { pthread_detach(thread) } else { retained.release() }
  return failure
}
