"""A disk that hangs, as fsfreeze(8) makes it, holds up recordings and never a byte of mail."""

import glob
import os
import shutil
import subprocess
import tempfile
import threading
import time
import unittest

from peers import EchoServer, EndToEnd, connect, name_of, receive_exactly
from relay import wait_until
from test_captures import joined
from test_pcapng import read


def lost_bytes(gaps):
    """The bytes of a list of gaps, by direction."""
    return {direction: sum(gap["bytes"] for gap in gaps if gap["direction"] == direction)
            for direction in ("in", "out")}


def gaps_in_stream(record, direction):
    """The gaps of an end record, each at its place among the bytes that are recorded."""
    gaps, lost = [], 0
    for gap in record["gaps"]:
        if gap["direction"] == direction:
            gaps.append([gap["offset"] - lost, gap["bytes"]])
            lost += gap["bytes"]
    return gaps


class FrozenDisk:
    """An ext4 file system in a file, which can be frozen; `skip` says why there is none."""

    def __init__(self, test):
        for program in ("mkfs.ext4", "mount", "umount", "fsfreeze"):
            if shutil.which(program) is None:
                test.skipTest(f"{program} is not installed")
        if os.geteuid() != 0:
            test.skipTest("mounting needs root")
        self._temporary = tempfile.TemporaryDirectory(prefix="uring-rawlog-disk-")
        test.addCleanup(self._temporary.cleanup)
        image = os.path.join(self._temporary.name, "image")
        self.directory = os.path.join(self._temporary.name, "disk")
        os.mkdir(self.directory)
        with open(image, "wb") as file:
            file.truncate(1 << 30)
        subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
        mounted = subprocess.run(["mount", "-o", "loop", image, self.directory], capture_output=True, check=False)
        if mounted.returncode != 0:
            test.skipTest("a loop device cannot be mounted here: " + mounted.stderr.decode(errors="replace").strip())
        test.addCleanup(wait_until, self.unmount, what=f"{self.directory} to be let go")
        test.addCleanup(self.thaw)
        self.is_frozen = False

    def freeze(self):
        subprocess.run(["fsfreeze", "--freeze", self.directory], check=True)
        self.is_frozen = True

    def thaw(self):
        if self.is_frozen:
            subprocess.run(["fsfreeze", "--unfreeze", self.directory], check=True)
        self.is_frozen = False

    def unmount(self):
        """False while a process that was held up by the frozen disk is still about to end."""
        return subprocess.run(["umount", self.directory], stderr=subprocess.DEVNULL, check=False).returncode == 0


