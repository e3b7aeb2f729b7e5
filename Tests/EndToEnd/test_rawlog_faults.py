"""Where the drop-in is to be better than Dovecot's `rawlog`: no session is cut, no byte lost, and what fails is said."""

import ctypes
import os
import resource
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import unittest

import rawlog
from rawlog import OURS, Home, Session, without_name, without_times
from relay import wait_until
from test_hung_disk import FrozenDisk

ROOT = os.geteuid() == 0


class Case(unittest.TestCase):
    def setUp(self):
        self.home = Home()
        self.addCleanup(self.home.close)

    def session(self, *flags, **keywords):
        keywords.setdefault("home", self.home.path)
        session = Session(OURS, *flags, **keywords)
        self.addCleanup(session.close)
        return session

    def files(self):
        """The recordings, by direction (and number): stamps and names without what differs."""
        return {without_name(name)[len("TIME-PID."):]: without_times(content)
                for name, content in self.home.files().items()}

    def finish(self, session, status=0, errors=()):
        self.assertEqual(session.finish(), (status, list(errors)))


class Filters(Case):
    """The original crashes one second after the first recorded byte."""

    def check(self, flag, direction):
        session = self.session("-t", "-f", flag)
        session.exchange(b"one\n", (b"two\n",))
        wait_until(lambda: all(self.home.files().values()), what="the file to be written")
        session.exchange(b"three\n", (b"four\n",))
        self.finish(session)
        expected = {"in": b"@0 one\n@1 three\n", "out": b"@0 two\n@1 four\n"}[direction]
        self.assertEqual(self.files(), {direction: expected})

    def test_in(self):
        self.check("in", "in")

    def test_out(self):
        self.check("out", "out")

    def test_neither(self):
        session = self.session("-f", "in", "-f", "out")
        session.exchange(b"one\n", (b"two\n",))
        self.assertEqual(len(session.recorders()), 1)
        self.finish(session)
        self.assertEqual(self.files(), {})


class HalfCloses(Case):
    def test_the_client_ends_first(self):
        for tcp in (False, True):
            with self.subTest(tcp=tcp):
                session = self.session(tcp=tcp)
                session.exchange(b"question\n")
                session.end_sending()
                self.assertEqual(session.target_sees_end(), {"data": "", "end": "end"})
                self.assertEqual(session.target_writes(b"answer\n" * 1000), {"sent": 7000, "error": None})
                session.target_exits()
                self.assertEqual(session.receive_all(), b"answer\n" * 1000)
                self.finish(session)

    def test_the_target_ends_first(self):
        for tcp in (False, True):
            with self.subTest(tcp=tcp):
                session = self.session(tcp=tcp)
                session.exchange((b"bye\n",))
                session.tell("shutdown", socket.SHUT_WR)
                self.assertEqual(session.receive_all(), b"")
                # And the other way still works, as long as the client likes.
                session.exchange(b"still\n", b"here\n")
                session.end_sending()
                self.assertEqual(session.target_sees_end(), {"data": "", "end": "end"})
                self.finish(session)

    def test_the_target_is_gone_and_the_client_idle(self):
        """The recorder does not wait for a client that says nothing."""
        session = self.session()
        session.exchange(b"x\n", (b"y\n",))
        recorder = session.recorder()
        session.target_exits()
        self.assertEqual(session.receive_all(), b"")
        rawlog.ends(recorder)
        self.assertEqual(self.files(), {"in": b"x\n", "out": b"y\n"})
        self.finish(session)

    def test_the_target_ends_and_is_gone_later(self):
        session = self.session()
        session.exchange(b"x\n")
        recorder = session.recorder()
        session.tell("shutdown", socket.SHUT_WR)
        self.assertEqual(session.receive_all(), b"")
        self.assertTrue(os.path.exists(f"/proc/{recorder}"))
        session.target_exits()
        rawlog.ends(recorder)
        self.finish(session)

    def test_pipes(self):
        session = self.session(pipes=True)
        session.exchange(b"x\n")
        session.end_sending()
        self.assertEqual(session.target_sees_end(), {"data": "", "end": "end"})
        session.target_writes(b"y\n")
        session.target_exits()
        self.assertEqual(session.receive_all(), b"y\n")
        self.finish(session)
        self.assertEqual(self.files(), {"in": b"x\n", "out": b"y\n"})


