"""Captures as show, verify and export read them, compressed ones too; damaged and foreign ones do no harm."""

import base64
import glob
import json
import os
import random
import shutil
import subprocess
import tempfile
import time
import unittest

import merged
import peers
from dissection import Capture
from peers import EchoServer, Task, connect, payload, receive_all, send_chunks
from relay import Relay, run, wait_until
from test_captures import fields, tshark
from test_pcapng import captures, imap, speak

SHARED_MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None


class Recorded(unittest.TestCase):
    """A directory of captures with some sessions, over several captures."""

    OPTIONS = ("--layout", "pcapng", "--rotate-size", "64K", "--flush", "5")

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="uring-rawlog-test-", dir=SHARED_MEMORY)
        cls.addClassCleanup(shutil.rmtree, cls.directory)
        cls.data = {}
        with EchoServer() as server, Relay(server.address, *cls.OPTIONS, directory=cls.directory) as relay:
            def work(number):
                data = b"".join(b"%d %s\r\n" % (line, payload(line, 20).hex().encode()) for line in range(number * 400))
                with connect(relay.address) as client:
                    name = peers.name_of(client)
                    receiver = Task(receive_all, client)
                    send_chunks(client, data, number, largest=3000)
                    assert receiver.result() == data
                cls.data[name] = data

            peers.all_results([Task(work, number) for number in range(6)])
            cls.records = {record["id"]: record for record in relay.wait_ends(6)}
            assert relay.terminate() == 0, relay.stderr
        cls.finish_directory()
        cls.largest = max(cls.records.values(), key=lambda record: record["in_bytes"])

    @classmethod
    def finish_directory(cls):
        pass

    def out(self):
        temporary = tempfile.TemporaryDirectory(prefix="uring-rawlog-test-", dir=SHARED_MEMORY)
        self.addCleanup(temporary.cleanup)
        return temporary.name

    def export(self, form, output, *options, source=None, code=0):
        result = run("export", source or self.directory, "--format", form, "--output", output, *options)
        self.assertEqual(result[0], code, result[2])
        return result[2]

    def expected(self, record):
        return self.data[record["client"]]


