"""Reads the indexes of the relays as they grow, and compares each recording with what was sent."""

import calendar
import contextlib
import glob
import hashlib
import json
import os
import re
import shutil
import subprocess
import time

import accounts
import merged
from plans import HEADER
from relay import PROGRAM, run

STAMP = re.compile(rb"(?m)^\d{10}\.\d{6} ")
CUT_STAMP = re.compile(rb"\n[0-9.]+ ?\Z")
DIRECTIONS = ("in", "out")
FIELDS = tuple(d + f for d in DIRECTIONS for f in ("_bytes", "_recorded", "_file"))


def seconds_of(text):
    """Seconds since 1970 of a time in the index."""
    whole = calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S"))
    return whole + float("0." + text[20:26])


class End:
    """What the end record of a session says, and later what its recording was found to be."""

    __slots__ = ("id", "begin", "end", "reason", "recording", "gaps", "dropped", "redacted", "content", *FIELDS)

    def __init__(self, record):
        self.id = record["id"]
        self.end = seconds_of(record["time"])
        self.begin = self.end - record["seconds"]
        for field in ("reason", "recording", "dropped", "redacted", *FIELDS):
            setattr(self, field, record[field])
        self.gaps = tuple((gap["direction"], gap["offset"], gap["bytes"]) for gap in record["gaps"])
        self.content = None  # not compared yet; then `same`, `cut`, or what is wrong


class IndexReader:
    """All lines of one relay's index, through rotations. `starts` and `ends` are by session."""

    def __init__(self, path):
        self._path = path
        self._files = {}
        self.starts, self.ends, self.lines = {}, {}, {}
        self.torn = self.twice = self.strangers = 0

    def poll(self):
        """Returns the sessions that have ended since."""
        # A file that was moved away may still be written to; what has its name now is another.
        with contextlib.suppress(FileNotFoundError):
            inode = os.stat(self._path).st_ino
            if inode not in self._files:
                self._files[inode] = [open(self._path, "rb"), b""]
        ended = []
        for entry in self._files.values():
            *lines, entry[1] = (entry[1] + entry[0].read()).split(b"\n")
            for line in lines:
                ended += self._take(line)
        return ended

    def _take(self, line):
        try:
            record = json.loads(line)
        except ValueError:
            self.torn += bool(line)
            return []
        number = accounts.number_of(record["client"])
        if number is None:
            self.strangers += 1
            return []
        known = self.starts if record["event"] == "start" else self.ends
        self.twice += number in known
        self.lines[number] = self.lines.get(number, b"") + line + b"\n"
        if record["event"] == "start":
            self.starts[number] = record["id"]
            return []
        self.ends[number] = End(record)
        return [number]

    def close(self):
        for file, _ in self._files.values():
            file.close()


class Comparison:
    """Whether recordings hold what was sent."""

    def __init__(self, text, mailboxes):
        self._text = text
        self._mailboxes = mailboxes
        self.digests = {}

    def read_mailboxes(self):
        with open(self._mailboxes, encoding="ascii") as file:
            for line in file.read().rpartition("\n")[0].splitlines():
                told = json.loads(line)
                self.digests[told["number"]] = told

    def synthetic(self, number, end, recorded):
        """`recorded` is the bytes of each direction, stamps and the like taken off."""
        verdicts = set()
        for direction in DIRECTIONS:
            data = recorded[direction]
            wanted = getattr(end, direction + "_recorded")
            if len(data) < wanted or (end.recording != "failed" and len(data) != wanted):
                return f"{len(data)} bytes of {direction} instead of {wanted}"
            if not self._agrees(number, direction, end, data):
                return f"other bytes of {direction} than were sent"
            verdicts.add("same" if wanted == getattr(end, direction + "_bytes") else "cut")
        return "cut" if "cut" in verdicts else "same"

    def _agrees(self, number, direction, end, data):
        stream = self._text.stream(number, direction)
        place = taken = 0
        for _, offset, count in sorted(gap for gap in end.gaps if gap[0] == direction):
            if not stream.agrees(place, data[taken:taken + offset - place]):
                return False
            taken += offset - place
            place = offset + count
        return stream.agrees(place, data[taken:])

    def mail(self, number, end, recorded, client):
        """A session with the real server: the client's digests say what it was, if it lived to tell."""
        told = self.digests.get(number)
        if end.recording != "complete" or told is None:
            return "cut"
        received = hashlib.sha256(recorded["out"][:client.received]).hexdigest()
        if received != told["out"]:
            return "other bytes of out than the client received"
        if client.state == accounts.ORDERLY and hashlib.sha256(recorded["in"]).hexdigest() != told["in"]:
            return "other bytes of in than the client sent"
        return "same"


def read_files(directory, end, layout, stamps):
    """The recorded bytes of each direction."""
    if layout == "merged":
        with open(os.path.join(directory, end.id + ".rawlog"), "rb") as file:
            return merged.decode(file.read())
    recorded = {}
    for direction in DIRECTIONS:
        path = os.path.join(directory, f"{end.id}.{direction}")
        recorded[direction] = b""
        if os.path.exists(path):
            with open(path, "rb") as file:
                recorded[direction] = file.read()
        elif end.recording != "failed":
            raise FileNotFoundError(path)
        if stamps:
            recorded[direction] = STAMP.sub(b"", CUT_STAMP.sub(b"\n", recorded[direction]))
    return recorded