class SlowPeers(Case):
    def test_what_is_queued_for_a_slow_client_arrives(self):
        """The original drops what it has not sent when the target closes."""
        for tcp in (False, True):
            with self.subTest(tcp=tcp):
                session = self.session(tcp=tcp, send_buffer=4096)
                session.ask("write", (b"0123456789abcde\n" * 4096).hex())
                session.answer()
                session.target_exits()
                session.process.wait(rawlog.TIMEOUT)
                self.assertEqual(session.receive_all(), b"0123456789abcde\n" * 4096)
                self.finish(session)
                self.assertIn(b"0123456789abcde\n" * 4096, self.home.files().values())

    def test_a_killed_target_too(self):
        session = self.session("-t", send_buffer=4096)
        session.exchange(b"x\n")
        data = b"0123456789abcde\n" * 1200
        session.tell("write", data.hex())
        os.kill(session.pid, signal.SIGKILL)
        self.assertEqual(session.receive_all(), data)
        self.finish(session, status=-signal.SIGKILL)
        self.assertEqual(self.files()["in"], b"@0 x\n")

    def test_what_is_queued_for_a_slow_target_arrives(self):
        session = self.session()
        data = bytes(range(256)) * 4096
        sender = threading.Thread(target=lambda: (session.send(data), session.client.close()), daemon=True)
        sender.start()
        sender.join(0.2)
        self.assertEqual(session.target_reads(len(data) + 1), data)
        sender.join(rawlog.TIMEOUT)
        session.client = None
        self.finish(session)
        self.assertEqual(self.files(), {"in": data, "out": b""})

    def test_a_client_that_does_not_read_holds_the_target_and_no_memory(self):
        session = self.session("-f", "out", tcp=True)
        session.exchange(b"x")
        before = self.memory(session.recorder())
        session.ask("write-many", (b"z" * 65536).hex(), 1024)
        # Nothing comes from the target: it waits, and not we.
        self.assertEqual(select.select([session.control], [], [], 1)[0], [])
        self.assertLess(self.memory(session.recorder()) - before, 256)
        received = session.receive(64 << 20)
        self.assertEqual((len(received), received.strip(b"z")), (64 << 20, b""))
        self.assertEqual(session.answer(), {"sent": 64 << 20, "error": None})
        self.finish(session)
        self.assertEqual({name: len(content) for name, content in self.home.files().items()}.popitem()[1], 64 << 20)

    @staticmethod
    def memory(pid):
        """Private memory in KiB."""
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith("Private_Dirty:"))

    def test_a_client_that_goes_on_sending_loses_no_answer(self):
        """Its unread bytes would make the end a reset."""
        for tcp in (False, True):
            with self.subTest(tcp=tcp):
                session = self.session(tcp=tcp)
                pushing = threading.Thread(target=self.push, args=(session.client,), daemon=True)
                pushing.start()
                session.tell("write", (b"you are cut off\r\n" * 300).hex())
                session.target_exits()
                self.assertEqual(session.receive(300 * 17), b"you are cut off\r\n" * 300)
                session.client.close()
                pushing.join(rawlog.TIMEOUT)
                session.client = None
                self.finish(session)

    @staticmethod
    def push(client):
        try:
            for _ in range(20):
                client.sendall(b"x" * 10_000)
        except OSError:
            pass


