import Testing

@testable import UringRawlog

@Suite struct SupervisorTests {
  @Test func halfOfTheTimeIsLeftForOneThatIsLate() {
    let environment = ["NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "7"]
    var supervisor = Supervisor(processID: 7) { environment[$0] }
    // It is not due before the program is ready.
    #expect(supervisor.nextBeat == .max)
    supervisor.ready(at: 100)
    #expect(supervisor.nextBeat == 1_500_000_100)
    supervisor.beat(at: 1_500_000_099)
    #expect(supervisor.nextBeat == 1_500_000_100)
    supervisor.beat(at: 1_500_000_200)
    #expect(supervisor.nextBeat == 3_000_000_200)
    // Being ready once more does not put it off.
    supervisor.ready(at: 2_000_000_000)
    #expect(supervisor.nextBeat == 3_000_000_200)
  }

  @Test(arguments: [
    ["WATCHDOG_USEC": "3000000"],
    ["NOTIFY_SOCKET": "relative", "WATCHDOG_USEC": "3000000"],
    ["NOTIFY_SOCKET": "/nowhere"],
    ["NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "0"],
    ["NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "x"],
    ["NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "18446744073709551615"],
    ["NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "8"],
  ])
  func nobodyWatches(_ environment: [String: String]) {
    var supervisor = Supervisor(processID: 7) { environment[$0] }
    supervisor.ready(at: 100)
    #expect(supervisor.nextBeat == .max)
  }
}
