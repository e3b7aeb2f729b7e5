"""Captures as other programs see them: Wireshark's tshark, tcpdump, and a reader of the tests' own."""

import glob
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest

from dissection import SYN, Capture, blocks
from relay import PROGRAM, run

SHARED_MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None


def tshark(path, *arguments):
    """The lines that tshark writes, with every checksum looked at, and what it says of the file."""
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            ["tshark", "-n", "-r", path, "-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE",
             "-o", "tcp.analyze_sequence_numbers:TRUE", *arguments], stdin=subprocess.DEVNULL, capture_output=True,
            timeout=300, check=False, env={"PATH": os.environ["PATH"], "HOME": home, "LC_ALL": "C.UTF-8"})
    said = [line for line in done.stderr.decode().splitlines() if not line.startswith("Running as user")]
    return done.stdout.decode().splitlines(), said


def fields(path, shown, *names):
    """The fields of the packets that a filter shows."""
    arguments = ["-T", "fields", "-Y", shown, "-E", "separator=\x1f"] if shown else ["-T", "fields", "-E",
                                                                                    "separator=\x1f"]
    for name in names:
        arguments += ["-e", name]
    lines, said = tshark(path, *arguments)
    assert said == [], said
    return [line.split("\x1f") for line in lines]


def with_gaps(data, gaps):
    """A stream as tshark writes one with gaps: with words where bytes are missing."""
    result, place = b"", 0
    for start, count in gaps:
        result += data[place:start] + f"[{min(count, 1 << 30)} bytes missing in capture file]\0".encode()
        place = start
    return result + data[place:]


class Samples:
    """Captures of random sessions, and what they must hold."""

    def __init__(self, test, sessions, seed, rotate_size="1G"):
        self.directory = tempfile.mkdtemp(prefix="uring-rawlog-test-", dir=SHARED_MEMORY)
        test.addClassCleanup(shutil.rmtree, self.directory)
        code, output, errors = run("sample-captures", "--sessions", sessions, "--seed", seed, "--rotate-size",
                                   rotate_size, "--dir", self.directory)
        assert (code, errors) == (0, ""), errors
        self.said = output
        with open(os.path.join(self.directory, "expected.jsonl"), encoding="utf-8") as file:
            self.expected = {record["id"]: record for record in map(json.loads, file)}
        paths = glob.glob(os.path.join(self.directory, "*.pcapng"))
        self.paths = sorted(paths, key=lambda path: int(path.split(".")[-2]))

    def read(self, name):
        with open(os.path.join(self.directory, name), "rb") as file:
            return file.read()

    def stream(self, session, direction):
        return self.read(f"{session}.{direction}")