class Batches:
    """Ended recordings of one relay, taken out of its directory some at a time: verified by the program, compared with
    what was sent, and removed."""

    def __init__(self, name, place, index, comparison, clients, layout, stamps):
        self.name = name
        self._place = place
        self._index = index
        self._comparison = comparison
        self._clients = clients
        self._layout = layout
        self._stamps = stamps
        self._waiting = []
        self.findings = []

    def add(self, numbers):
        self._waiting += numbers

    def take(self, everything=False):
        """Those whose client has told how it went, or all."""
        going = (accounts.OPEN, accounts.CONNECTING)
        ready = [n for n in self._waiting if everything or self._clients[n].state not in going]
        if not ready:
            return
        self._waiting = [n for n in self._waiting if n not in set(ready)]
        batch = os.path.join(self._place.root, "batch")
        os.mkdir(batch, 0o700)
        try:
            self._move(ready, batch)
            self._verify(batch)
            for number in ready:
                self._compare(number, batch)
        finally:
            shutil.rmtree(batch)

    def _move(self, ready, batch):
        for number in ready:
            for suffix in (".rawlog",) if self._layout == "merged" else (".in", ".out"):
                name = self._index.ends[number].id + suffix
                with contextlib.suppress(FileNotFoundError):  # of one that failed
                    os.rename(os.path.join(self._place.directory, name), os.path.join(batch, name))

    def _verify(self, batch):
        # In memory: the disk may be full.
        index = batch.replace("/", "_")
        directory = os.path.join("/dev/shm" if os.path.isdir("/dev/shm") else "/tmp", f"soak-{os.getpid()}{index}")
        os.mkdir(directory, 0o700)
        try:
            path = os.path.join(directory, "sessions.jsonl")
            ids = set(os.path.splitext(name)[0] for name in os.listdir(batch))
            with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
                for number, end in list(self._index.ends.items()):
                    if end.id in ids:
                        file.write(self._index.lines.pop(number))
            code, output, errors = run("verify", "--index", directory, batch, timeout=300)
            if code:
                self.findings += [f"{self.name}: {line}" for line in (output + errors).splitlines()[:-1]]
        finally:
            shutil.rmtree(directory)

    def _compare(self, number, batch):
        end = self._index.ends[number]
        if end.recording == "none":
            end.content = "same" if not end.in_recorded and not end.out_recorded else "recorded, and not recorded"
            return
        try:
            recorded = read_files(batch, end, self._layout, self._stamps)
        except (OSError, AssertionError) as error:
            end.content = "cut" if end.recording == "failed" else f"not readable: {error}"
            return
        if self.name == "mail":
            self._comparison.read_mailboxes()
            end.content = self._comparison.mail(number, end, recorded, self._clients[number])
        else:
            end.content = self._comparison.synthetic(number, end, recorded)


def compare_captures(directory, index, comparison, output):
    """Verifies and exports all captures, and compares; returns what `verify` found."""
    os.mkdir(output + ".index", 0o700)
    # The relay's index was moved away now and then.
    path = os.path.join(output + ".index", "sessions.jsonl")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
        file.writelines(index.lines.values())
    code, text, errors = run("verify", "--index", output + ".index", directory, timeout=1800)
    findings = (text + errors).splitlines()[:-1] if code else []
    os.mkdir(output)
    done = subprocess.run([PROGRAM, "export", directory, "--format", "pair", "--output", output,
                           "--index", output + ".index"],
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=1800, text=True, check=False)
    if done.returncode:
        findings += [f"export: {line}" for line in done.stderr.splitlines()]
    for number, end in index.ends.items():
        try:
            end.content = comparison.synthetic(number, end, read_files(output, end, "pair", False))
        except OSError as error:
            end.content = f"not readable: {error}"
    return ["captures: " + line for line in findings]


def compare_collected(directory, index, comparison):
    """What the collector was sent; returns how many streams nobody can be told of."""
    unknown = 0
    streams = {}
    for path in glob.glob(os.path.join(directory, "*")):
        with open(path, "rb") as file:
            data = file.read()
        whole = path.endswith(".whole")
        try:
            recorded = merged.decode(data if whole else data[:data.rfind(b"\n") + 1])
        except AssertionError as error:
            recorded = {"in": b"", "out": b"", "wrong": str(error)}
        header = recorded["in"][:HEADER]
        if whole and len(header) == HEADER and header[:1] == b"S" and header[1:-1].isdigit():
            streams.setdefault(int(header[1:]), []).append(recorded)
        else:
            unknown += 1
    for number, end in index.ends.items():
        found = streams.get(number, [])
        if end.recording != "complete":
            end.content = "cut"
        elif len(found) == 1 and "wrong" not in found[0]:
            end.content = comparison.synthetic(number, end, found[0])
        elif end.in_bytes < HEADER:
            end.content = "same"  # it has nothing to be told by
        else:
            end.content = f"{len(found)} whole streams at the collector"
    return unknown