class LostPeers(Case):
    def test_the_client_breaks_its_connection(self):
        """What it sent before is there, and the target hears that its answers go nowhere."""
        session = self.session(tcp=True)
        session.exchange(b"x\n", (b"y\n",))
        session.reset()
        self.assertEqual(session.target_sees_end(), {"data": "", "end": "end"})

        def refused():
            return session.target_writes(b"z\n")["error"]

        self.assertEqual(wait_until(refused, what="the target's writes to fail"), 32)
        session.client = None
        self.finish(session)
        self.assertEqual(self.files()["in"], b"x\n")

    def test_the_client_reads_no_more(self):
        session = self.session()
        session.client.shutdown(socket.SHUT_RD)
        wait_until(lambda: session.target_writes(b"z\n")["error"] == 32, what="the target's writes to fail")
        # The other way is as it was.
        session.exchange(b"still\n")
        self.finish(session)

    def test_the_target_reads_no_more(self):
        session = self.session()
        session.tell("shutdown", socket.SHUT_RD)
        session.send(b"nobody takes this\n")
        session.exchange((b"still\n",))
        session.target_exits()
        self.assertEqual(session.receive_all(), b"")
        self.finish(session)
        self.assertEqual(self.files(), {"in": b"nobody takes this\n", "out": b"still\n"})

    def test_kills(self):
        """Whoever is killed, and whenever: the files hold what had been relayed, or a beginning of it."""
        for victim in ("target", "client", "recorder"):
            for exchanges in (0, 1, 20):
                with self.subTest(victim=victim, exchanges=exchanges):
                    self.kill(victim, exchanges)

    def kill(self, victim, exchanges):
        home = Home()
        self.addCleanup(home.close)
        with Session(OURS, home=home.path, tcp=victim == "client") as session:
            sent = b"".join(b"line %d\n" % number for number in range(exchanges))
            answers = sent.upper()
            for line in sent.splitlines(keepends=True):
                session.exchange(line, (line.upper(),))
            recorder = session.recorder()
            if victim == "client":
                session.reset()
                session.client = None
            else:
                os.kill(session.pid if victim == "target" else recorder, signal.SIGKILL)
                self.assertEqual(session.receive_all(), b"")
            if victim == "recorder":
                self.assertEqual(session.target_sees_end()["data"], "")
            rawlog.ends(recorder)
            session.finish()
            found = {name.rsplit(".", 1)[1]: content for name, content in home.files().items()}
        if victim == "recorder":
            self.assertTrue(sent.startswith(found["in"]) and answers.startswith(found["out"]), found)
        else:
            self.assertEqual(found, {"in": sent, "out": answers})

    def test_a_killed_recorder_has_written_what_is_older(self):
        session = self.session()
        session.exchange(b"old\n", (b"OLD\n",))
        wait_until(lambda: all(self.home.files().values()), what="the files to be written")
        session.exchange(b"new\n")
        os.kill(session.recorder(), signal.SIGKILL)
        self.assertEqual(session.receive_all(), b"")
        found = self.files()
        self.assertEqual(found["out"], b"OLD\n")
        self.assertIn(found["in"], (b"old\n", b"old\nnew\n"))
        session.finish()


class Signals(Case):
    def test_none_costs_a_byte(self):
        """SIGHUP and SIGUSR1 end the original, and what it had not written is lost."""
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
            with self.subTest(number=number):
                session = self.session()
                session.exchange(b"one\n", (b"two\n",))
                os.kill(session.recorder(), number)
                session.exchange(b"three\n", (b"four\n",))
                self.finish(session)
                self.assertIn(b"one\nthree\n", self.home.files().values())

    def test_a_stopped_recorder_goes_on(self):
        session = self.session()
        session.exchange(b"one\n")
        recorder = session.recorder()
        os.kill(recorder, signal.SIGSTOP)
        session.send(b"two\n")
        os.kill(recorder, signal.SIGCONT)
        self.assertEqual(session.target_reads(4), b"two\n")
        self.finish(session)


