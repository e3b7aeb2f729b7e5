import Glibc

/// Threads that do what may wait for a device, so that the loop does not: a few, and each job is taken by one of them.
///
/// They are started with the first job, so that they are in the sandbox that the loop has entered by then. A device that
/// hangs keeps as many of them as there are jobs for it; the others go on, as long as there are any.
final class FileWorkers: @unchecked Sendable {
  /// What both sides see, under `lock`.
  private var waiting: [FileJob] = []
  /// Jobs of `waiting` that were taken, which are removed from it many at a time.
  private var nextWaiting = 0
  private var done: [FileJob] = []
  private var isEnding = false
  private let lock: UnsafeMutablePointer<pthread_mutex_t>
  private let hasWork: UnsafeMutablePointer<pthread_cond_t>

  private static let takenAtMost = 1024

  // Of the loop alone.
  private let threads: Int
  private var running = 0
  /// Jobs that were handed over and not taken back.
  private var outstanding = 0
  private var prepared: [FileJob] = []
  private var taken: [FileJob] = []

  /// Becomes readable when something was done (eventfd(2)). The caller's.
  private let wake: Int32

  init(threads: Int, wake: Int32) {
    self.threads = threads
    self.wake = wake
    lock = .allocate(capacity: 1)
    hasWork = .allocate(capacity: 1)
    pthread_mutex_init(lock, nil)
    pthread_cond_init(hasWork, nil)
  }

  deinit {
    pthread_cond_destroy(hasWork)
    pthread_mutex_destroy(lock)
    lock.deallocate()
    hasWork.deallocate()
    for job in waiting[nextWaiting...] { job.free() }
    for job in done { job.free() }
    for job in prepared { job.free() }
  }

  // MARK: The loop's side

  func prepare(_ job: FileJob) { prepared.append(job) }

  /// Hands over what was prepared.
  func submit() {
    guard !prepared.isEmpty else { return }
    outstanding += prepared.count
    // One that hangs must not keep the others waiting.
    while running < min(threads, outstanding), startThread() { running += 1 }
    guard running > 0 else {
      // No thread can be had. Whoever waits for a device is better than who never writes.
      for place in prepared.indices { prepared[place].work() }
      pthread_mutex_lock(lock)
      done += prepared
      pthread_mutex_unlock(lock)
      prepared.removeAll(keepingCapacity: true)
      SignalDescriptor.wake(wake)
      return
    }
    pthread_mutex_lock(lock)
    waiting += prepared
    pthread_mutex_unlock(lock)
    if prepared.count == 1 { pthread_cond_signal(hasWork) } else { pthread_cond_broadcast(hasWork) }
    prepared.removeAll(keepingCapacity: true)
  }

  /// Gives `body` each job that was done since the last time.
  func takeDone(_ body: (FileJob) -> Void) {
    pthread_mutex_lock(lock)
    swap(&taken, &done)
    pthread_mutex_unlock(lock)
    outstanding -= taken.count
    for job in taken {
      body(job)
      job.free()
    }
    taken.removeAll(keepingCapacity: true)
  }

  /// The loop is over: nothing more is begun whose memory goes with it. Names and descriptors are still given back by the
  /// threads, which end then.
  func end() {
    pthread_mutex_lock(lock)
    isEnding = true
    let rest = waiting[nextWaiting...] + prepared
    waiting = rest.filter(\.ownsItsMemory)
    nextWaiting = 0
    pthread_mutex_unlock(lock)
    pthread_cond_broadcast(hasWork)
    for job in rest where !job.ownsItsMemory { job.free() }
    prepared.removeAll()
  }

  // MARK: The threads' side

  private func startThread() -> Bool {
    var thread = pthread_t()
    let retained = Unmanaged.passRetained(self)
    let failure = pthread_create(
      &thread, nil,
      { argument in
        Unmanaged<FileWorkers>.fromOpaque(argument!).takeRetainedValue().run()
        return nil
      }, retained.toOpaque())
    guard failure == 0 else {
      retained.release()
      return false
    }
    pthread_detach(thread)
    return true
  }

  private func run() {
    // Signals are for the loop.
    var all = sigset_t()
    sigfillset(&all)
    pthread_sigmask(SIG_BLOCK, &all, nil)
    while var job = next() {
      job.work()
      pthread_mutex_lock(lock)
      let isFirst = done.isEmpty
      done.append(job)
      // While it is held, so that nothing is told of that is taken already.
      if isFirst, !isEnding { SignalDescriptor.wake(wake) }
      pthread_mutex_unlock(lock)
    }
  }

  /// Waits for a job; nil when there will be none.
  private func next() -> FileJob? {
    pthread_mutex_lock(lock)
    defer { pthread_mutex_unlock(lock) }
    while nextWaiting == waiting.count {
      if isEnding { return nil }
      pthread_cond_wait(hasWork, lock)
    }
    let job = waiting[nextWaiting]
    nextWaiting += 1
    if nextWaiting == waiting.count || nextWaiting == Self.takenAtMost {
      waiting.removeFirst(nextWaiting)
      nextWaiting = 0
    }
    return job
  }
}