class Reading(Recorded):
    def test_there_are_several_captures(self):
        self.assertGreater(len(captures(self.directory)) + len(captures(self.directory, ".pcapng.zst")), 1)

    def test_verify(self):
        code, output, errors = run("verify", self.directory)
        self.assertEqual((code, errors), (0, ""), output)
        self.assertIn("6 sessions", output)
        self.assertIn("all as the index says", output)

    def test_show_one_session(self):
        code, output, errors = run("show", "--session", self.largest["id"], self.directory)
        self.assertEqual((code, errors), (0, ""))
        # What goes on in a line that was begun before has a +.
        said = [line for line in output.splitlines() if " in  : " in line]
        self.assertEqual(len(said), self.expected(self.largest).count(b"\n"), output[:2000])

    def test_show_a_capture(self):
        for path in glob.glob(os.path.join(self.directory, "*.pcapng*")):
            code, output, errors = run("show", path)
            self.assertEqual((code, errors), (0, ""))
            self.assertIn(self.largest["id"].split(".")[0][:8], output)

    def test_export_to_pairs(self):
        out = self.out()
        self.export("pair", out)
        self.assertEqual(len(os.listdir(out)), 12)
        for record in self.records.values():
            for direction in ("in", "out"):
                with open(os.path.join(out, f"{record['id']}.{direction}"), "rb") as file:
                    self.assertTrue(file.read() == self.expected(record), (record["id"], direction))

    def test_round_trip(self):
        """From captures to merged files and from there to a capture: the same bytes, and Wireshark agrees."""
        out = self.out()
        self.export("merged", out)
        for record in self.records.values():
            with open(os.path.join(out, record["id"] + ".rawlog"), "rb") as file:
                decoded = merged.decode(file.read())
            self.assertTrue(decoded == {"in": self.expected(record), "out": self.expected(record)})
        capture = os.path.join(self.out(), "all.pcapng")
        self.export("pcapng", capture, "--index", self.directory, source=out)
        with open(capture, "rb") as file:
            found = Capture(file.read())
        self.assertEqual(set(found.sessions), set(self.records))
        for name, session in found.sessions.items():
            self.assertTrue(bytes(session.streams["in"]) == self.expected(self.records[name]))
            self.assertEqual(json.loads(session.record), self.records[name])
            self.assertIsNone(session.reset)
        expert, said = tshark(capture, "-q", "-z", "expert,warn")
        self.assertEqual((said, [line for line in expert if "Warn" in line]), ([], []))
        again = self.out()
        self.export("pair", again, source=capture)
        with open(os.path.join(again, self.largest["id"] + ".out"), "rb") as file:
            self.assertTrue(file.read() == self.expected(self.largest))

    def test_one_session_to_json(self):
        code, output, errors = run("export", self.directory, "--format", "jsonl", "--output", "-", "--session",
                                   self.largest["id"])
        self.assertEqual((code, errors), (0, ""))
        lines = [json.loads(line) for line in output.splitlines()]
        self.assertEqual(lines[-1], self.largest)
        said = b"".join(line["text"].encode() if "text" in line else base64.b64decode(line["base64"])
                        for line in lines if line["event"] == "data" and line["direction"] == "out")
        self.assertTrue(said == self.expected(self.largest))

    def test_choice(self):
        for options, count in ((("--client", "127.0.0.1"), 12), (("--since", "2020-01-01"), 12)):
            out = self.out()
            self.export("pair", out, *options)
            self.assertEqual(len(os.listdir(out)), count)
        for options in (("--client", "192.0.2.1"), ("--user", "joe"), ("--until", "2020-01-01T00:00"),
                        ("--session", "nobody")):
            self.assertIn("no session is as was asked for", self.export("pair", self.out(), *options, code=66))

    def test_nothing_is_overwritten(self):
        out = self.out()
        self.export("pair", out)
        self.assertIn("cannot create", self.export("pair", out, code=73))

    def test_wrong_options(self):
        for options in (("--format", "pair"), ("--output", "x"), ("--format", "tar", "--output", "x"),
                        ("--format", "pair", "--output", "-"), ("--format", "merged", "--output", "x", "--plain-ports"),
                        ("--format", "pair", "--output", "x", "--since", "yesterday")):
            code, _, errors = run("export", self.directory, *options)
            self.assertEqual((code, len(errors.splitlines())), (64, 1), errors)


    def assert_in_order(self, path):
        """Wireshark sees no packet before an earlier one, though sessions were side by side."""
        times = [(float(time_), int(stream)) for time_, stream in fields(path, "", "frame.time_epoch", "tcp.stream")]
        self.assertEqual([time_ for time_, _ in times], sorted(time_ for time_, _ in times))
        streams = [stream for _, stream in times]
        # They do come side by side: some stream goes on behind another one's packets.
        changes = sum(one != other for one, other in zip(streams, streams[1:]))
        self.assertGreater(changes, len(set(streams)))

    def test_captures_have_packets_in_the_order_of_time(self):
        capture = os.path.join(self.out(), "all.pcapng")
        self.export("pcapng", capture)
        self.assert_in_order(capture)
        merged_files, again = self.out(), os.path.join(self.out(), "again.pcapng")
        self.export("merged", merged_files)
        self.export("pcapng", again, "--index", self.directory, source=merged_files)
        self.assert_in_order(again)
        code, output, errors = run("verify", "--index", self.directory, again)
        self.assertEqual((code, errors), (0, ""), output)

    def test_more_sessions_than_are_open_at_a_time(self):
        """Beyond the limit packets may be late, and none is missing."""
        source, sent = self.out(), {}
        for number in range(1, 601):
            name = f"20260131-08{number // 60:02}{number % 60:02}.1.{number}"
            sent[name] = b"".join(b"%d %d\n" % (number, line) for line in range(3))
            with open(os.path.join(source, name + ".rawlog"), "w", encoding="ascii") as file:
                for line in range(3):
                    file.write(f"{1_769_846_400 + number + line * 400:.6f} I: {number} {line}\n")
        capture = os.path.join(self.out(), "all.pcapng")
        self.export("pcapng", capture, source=source)
        with open(capture, "rb") as file:
            found = Capture(file.read())
        self.assertEqual({name: bytes(session.streams["in"]) for name, session in found.sessions.items()}, sent)
        with open(capture.replace(".pcapng", ".idx"), encoding="ascii") as file:
            self.assertEqual(len(file.read().splitlines()), 602)