class Whole(unittest.TestCase):
    """One capture with all sessions."""

    @classmethod
    def setUpClass(cls):
        cls.samples = Samples(cls, 120, 11)
        (cls.path,) = cls.samples.paths
        with open(cls.path, "rb") as file:
            cls.capture = Capture(file.read())
        # The session of each stream, by its first packet.
        opened = fields(cls.path, "tcp.flags.syn == 1 && tcp.flags.ack == 0", "tcp.stream", "frame.comment")
        cls.sessions = {int(stream): comment.split()[1] for stream, comment in opened}

    def test_sample_is_worth_it(self):
        expected = self.samples.expected.values()
        self.assertEqual(len(expected), 120)
        self.assertEqual({r["protocol"] for r in expected}, {"imap", "pop3", "smtp", None})
        self.assertEqual({r["reset"] for r in expected}, {"in", "out", None})
        self.assertGreater(sum(len(r["in_gaps"]) for r in expected), 20)
        self.assertEqual({p.source.version for p in self.capture.packets}, {4, 6})

    def test_own_dissection(self):
        self.assertEqual(sorted(self.capture.sessions), sorted(self.samples.expected))
        for name, expected in self.samples.expected.items():
            session = self.capture.sessions[name]
            with self.subTest(session=name):
                self.assertEqual(session.opener, expected["opener"])
                for direction in ("in", "out"):
                    self.assertEqual(session.streams[direction], self.samples.stream(name, direction))
                    self.assertEqual(joined(session.gaps[direction]), expected[f"{direction}_gaps"])
                self.assertEqual(session.reset, expected["reset"])
                self.assertEqual(json.loads(session.record)["id"], name)
                if session.reset is None:
                    self.assertEqual(sorted(session.finished), ["in", "out"])

    def test_beginning_and_end(self):
        self.assertTrue(self.capture.section[4].startswith("uring-rawlog "))
        self.assertIn("mx1.example.org", self.capture.section[1])
        self.assertEqual(self.capture.interface[2].decode(), "127.0.0.1:143, unix:/run/mail.sock")
        self.assertEqual(struct.unpack("=Q", self.capture.statistics[4])[0], len(self.capture.packets))
        self.assertEqual(struct.unpack("=Q", self.capture.statistics[5])[0],
                         sum(p.gap > 0 for p in self.capture.packets))

    def test_every_session_is_a_stream(self):
        self.assertEqual(sorted(self.sessions.values()), sorted(self.samples.expected))
        streams = {int(stream) for (stream,) in fields(self.path, "", "tcp.stream")}
        self.assertEqual(streams, set(range(len(self.sessions))))

    def test_follow_gives_the_bytes(self):
        opened = {p.session: p for p in self.capture.packets if p.flags == SYN}
        arguments = [part for stream in self.sessions for part in ("-z", f"follow,tcp,raw,{stream}")]
        lines, said = tshark(self.path, "-q", *arguments)
        self.assertEqual(said, [])
        followed = list(followed_streams(lines))
        self.assertEqual(len(followed), len(self.sessions))
        for stream, first, one, other in followed:
            name = self.sessions[stream]
            expected = self.samples.expected[name]
            packet = opened[int(name.split(".")[-1])]
            opens = first == shown_end(*packet.ends[0])
            opener = expected["opener"]
            answerer = "out" if opener == "in" else "in"
            found = {opener: one, answerer: other} if opens else {opener: other, answerer: one}
            for direction in ("in", "out"):
                data = self.samples.stream(name, direction)
                gaps = self.capture.sessions[name].gaps[direction]
                # What is missing at the very end has no bytes behind it that would show it.
                inner = [gap for gap in gaps if gap[0] < len(data)]
                with self.subTest(session=name, direction=direction):
                    self.assertTrue(found[direction] in (with_gaps(data, gaps), with_gaps(data, inner)))

    def test_checksums(self):
        wrong = fields(self.path, "tcp.checksum.status != 1 || (ip && ip.checksum.status != 1)", "frame.number")
        self.assertEqual(wrong, [])
        looked_at = fields(self.path, "tcp.checksum.status == 1", "frame.number")
        self.assertEqual(len(looked_at), len(self.capture.packets))
        self.assertGreater(len(fields(self.path, "ip.checksum.status == 1", "frame.number")), 1000)

    def test_nothing_looks_wrong_but_gaps(self):
        """No packet looks lost, late or sent again, but where bytes are missing and says so."""
        check_analysis(self, self.path, self.capture)

    def test_times_and_comments(self):
        found = fields(self.path, "", "frame.time_epoch", "frame.comment")
        self.assertEqual(len(found), len(self.capture.packets))
        for (time, comment), packet in zip(found, self.capture.packets):
            seconds, fraction = time.split(".")
            self.assertEqual(int(seconds) * 1_000_000 + int(fraction[:6]), packet.time)
            self.assertEqual(comment, ",".join(packet.comments))

    def test_directions(self):
        found = fields(self.path, "", "frame.packet_flags_direction")
        self.assertEqual([int(value, 0) for (value,) in found],
                         [1 if p.direction == "in" else 2 for p in self.capture.packets])

    def test_protocols_are_known(self):
        """What is spoken on a well-known port is taken apart as such, whatever the peers are."""
        for protocol, name, value in (("imap", "imap.request.command", "LOGOUT"), ("pop3", "pop.request.command", "STAT"),
                                      ("smtp", "smtp.req.command", "QUIT")):
            (session,) = [r["id"] for r in self.samples.expected.values() if r["protocol"] == protocol]
            found = fields(self.path, f'{name} == "{value}"', "tcp.stream")
            self.assertEqual([self.sessions[int(stream)] for (stream,) in found], [session])
        self.assertEqual(len(fields(self.path, 'imf.subject == "tea"', "frame.number")), 1)

    @unittest.skipUnless(shutil.which("tcpdump"), "tcpdump is not installed")
    def test_tcpdump(self):
        done = subprocess.run(["tcpdump", "-n", "-v", "-tt", "-r", self.path], capture_output=True, timeout=300,
                              check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        text = done.stdout.decode("utf-8", "replace")
        self.assertEqual(text.count("cksum 0x"), len(self.capture.packets))
        self.assertEqual(text.count("(correct)"), len(self.capture.packets))
        self.assertNotIn("bad cksum", text)


class Rotated(unittest.TestCase):
    """Captures that are cut while sessions go on."""

    @classmethod
    def setUpClass(cls):
        cls.samples = Samples(cls, 60, 12, "400K")
        cls.sessions = {}
        cls.captures = []
        for path in cls.samples.paths:
            with open(path, "rb") as file:
                cls.captures.append(Capture(file.read(), cls.sessions))

    def test_sample_is_worth_it(self):
        self.assertGreater(len(self.captures), 5)
        self.assertGreater(max(len(r["captures"]) for r in self.samples.expected.values()), 2)

    def test_parts_make_the_whole(self):
        self.assertEqual(sorted(self.sessions), sorted(self.samples.expected))
        for name, expected in self.samples.expected.items():
            with self.subTest(session=name):
                for direction in ("in", "out"):
                    self.assertEqual(self.sessions[name].streams[direction], self.samples.stream(name, direction))
                    self.assertEqual(joined(self.sessions[name].gaps[direction]), expected[f"{direction}_gaps"])
                found = [number + 1 for number, capture in enumerate(self.captures) if name in capture.parts]
                self.assertEqual(found, expected["captures"])

    def test_side_files(self):
        for path, capture in zip(self.samples.paths, self.captures):
            with open(path.replace(".pcapng", ".idx"), encoding="ascii") as file:
                lines = file.read().split("\n")
            self.assertEqual((lines[0], lines[-1]), ("uring-rawlog-idx 1", ""))
            self.assertEqual(lines[-2], f"total {len(lines) - 3} {capture.bytes}")
            number = int(path.split(".")[-2])
            expected = []
            for name, (first, last, count, continues) in capture.parts.items():
                goes_on = self.samples.expected[name]["captures"][-1] != number
                part = {(0, 0): "whole", (0, 1): "begins", (1, 1): "continues", (1, 0): "ends"}[continues, goes_on]
                expected.append(f"{name} {first} {last} {count} {part}")
            self.assertEqual(sorted(lines[1:-2]), sorted(expected))

    def test_nothing_looks_wrong_but_gaps(self):
        for path, capture in list(zip(self.samples.paths, self.captures))[:4]:
            check_analysis(self, path, capture)

    def test_captures_put_together(self):
        """mergecap makes one capture of them, in which each session is one stream again."""
        merged = os.path.join(self.samples.directory, "merged.pcapng")
        done = subprocess.run(["mergecap", "-a", "-w", merged, *self.samples.paths], capture_output=True, timeout=120,
                              check=False)
        self.assertEqual((done.returncode, done.stdout), (0, b""), done.stderr)
        streams = {stream for (stream,) in fields(merged, "", "tcp.stream")}
        self.assertEqual(len(streams), len(self.samples.expected))
        # Retransmissions and the like are told of here too; gaps that are far from each other may be.
        flagged = fields(merged, "tcp.analysis.retransmission || tcp.analysis.out_of_order", "frame.number")
        self.assertEqual(flagged, [])


class Cut(unittest.TestCase):
    """A capture that a crash cut."""

    @classmethod
    def setUpClass(cls):
        cls.samples = Samples(cls, 3, 11)
        with open(cls.samples.paths[0], "rb") as file:
            cls.data = file.read()
        cls.places = [place for _, _, place in blocks(cls.data)]

    def count(self, data):
        """How many packets tshark reads, and whether it says that the file is cut."""
        with tempfile.NamedTemporaryFile(suffix=".pcapng", dir=SHARED_MEMORY) as file:
            file.write(data)
            file.flush()
            lines, said = tshark(file.name, "-T", "fields", "-e", "frame.number")
        return len(lines), any("cut short" in line for line in said)

    def test_whole_blocks_are_read(self):
        packets = len(self.places) - 3
        self.assertEqual(self.count(self.data), (packets, False))
        # Without the statistics, and then within a block: at its beginning, in its packet, in its options, at its end.
        self.assertEqual(self.count(self.data[:self.places[-1]]), (packets, False))
        for number in (4, 9, len(self.places) - 2):
            start, end = self.places[number], self.places[number + 1]
            self.assertEqual(self.count(self.data[:start]), (number - 2, False))
            for place in (start + 5, start + 30, end - 20, end - 1):
                self.assertEqual(self.count(self.data[:place]), (number - 2, True), f"cut at {place}")

    def test_own_dissection_of_every_length(self):
        ends = self.places[2:] + [len(self.data)]
        for length in range(self.places[2], len(self.data)):
            capture = Capture(self.data[:length])
            self.assertEqual(len(capture.packets), sum(end <= length for end in ends) - 1)


def run_and_count(*arguments):
    """Runs the program: the bytes that it read (files and pipes), the seconds, exit code, standard output."""
    start = time.monotonic()
    with tempfile.TemporaryFile() as output, \
            subprocess.Popen([PROGRAM, *arguments], stdin=subprocess.DEVNULL, stdout=output) as process:
        # It has ended, and its numbers stay until it is waited for.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        seconds = time.monotonic() - start
        with open(f"/proc/{process.pid}/io", encoding="ascii") as file:
            counts = dict(line.split(": ") for line in file.read().splitlines())
        code = process.wait()
        output.seek(0)
        return int(counts["rchar"]), seconds, code, output.read().decode()


class Large(unittest.TestCase):
    """One session of a million is found by the side file: that and the session's own packets are all that is read."""

    NAME = "20260131-080000.4711"
    # The program's own libraries, and the window that a capture is read through.
    FIXED_BYTES = 4 << 20

    def make(self, sessions):
        directory = tempfile.mkdtemp(prefix="uring-rawlog-test-", dir=SHARED_MEMORY)
        self.addCleanup(shutil.rmtree, directory)
        code, output, errors = run("sample-captures", "--large", "--sessions", sessions, "--dir", directory, timeout=300)
        self.assertEqual((code, errors), (0, ""))
        self.assertIn(f"{sessions} sessions", output)
        return directory, os.path.join(directory, self.NAME + ".1.pcapng")

    def expected(self, number):
        return [("out", f"* OK session {number}\r\n"), ("in", f"{number} LOGOUT\r\n"), ("out", f"{number} OK\r\n")]

    def check(self, source, number, most):
        count, seconds, code, output = run_and_count(
            "export", source, "--session", f"{self.NAME}.{number}", "--format", "jsonl", "--output", "-")
        lines = [json.loads(line) for line in output.splitlines()]
        self.assertEqual((code, {line["id"] for line in lines}), (0, {f"{self.NAME}.{number}"}))
        self.assertEqual([(line["direction"], line["text"]) for line in lines if line["event"] == "data"],
                         self.expected(number))
        self.assertLessEqual(count, most)
        print(f"  session {number}: {count} bytes read, {seconds:.3f} s", file=sys.stderr)

    def test_one_session_of_a_million(self):
        directory, path = self.make(1_000_000)
        most = os.path.getsize(path.replace(".pcapng", ".idx")) + self.FIXED_BYTES
        self.assertLess(most, os.path.getsize(path) // 10)
        print(file=sys.stderr)
        for source, number in (directory, 1), (directory, 777_777), (path, 500_000), (path, 1_000_000):
            self.check(source, number, most)
        count, seconds, code, output = run_and_count("show", "--session", f"{self.NAME}.777777", path)
        self.assertEqual((code, [text for _, text in self.expected(777_777) if text.rstrip() not in output]), (0, []))
        self.assertLessEqual(count, most)
        print(f"  show: {count} bytes read, {seconds:.3f} s", file=sys.stderr)

    def test_one_session_of_a_compressed_capture(self):
        """Of its frames, those that hold the session's packets are read and no others."""
        _, path = self.make(100_000)
        code, _, errors = run("compress", path)
        self.assertEqual((code, errors), (0, ""))
        most = os.path.getsize(path.replace(".pcapng", ".idx")) + self.FIXED_BYTES
        print(file=sys.stderr)
        for number in (1, 77_777, 100_000):
            self.check(path + ".zst", number, most)

    def test_it_is_a_capture_like_any_other(self):
        _, path = self.make(300)
        with open(path, "rb") as file:
            capture = Capture(file.read())
        self.assertEqual(sorted(capture.sessions), sorted(f"{self.NAME}.{number}" for number in range(1, 301)))
        for number in (1, 150, 300):
            session = capture.sessions[f"{self.NAME}.{number}"]
            for direction in ("in", "out"):
                said = "".join(text for way, text in self.expected(number) if way == direction)
                self.assertEqual(session.streams[direction].decode(), said)
        expert, said = tshark(path, "-q", "-z", "expert,warn")
        warnings = [line for line in expert if line.split()[:1] and line.split()[0].isdigit()]
        self.assertEqual((said, len(warnings)), ([], 1), expert)
        self.assertIn("Connection reset", warnings[0])


class Command(unittest.TestCase):
    def test_wrong_values_are_refused(self):
        with tempfile.TemporaryDirectory() as directory:
            for arguments, code, part in ((("--sessions", "0"), 64, "--sessions"), (("--seed", "x"), 64, "--seed"),
                                          (("--rotate-size", "big"), 64, "--rotate-size"),
                                          (("--dir", directory + "/none"), 73, "/none/")):
                given = arguments if "--dir" in arguments else (*arguments, "--dir", directory)
                found, output, errors = run("sample-captures", *given)
                self.assertEqual((found, output, len(errors.splitlines())), (code, "", 1), errors)
                self.assertIn(part, errors)

    def test_is_not_in_the_help(self):
        self.assertNotIn("sample-captures", run("--help")[1])


def shown_end(host, port):
    """An address and a port as tshark writes them."""
    if host.version == 4:
        return f"{host}:{port}"
    return f"[{socket.inet_ntop(socket.AF_INET6, host.packed)}]:{port}"


def joined(gaps):
    """Gaps, of which those behind each other are one."""
    result = []
    for place, count in gaps:
        if result and result[-1][0] == place:
            result[-1][1] += count
        else:
            result.append([place, count])
    return result


def followed_streams(lines):
    """The number, the first node and both sides' bytes of each stream that tshark followed."""
    stream = first = None
    sides = [b"", b""]
    for line in lines:
        if line.startswith("Filter: tcp.stream eq "):
            stream, sides = int(line.split()[-1]), [b"", b""]
        elif line.startswith("Node 0: "):
            first = line.removeprefix("Node 0: ")
        elif line.startswith("====") and stream is not None:
            yield stream, first, *sides
            stream = None
        elif stream is not None and not line.startswith("Node 1: "):
            side = line.startswith("\t")
            sides[side] += bytes.fromhex(line.strip())


def check_analysis(test, path, capture):
    """What tshark says about lost, late and repeated packets is said by the capture too."""
    numbers = {packet.session for packet in capture.packets if packet.gap}
    names = ("frame.number", "tcp.analysis.lost_segment", "tcp.analysis.ack_lost_segment")
    for number, lost, unseen in fields(path, "tcp.analysis.flags", *names):
        packet = capture.packets[int(number) - 1]
        with test.subTest(path=path, frame=number):
            test.assertTrue(lost or unseen, packet.comments)
            if lost:
                test.assertGreater(packet.gap, 0)
            test.assertIn(packet.session, numbers)
    other = fields(path, "tcp.analysis.flags && !tcp.analysis.lost_segment && !tcp.analysis.ack_lost_segment",
                   "frame.number")
    test.assertEqual(other, [])
    lost = {int(number) for (number,) in fields(path, "tcp.analysis.lost_segment", "frame.number")}
    marked = {place + 1 for place, packet in enumerate(capture.packets) if packet.gap}
    test.assertLessEqual(lost, marked)


if __name__ == "__main__":
    unittest.main()
