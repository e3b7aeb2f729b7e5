"""Where io_uring is refused: the relay goes on with epoll, says so, and is just as exact."""

import os
import signal
import unittest

from peers import EchoServer, EndToEnd, connect, receive_exactly
from refusal import skip_without_filters, without_io_uring, without_threads
from relay import run, wait_until

import test_recording
import test_relay

EPERM, ENOSYS = 1, 38


class Refused(EndToEnd):
    def setUp(self):
        skip_without_filters(self)
        self.server = EchoServer()
        self.addCleanup(self.server.close)

    def session(self, relay, text):
        with connect(relay.addresses[0]) as client:
            client.sendall(text)
            self.assertEqual(receive_exactly(client, len(text)), text)

    def recorded(self, relay, text=b"said\r\n" * 20_000):
        """One session, which must be recorded whole."""
        before = len(relay.records("end"))
        self.session(relay, text)
        end = relay.wait_ends(before + 1)[-1]
        self.assertEqual(end["recording"], "complete")
        self.assertEqual((relay.recording(end, "in"), relay.recording(end, "out")), (text, text))

    def said(self, relay):
        return [line for line in relay.lines if "epoll" in line]

    def test_sessions_are_recorded_all_the_same(self):
        for error in (EPERM, ENOSYS):
            with self.subTest(error=error):
                relay = self.start(self.server, "--engine", "auto", preexec_fn=without_io_uring(error))
                self.recorded(relay)
                (line,) = self.said(relay)
                # What, why, and what to do.
                self.assertRegex(line, "^uring-rawlog: using epoll.*io_uring.*seccomp.*allow")
                # Signals and late work find their way too.
                relay.signal(signal.SIGHUP)
                wait_until(lambda: "resolved" in relay.stderr, what="names")
                self.recorded(relay)
                self.assertEqual(relay.terminate(), 0)

    def test_without_a_sandbox(self):
        relay = self.start(self.server, "--engine", "auto", "--sandbox", "off", preexec_fn=without_io_uring(EPERM))
        self.recorded(relay)
        self.assertEqual(relay.terminate(), 0)

    def test_who_asks_for_epoll_is_not_told(self):
        relay = self.start(self.server, "--engine", "epoll")
        self.recorded(relay)
        self.assertEqual(self.said(relay), [])
        # The kernel shows a ring by its descriptor.
        kinds = [os.readlink(f"/proc/{relay.pid}/fd/{number}") for number in os.listdir(f"/proc/{relay.pid}/fd")]
        self.assertIn("anon_inode:[eventpoll]", kinds)
        self.assertNotIn("anon_inode:[io_uring]", kinds)
        self.assertEqual(relay.terminate(), 0)

    def test_io_uring_where_it_is_allowed(self):
        if run("check", "--engine", "io_uring")[0] != 0:
            self.skipTest("io_uring is not allowed here")
        for engine in ("auto", "io_uring"):
            with self.subTest(engine=engine):
                relay = self.start(self.server, "--engine", engine)
                self.recorded(relay)
                self.assertEqual(self.said(relay), [])
                self.assertEqual(relay.terminate(), 0)

    def test_check(self):
        code, output, errors = run("check", preexec_fn=without_io_uring(EPERM))
        text = output + errors
        self.assertEqual(code, 0, text)
        self.assertIn("engine: epoll", text)
        self.assertIn("seccomp", text)
        code, output, errors = run("check", "--engine", "io_uring", preexec_fn=without_io_uring(EPERM))
        self.assertEqual(code, 69, output + errors)
        code, output, errors = run("check", "--engine", "epoll", preexec_fn=without_io_uring(EPERM))
        self.assertEqual(code, 0, output + errors)
        self.assertIn("engine: epoll", output)

    def test_no_thread_can_be_started(self):
        """Then the loop works on files itself."""
        relay = self.start(self.server, "--engine", "epoll", env={"URING_RAWLOG_WITHOUT": "loop-files"},
                           preexec_fn=without_threads())
        self.recorded(relay)
        with open(f"/proc/{relay.pid}/status", encoding="ascii") as file:
            self.assertIn("Threads:\t1\n", file.read())
        self.assertEqual(relay.terminate(), 0)

    def test_files_are_worked_on_by_threads(self):
        relay = self.start(self.server, "--engine", "epoll", env={"URING_RAWLOG_WITHOUT": "loop-files"})
        self.recorded(relay)
        threads = os.listdir(f"/proc/{relay.pid}/task")
        # A few, however much there is to do.
        self.assertIn(len(threads), range(3, 6))
        self.assertEqual(relay.terminate(), 0)


class _OnEpoll:
    def start(self, connect_to, *options, **keywords):
        return super().start(connect_to, "--engine", "epoll", *options, **keywords)


# A choice of what all relays must be able to do; `make test-epoll` runs everything on epoll.

class BytesOnEpoll(_OnEpoll, test_relay.Bytes):
    pass


class EndsOnEpoll(_OnEpoll, test_relay.Ends):
    pass


class UrgentDataOnEpoll(_OnEpoll, test_relay.UrgentData):
    pass


class UnixSocketsOnEpoll(_OnEpoll, test_relay.UnixSockets):
    pass


class LimitsOnEpoll(_OnEpoll, test_relay.Limits):
    pass


class SamplesOnEpoll(_OnEpoll, test_recording.Samples):
    pass


class FilesOnEpoll(_OnEpoll, test_recording.Files):
    pass


if __name__ == "__main__":
    unittest.main()
