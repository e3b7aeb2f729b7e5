import Glibc
import Synchronization

/// Resolves the server's name again in a thread of its own, since a name server may take long and the loop may not.
final class Resolution: Sendable {
  private enum State {
    case idle
    /// Under way; `again` when it was asked for once more meanwhile.
    case running(again: Bool)
  }

  private let address: Address
  private let wake: Int32
  private let state = Mutex(State.idle)
  private let result = Mutex<Result<[SocketAddress], ValueError>?>(nil)

  /// - Parameter wake: an eventfd(2) that is signalled when there is a result.
  init(_ address: Address, wake: Int32) {
    self.address = address
    self.wake = wake
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
    var thread = pthread_t()
    let retained = Unmanaged.passRetained(self)
    let failure = pthread_create(
      &thread, nil,
      { argument in
        Unmanaged<Resolution>.fromOpaque(argument!).takeRetainedValue().work()
        return nil
      }, retained.toOpaque())
    guard failure == 0 else {
      retained.release()
      state.withLock { $0 = .idle }
      finish(.failure(ValueError("cannot resolve again: \(Errno(failure).text)")))
      return
    }
    pthread_detach(thread)
  }

  /// The newest result, once.
  func take() -> Result<[SocketAddress], ValueError>? {
    result.withLock { result in
      defer { result = nil }
      return result
    }
  }

  private func work() {
    var isAgain = true
    while isAgain {
      do throws(ValueError) {
        finish(.success(try AddressResolver.addresses(connecting: address)))
      } catch {
        finish(.failure(error))
      }
      isAgain = state.withLock { state in
        if case .running(again: true) = state {
          state = .running(again: false)
          return true
        }
        state = .idle
        return false
      }
    }
  }

  private func finish(_ outcome: Result<[SocketAddress], ValueError>) {
    result.withLock { $0 = outcome }
    SignalDescriptor.wake(wake)
  }
}
