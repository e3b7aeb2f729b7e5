"""A disk that hangs, as fsfreeze(8) makes it, holds up recordings and never a byte of mail."""

import os
import shutil
import subprocess
import tempfile
import threading
import time
import unittest

from peers import EchoServer, EndToEnd, connect, receive_exactly
from relay import wait_until


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
    def check(self, bulk):
        disk = FrozenDisk(self)
        index = tempfile.TemporaryDirectory(prefix="uring-rawlog-index-")
        self.addCleanup(index.cleanup)
        with EchoServer() as server:
            relay = self.start(server, "--index", index.name, directory=disk.directory, index=index.name)
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
                pushing.clear()
                if bulk:
                    thread.join(30)
                    self.assertFalse(thread.is_alive())
            ends = relay.wait_ends(310)
            self.assertEqual(relay.terminate(), 0)
            for record in ends:
                # What a full memory lost is listed; nothing else is missing.
                lost = {"in": 0, "out": 0}
                for gap in record["gaps"]:
                    lost[gap["direction"]] += gap["bytes"]
                for direction in ("in", "out"):
                    self.assertEqual(record[f"{direction}_recorded"] + lost[direction], record[f"{direction}_bytes"])
                    self.assertEqual(len(relay.recording(record, direction)), record[f"{direction}_file"])

    def test_small_sessions_go_on(self):
        self.check(bulk=False)

    def test_others_go_on_beside_bulk(self):
        self.check(bulk=True)


if __name__ == "__main__":
    unittest.main()
