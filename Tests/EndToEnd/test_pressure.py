"""Disks that fail in every way, slow ones, and the end of what the system has to give: the session lives, the index and
one line say what is missing, and recording goes on as soon as it can. See also test_recording, test_hung_disk."""

import contextlib
import ctypes
import errno
import fcntl
import os
import re
import resource
import shutil
import socket
import struct
import subprocess
import tempfile
import unittest

import merged
from faulty_disk import FaultyDisk
from peers import (MIB, EchoServer, EndToEnd, Task, connect, name_of, payload, receive_all, receive_exactly,
                   receive_until_end, send_chunks)
from relay import wait_until
from test_pcapng import read
from test_recording import fast_directory, mounted

CLONE_NEWNET = 0x40000000
EXT4_SHUTDOWN, SHUTDOWN_NOW = 0x8004587D, 2  # EXT4_IOC_SHUTDOWN of fs/ext4/ext4.h: writes fail with EIO from then on


class DiskTest(EndToEnd):
    def start_on(self, disk, server, *options, index=None):
        if index is None:
            temporary = fast_directory()
            self.addCleanup(temporary.cleanup)
            index = temporary.name
        return self.start(server, "--index", index, *options, directory=disk, index=index)

    def exchange_named(self, relay, data):
        """A session with an echo server, whole; the client's name."""
        with connect(relay.address) as client:
            sending = Task(send_chunks, client, data, 1)
            self.assertTrue(receive_all(client) == data, "what came back differs")
            sending.result()
            return name_of(client)

    def lines_about(self, relay, record):
        stem = re.compile(re.escape(record["id"]) + r"(?!\d)")
        return [line for line in relay.lines if stem.search(line)]

    def recorded(self, relay, record, layout):
        """The recorded bytes of each direction that are on the disk."""
        if layout == "pcapng":
            sessions, _ = read(relay.directory, ".pcapng*")
            return {direction: bytes(data) for direction, data in sessions[record["id"]].streams.items()}
        if layout == "merged":
            with open(os.path.join(relay.directory, record["id"] + ".rawlog"), "rb") as file:
                data = file.read()
            return merged.decode(data[:data.rfind(b"\n") + 1])
        return {direction: relay.recording(record, direction) for direction in ("in", "out")}