class Files(Case):
    def test_one_that_cannot_be_opened_does_not_lose_the_other(self):
        """Names of 255 bytes for .in, and of one more, which is one too many, for .out."""
        with open("/proc/sys/kernel/ns_last_pid", encoding="ascii") as file:
            digits = len(str(int(file.read()) + 100))
        address = "a" * (255 - len("-20260131-091500-.in") - digits)
        session = self.session("-I", environment={"IP": address})
        session.exchange(b"x\n", (b"y\n",))
        status, errors = session.finish()
        self.assertEqual((status, len(errors)), (0, 1), errors)
        self.assertRegex(errors[0], r"^Error: rawlog_open: creat\(/.*\.out\): File name too long$")
        self.assertEqual(list(self.home.files().values()), [b"x\n"])

    def test_neither_can_be_opened(self):
        os.chmod(self.home.directory, 0o500)
        session = self.session()
        session.exchange(b"x\n", (b"y\n",))
        status, errors = session.finish()
        self.assertEqual([without_name(line).replace(self.home.directory, "DIR") for line in errors],
                         ["Error: rawlog_open: creat(DIR/TIME-PID.in): Permission denied",
                          "Error: rawlog_open: creat(DIR/TIME-PID.out): Permission denied"])
        self.assertEqual((status, self.files()), (0, {}))

    @unittest.skipUnless(ROOT and shutil.which("unshare"), "needs processes with known numbers")
    def test_names_that_are_taken(self):
        """The next free number, the same for both; what is there is left alone."""
        for taken, expected in (((".in",), ".1"), ((".out",), ".1"), ((".in", ".1.out"), ".2"),
                                ((".out", ".1.in", ".2.in", ".2.out"), ".3")):
            with self.subTest(taken=taken):
                with Home() as home:
                    made = self.take(home, taken)
                    # The first process of the namespace waits for all others, the recorder too.
                    script = ("import os,sys\nif not os.fork(): os.execv(sys.argv[1], ['rawlog', '/bin/echo', 'hello'])\n"
                              "try:\n while True: os.wait()\nexcept ChildProcessError: pass")
                    done = subprocess.run(
                        ["unshare", "--pid", "--fork", "--kill-child", "setpriv", "--reuid=65534", "--regid=65534",
                         "--clear-groups", rawlog.PYTHON, "-S", "-E", "-c", script, OURS],
                        stdin=subprocess.DEVNULL, capture_output=True, env={"HOME": home.path, "PATH": "/usr/bin:/bin"},
                        timeout=rawlog.TIMEOUT, check=False)
                    if b"unshare" in done.stderr:
                        self.skipTest("no namespace of processes is allowed here")
                    self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"hello\n", b""))
                    new = {name: content for name, content in home.files().items() if name not in made}
                    self.assertEqual(sorted(name[name.index("-", 9):].split(".", 1)[1] for name in new),
                                     [expected[1:] + ".in", expected[1:] + ".out"], new)
                    self.assertEqual(sorted(new.values()), [b"", b"hello\n"])
                    self.assertEqual({home.files()[name] for name in made}, {b"mine"})

    @staticmethod
    def take(home, suffixes):
        """Takes the names of the next seconds, for the processes with the first numbers of a namespace."""
        made = set()
        for second in range(-1, 8):
            text = rawlog.time.strftime("%Y%m%d-%H%M%S", rawlog.time.localtime(rawlog.now() + second))
            for pid in range(1, 9):
                for suffix in suffixes:
                    name = f"{text}-{pid}{suffix}"
                    with open(os.path.join(home.directory, name), "wb") as file:
                        file.write(b"mine")
                    made.add(name)
        return made

    def test_a_file_at_its_size_limit(self):
        """Said at once, and once; the session and the other file go on."""
        session = self.session(before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)))
        data = b"0123456789abcde\n" * 4096
        session.ask("read", len(data))
        session.send(data)
        self.assertEqual(bytes.fromhex(session.answer()["data"]), data)
        # The session is still there.
        self.assertEqual(session.process.stderr.readline(), b"Error: write(in) failed: File too large\n")
        session.exchange(b"more\n", (b"answer\n",))
        self.finish(session)
        found = self.files()
        self.assertEqual(found["out"], b"answer\n")
        self.assertEqual(found["in"], data[:20_000])

    @unittest.skipUnless(ROOT, "mounting needs root")
    def test_a_full_disk(self):
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=777", "tmpfs", self.home.directory],
                                 capture_output=True, check=False)
        if mounted.returncode:
            self.skipTest("a tmpfs cannot be mounted here")
        self.addCleanup(subprocess.run, ["umount", self.home.directory], check=True)
        session = self.session()
        data = b"0123456789abcde\n" * 16384
        session.ask("read", len(data))
        session.send(data)
        self.assertEqual(bytes.fromhex(session.answer()["data"]), data)
        self.assertEqual(session.process.stderr.readline(), b"Error: write(in) failed: No space left on device\n")
        session.exchange((b"answer\n",))
        status, errors = session.finish()
        self.assertEqual(status, 0)
        self.assertLessEqual(set(errors), {"Error: write(out) failed: No space left on device"})
        self.assertTrue(data.startswith(self.files()["in"]))

    def test_a_disk_that_hangs_holds_the_session_up_for_two_seconds_only(self):
        disk = FrozenDisk(self)
        os.chmod(os.path.dirname(disk.directory), 0o755)
        directory = os.path.join(disk.directory, "dovecot.rawlog")
        os.mkdir(directory)
        os.chown(directory, *rawlog.unprivileged())
        session = self.session(home=disk.directory)
        session.exchange(b"before\n", (b"BEFORE\n",))
        disk.freeze()
        data = b"0123456789abcde\n" * 16384
        session.ask("read", len(data))
        session.send(data)
        self.assertEqual(bytes.fromhex(session.answer()["data"]), data)
        self.assertEqual(session.process.stderr.readline(),
                         b"Error: write(in) failed: nothing could be written for 2 s\n")
        session.exchange(b"after\n", (b"AFTER\n",))
        session.end_sending()
        self.assertEqual(session.target_sees_end()["end"], "end")
        session.target_exits()
        self.assertEqual(session.receive_all(), b"")
        disk.thaw()
        self.finish(session)
        found = {}
        for name in os.listdir(directory):
            with open(os.path.join(directory, name), "rb") as file:
                found[name.rsplit(".", 1)[1]] = file.read()
        self.assertEqual(found["out"], b"BEFORE\nAFTER\n")
        self.assertTrue((b"before\n" + data).startswith(found["in"]))


