"""`uring-rawlog show`: real recordings of the relay and of Dovecot, hostile and broken ones, terminals, following."""

import contextlib
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import dovecot
from peers import DEADLINE, MIB, EchoServer, EndToEnd, Task, name_of, payload, receive_all, receive_exactly, send_chunks
from relay import PROGRAM, run, wait_until
from transcript import Transcript

RAWLOG = "/usr/lib/dovecot/rawlog"
# The one that runs the tests may lie where nobody but root comes.
PYTHON = shutil.which("python3", path="/usr/bin:/usr/local/bin:/bin") or sys.executable
FLAGS = ((), ("-t",), ("-b",), ("-bt",))
LAYOUTS = FLAGS + (("--layout", "merged"),)
# What no terminal may get: control characters but the line feed, DEL, C1, controls of bidirectional text.
OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
HOSTILE = (b"\x1b[2J\x1b]0;title\x07\r\n\x9b31m\xc2\x9b31m\x00\x08\x7f\r\n\rover\r\n== heading\r\n-- note\r\n"
           b"\xe2\x80\xaegpj.exe\r\n\xff\xfe \\x1b \\ caf\xc3\xa9\r\n09:15:00.000001 out : forged\r\n")


def show(*arguments, **keywords):
    """Exit code, transcript, standard error."""
    done = subprocess.run([PROGRAM, "show", *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=60, **keywords)
    return done.returncode, Transcript(done.stdout), done.stderr.decode()


def write(path, data, mode=0o600):
    with open(path, "wb") as file:
        file.write(data)
    os.chmod(path, mode)


def peak_memory(process):
    """The most memory the running process has had resident, in bytes. (wait4's ru_maxrss would count the memory of
    the process that started it.)"""
    with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
        peak = re.search(r"VmHWM:\s+(\d+) kB", status.read())
    return int(peak[1]) * 1024 if peak else 0


class Show(EndToEnd):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="rawlog-", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.directory)

    def path(self, name):
        return os.path.join(self.directory, name)

    def write(self, name, data, mode=0o600):
        write(self.path(name), data, mode)
        return self.path(name)

    def shown(self, *arguments, code=0, **keywords):
        """The transcript; it must be all that is said."""
        found, transcript, errors = show(*arguments, **keywords)
        self.assertEqual((found, errors), (code, ""))
        return transcript

    def refused(self, *arguments, codes=(65, 66)):
        """One line on standard error and nothing else."""
        code, output, errors = run("show", *arguments)
        self.assertIn(code, codes, errors)
        self.assertEqual(output, "")
        self.assertEqual(len(errors.splitlines()), 1, errors)
        self.assertTrue(errors.startswith("uring-rawlog: "), errors)
        return errors


