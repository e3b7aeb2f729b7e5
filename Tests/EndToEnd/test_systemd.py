"""What systemd passes on and wants to hear: sockets, readiness, signs of life, priorities; and the units."""

import os
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest

from peers import EchoServer, connect, receive_exactly
from relay import PROGRAM, ROOT, Relay, wait_until

UNITS = os.path.join(ROOT, "packaging")
VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID",
             "JOURNAL_STREAM")


def listening():
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(16)
    return sock


class Started:
    """The relay started as systemd does: sockets from descriptor 3 on, its own pid in the environment."""

    def __init__(self, test, sockets=(), names=None, environment=None, pid="$$", options=(), listen=("systemd",),
                 stderr=subprocess.PIPE):
        self.server = EchoServer()
        test.addCleanup(self.server.close)
        self.directory = tempfile.mkdtemp(prefix="uring-rawlog-test-")
        test.addCleanup(shutil.rmtree, self.directory)
        clean = {n: v for n, v in os.environ.items() if n not in VARIABLES}
        clean.update(environment or {})
        if sockets:
            clean["LISTEN_FDS"] = str(len(sockets))
        if names is not None:
            clean["LISTEN_FDNAMES"] = names
        # The shell knows the pid that the program will have. Numbers above those that are to be filled are safe.
        spare = [os.dup2(s.fileno(), 100 + place) for place, s in enumerate(sockets)]
        moves = " ".join(f"{3 + place}<&{number} {number}<&-" for place, number in enumerate(spare))
        command = [PROGRAM, *[word for a in listen for word in ("--listen", a)], "--connect", self.server.address,
                   "--dir", self.directory, *options]
        script = f'LISTEN_PID={pid} exec "$@" {moves}' if sockets else 'exec "$@"'
        self.process = subprocess.Popen(["bash", "-c", script, "bash", *command], env=clean, pass_fds=spare,
                                        stdin=subprocess.DEVNULL, stderr=stderr, text=True)
        for number in spare:
            os.close(number)
        test.addCleanup(self.end)

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stderr:
            self.process.stderr.close()

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


class Sockets(unittest.TestCase):
    def relayed(self, sock):
        with connect(sock.getsockname()) as client:
            client.sendall(b"through")
            self.assertEqual(receive_exactly(client, 7), b"through")

    def sockets(self, count):
        made = [listening() for _ in range(count)]
        for sock in made:
            self.addCleanup(sock.close)
        return made

    def test_all(self):
        first, second = self.sockets(2)
        started = Started(self, [first, second])
        self.relayed(first)
        self.relayed(second)
        self.assertEqual(started.terminate(), 0)

    def test_by_name(self):
        imap, pop = self.sockets(2)
        started = Started(self, [pop, imap], names="pop3:imap", listen=["systemd:imap"])
        self.relayed(imap)
        self.assertEqual(started.terminate(), 0)
        said = started.process.stderr.read()
        self.assertIn("socket 'pop3'", said)
        self.assertIn(f"listening on 127.0.0.1:{imap.getsockname()[1]}\n", said)
        self.assertNotIn(f":{pop.getsockname()[1]}\n", said)

    def test_beside_an_address(self):
        (passed,) = self.sockets(1)
        started = Started(self, [passed], listen=["systemd", "127.0.0.1:0"])
        self.relayed(passed)
        self.assertEqual(started.terminate(), 0)
        self.assertEqual(started.process.stderr.read().count("listening on "), 2)

    def refused(self, started, code, *words):
        self.assertEqual(started.process.wait(20), code)
        said = started.process.stderr.read()
        self.assertEqual(len(said.splitlines()), 1, said)
        for word in words:
            self.assertIn(word, said)

    def test_unknown_name(self):
        self.refused(Started(self, self.sockets(1), names="imap", listen=["systemd:sieve"]), 69, "'sieve'", "'imap'")

    def test_for_another_process(self):
        self.refused(Started(self, self.sockets(1), pid="1"), 69, "passed no socket")

    def test_a_connection_instead_of_a_listening_socket(self):
        server, = self.sockets(1)
        with connect(server.getsockname()) as client:
            self.refused(Started(self, [client]), 64, "Accept=no")

    def test_all_and_one(self):
        self.refused(Started(self, self.sockets(1), names="a", listen=["systemd", "systemd:a"]), 64, "leave one out")