class Identities(Case):
    @unittest.skipUnless(ROOT, "needs to be root")
    def test_root_is_not_recorded(self):
        """Nobody writes as root into a user's directory; the original ends the session instead."""
        for environment in ({}, {"RESTRICT_SETUID": "0"}, {"RESTRICT_SETGID": "65534"}):
            with self.subTest(environment=environment):
                session = self.session(identity=(0, 0), environment=environment)
                session.exchange(b"x\n", (b"y\n",))
                self.assertEqual(session.recorders(), [])
                self.assertTrue(session.tell("describe")["same"])
                status, errors = session.finish()
                self.assertEqual((status, len(errors), self.files()), (0, 1, {}))
                self.assertRegex(errors[0], r"^Error: rawlog: this session is not recorded: root .*script-login -d")

    def test_numbers_that_are_none(self):
        for value in ("", "abc", "-1", "+5", " 5", "4294967295", "99999999999", "0x10"):
            with self.subTest(value=value):
                session = self.session(environment={"RESTRICT_SETGID": value})
                session.exchange(b"x\n", (b"y\n",))
                status, errors = session.finish()
                self.assertEqual((status, self.files()), (0, {}))
                self.assertEqual(errors, [f"Error: rawlog: this session is not recorded: RESTRICT_SETGID is '{value}', "
                                          "which is no number of a user or group"])

    @unittest.skipIf(rawlog.unprivileged()[0] == 12345, "has that number")
    def test_a_user_that_cannot_be_taken_on(self):
        session = self.session(environment={"RESTRICT_SETUID": "12345"})
        session.exchange(b"x\n", (b"y\n",))
        self.finish(session, errors=["Error: rawlog: this session is not recorded: setuid(12345) failed: "
                                     "Operation not permitted"])
        self.assertEqual(self.files(), {})

    @unittest.skipUnless(ROOT, "needs to be root")
    def test_a_group_that_there_is_not(self):
        session = self.session(identity=(0, 0), environment={
            "RESTRICT_SETUID": "65534", "RESTRICT_SETGID": "65534", "RESTRICT_SETEXTRAGROUPS": "no-such\x1bgroup"})
        session.exchange(b"x\n", (b"y\n",))
        status, errors = session.finish()
        self.assertEqual((status, self.files()), (0, {}))
        self.assertEqual(errors, ["Error: rawlog: this session is not recorded: RESTRICT_SETEXTRAGROUPS names the group "
                                  r"'no-such\x1bgroup', which there is not"])