class Recorded(Show):
    """What the relay recorded, for all ways to record."""

    def converse(self, relay, listener, exchange):
        """A session whose parts arrive one by one; its end record."""
        client, server = self.pair(relay, listener)
        for direction, data in exchange:
            sender, receiver = (client, server) if direction == "in" else (server, client)
            sender.sendall(data)
            self.assertEqual(receive_exactly(receiver, len(data)), data)
        name = name_of(client)
        self.finish(client, server)
        return self.end_of(relay, name)

    EXCHANGE = (("out", b"* OK ready\r\n"), ("in", b"a1 LOGIN alice secret\r\n"), ("out", b"a1 OK\r\n"),
                ("in", b"a2 APPEND x {3}\r\n"), ("in", b"abc"), ("out", b"+ go\r\n"), ("in", HOSTILE + b"\r\n"),
                ("out", b"a2 OK (\\Seen)\r\n\n"), ("in", b"a3 LOGOUT\r\n"), ("out", b"* BYE"))

    def sent(self, direction):
        return b"".join(data for way, data in self.EXCHANGE if way == direction)

    def test_all_layouts(self):
        listener = self.listener()
        for flags in LAYOUTS:
            for more in ((), ("-I",)):
                with self.subTest(flags=flags + more):
                    relay = self.start(listener, *flags, *more)
                    record = self.converse(relay, listener, self.EXCHANGE)
                    stem = os.path.join(relay.directory, record["id"])
                    transcript = self.shown(stem)
                    for direction in ("in", "out"):
                        self.assertEqual(transcript.stream(direction), self.sent(direction))
                    self.assertEqual(transcript.headings, [record["id"]])
                    self.assertIn(f"client {record['client']}, server {record['server']}", transcript.notes[0])
                    self.assertIn("ended by client-eof", transcript.notes[1])
                    self.assertIsNone(OBEYED.search(transcript.output.decode("utf-8")))
                    self.assert_layout(flags, stem, transcript)
                    # The same by way of the directory.
                    self.assertEqual(self.shown(relay.directory).output, transcript.output)
                    self.assertEqual(self.shown("--session", record["id"], relay.directory).output, transcript.output)
                    relay.close()

    def assert_layout(self, flags, stem, transcript):
        """What is particular to one way to record."""
        if "merged" in flags:
            self.assertEqual(self.shown(stem + ".rawlog").output, transcript.output)
            self.assertTrue(all(line.time for line in transcript.lines))
            return
        for direction in ("in", "out"):
            alone = self.shown(f"{stem}.{direction}")
            self.assertEqual(alone.stream(direction), self.sent(direction))
            self.assertEqual({line.direction for line in alone.lines}, {direction})
        stamped = "t" in "".join(flags)
        self.assertEqual(all(line.time for line in transcript.lines), stamped)
        self.assertEqual(any("order" in note for note in transcript.notes), not stamped)
        reads = sum(line.begins_read for line in transcript.lines)
        self.assertEqual(reads, len(self.EXCHANGE) if "b" in "".join(flags) else 0)
        if stamped:
            self.assert_in_order(transcript)

    def assert_in_order(self, transcript):
        """Questions and answers as they were sent: each part of the exchange arrived before the next was sent."""
        changes = [line.direction for number, line in enumerate(transcript.lines)
                   if number == 0 or transcript.lines[number - 1].direction != line.direction]
        expected = [direction for number, (direction, _) in enumerate(self.EXCHANGE)
                    if number == 0 or self.EXCHANGE[number - 1][0] != direction]
        # `abc` continues no line and is one of its own; the second `in` part in a row changes nothing.
        self.assertEqual(changes, expected)
        self.assertEqual([line.time for line in transcript.lines], sorted(line.time for line in transcript.lines))

    def test_one_direction_only(self):
        listener = self.listener()
        for wanted, other in (("in", "out"), ("out", "in")):
            relay = self.start(listener, "-t", "-f", wanted)
            record = self.converse(relay, listener, self.EXCHANGE)
            transcript = self.shown(os.path.join(relay.directory, record["id"]))
            self.assertEqual(transcript.stream(wanted), self.sent(wanted))
            self.assertEqual(transcript.stream(other), b"")
            self.assertIn(f"{other}: not recorded", transcript.notes)
            relay.close()

    def test_random_bytes(self):
        listener = self.listener()
        for flags in LAYOUTS:
            with self.subTest(flags=flags):
                relay = self.start(listener, *flags)
                # Nothing that looks like a boundary, and nothing like a stamp at the beginning.
                up, down = (b"x" + payload(seed, 200_000).replace(b"<", b"(").replace(b">", b")") for seed in (1, 2))
                client, server = self.pair(relay, listener)
                sending = [Task(send_chunks, client, up, 1), Task(send_chunks, server, down, 2)]
                receiving = Task(receive_all, server)
                self.assertTrue(receive_all(client) == down and receiving.result() == up)
                for task in sending:
                    task.result()
                name = name_of(client)
                self.finish(client, server)
                transcript = self.shown(os.path.join(relay.directory, self.end_of(relay, name)["id"]))
                self.assertTrue(transcript.stream("in") == up, "the .in differs")
                self.assertTrue(transcript.stream("out") == down, "the .out differs")
                # A piece of random bytes may hold valid UTF-8, which is shown.
                self.assertIsNone(OBEYED.search(transcript.output.decode("utf-8")))
                relay.close()

    def test_max_recording(self):
        listener = self.listener()
        relay = self.start(listener, "-t", "--max-recording", "10")
        record = self.converse(relay, listener, self.EXCHANGE)
        transcript = self.shown(os.path.join(relay.directory, record["id"]))
        self.assertEqual(transcript.stream("in"), self.sent("in")[:10])
        self.assertTrue(any("truncated" in note for note in transcript.notes))
        self.assertIn(f"in: {record['in_bytes'] - 10} bytes more were relayed and not recorded", transcript.notes)

    def test_gaps(self):
        listener = self.listener()
        for flags in (("-t",), ("--layout", "merged")):
            with self.subTest(flags=flags):
                directory = tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
                self.addCleanup(shutil.rmtree, directory)
                relay = self.start(listener, *flags, "--log-memory", "64K", "--log-full", "drop", directory=directory)
                sent = {"in": payload(7, 8 * MIB), "out": payload(8, 8 * MIB)}
                client, server = self.pair(relay, listener)
                sending = [Task(send_chunks, client, sent["in"], 91, MIB), Task(send_chunks, server, sent["out"], 92, MIB)]
                receiving = Task(receive_all, server)
                self.assertTrue(receive_all(client) == sent["out"] and receiving.result() == sent["in"])
                for task in sending:
                    task.result()
                name = name_of(client)
                self.finish(client, server)
                self.assert_gaps(self.end_of(relay, name), directory, sent)
                relay.close()

    def assert_gaps(self, record, directory, sent):
        """All but the gaps is shown, and each gap has its mark."""
        transcript = self.shown(os.path.join(directory, record["id"]))
        marks = [note for note in transcript.notes if note.endswith("are missing here; they were relayed and not recorded")]
        self.assertEqual(sorted(marks), sorted(
            f"{gap['direction']}: {gap['bytes']} bytes are missing here; they were relayed and not recorded"
            for gap in record["gaps"]))
        for direction, data in sent.items():
            kept = bytearray(data)
            for gap in reversed([gap for gap in record["gaps"] if gap["direction"] == direction]):
                del kept[gap["offset"]:gap["offset"] + gap["bytes"]]
            self.assertTrue(transcript.stream(direction) == kept, direction)

    def test_redacted(self):
        listener = self.listener()
        for flags in (("-t",), ("--layout", "merged")):
            with self.subTest(flags=flags):
                relay = self.start(listener, *flags, "--protocol", "imap")
                record = self.converse(relay, listener, self.EXCHANGE[:3] + (("in", b"a3 LOGOUT\r\n"),))
                transcript = self.shown(os.path.join(relay.directory, record["id"]))
                self.assertEqual(transcript.stream("in"), b"a1 LOGIN alice <redacted>\r\na3 LOGOUT\r\n")
                self.assertIn(", user 'alice', login ok", transcript.notes[0])
                relay.close()

    def test_killed_relay(self):
        listener = self.listener()
        relay = self.start(listener, "-bt")
        client, server = self.pair(relay, listener)
        client.sendall(b"a1 NOOP\r\n")
        self.assertEqual(receive_exactly(server, 9), b"a1 NOOP\r\n")
        stem = wait_until(lambda: relay.records("start"))[0]["id"]
        path = os.path.join(relay.directory, stem)
        wait_until(lambda: os.path.getsize(path + ".in") > 0, what="the flush")
        relay.signal(signal.SIGKILL)
        relay.wait()
        transcript = self.shown(path)
        self.assertEqual(transcript.stream("in"), b"a1 NOOP\r\n")
        self.assertTrue(any(note.startswith("no end in the index") for note in transcript.notes))

    def test_template(self):
        listener = self.listener()
        os.mkdir(self.path("127.0.0.1"))
        relay = self.start(listener, "-t", directory=self.directory, directory_option=self.path("%{ip}"))
        record = self.converse(relay, listener, self.EXCHANGE)
        self.assertEqual(self.shown(self.directory).headings, ["127.0.0.1/" + record["id"]])
        below = self.shown(self.path("127.0.0.1"), "--index", self.directory)
        self.assertIn("ended by client-eof", below.notes[1])

    def test_many_sessions_in_order(self):
        server = self.serve(EchoServer())
        relay = self.start(server, "-t", directory=self.directory)
        for number in range(12):
            self.exchange(relay.address, b"session %d\r\n" % number)
            relay.wait_ends(number + 1)
        transcript = self.shown(self.directory)
        self.assertEqual([line.bytes for line in transcript.lines if line.direction == "in"],
                         [b"session %d" % number for number in range(12)])
        ids = [record["id"] for record in relay.records("start")]
        self.assertEqual(transcript.headings, ids)
        self.assertEqual(self.shown("--session", ids[3], self.directory).stream("in"), b"session 3\r\n")
        self.assertIn("more of the id", self.refused("--session", ids[0][:9], self.directory, codes=(66,)))
        self.assertIn("no session", self.refused("--session", "x", self.directory, codes=(66,)))
        os.unlink(relay.index_path)
        self.assertEqual(self.shown(self.directory).headings, ids)