class HungDisk(EndToEnd):
    def load(self, bulk, *options):
        """Sessions before, while and after the disk hangs: the relay, which has ended, and the end records."""
        disk = FrozenDisk(self)
        index = tempfile.TemporaryDirectory(prefix="uring-rawlog-index-")
        self.addCleanup(index.cleanup)
        with EchoServer() as server:
            relay = self.start(server, "--index", index.name, *options, directory=disk.directory, index=index.name)
            # Hundreds of short sessions first: the disk has been prompt for long.
            for _ in range(300):
                with connect(relay.address) as client:
                    client.sendall(b"x\n")
                    self.assertEqual(receive_exactly(client, 2), b"x\n")
            relay.wait_ends(300)
            moved = [0]
            pushing = threading.Event()
            pushing.set()

            def push(client):
                data = b"y" * 65536
                while pushing.is_set():
                    client.sendall(data)
                    moved[0] += len(receive_exactly(client, len(data)))

            with connect(relay.address) as quiet, connect(relay.address) as busy:
                quiet.settimeout(10)
                quiet.sendall(b"before\n")
                self.assertEqual(receive_exactly(quiet, 7), b"before\n")
                thread = threading.Thread(target=push, args=(busy,), daemon=True)
                if bulk:
                    thread.start()
                    wait_until(lambda: moved[0] > 8 << 20, what="bulk to move")
                disk.freeze()
                try:
                    for number in range(8):
                        message = b"frozen %d\n" % number
                        quiet.sendall(message)
                        self.assertEqual(receive_exactly(quiet, len(message)), message)
                        # New sessions begin, though their files cannot be made.
                        with connect(relay.address) as late:
                            late.settimeout(10)
                            late.sendall(b"late\n")
                            self.assertEqual(receive_exactly(late, 5), b"late\n")
                        time.sleep(0.25)
                finally:
                    disk.thaw()
                if bulk:
                    # What the disk was behind with is written, and more.
                    then = moved[0]
                    wait_until(lambda: moved[0] > then + (64 << 20), what="bulk to move on")
                pushing.clear()
                if bulk:
                    thread.join(30)
                    self.assertFalse(thread.is_alive())
                quiet.sendall(b"after\n")
                self.assertEqual(receive_exactly(quiet, 6), b"after\n")
                self.named = {"quiet": name_of(quiet), "busy": name_of(busy)}
            ends = relay.wait_ends(310)
            self.assertEqual(relay.terminate(), 0)
        for record in ends:
            # What a full memory lost is listed; nothing else is missing.
            lost = lost_bytes(record["gaps"])
            for direction in ("in", "out"):
                self.assertEqual(record[f"{direction}_recorded"] + lost[direction], record[f"{direction}_bytes"])
        return relay, ends

    def check_pairs(self, bulk):
        relay, ends = self.load(bulk)
        for record in ends:
            for direction in ("in", "out"):
                self.assertEqual(len(relay.recording(record, direction)), record[f"{direction}_file"])

    def check_captures(self, bulk, *options):
        """The captures hold what the index says, and tell of the gaps at their places; the end records."""
        relay, ends = self.load(bulk, "--layout", "pcapng", *options)
        self.assertEqual(glob.glob(os.path.join(relay.directory, "*.part")), [])
        sessions, _ = read(relay.directory)
        self.assertEqual(len(sessions), 310)
        for record in ends:
            session = sessions[record["id"]]
            for direction in ("in", "out"):
                self.assertEqual(len(session.streams[direction]), record[f"{direction}_recorded"])
                self.assertEqual(joined(session.gaps[direction]), gaps_in_stream(record, direction))
        self.assertEqual({record["recording"] for record in ends if record["client"] != self.named["busy"]},
                         {"complete"})
        (quiet,) = (record for record in ends if record["client"] == self.named["quiet"])
        self.assertEqual(bytes(sessions[quiet["id"]].streams["in"]),
                         b"before\n" + b"".join(b"frozen %d\n" % number for number in range(8)) + b"after\n")
        (busy,) = (record for record in ends if record["client"] == self.named["busy"])
        return busy

    def test_small_sessions_go_on(self):
        self.check_pairs(bulk=False)

    def test_others_go_on_beside_bulk(self):
        self.check_pairs(bulk=True)

    def test_captures_of_small_sessions(self):
        self.check_captures(False, "--log-full", "drop")

    def test_captures_lose_bulk_alone(self):
        """Under `drop` the flow in bulk has gaps and is not held up, the others are whole, and it is recorded again."""
        busy = self.check_captures(True, "--log-full", "drop", "--log-memory", "16M", "--rotate-size", "24M")
        self.assertEqual(busy["recording"], "lossy")
        for direction in ("in", "out"):
            first = next(gap for gap in busy["gaps"] if gap["direction"] == direction)
            self.assertGreater(busy[f"{direction}_recorded"], first["offset"], "nothing is recorded behind the gap")

    def test_captures_hold_bulk_alone(self):
        """Under `wait` the flow in bulk is held up, and nobody else."""
        self.check_captures(True, "--log-full", "wait", "--log-memory", "16M", "--log-wait", "60s")


if __name__ == "__main__":
    unittest.main()