class FailingDisk(DiskTest):
    """A write fails, in the middle of a block or at once, with each error that a disk has."""

    def check(self, layout, fail, words):
        disk = FaultyDisk(self)
        relay = self.start_on(disk.directory, self.serve(EchoServer()), "--layout", layout)
        before, during = payload(1, 20_000), payload(2, 3 * MIB)
        client = self.client(relay)
        client.sendall(before)
        self.assertEqual(receive_exactly(client, len(before)), before)
        wait_until(lambda: disk.writes >= 1, what="the first write")
        fail(disk)
        # The session lives, and so does one that begins now.
        sending = Task(send_chunks, client, during, 3)
        self.assertTrue(receive_all(client) == during, "what came back differs")
        sending.result()
        late = self.exchange_named(relay, b"late\n" * 1000)
        record = self.end_of(relay, name_of(client))
        self.assertEqual((record["reason"], record["recording"]), ("client-eof", "failed"))
        late_record = self.end_of(relay, late)
        self.assertEqual(late_record["in_bytes"], 5000)
        disk.heal()

        def is_recorded():
            return self.end_of(relay, self.exchange_named(relay, b"again\n"))["recording"] == "complete"
        wait_until(is_recorded, what="recordings when the disk is well")
        self.assertEqual(relay.terminate(), 0)
        # What is there is a prefix, and at least as long as the index says.
        sent = before + during
        if layout != "pcapng":
            for direction, data in self.recorded(relay, record, layout).items():
                self.assertGreaterEqual(len(data), record[direction + "_recorded"] if layout == "pair" else 0)
                self.assertTrue(sent.startswith(data), f"{direction} is no prefix")
        # A capture fails once for all sessions, a recording of its own for each.
        said = [l for l in relay.lines if ".pcapng" in l] if layout == "pcapng" else self.lines_about(relay, record)
        self.assertEqual(len(said), 1, relay.stderr)
        self.assertIn(words, said[0])

    def errors(self):
        """How a disk fails, and the words for it."""
        def full(disk):
            disk.room = 50_001  # an odd place within a block

        def quota(disk):
            disk.room, disk.full_error = 50_001, errno.EDQUOT

        def broken(disk):
            disk.errors = {"write": errno.EIO}

        def read_only(disk):
            disk.errors = {"write": errno.EROFS, "create": errno.EROFS}
        return ((full, "No space left on device"), (quota, "Disk quota exceeded"), (broken, "Input/output error"),
                (read_only, "Read-only file system"))

    def check_all(self, layout):
        for fail, words in self.errors():
            with self.subTest(fail.__name__):
                self.check(layout, fail, words)

    def test_pair(self):
        self.check_all("pair")

    def test_merged(self):
        self.check_all("merged")

    def test_captures(self):
        self.check_all("pcapng")

    def test_index_on_the_same_disk(self):
        """Its lines wait, and are written once, whole, when the disk takes them."""
        for error in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS):
            with self.subTest(os.strerror(error)):
                disk = FaultyDisk(self)
                relay = self.start(self.serve(EchoServer()), directory=disk.directory)
                self.exchange_named(relay, b"before\n")
                relay.wait_ends(1)
                disk.errors = {"write": error}
                names = [self.exchange_named(relay, b"during %d\n" % number) for number in range(20)]
                wait_until(lambda: any("sessions.jsonl" in line for line in relay.lines), what="a line about the index")
                self.assertEqual(len(relay.records("end")), 1)
                disk.heal()
                ends = relay.wait_ends(21)
                self.assertEqual({record["client"] for record in ends[1:]}, set(names))
                self.assertEqual(relay.terminate(), 0)
                self.assertEqual(len(relay.records("end")), 21)
                about = [line for line in relay.lines if "sessions.jsonl" in line and os.strerror(error) in line]
                self.assertEqual(len(about), 1, relay.stderr)

    def test_index_line_cut_in_the_middle(self):
        """A disk that is full within a line: the rest follows, and nothing is lost."""
        disk = FaultyDisk(self)
        relay = self.start(self.serve(EchoServer()), "--only", "192.0.2.1", directory=disk.directory)
        disk.room = 1000
        names = {self.exchange_named(relay, b"during %d\n" % number) for number in range(20)}
        wait_until(lambda: disk.room == 0, what="the disk to be full")
        disk.heal()

        def whole():
            with open(relay.index_path, "rb") as file:
                lines = [line for line in file.read().split(b"\n") if line.endswith(b"}")]
            return [line for line in lines if line.startswith(b'{"event":"end"')]
        wait_until(lambda: len(whole()) >= 20, what="all records")
        self.assertEqual(relay.terminate(), 0)
        self.assertEqual(len(whole()), 20)
        self.assertEqual(len(names), 20)