# A server that Dovecot's rawlog starts: it answers each line and ends with its client.
TARGET = """
import os, sys
os.set_blocking(0, True)
reader = os.fdopen(0, "rb", 0)
os.write(1, b"* OK ready\\r\\n")
while True:
    line = reader.readline()
    if not line:
        break
    os.write(1, b"answer to " + line)
"""


@unittest.skipUnless(os.access(RAWLOG, os.X_OK), "Dovecot's rawlog is not installed")
class DovecotBinary(Show):
    """Recordings of Dovecot's own rawlog, which refuses root."""

    def record(self, *flags):
        home = tempfile.mkdtemp(dir=self.directory)
        os.mkdir(os.path.join(home, "dovecot.rawlog"))
        identity = {}
        if os.geteuid() == 0:
            identity = {"user": 65534, "group": 65534, "extra_groups": []}
            os.chmod(self.directory, 0o755)
            for path in (home, os.path.join(home, "dovecot.rawlog")):
                os.chown(path, 65534, 65534)
        ours, theirs = socket.socketpair()
        with ours:
            ours.settimeout(DEADLINE)
            with theirs:
                process = subprocess.Popen([RAWLOG, *flags, PYTHON, "-c", TARGET], stdin=theirs, stdout=theirs,
                                           env={"HOME": home, "IP": "192.0.2.7", "USER": "alice"}, **identity)
            self.addCleanup(process.wait)
            self.addCleanup(process.kill)
            self.assertEqual(receive_exactly(ours, 12), b"* OK ready\r\n")
            for line in (b"a1 NOOP\r\n", HOSTILE.split(b"\r\n")[0] + b"\r\n", b"a2 LOGOUT\r\n"):
                ours.sendall(line)
                self.assertEqual(receive_exactly(ours, len(line) + 10), b"answer to " + line)
        process.wait(DEADLINE)
        directory = os.path.join(home, "dovecot.rawlog")
        # The process that records ends a little later than its server.
        wait_until(lambda: all(os.path.getsize(os.path.join(directory, name)) for name in os.listdir(directory))
                   and len(os.listdir(directory)) == 2, what="Dovecot's recording")
        return directory

    def test_all_flags(self):
        for flags in ((), ("-t",), ("-b",), ("-bt",), ("-tI",)):
            with self.subTest(flags=flags):
                directory = self.record(*flags)
                transcript = self.shown(directory)
                lines = (b"a1 NOOP\r\n", HOSTILE.split(b"\r\n")[0] + b"\r\n", b"a2 LOGOUT\r\n")
                self.assertEqual(transcript.stream("in"), b"".join(lines))
                self.assertEqual(transcript.stream("out"), b"* OK ready\r\n" + b"".join(b"answer to " + line for line in lines))
                self.assertEqual(len(transcript.headings), 1)
                self.assertEqual(transcript.headings[0].startswith("192.0.2.7-"), "-tI" in flags)
                if "t" in "".join(flags):
                    self.assertEqual([line.direction for line in transcript.lines],
                                     ["out", "in", "out", "in", "out", "in", "out"])
                stem = os.path.join(directory, transcript.headings[0])
                self.assertEqual(self.shown(stem).lines[0].bytes, transcript.lines[0].bytes)