class Notifications(unittest.TestCase):
    def setUp(self):
        self.base = tempfile.mkdtemp(prefix="uring-rawlog-test-")
        self.addCleanup(shutil.rmtree, self.base)

    def listen(self, abstract=False):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.socket.close)
        name = f"uring-rawlog-{os.getpid()}-{id(self)}" if abstract else f"{self.base}/notify"
        self.socket.bind("\0" + name if abstract else name)
        self.socket.settimeout(20)
        return ("@" if abstract else "") + name

    def relay(self, environment):
        server = EchoServer()
        self.addCleanup(server.close)
        relay = Relay(server.address, env=environment)
        self.addCleanup(relay.close)
        return relay

    def test_ready_reloading_stopping(self):
        for abstract in (False, True):
            with self.subTest(abstract=abstract):
                relay = self.relay({"NOTIFY_SOCKET": self.listen(abstract)})
                self.assertEqual(self.socket.recv(100), b"READY=1")
                relay.signal(signal.SIGHUP)
                self.assertRegex(self.socket.recv(100), rb"\ARELOADING=1\nMONOTONIC_USEC=[0-9]+\Z")
                self.assertEqual(self.socket.recv(100), b"READY=1")
                self.assertEqual(relay.terminate(), 0)
                self.assertEqual(self.socket.recv(100), b"STOPPING=1")

    def test_watchdog(self):
        relay = self.relay({"NOTIFY_SOCKET": self.listen(), "WATCHDOG_USEC": "200000"})
        self.assertEqual(self.socket.recv(100), b"READY=1")
        for _ in range(3):
            self.assertEqual(self.socket.recv(100), b"WATCHDOG=1")
        self.assertEqual(relay.terminate(), 0)

    def test_watchdog_of_another_process(self):
        relay = self.relay({"NOTIFY_SOCKET": self.listen(), "WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"})
        self.assertEqual(self.socket.recv(100), b"READY=1")
        # Forty times what the watchdog would wait.
        self.assertEqual(select.select([self.socket], [], [], 0.4)[0], [])
        self.assertEqual(relay.terminate(), 0)

    def test_a_supervisor_that_does_not_read(self):
        relay = self.relay({"NOTIFY_SOCKET": self.listen(), "WATCHDOG_USEC": "2000"})
        # The socket takes some ten datagrams; the relay goes on when it is full.
        wait_until(lambda: select.select([self.socket], [], [], 0)[0], what="the first datagram")
        for _ in range(20):
            with connect(relay.address) as client:
                client.sendall(b"through")
                self.assertEqual(receive_exactly(client, 7), b"through")
        self.assertEqual(relay.terminate(), 0)

    def test_nobody_there(self):
        relay = self.relay({"NOTIFY_SOCKET": f"{self.base}/missing"})
        self.assertEqual(relay.terminate(), 0)


class Priorities(unittest.TestCase):
    def said(self, stream=None, options=()):
        reading, writing = os.pipe()
        status = os.fstat(writing)
        environment = {"JOURNAL_STREAM": stream or f"{status.st_dev}:{status.st_ino}"}
        started = Started(self, environment=environment, listen=["127.0.0.1:0"], stderr=writing, options=options)
        os.close(writing)
        with os.fdopen(reading) as lines:
            if not options:
                said = [lines.readline()]
                while "listening" not in said[-1]:
                    said.append(lines.readline())
                started.terminate()
                return said + lines.readlines()
            return lines.readlines()

    def test_in_the_journal(self):
        said = self.said()
        self.assertIn("<4>uring-rawlog: recordings hold what is sent", "".join(said))
        self.assertIn("<6>uring-rawlog: listening on ", "".join(said))
        self.assertTrue(all(re.match(r"<[346]>uring-rawlog: ", line) for line in said), said)

    def test_an_error(self):
        self.assertRegex(self.said(options=["--flush", "x"])[0], r"\A<3>uring-rawlog: --flush: ")

    def test_elsewhere(self):
        for line in self.said("1:2"):
            self.assertTrue(line.startswith("uring-rawlog: "), line)


@unittest.skipUnless(shutil.which("systemd-analyze"), "systemd is not installed")
class Units(unittest.TestCase):
    def test_they_are_right(self):
        with tempfile.TemporaryDirectory() as directory:
            for name in ("uring-rawlog.service", "uring-rawlog.socket"):
                with open(os.path.join(UNITS, name), encoding="utf-8") as file:
                    text = file.read().replace("/usr/local/bin/uring-rawlog", PROGRAM)
                with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
                    file.write(text)
            done = subprocess.run(
                ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no",
                 f"{directory}/uring-rawlog.service", f"{directory}/uring-rawlog.socket"],
                capture_output=True, text=True, timeout=60)
            self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_the_service_is_hardened(self):
        # The threshold is tenfold: 1.5, where 10 is a unit without any protection.
        done = subprocess.run(
            ["systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager",
             os.path.join(UNITS, "uring-rawlog.service")], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
