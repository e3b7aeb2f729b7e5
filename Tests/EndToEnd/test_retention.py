"""Retention: recordings are deleted as they become too many, too old or too large, and never those being written."""

import contextlib
import fcntl
import os
import signal
import tempfile
import time
import unittest

import rawlog
from peers import EchoServer, EndToEnd, connect, payload, receive_all, receive_exactly, send_chunks, Task
from relay import Relay, run, wait_until
from test_recording import mounted

SHARED_MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
DAY = 24 * 3600


def names(directory):
    return sorted(name for name in os.listdir(directory) if not name.startswith("sessions"))


class Retention(EndToEnd):
    def setUp(self):
        super().setUp()
        temporary = tempfile.TemporaryDirectory(prefix="uring-rawlog-test-", dir=SHARED_MEMORY)
        self.addCleanup(temporary.cleanup)
        self.directory = temporary.name

    def make(self, name, size=1000, age=0.0):
        path = os.path.join(self.directory, name)
        with open(path, "wb") as file:
            file.write(b"x" * size)
        when = time.time() - age
        os.utime(path, (when, when))
        return path

    def start_kept(self, *options):
        server = self.serve(EchoServer())
        return self.start(server.address, *options, directory=self.directory)

    def test_age(self):
        """The old ones go, with all that belongs to them; what is not ours stays, however old."""
        old = ["20200101-000000.1.1.in", "20200101-000000.1.1.out", "20200101-000000.1.2.rawlog",
               "192.0.2.1-20200101-000000.1.3.in", "20200101-000000.1.1.pcapng", "20200101-000000.1.1.idx",
               "20200101-000000.1.2.pcapng.zst", "20200101-000000.1.9.pcapng.part"]
        for name in old:
            self.make(name, age=10 * DAY)
        kept = ["20200101-000000.1.4.in", "mail.in", "20200101-000000.1.5.txt", "x20200101-000000.1.6.in"]
        self.make(kept[0], age=DAY)
        for name in kept[1:]:
            self.make(name, age=10 * DAY)
        os.mkdir(os.path.join(self.directory, "20200101-000000.1.7.in"))
        target = self.make("target", age=10 * DAY)
        os.symlink(target, os.path.join(self.directory, "20200101-000000.1.8.in"))
        relay = self.start_kept("--keep-age", "5d")
        wait_until(lambda: len(relay.records("delete")) == 6, what="the deletions")
        self.assertEqual(names(self.directory), sorted([*kept, "target", "20200101-000000.1.7.in",
                                                        "20200101-000000.1.8.in"]))
        records = relay.records("delete")
        self.assertEqual(sorted(name for record in records for name in record["files"]), sorted(old))
        self.assertEqual({record["reason"] for record in records}, {"keep-age"})
        self.assertEqual(relay.terminate(), 0)
        self.assertIn("deleted 6 recordings", relay.stderr)

    def test_size(self):
        """The oldest first, until it is enough."""
        for number in range(10):
            self.make(f"20200101-000000.1.{number}.in", size=64 << 10, age=1000 - number)
            self.make(f"20200101-000000.1.{number}.out", size=64 << 10, age=1000 - number)
        relay = self.start_kept("--keep-size", "512K")
        wait_until(lambda: len(relay.records("delete")) >= 6, what="the deletions")
        self.assertEqual(len(names(self.directory)), 8)
        self.assertEqual(sorted({name.split(".")[2] for name in names(self.directory)}), ["6", "7", "8", "9"])
        self.assertEqual([r["id"].split(".")[2] for r in relay.records("delete")], list("012345"))

    def test_what_is_written_stays(self):
        """Our own open recordings, and those on which another recorder has a lock, are never deleted."""
        locked = self.make("20200101-000000.1.1.in", size=1 << 20, age=DAY)
        with open(locked, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            listener = self.listener()
            relay = self.start(listener.address, "--keep-age", "1ms", directory=self.directory)
            client, server = self.pair(relay, listener)
            client.sendall(b"hello\r\n")
            receive_exactly(server, 7)
            files = wait_until(lambda: [n for n in names(self.directory) if f".{relay.pid}." in n], what="files")
            old = time.time() - DAY
            for name in files:
                os.utime(os.path.join(self.directory, name), (old, old))
            gone = self.make("20200101-000000.1.2.in", age=DAY)
            wait_until(lambda: not os.path.exists(gone), what="the deletion")
            self.assertTrue(os.path.exists(locked))
            for name in files:
                self.assertTrue(os.path.exists(os.path.join(self.directory, name)))
            self.finish(client, server)
        wait_until(lambda: not os.path.exists(locked), what="the deletion of what is not locked any more")

    def test_other_recorder(self):
        """What another relay in the same directory is writing stays."""
        listener = self.listener()
        writer = self.start(listener.address, "--layout", "pcapng", directory=self.directory)
        client, server = self.pair(writer, listener)
        client.sendall(b"hello\r\n")
        receive_exactly(server, 7)
        part, = wait_until(lambda: [n for n in names(self.directory) if n.endswith(".pcapng.part")], what="a capture")
        old = time.time() - DAY
        os.utime(os.path.join(self.directory, part), (old, old))
        gone = self.make("20200101-000000.1.2.in", age=DAY)
        self.start_kept("--keep-age", "1h")
        wait_until(lambda: not os.path.exists(gone), what="the deletion")
        self.assertIn(part, names(self.directory))
        self.finish(client, server)

    def test_a_session_of_the_drop_in(self):
        """What `rawlog` is writing has a lock that any recorder sees, and stays when a relay keeps next to nothing."""
        with rawlog.Home() as home, rawlog.Session(rawlog.OURS, home=home.path) as session:
            session.exchange(b"a NOOP\r\n", (b"a OK\r\n",))
            live = wait_until(lambda: len(home.files()) == 2 and sorted(home.files()), what="the files")
            old = time.time() - DAY
            for name in live:
                path = os.path.join(home.directory, name)
                os.utime(path, (old, old))
                with open(path, "rb") as file, self.assertRaises(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The same under a name of the relay's: only the lock keeps it.
            renamed = [f"20200101-000000.1.1{os.path.splitext(name)[1]}" for name in live]
            for name, other in zip(live, renamed):
                os.link(os.path.join(home.directory, name), os.path.join(home.directory, other))
            self.directory = home.directory
            gone = self.make("20200101-000000.1.2.in", age=DAY)
            relay = self.start_kept("--keep-size", "1")
            wait_until(lambda: not os.path.exists(gone), what="the deletion")
            self.assertEqual(sorted([*live, *renamed]), names(home.directory))
            # It is not locked any more when the session is over.
            self.assertEqual(session.finish()[0], 0)
            for name in renamed:
                os.utime(os.path.join(home.directory, name), (old, old))
            wait_until(lambda: names(home.directory) == live, what="the deletion of what is over")
            self.assertEqual(home.files()[live[0]], b"a NOOP\r\n")
            wait_until(lambda: [r["id"] for r in relay.records("delete")] ==
                       ["20200101-000000.1.2", "20200101-000000.1.1"], what="the index to tell")

    def test_every_deletion_is_listed_before_the_end(self):
        """A relay that is ended while it deletes stops deleting, and its index tells of all that is gone."""
        made = set()
        for number in range(4000):
            name = f"20200101-000000.1.{number}.rawlog"
            self.make(name, size=0, age=DAY)
            made.add(name)
        relay = self.start_kept("--keep-age", "1h")
        wait_until(lambda: len(os.listdir(self.directory)) < 4000, what="the first deletions")
        self.assertEqual(relay.terminate(), 0)
        gone = made - set(os.listdir(self.directory))
        listed = [name for record in relay.records("delete") for name in record["files"]]
        self.assertEqual(sorted(listed), sorted(gone))
        self.assertIn(f"deleted {len(gone)} recordings", relay.stderr)

    def test_what_cannot_be_listed_is_said(self):
        """One that must end at once says what the index does not."""
        made = {f"20200101-000000.1.{number}.rawlog" for number in range(4000)}
        for name in made:
            self.make(name, size=0, age=DAY)
        listener = self.listener()
        relay = self.start(listener.address, "--keep-age", "1h", "--flush", "60000", "--drain", "2s",
                           directory=self.directory)
        client, server = self.pair(relay, listener)
        wait_until(lambda: len(os.listdir(self.directory)) < 4000, what="the first deletions")
        relay.signal(signal.SIGTERM)
        wait_until(lambda: "ending" in relay.stderr, what="the first to be heard")
        for _ in range(2):
            relay.signal(signal.SIGTERM)
            time.sleep(0.01)
        self.assertEqual(relay.wait(), 0)
        for peer in (client, server):
            peer.close()
        gone = made - set(os.listdir(self.directory))
        listed = {name for record in relay.records("delete") for name in record["files"]}
        said = {line.rpartition(" ")[2] for line in relay.lines if "not listed in the index" in line}
        self.assertEqual(listed | said, gone)

    def test_captures_on_a_small_disk(self):
        """More is recorded than the disk holds: the oldest captures make room, and nothing of the others is lost."""
        with mounted("tmpfs", "tmpfs", "size=24m,mode=0700") as directory, EchoServer() as server, \
                tempfile.TemporaryDirectory() as index, \
                Relay(server.address, "--layout", "pcapng", "--rotate-size", "1M", "--keep-free", "50",
                      "--index", index, "--log-wait", "30s", directory=directory, index=index) as relay:
            for number in range(12):
                data = payload(number, 3 << 20)
                with connect(relay.address) as client:
                    receiver = Task(receive_all, client)
                    send_chunks(client, data, number)
                    self.assertTrue(receiver.result() == data)
                # Files that were just written to count as being written.
                old = time.time() - 60
                for name in os.listdir(directory):
                    # It may be deleted, or be given its final name, just now.
                    with contextlib.suppress(FileNotFoundError):
                        if not name.endswith(".part"):
                            os.utime(os.path.join(directory, name), (old, old))
                wait_until(lambda: os.statvfs(directory).f_bavail * 2 >= os.statvfs(directory).f_blocks,
                           what="room on the disk")
            records = relay.wait_ends(12)
            self.assertEqual({record["recording"] for record in records}, {"complete"})
            self.assertGreater(len(relay.records("delete")), 10)
            self.assertEqual(relay.terminate(), 0)

    def test_index_of_an_earlier_day(self):
        with open(os.path.join(self.directory, "sessions.jsonl"), "w", encoding="ascii") as file:
            file.write('{"event":"start"}\n')
        when = time.time() - 3 * DAY
        os.utime(file.name, (when, when))
        relay = self.start_kept("--keep-age", "30d")
        day = time.strftime("sessions-%Y%m%d.jsonl", time.localtime(when))
        self.assertEqual(sorted(os.listdir(self.directory)), [day, "sessions.jsonl"])
        self.exchange(relay.address)
        self.assertEqual(len(relay.wait_ends(1)), 1)

    def test_wrong_values(self):
        for options, said in ((("--keep-size", "0"), "--keep-size"), (("--keep-age", "0"), "--keep-age"),
                              (("--keep-free", "100"), "--keep-free"), (("--keep-free", "some"), "--keep-free")):
            code, _, errors = run("--listen", "127.0.0.1:0", "--connect", "127.0.0.1:1", "--dir", self.directory,
                                  *options)
            self.assertEqual(code, 64, errors)
            self.assertIn(said, errors)


if __name__ == "__main__":
    unittest.main()