class Processes(Case):
    def test_the_target_has_no_child(self):
        session = self.session()
        session.exchange(b"x")
        self.assertEqual(session.tell("children"), {"children": False})
        os.kill(session.recorder(), signal.SIGKILL)
        self.assertEqual(session.receive_all(), b"")
        # No zombie either.
        self.assertEqual(session.tell("children"), {"children": False})
        session.finish()

    def test_no_signal_is_left_for_the_target(self):
        """A child of which nobody knows would leave SIGCHLD pending where that is blocked."""
        def before():
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        session = self.session(before=before)
        session.exchange(b"x")
        with open(f"/proc/{session.pid}/status", encoding="ascii") as file:
            pending = [line.split()[1] for line in file if line.startswith(("SigPnd", "ShdPnd"))]
        self.assertEqual(pending, ["0" * 16, "0" * 16])
        self.finish(session)

    def test_descriptors_are_not_kept(self):
        """Whoever waits for the end of a pipe that the target was given gets it from the target alone."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        session = self.session(pass_fds=(writing,))
        os.close(writing)
        session.exchange(b"x")
        kept = {os.readlink(f"/proc/{session.recorder()}/fd/{name}").split(":")[0].split("[")[0]
                for name in os.listdir(f"/proc/{session.recorder()}/fd")}
        count = len(os.listdir(f"/proc/{session.recorder()}/fd"))
        # Client (twice), standard error, socket, ring, two files.
        self.assertEqual(count, 7, kept)
        recorder = session.recorder()
        os.kill(session.pid, signal.SIGKILL)
        self.assertEqual(os.read(reading, 1), b"")
        rawlog.ends(recorder)
        session.wait()

    def test_a_standard_error_that_nobody_reads_holds_nothing_up(self):
        os.chmod(self.home.directory, 0o500)

        def before():
            reading, writing = os.pipe()
            os.set_blocking(writing, False)
            try:
                while True:
                    os.write(writing, b"x" * 4096)
            except BlockingIOError:
                pass
            os.set_blocking(writing, True)
            os.dup2(writing, 2)
            os.set_inheritable(reading, True)

        session = self.session(before=before)
        session.exchange(b"x\n", (b"y\n",))
        self.assertEqual(session.finish()[0], 0)

    def test_closed_standard_descriptors(self):
        """Nothing of ours comes to stand in their place."""
        def before():
            os.close(2)
        session = self.session(before=before)
        session.exchange(b"x\n", (b"y\n",))
        session.close_client()
        session.control.shutdown(socket.SHUT_RDWR)
        session.process.wait(rawlog.TIMEOUT)
        wait_until(lambda: self.files() == {"in": b"x\n", "out": b"y\n"}, what="the recording")

    def test_inputs_that_are_no_sockets(self):
        """The original dies of them."""
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"from a file\n" * 2000)
            file.flush()
            for path, expected in ((file.name, b"from a file\n" * 2000), ("/dev/null", b"")):
                with self.subTest(path=path), Home() as home, open(path, "rb") as standard_input:
                    script = ("import os,select\nwhile True:\n select.select([0],[],[])\n data=os.read(0,65536)\n"
                              " if not data: break\n os.write(1,data)")
                    done = subprocess.run(["rawlog", rawlog.PYTHON, "-S", "-E", "-c", script], executable=OURS,
                                          stdin=standard_input, capture_output=True, env={"HOME": home.path},
                                          preexec_fn=self.give_up_root, timeout=rawlog.TIMEOUT, check=False)
                    self.assertEqual((done.returncode, done.stdout, done.stderr), (0, expected, b""))
                    self.assertEqual(list(home.files().values()), [expected, expected])

    def test_an_output_that_is_a_file(self):
        with tempfile.NamedTemporaryFile() as file:
            done = subprocess.run(["rawlog", "-f", "out", "/bin/echo", "hello"], executable=OURS, stdin=subprocess.DEVNULL,
                                  stdout=file, stderr=subprocess.PIPE, env={"HOME": self.home.path},
                                  preexec_fn=self.give_up_root, timeout=rawlog.TIMEOUT, check=False)
            # Standard error is at its end when the recorder is.
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            file.seek(0)
            self.assertEqual(file.read(), b"hello\n")
        self.assertEqual(self.files(), {"out": b"hello\n"})

    @staticmethod
    def give_up_root():
        if ROOT:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)


class Refusals(Case):
    """Where io_uring cannot be had the session goes on without a recording."""

    def unrecorded(self, *reasons, **keywords):
        session = self.session(**keywords)
        session.exchange(b"x\n", (b"y\n",))
        self.assertEqual(session.recorders(), [])
        status, errors = session.finish()
        self.assertEqual((status, len(errors), self.files()), (0, 1, {}), errors)
        self.assertTrue(errors[0].startswith("Error: rawlog: this session is not recorded: "), errors)
        for reason in reasons:
            self.assertIn(reason, errors[0])

    def refuse(self, number, error):
        """A filter that refuses one system call, as containers have (seccomp(2))."""
        class Instruction(ctypes.Structure):
            _fields_ = [("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint)]

        class Program(ctypes.Structure):
            _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.POINTER(Instruction))]

        library = ctypes.CDLL(None, use_errno=True)
        instructions = (Instruction * 4)(
            (0x20, 0, 0, 0),  # load the number of the call
            (0x15, 0, 1, number),  # if it is this one
            (0x06, 0, 0, 0x00050000 | error),  # fail
            (0x06, 0, 0, 0x7fff0000))  # allow
        program = Program(4, instructions)

        def before():
            if library.prctl(38, 1, 0, 0, 0) or library.prctl(22, 2, ctypes.byref(program), 0, 0):
                os._exit(99)

        return before

    def test_a_seccomp_filter(self):
        # The numbers are the same on all newer architectures.
        for name, number in (("setup", 425), ("enter", 426), ("register", 427)):
            for error in (1, 38):
                with self.subTest(call=name, error=error):
                    self.unrecorded("seccomp", before=self.refuse(number, error))

    def test_no_address_space(self):
        """What the program needs by itself differs from build to build: limits are tried until it is enough for all.

        Behind it is another one, whose usage is what comes of it: any other target would need more than it does.
        """
        reasons = set()
        for kibibytes in range(1 << 10, 24 << 10, 64):
            session = self.session(
                target=(OURS,),
                before=lambda: resource.setrlimit(resource.RLIMIT_AS, (kibibytes << 10, kibibytes << 10)))
            session.close_client()
            status, errors = session.wait()
            session.close()
            if status == 89:
                self.assertIn("Usage", errors[-1])
                reasons.update(errors[:-1])
                if len(errors) == 1:
                    break
        self.assertTrue(reasons)
        for reason in reasons:
            self.assertRegex(reason, "^Error: rawlog: this session is not recorded: .*(Cannot allocate memory)")

    def test_no_descriptors(self):
        for count in range(5, 12):
            with self.subTest(count=count):
                session = self.session(
                    target=("/bin/echo", "hello"),
                    before=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (count, count)))
                self.assertEqual(session.receive_all(), b"hello\n")
                session.close_client()
                status, errors = session.wait()
                self.assertEqual(status, 0)
                for error in errors:
                    self.assertIn("Too many open files", error)

    @unittest.skipUnless(ROOT, "needs a user without processes")
    def test_no_processes(self):
        """A user of its own, so that nobody else's processes count."""
        os.chown(self.home.directory, 54321, 54321)
        os.chown(self.home.path, 54321, 54321)
        session = self.session(
            identity=(54321, 54321), before=lambda: resource.setrlimit(resource.RLIMIT_NPROC, (1, 1)))
        session.exchange(b"x\n", (b"y\n",))
        status, errors = session.finish()
        self.assertEqual((status, self.files()), (0, {}))
        self.assertEqual(len(errors), 1)
        self.assertIn("no process can be started", errors[0])

    def test_as_under_script_login(self):
        """With its limits, it records."""
        def before():
            resource.setrlimit(resource.RLIMIT_AS, (256 << 20, 256 << 20))
            hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
            limit = 8 << 20 if hard == resource.RLIM_INFINITY else min(8 << 20, hard)
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, limit))
            os.umask(0o077)
        session = self.session("-t", before=before)
        session.exchange(b"x\n", (b"y\n",))
        self.finish(session)
        self.assertEqual(self.files(), {"in": b"@0 x\n", "out": b"@0 y\n"})

    def test_no_locked_memory(self):
        """A small ring needs none."""
        session = self.session(before=lambda: resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0)))
        session.exchange(b"x\n", (b"y\n",))
        self.assertEqual(session.finish()[0], 0)