@unittest.skipIf(dovecot.why_unavailable(), dovecot.why_unavailable())
class DovecotDirectory(Show):
    def test_rawlog_dir(self):
        with dovecot.Dovecot(("imap",), rawlog=True) as server, \
                socket.create_connection(server.address("imap"), timeout=DEADLINE) as client:
            answers = client.makefile("rb")
            answers.readline()
            for command in (b"a1 LOGIN %s %s" % (server.user.encode(), server.password.encode()), b"a2 NOOP", b"a3 LOGOUT"):
                client.sendall(command + b"\r\n")
                for line in answers:
                    if line.startswith(command[:2]):
                        break
            answers.read()
            wait_until(lambda: any(os.path.getsize(os.path.join(server.rawlog_directory, name))
                                   for name in os.listdir(server.rawlog_directory) if name.endswith(".in")),
                       what="Dovecot's recording")
            transcript = self.shown(server.rawlog_directory)
            self.assertEqual([line.bytes for line in transcript.lines if line.direction == "in"], [b"a2 NOOP", b"a3 LOGOUT"])
            answered = [line.bytes[:5] for line in transcript.lines if line.bytes[:5] in (b"a2 OK", b"a3 OK", b"a2 NO")]
            self.assertEqual(answered, [b"a2 NO", b"a2 OK", b"a3 OK"])


class Merged(Show):
    LINES = ((b"O", b"* OK ready\r\n"), (b"I", b"a1 NOOP\r\n"), (b"O", b"a1 OK\r\n"))

    def test_dovecot_2_4(self):
        part = payload(3, 8192).replace(b"\n", b" ")
        data = b"1769850900.000001 O: * OK\r\n1769850900.000002 I> " + part + b"\n1769850900.000003 O: between\r\n" \
            b"1769850900.000004 I> " + part + b"\n1769850900.000005 I: end\r\n1769850900.000006 I> last\n"
        transcript = self.shown(self.write("20260131-091500.1.1.rawlog", data))
        self.assertEqual(transcript.stream("in"), part + part + b"end\r\nlast")
        self.assertEqual(transcript.stream("out"), b"* OK\r\nbetween\r\n")
        self.assertEqual([line.continues for line in transcript.lines], [False, False, False, True, True, False])

    def test_dovecot_2_3(self):
        # Nothing stands between a piece and the next stamp. The name is that which doveadm -r was given.
        part = payload(4, 8192).replace(b"\n", b" ")
        data = b"1769850900.000001 I> " + part + b"1769850900.000002 I> " + part + b"1769850900.000003 I: end\r\n" \
            b"1769850900.000004 O: answer\r\n"
        transcript = self.shown(self.write("sync.log", data))
        self.assertEqual(transcript.stream("in"), part + part + b"end\r\n")
        self.assertEqual(transcript.stream("out"), b"answer\r\n")
        self.assertTrue(any("Dovecot 2.3" in note for note in transcript.notes))

    def test_in_a_directory(self):
        self.write("20260131-091501.1.2.rawlog", b"1769850901.000001 O: second\r\n")
        self.write("20260131-091500.1.1.in", b"first\r\n")
        self.write("20260131-091502.1.3.rawlog", b"")
        transcript = self.shown(self.directory)
        self.assertEqual(transcript.dialogue(), [("in", b"first"), ("out", b"second")])
        self.assertEqual(len(transcript.headings), 3)

    def test_torn(self):
        whole = b"1769850900.000001 O: one\r\n1769850900.000002 I: two\r\n"
        for count in range(26, len(whole)):
            code, transcript, errors = show(self.write("a.rawlog", whole[:count]))
            self.assertEqual(transcript.stream("out")[:5], b"one\r\n")
            self.assertEqual((code, len(errors.splitlines())), (0, 0) if count == 26 else (65, 1), (count, errors))