class Compressed(Reading):
    OPTIONS = (*Recorded.OPTIONS, "--compress", "zstd")

    @classmethod
    def finish_directory(cls):
        # What the relay had no time for any more.
        for path in captures(cls.directory):
            code, _, errors = run("compress", path)
            assert code == 0, errors

    def test_zstd_unpacks_it(self):
        self.assertEqual(captures(self.directory), [])
        for path in captures(self.directory, ".pcapng.zst"):
            done = subprocess.run(["zstd", "-dc", path], capture_output=True, check=True)
            self.assertEqual(list(done.stderr), [])
            Capture(done.stdout)


class BadInput(Recorded):
    """Cut, changed and foreign files: a line, 65, and no more."""

    def tools(self, path, codes=(0, 65)):
        for arguments in (("show", path), ("verify", "--index", self.directory, path),
                          ("export", path, "--format", "jsonl", "--output", "-")):
            done = run(*arguments)
            self.assertIn(done[0], codes, (arguments, done[2]))
            self.assertLess(len(done[2].splitlines()), 200)
            if done[0] != 0 and arguments[0] != "verify":
                self.assertIn("uring-rawlog: ", done[2])

    def test_damaged(self):
        random.seed(3)
        with open(captures(self.directory)[0], "rb") as file:
            whole = file.read()
        directory = self.out()
        path = os.path.join(directory, "20260131-000000.1.1.pcapng")
        for compressed in (False, True):
            for number in range(25):
                data = bytearray(whole)
                with open(path, "wb") as file:
                    file.write(data)
                target = path
                if compressed:
                    self.assertEqual(run("compress", path)[0], 0)
                    target = path + ".zst"
                    with open(target, "rb") as file:
                        data = bytearray(file.read())
                for _ in range(3):
                    place = random.randrange(len(data))
                    data[place] ^= 1 << random.randrange(8)
                if number % 5 == 0:
                    del data[random.randrange(len(data)):]
                with open(target, "wb") as file:
                    file.write(data)
                self.tools(target)
                os.unlink(target)

    def test_foreign(self):
        directory = self.out()
        for name, data in (("a.pcapng", b""), ("b.pcapng", b"\xd4\xc3\xb2\xa1" + bytes(100)), ("c.pcapng", bytes(5000)),
                           ("d.pcapng.zst", b"\x28\xb5\x2f\xfd" + bytes(50)), ("e.pcapng.zst", b""),
                           ("f.pcapng", os.urandom(3000)), ("g.pcapng.zst", os.urandom(3000))):
            path = os.path.join(directory, name)
            with open(path, "wb") as file:
                file.write(data)
            self.tools(path, codes=(65,))

    def test_cut_capture_is_told(self):
        with open(captures(self.directory)[0], "rb") as file:
            whole = file.read()
        path = os.path.join(self.out(), "20260131-000000.1.1.pcapng.part")
        with open(path, "wb") as file:
            file.write(whole[:len(whole) // 2 | 1])
        os.chmod(path, 0o600)
        code, output, _ = run("verify", "--index", self.directory, path)
        self.assertEqual(code, 65)
        self.assertRegex(output, r"it was cut at byte \d+, within a block; \d+ packets of \d+ sessions are there")


class Redacted(unittest.TestCase):
    def test_plain_ports_and_users(self):
        """What came by imaps is IMAP to Wireshark when it is told so."""
        with peers.ScriptedServer(imap) as server, \
                Relay(server.address, "--layout", "pcapng", "--protocol", "imap", "--proxy-from", "127.0.0.1") as relay:
            with connect(relay.address) as client:
                client.sendall(b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 993\r\n")
                for said, answer in (b"* OK ready\r\n", b"a LOGIN joe secret\r\n"), (b"a OK done\r\n", b"b LOGOUT\r\n"):
                    peers.receive_exactly(client, len(said))
                    client.sendall(answer)
                receive_all(client)
            relay.wait_ends(1)
            self.assertEqual(relay.terminate(), 0)
            path = os.path.join(relay.directory, "out.pcapng")
            code, _, errors = run("export", relay.directory, "--format", "pcapng", "--plain-ports", "--user", "joe",
                                  "--output", path)
            self.assertEqual((code, errors), (0, ""))
            commands = [command for (command,) in fields(path, "imap.request.command", "imap.request.command")]
            self.assertEqual(commands, ["LOGIN", "LOGOUT"])


if __name__ == "__main__":
    unittest.main()