class Reads(Case):
    def test_no_read_is_larger_than_the_originals(self):
        """What -b stands around, and what has one stamp, is at most 8192 bytes."""
        session = self.session("-b", "-t")
        data = b"x" * 99 + b"\n"
        session.ask("read", 100_000)
        session.send(data * 1000)
        self.assertEqual(bytes.fromhex(session.answer()["data"]), data * 1000)
        self.finish(session)
        content = next(content for name, content in self.home.files().items() if name.endswith(".in"))
        chunks = rawlog.STAMP.sub(lambda match: match.group(1) or b"", content)
        self.assertTrue(chunks.startswith(b"<<<\n") and chunks.endswith(b">>>\n"))
        chunks = chunks[4:-4].split(b">>>\n<<<\n")
        self.assertEqual(b"".join(chunks), data * 1000)
        self.assertLessEqual(max(map(len, chunks)), 8192)
        self.assertGreater(len(chunks), 12)

    def test_many_short_lines(self):
        """With -t they take nineteen times their room: more than a block, and than a read."""
        session = self.session("-t", "-b")
        session.ask("read", 40_000)
        session.send(b"\n" * 40_000)
        self.assertEqual(session.answer()["data"], "0a" * 40_000)
        self.finish(session)
        content = next(content for name, content in self.home.files().items() if name.endswith(".in"))
        self.assertEqual(content.replace(b"<<<\n", b"").replace(b">>>\n", b"").count(b" \n"), 40_000)
        self.assertEqual(content.count(b"<<<\n"), content.count(b">>>\n"))

    def test_both_ways_at_once(self):
        session = self.session("-t", tcp=True)
        data = b"".join(b"line %06d\n" % number for number in range(100_000))
        received = []
        reader = threading.Thread(target=lambda: received.append(session.receive(len(data))), daemon=True)
        reader.start()
        script = threading.Thread(target=lambda: session.send(data), daemon=True)
        script.start()
        session.ask("write", data.hex())
        self.assertEqual(session.answer(), {"sent": len(data), "error": None})
        self.assertEqual(session.target_reads(len(data)), data)
        script.join(rawlog.TIMEOUT)
        reader.join(rawlog.TIMEOUT)
        self.assertEqual(received, [data])
        self.finish(session)
        for content in self.home.files().values():
            self.assertEqual(rawlog.STAMP.sub(b"", content), data)


if __name__ == "__main__":
    unittest.main()