class Hostile(Show):
    def test_what_a_terminal_obeys(self):
        self.write("a.in", HOSTILE)
        self.write("a.out", bytes(range(256)) * 3)
        transcript = self.shown(self.path("a"))
        self.assertEqual(transcript.stream("in"), HOSTILE)
        self.assertEqual(transcript.stream("out"), bytes(range(256)) * 3)
        text = transcript.output.decode("utf-8")
        self.assertIsNone(OBEYED.search(text))
        self.assertIn("café", text)
        # Headings, notes and lines cannot be forged.
        self.assertEqual(transcript.headings, ["a"])
        self.assertFalse(any(note == "note" for note in transcript.notes))

    def test_in_names_and_in_the_index(self):
        name = "\x1b[31m\u202ea"
        self.write(name + ".in", b"x\r\n")
        self.write("sessions.jsonl", b'{"event":"start","id":"\\u001b[31m\\u202ea","client":"\\u001b[2J","server":"\\u0007"}\n')
        code, transcript, errors = show(self.path(name))
        self.assertEqual(code, 0)
        self.assertIsNone(OBEYED.search(transcript.output.decode("utf-8")))
        self.assertIn("client \\x1b[2J", transcript.notes[0])
        for path in (name + "missing", "\x1b[2J", "a\nb"):
            self.assertIsNone(OBEYED.search(self.refused(self.path(path))))

    def test_lines_that_look_like_stamps(self):
        text = b"a line\r\n1769850900.000001 not a stamp\r\n"
        transcript = self.shown(self.write("a.in", text))
        self.assertEqual(transcript.stream("in"), text)
        self.assertTrue(any("begins like a stamp" in note for note in transcript.notes))
        # The first line decides; where a later one has none, that is said and nothing is lost.
        transcript = self.shown(self.write("a.in", b"1769850900.000001 one\r\ntwo\r\n"))
        self.assertEqual(transcript.stream("in"), b"one\r\ntwo\r\n")
        self.assertTrue(any("line 2 has no stamp" in note for note in transcript.notes))

    def test_files_that_are_none(self):
        self.write("foreign.txt", b"just text\n")
        self.write("empty", b"")
        self.write("sessions.jsonl", b"{}\n")
        with open(PROGRAM, "rb") as program:
            self.write("binary", program.read(100_000))
        os.mkdir(self.path("empty-directory"))
        os.mkdir(self.path("directory.in"))
        os.mkfifo(self.path("fifo.in"))
        for name in ("foreign.txt", "empty", "binary", "sessions.jsonl"):
            self.refused(self.path(name), codes=(65,))
        for path in (*map(self.path, ("empty-directory", "directory.in", "fifo.in", "missing", "foreign.txt/x")),
                     "/dev/null", "/dev/zero", "x" * 5000):
            self.refused(path, codes=(66,))
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.path("socket.in"))
            self.refused(self.path("socket.in"), codes=(66,))

    def test_binary_recordings(self):
        # A recording of encrypted bytes is one all the same.
        with open(PROGRAM, "rb") as program:
            data = program.read(300_000)
        self.assertTrue(self.shown(self.write("a.in", data)).stream("in") == data)

    def test_not_readable(self):
        if os.geteuid() == 0:
            self.skipTest("root may read everything")
        self.write("a.in", b"x\r\n", mode=0o000)
        self.refused(self.path("a"), codes=(66,))

    def test_not_readable_for_another_user(self):
        if os.geteuid() != 0:
            self.skipTest("needs root")
        os.chmod(self.directory, 0o755)
        self.write("20260131-091500.1.1.in", b"secret\r\n")
        self.write("20260131-091500.1.2.in", b"public\r\n", mode=0o644)
        program = os.path.join(self.directory, "program")
        shutil.copy(PROGRAM, program)
        os.chmod(program, 0o755)
        done = subprocess.run([program, "show", self.directory], stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=60, user=65534, group=65534, extra_groups=[])
        self.assertEqual(done.returncode, 66)
        self.assertEqual(Transcript(done.stdout).stream("in"), b"public\r\n")
        self.assertRegex(done.stderr.decode(), r"\Auring-rawlog: cannot open '[^\n]*1\.1\.in': Permission denied[^\n]*\n\Z")

    def test_links(self):
        target = self.write("target.in", b"x\r\n")
        os.symlink(target, self.path("20260131-091500.1.1.in"))
        self.assertEqual(self.shown(self.path("20260131-091500.1.1.in")).stream("in"), b"x\r\n")
        code, transcript, errors = show(self.directory)
        self.assertEqual((code, transcript.lines), (66, []))
        self.assertIn("symbolic link", errors)

    def test_huge_files(self):
        # Sparse, with one line of 1 TiB: memory is bounded by a piece, and `head` ends it quietly.
        self.write("a.in", b"1769850900.000001 begin")
        os.truncate(self.path("a.in"), 1 << 40)
        process = subprocess.Popen([PROGRAM, "show", self.path("a.in")], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.kill)
        count = 0
        while count < 64 * MIB:
            count += len(process.stdout.read(MIB))
        peak = peak_memory(process)
        process.stdout.close()
        self.assertEqual(process.wait(DEADLINE), 0)
        self.assertEqual(process.stderr.read(), b"")
        self.assertLess(peak, 32 * MIB)

    def test_a_directory_with_very_many_sessions(self):
        directory = tempfile.mkdtemp(prefix="rawlog-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
        self.addCleanup(shutil.rmtree, directory)
        for number in range(50_000):
            descriptor = os.open(f"{directory}/20260131-0915{number % 60:02d}.4711.{number}.in",
                                 os.O_CREAT | os.O_WRONLY, 0o600)
            os.write(descriptor, b"%d\r\n" % number)
            os.close(descriptor)
        process = subprocess.Popen([PROGRAM, "show", directory], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        output, peak = b"", 0
        with process.stdout:
            # It waits for room in the pipe while its peak is read.
            while len(piece := os.read(process.stdout.fileno(), 1 << 16)) > 0:
                output += piece
                peak = max(peak, peak_memory(process))
        self.assertEqual(process.wait(DEADLINE), 0)
        transcript = Transcript(output)
        numbers = [int(line.bytes) for line in transcript.lines]
        self.assertEqual(numbers, sorted(range(50_000), key=lambda number: (number % 60, number)))
        self.assertGreater(peak, MIB)
        self.assertLess(peak, 64 * MIB)


class Output(Show):
    def setUp(self):
        super().setUp()
        self.write("a.in", b"1769850900.000001 question \x1b[31m\r\n")
        self.write("a.out", b"1769850900.000002 answer\r\n")

    def on_a_terminal(self, **environment):
        """What the program writes to a terminal."""
        ours, theirs = pty.openpty()
        with open(ours, "rb", buffering=0) as terminal:
            process = subprocess.Popen([PROGRAM, "show", self.path("a")], stdin=subprocess.DEVNULL, stdout=theirs,
                                       stderr=subprocess.PIPE,
                                       env={**os.environ, "TERM": "xterm", "NO_COLOR": "", **environment})
            os.close(theirs)
            output = bytearray()
            with contextlib.suppress(OSError):  # EIO: the other end was closed
                while part := terminal.read(65536):
                    output += part
            with process.stderr:
                self.assertEqual(process.stderr.read(), b"")
            self.assertEqual(process.wait(DEADLINE), 0)
        return bytes(output).replace(b"\r\n", b"\n")

    def test_colour_on_a_terminal(self):
        plain = self.shown(self.path("a")).output
        self.assertNotIn(b"\x1b", plain)
        coloured = self.on_a_terminal()
        self.assertIn(b"\x1b[36min ", coloured)
        self.assertIn(b"\x1b[32mout", coloured)
        # Nothing but colours, and what was sent is escaped as ever.
        self.assertEqual(re.sub(rb"\x1b\[\d+m", b"", coloured), plain)
        self.assertIn(b"\\x1b[31m", plain)

    def test_no_colour(self):
        plain = self.shown(self.path("a")).output
        self.assertEqual(self.on_a_terminal(NO_COLOR="1"), plain)
        self.assertEqual(self.on_a_terminal(TERM="dumb"), plain)

    def test_reader_that_goes_away(self):
        self.write("b.in", b"a line\r\n" * 200_000)
        process = subprocess.Popen([PROGRAM, "show", self.path("b")], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        self.assertEqual(process.stdout.read(5), b"== b\n")
        process.stdout.close()
        with process.stderr:
            self.assertEqual(process.stderr.read(), b"")
        self.assertEqual(process.wait(DEADLINE), 0)

    def test_output_that_is_full(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([PROGRAM, "show", self.path("a")], stdin=subprocess.DEVNULL, stdout=full,
                                  stderr=subprocess.PIPE, timeout=60)
        self.assertEqual(done.returncode, 74)
        self.assertRegex(done.stderr.decode(), r"\Auring-rawlog: cannot write to standard output: [^\n]*\n\Z")

    def test_slow_reader(self):
        # A pipe that does not wait (O_NONBLOCK), as another program may have left it.
        self.write("b.in", b"a line\r\n" * 50_000)
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        process = subprocess.Popen([PROGRAM, "show", self.path("b")], stdin=subprocess.DEVNULL, stdout=writing)
        os.close(writing)
        with open(reading, "rb") as output:
            self.assertEqual(Transcript(output.read()).stream("in"), b"a line\r\n" * 50_000)
        self.assertEqual(process.wait(DEADLINE), 0)


class CommandLine(Show):
    def usage(self, *arguments):
        errors = self.refused(*arguments, codes=(64,))
        self.assertIn("see 'uring-rawlog show --help'", errors)
        return errors

    def test_wrong_command_lines(self):
        self.usage()
        self.usage("")
        self.assertIn("--frobnicate", self.usage("--frobnicate", self.directory))
        self.usage(self.directory, self.directory)
        self.assertIn("--session", self.usage("--session", "a", "--session", "b", self.directory))
        self.usage("--session", "", self.directory)
        self.usage("--index", "", self.directory)
        self.usage("--session")
        self.usage("--session", "x", self.write("a.in", b"x"))
        self.usage("--follow=yes", self.directory)

    def test_help(self):
        code, output, errors = run("show", "--help")
        self.assertEqual((code, errors), (0, ""))
        for word in ("--follow", "--session", "--index", "FILE|STEM|DIRECTORY"):
            self.assertIn(word, output)
        self.assertIn("show", run("--help")[1])


class Following(Show):
    """`--follow` on sessions that grow."""

    def follow(self, *arguments):
        process = subprocess.Popen([PROGRAM, "show", "--follow", *arguments], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        process.shown = b""
        return process

    def wait_shown(self, process, text, times=1):
        end = time.monotonic() + DEADLINE
        while process.shown.count(text) < times:
            if select.select([process.stdout], [], [], 1)[0]:
                part = os.read(process.stdout.fileno(), 65536)
                if not part:
                    self.fail(f"it ended: {process.shown!r} {process.stderr.read()!r}")
                process.shown += part
            self.assertLess(time.monotonic(), end, f"{text!r} did not come: {process.shown!r}")

    def interrupt(self, process, number=signal.SIGINT):
        """Ends it as a user does; its whole transcript."""
        process.send_signal(number)
        process.shown += process.stdout.read()
        self.assertEqual(process.wait(DEADLINE), 0)
        self.assertEqual(process.stderr.read(), b"")
        return Transcript(process.shown)

    def test_a_live_session(self):
        listener = self.listener()
        for flags in LAYOUTS:
            with self.subTest(flags=flags):
                relay = self.start(listener, *flags)
                client, server = self.pair(relay, listener)
                server.sendall(b"* OK ready\r\n")
                receive_exactly(client, 12)
                stem = wait_until(lambda: relay.records("start"))[0]["id"]
                process = self.follow(os.path.join(relay.directory, stem))
                self.wait_shown(process, b"* OK ready")
                for number in range(5):
                    question, answer = b"a%d NOOP\r\n" % number, b"a%d OK done\r\n" % number
                    # In two parts, the first of which reaches the disk.
                    for part in (question[:4], question[4:]):
                        client.sendall(part)
                        self.assertEqual(receive_exactly(server, len(part)), part)
                        time.sleep(0.15)
                    server.sendall(answer)
                    self.assertEqual(receive_exactly(client, len(answer)), answer)
                    if number % 2:
                        self.wait_shown(process, answer[:-2])
                self.finish(client, server)
                self.wait_shown(process, b"recording complete")
                transcript = self.interrupt(process)
                self.assertEqual(transcript.stream("in"), b"".join(b"a%d NOOP\r\n" % number for number in range(5)))
                self.assertEqual(transcript.stream("out"),
                                 b"* OK ready\r\n" + b"".join(b"a%d OK done\r\n" % number for number in range(5)))
                self.assertEqual(transcript.headings, [stem])
                # In which order is a matter of how soon the disk has them; here it is only that each has its time.
                self.assertEqual(all(line.time for line in transcript.lines), flags in (("-t",), ("-bt",), LAYOUTS[-1]))
                relay.close()

    def test_a_directory_with_new_sessions(self):
        server = self.serve(EchoServer())
        relay = self.start(server, "-t", directory=self.directory)
        self.exchange(relay.address, b"before\r\n")
        relay.wait_ends(1)
        process = self.follow(self.directory)
        self.wait_shown(process, b"out : before")
        for number in range(10):
            self.exchange(relay.address, b"session %d\r\n" % number)
        self.wait_shown(process, b"out : session 9")
        ends = relay.wait_ends(11)
        self.wait_shown(process, b"recording complete", 11)
        transcript = self.interrupt(process, signal.SIGTERM)
        self.assertEqual({heading.removesuffix(" goes on") for heading in transcript.headings},
                         {record["id"] for record in ends})
        said = [line.bytes for line in transcript.lines if line.direction == "in"]
        self.assertEqual(sorted(said), sorted([b"before"] + [b"session %d" % number for number in range(10)]))
        self.assertEqual(sum("recording complete" in note for note in transcript.notes), 11)

    def test_captures(self):
        """A directory of captures: what there is, what comes, and what goes on in the next capture."""
        listener = self.listener()
        relay = self.start(listener, "--layout", "pcapng", "--rotate-size", "64K", "--flush", "10",
                           directory=self.directory)
        client, server = self.pair(relay, listener)
        client.sendall(b"before\r\n")
        receive_exactly(server, 8)
        process = self.follow(self.directory)
        self.wait_shown(process, b"in  : before")
        other, other_server = self.pair(relay, listener)
        said = []
        for number in range(40):
            # Some captures full; both sessions speak by turns.
            for source, sink, word in ((client, server, b"one"), (other_server, other, b"two")):
                line = b"%s %d %s\r\n" % (word, number, b"." * 3000)
                source.sendall(line)
                self.assertEqual(receive_exactly(sink, len(line)), line)
            said.append(number)
            if number % 10 == 0:
                self.wait_shown(process, b"two %d " % number)
        self.finish(other, other_server)
        self.wait_shown(process, b"recording complete")
        self.finish(client, server)
        ends = relay.wait_ends(2)
        self.wait_shown(process, b"recording complete", 2)
        self.assertEqual(relay.terminate(), 0)
        self.assertGreater(len([name for name in os.listdir(self.directory) if name.endswith(".pcapng")]), 2)
        transcript = self.interrupt(process)
        tail = b" " + b"." * 3000
        self.assertEqual([line.bytes for line in transcript.lines if line.direction == "in"],
                         [b"before"] + [b"one %d" % number + tail for number in said])
        self.assertEqual([line.bytes for line in transcript.lines if line.direction == "out"],
                         [b"two %d" % number + tail for number in said])
        self.assertEqual({heading.removesuffix(" goes on") for heading in transcript.headings},
                         {record["id"] for record in ends})
        self.assertEqual(sum("no end" in note or "damaged" in note for note in transcript.notes), 0)

    def test_one_session_of_captures(self):
        listener = self.listener()
        relay = self.start(listener, "--layout", "pcapng", "--flush", "10", directory=self.directory)
        client, server = self.pair(relay, listener)
        other, other_server = self.pair(relay, listener)
        ids = {record["client"]: record["id"] for record in wait_until(
            lambda: len(relay.records("start")) == 2 and relay.records("start"), what="the index")}
        process = self.follow("--session", ids[name_of(other)], self.directory)
        for source, sink, line in ((client, server, b"unwanted\r\n"), (other, other_server, b"wanted\r\n")):
            source.sendall(line)
            receive_exactly(sink, len(line))
        self.wait_shown(process, b"in  : wanted")
        self.finish(client, server)
        self.finish(other, other_server)
        self.wait_shown(process, b"recording complete")
        self.assertEqual(relay.terminate(), 0)
        transcript = self.interrupt(process)
        self.assertEqual(transcript.headings, [ids[name_of_record] for name_of_record in ids
                                               if ids[name_of_record] in transcript.headings])
        self.assertNotIn(b"unwanted", process.shown)

    def test_a_capture_by_its_name_ends_with_it(self):
        server = self.serve(EchoServer())
        relay = self.start(server, "--layout", "pcapng", "--flush", "10", directory=self.directory)
        self.exchange(relay.address, b"one\r\n")
        part, = wait_until(lambda: [n for n in os.listdir(self.directory) if n.endswith(".pcapng.part")],
                           what="a capture")
        process = self.follow(self.path(part))
        self.wait_shown(process, b"out : one")
        self.exchange(relay.address, b"two\r\n")
        self.wait_shown(process, b"out : two")
        self.assertEqual(relay.terminate(), 0)
        self.wait_shown(process, b"name its directory to go on")
        self.assertEqual(process.wait(DEADLINE), 0)
        self.assertEqual(process.stderr.read(), b"")

    def test_what_is_no_capture_is_not_followed(self):
        self.write("20260131-091500.1.1.pcapng.part", b"x" * 100_000)
        process = self.follow(self.directory)
        self.write("20260131-091500.1.1.in", b"hello\r\n")
        self.wait_shown(process, b"in  : hello")
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(DEADLINE), 0)
        self.assertIn(b"is no pcapng capture", process.stderr.read())

    def test_an_empty_directory(self):
        process = self.follow(self.directory)
        time.sleep(0.2)
        self.write("20260131-091500.1.1.in", b"hello\r\n")
        self.wait_shown(process, b"in  : hello")
        self.interrupt(process)

    def test_it_ends_when_nobody_reads(self):
        self.write("a.in", b"hello\r\n")
        process = self.follow(self.path("a"))
        self.wait_shown(process, b"in  : hello")
        process.stdout.close()
        self.assertEqual(process.wait(DEADLINE), 0)
        self.assertEqual(process.stderr.read(), b"")

    def test_interrupted_while_nobody_reads_on(self):
        # The pipe is full; it must end all the same.
        self.write("a.in", b"a line\r\n" * 500_000)
        process = self.follow(self.path("a"))
        self.wait_shown(process, b"in  : a line")
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(DEADLINE), 0)

    def test_started_with_signals_ignored(self):
        # As a shell without job control starts what is to run in the background.
        self.write("a.in", b"hello\r\n")
        process = subprocess.Popen([PROGRAM, "show", "--follow", self.path("a")], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
        self.addCleanup(process.kill)
        process.shown = b""
        self.wait_shown(process, b"hello")
        self.interrupt(process)
        process.stdout.close()
        process.stderr.close()

    def test_what_is_not_there(self):
        self.refused("--follow", self.path("missing"), codes=(66,))
        self.refused("--follow", self.write("foreign", b"x\n"), codes=(65,))


if __name__ == "__main__":
    unittest.main()