class RealDisk(DiskTest):
    """ext4 that is made read-only, or shut down, under open recordings."""

    @contextlib.contextmanager
    def disk(self, options):
        if shutil.which("mkfs.ext4") is None:
            self.skipTest("there is no mkfs.ext4")
        with tempfile.TemporaryDirectory() as base:
            image = os.path.join(base, "image")
            with open(image, "wb") as file:
                file.truncate(64 * MIB)
            subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
            with mounted("ext4", image, "loop," + options) as directory:
                yield directory

    def check(self, directory, fail):
        server = self.serve(EchoServer())
        relay = self.start_on(directory, server)
        with connect(relay.address) as client:
            client.sendall(b"before\n")
            self.assertEqual(receive_exactly(client, 7), b"before\n")
            start = wait_until(lambda: relay.records("start"), what="the start record")[0]
            wait_until(lambda: relay.recording(start, "in") == b"before\n", what="the first write")
            fail(directory)
            data = payload(5, 2 * MIB)
            sending = Task(send_chunks, client, data, 1)
            self.assertTrue(receive_all(client) == data)
            sending.result()
            record = self.end_of(relay, name_of(client))
        late = self.end_of(relay, self.exchange_named(relay, b"late\n"))
        self.assertEqual((record["reason"], record["recording"]), ("client-eof", "failed"))
        self.assertEqual((late["reason"], late["recording"], late["in_bytes"]), ("client-eof", "failed", 5))
        self.assertEqual(relay.terminate(), 0)
        self.assertEqual(len(self.lines_about(relay, record)), 1, relay.stderr)
        relay.close()

    def test_read_only_after_an_error(self):
        with self.disk("errors=remount-ro") as directory:
            def fail(directory):
                device = os.stat(directory).st_dev
                with open(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/uevent", encoding="ascii") as file:
                    name = re.search(r"DEVNAME=(\S+)", file.read()).group(1)
                with open(f"/sys/fs/ext4/{name}/trigger_fs_error", "w", encoding="ascii") as file:
                    file.write("1")
            self.check(directory, fail)

    def test_shut_down(self):
        with self.disk("defaults") as directory:
            def fail(directory):
                root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    fcntl.ioctl(root, EXT4_SHUTDOWN, struct.pack("I", SHUTDOWN_NOW))
                finally:
                    os.close(root)
            self.check(directory, fail)


class SlowDisk(DiskTest):
    """Each write takes 20 ms: far less than the senders would like."""

    LOG_MEMORY = 1 << 20
    # Beside staging: the receive buffers (8 MiB), and what one flow has queued each way.
    REST = 12 << 20

    def transfer(self, *options):
        disk = FaultyDisk(self)
        relay = self.start_on(disk.directory, self.serve(EchoServer()), "--log-memory", "1M", *options)
        disk.delay = 0.02
        data = payload(7, 24 * MIB)
        before = relay.resident_bytes()
        peak = [before]
        with connect(relay.address) as client:
            sending = Task(send_chunks, client, data, 1, 256 << 10)

            def receive():
                place = 0
                while part := client.recv(MIB):
                    peak[0] = max(peak[0], relay.resident_bytes())
                    self.assertTrue(part == data[place:place + len(part)])
                    place += len(part)
                return place
            self.assertEqual(receive(), len(data))
            sending.result()
            name = name_of(client)
        record = self.end_of(relay, name, 60)
        self.assertLess(peak[0] - before, self.LOG_MEMORY + self.REST)
        for direction in ("in", "out"):
            expected = bytearray()
            place = 0
            for gap in sorted((g for g in record["gaps"] if g["direction"] == direction), key=lambda g: g["offset"]):
                expected += data[place:gap["offset"]]
                place = gap["offset"] + gap["bytes"]
            expected += data[place:]
            self.assertEqual(record[direction + "_recorded"], len(expected))
            self.assertTrue(relay.recording(record, direction) == expected, f"{direction} differs")
        self.assertEqual(relay.terminate(), 0)
        return record

    def test_wait_loses_nothing(self):
        record = self.transfer("--log-full", "wait", "--log-wait", "60s")
        self.assertEqual((record["recording"], record["dropped"]), ("complete", 0))

    def test_drop_lists_what_is_lost(self):
        record = self.transfer("--log-full", "drop")
        self.assertEqual(record["recording"], "lossy")
        self.assertGreater(record["dropped"], 0)


class NoDescriptors(EndToEnd):
    """The limit of open files is reached anywhere in the making of a session, and later it is not any more."""

    def test_recovers(self):
        server = self.serve(EchoServer())
        with fast_directory() as directory:
            relay = self.start(server, "--connect-timeout", "1s", directory=directory)
            self.exchange(relay.address)
            relay.wait_ends(1)
            limits = resource.prlimit(relay.pid, resource.RLIMIT_NOFILE)
            least = self.settled(relay)
            fates = []
            # The kernel looks at the limit when it is asked to accept, so the first that lacks something is accepted.
            for free in range(7):
                wait_until(lambda: relay.descriptors() == least, what="the files of the one before to be closed")
                resource.prlimit(relay.pid, resource.RLIMIT_NOFILE, (least + free, limits[1]))
                with connect(relay.address) as client:
                    client.sendall(b"hello\n")
                    client.shutdown(socket.SHUT_WR)
                    if free == 0:
                        said = wait_until(lambda: [line for line in relay.lines if "Too many open files" in line])
                        self.assertEqual(len(said), 1)
                        resource.prlimit(relay.pid, resource.RLIMIT_NOFILE, limits)
                    data = receive_until_end(client)[0]
                    name = name_of(client)
                resource.prlimit(relay.pid, resource.RLIMIT_NOFILE, limits)
                record = self.end_of(relay, name)
                # Without a socket for the server there is no session; without files it is not recorded.
                self.assertEqual(data, b"" if record["reason"] == "connect-failed" else b"hello\n")
                fates.append(record["reason"] if data == b"" else record["recording"])
            self.assertIn("connect-failed", fates)
            self.assertIn("failed", fates)
            self.assertEqual(fates[-1], "complete")
            self.exchange(relay.address)
            self.assertEqual(relay.wait_ends(9)[-1]["recording"], "complete")
            self.assertEqual(relay.terminate(), 0)
            self.assertTrue(any("cannot connect" in line and "limit of open files" in line for line in relay.lines),
                            relay.stderr)
            relay.close()

    @staticmethod
    def settled(relay):
        """How many descriptors it has without a session."""
        seen = []

        def is_still():
            seen.append(relay.descriptors())
            return len(seen) > 10 and len(set(seen[-10:])) == 1
        wait_until(is_still, what="descriptors to be closed")
        return seen[-1]


class NoPorts(EndToEnd):
    """The system has no local port left for another connection to the server: those sessions end, later ones go on."""

    def in_network_of_its_own(self):
        """The limit of ports is one of a network: this thread, and whatever it starts, gets another one."""
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET) != 0:
            return f"a network of its own is not allowed here: {os.strerror(ctypes.get_errno())}"
        if subprocess.run(["ip", "link", "set", "lo", "up"], check=False).returncode != 0:
            return "its loopback cannot be brought up"
        with open("/proc/sys/net/ipv4/ip_local_port_range", "w", encoding="ascii") as file:
            file.write("40000 40009")
        self.check()
        return None

    def check(self):
        # Clients come over a unix socket and take no ports.
        listener = self.listener(address=("127.0.0.1", 30000))
        with tempfile.TemporaryDirectory() as directory:
            path = f"unix:{directory}/socket"
            relay = self.start(listener, listen=(path,))
            sessions = [self.pair(path, listener) for _ in range(10)]
            refused = [self.client(path) for _ in range(5)]
            for client in refused:
                self.assertEqual(receive_all(client), b"")
            ends = relay.wait_ends(5)
            self.assertEqual({record["reason"] for record in ends}, {"connect-failed"})
            for number, (client, server) in enumerate(sessions):
                client.sendall(b"%d\n" % number)
                self.assertEqual(receive_exactly(server, 2), b"%d\n" % number)
                # Whoever ends a connection first keeps the port for a while: that must be the server.
                server.close()
                self.assertEqual(receive_all(client), b"")
                client.close()
            relay.wait_ends(15)
            client, server = self.pair(path, listener)
            client.sendall(b"again\n")
            self.assertEqual(receive_exactly(server, 6), b"again\n")
            self.finish(client, server)
            self.assertEqual(relay.wait_ends(16)[-1]["recording"], "complete")
            self.assertEqual(relay.terminate(), 0)
            relay.close()

    def test_recovers(self):
        if os.geteuid() != 0 or shutil.which("ip") is None:
            self.skipTest("needs root and ip (Debian: iproute2)")
        if reason := Task(self.in_network_of_its_own).result():
            self.skipTest(reason)


if __name__ == "__main__":
    unittest.main()
