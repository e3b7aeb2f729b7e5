"""`uring-rawlog verify`: real recordings, complete and not, and what is noticed when they are tampered with."""

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile

from peers import DEADLINE, MIB, EchoServer, EndToEnd, Task, name_of, payload, receive_all, receive_exactly, send_chunks
from relay import PROGRAM, run, wait_until

FLAGS = ((), ("-t",), ("-b",), ("-bt",), ("--layout", "merged"))
SUM = re.compile(r"(\d+) sessions?, (\d+) files?: (all as the index says|(\d+) findings?)"
                 r"(; \d+ sessions? of the index without files here not looked at)?")


class Verify(EndToEnd):
    def setUp(self):
        # In memory: many small files, and recordings in bulk.
        self.directory = tempfile.mkdtemp(prefix="rawlog-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
        self.addCleanup(shutil.rmtree, self.directory)

    def path(self, name):
        return os.path.join(self.directory, name)

    def verified(self, *arguments):
        """Exit code and findings; the last line must count them."""
        code, output, errors = run("verify", *arguments)
        self.assertEqual(errors, "")
        *findings, last = output.splitlines()
        summary = SUM.fullmatch(last)
        self.assertIsNotNone(summary, last)
        self.assertEqual(int(summary[4] or 0), len(findings), output)
        self.assertEqual(code, 65 if findings else 0, output)
        return findings

    def finds(self, *expected, arguments=None):
        """The findings are these, each by a part of its words."""
        findings = self.verified(*(arguments or (self.directory,)))
        self.assertEqual(len(findings), len(expected), findings)
        for words in expected:
            self.assertTrue(any(words in finding for finding in findings), (words, findings))

    def refused(self, *arguments, code=66):
        found, output, errors = run("verify", *arguments)
        self.assertEqual((found, output), (code, ""), errors)
        self.assertEqual(len(errors.splitlines()), 1, errors)
        self.assertTrue(errors.startswith("uring-rawlog: "), errors)
        return errors

    def record(self, *options, data=b"hello\r\nworld\n", sessions=1, end=True, **keywords):
        """Sessions with a server that echoes, all of them ended; the ids."""
        server = self.serve(EchoServer())
        relay = self.start(server, *options, directory=self.directory, **keywords)
        for number in range(sessions):
            self.exchange(relay.address, data)
        ends = relay.wait_ends(sessions) if end else []
        relay.terminate()
        return [record["id"] for record in ends]


class WhatWasRecorded(Verify):
    def test_all_flags(self):
        draw = random.Random(3)
        for flags in FLAGS:
            for more in ((), ("-f", "in"), ("-f", "out"), ("-I",), ("--max-recording", "7"), ("--only", "192.0.2.1")):
                with self.subTest(flags=flags + more):
                    # Stamps and marks in the data, lines of all kinds.
                    parts = [b"\n", b"\r\n", b">>>", b"<<<", b">>>\n", b"1769850900.000001 ", b"x" * 30, b"\0", b" "]
                    data = b"x" + b"".join(draw.choice(parts) for _ in range(200))
                    for path in os.listdir(self.directory):
                        os.unlink(self.path(path))
                    self.record(*flags, *more, data=data, sessions=3)
                    self.assertEqual(self.verified(self.directory), [])
                    for name in os.listdir(self.directory):
                        if name != "sessions.jsonl":
                            self.assertEqual(self.verified(self.path(name)), [])

    def test_redacted_and_pre_login(self):
        for options in (("-t", "--protocol", "imap"), ("--protocol", "imap", "--layout", "merged"),
                        ("-t", "--protocol", "imap", "--pre-login"), ("--protocol", "imap", "--secrets", "keep")):
            with self.subTest(options=options):
                listener = self.listener()
                directory = tempfile.mkdtemp(dir=self.directory)
                relay = self.start(listener, *options, directory=directory)
                client, server = self.pair(relay, listener)
                for sender, receiver, data in ((server, client, b"* OK\r\n"), (client, server, b"a1 LOGIN alice secret\r\n"),
                                               (server, client, b"a1 OK\r\n"), (client, server, b"a2 LOGOUT\r\n")):
                    sender.sendall(data)
                    self.assertEqual(receive_exactly(receiver, len(data)), data)
                name = name_of(client)
                self.finish(client, server)
                record = self.end_of(relay, name)
                self.assertEqual(record["recording"], "pre-login" if "--pre-login" in options else "complete")
                self.assertEqual(self.verified(directory), [])
                relay.close()

    def test_connections_that_failed(self):
        relay = self.start(f"127.0.0.1:{self.refused_port()}", directory=self.directory)
        with socket.create_connection(relay.address, timeout=DEADLINE) as client:
            receive_all(client)
        relay.wait_ends(1)
        self.assertEqual(self.verified(self.directory), [])

    def test_gaps(self):
        for flags in FLAGS:
            with self.subTest(flags=flags):
                listener = self.listener()
                directory = tempfile.mkdtemp(dir=self.directory)
                relay = self.start(listener, *flags, "--log-memory", "64K", "--log-full", "drop", directory=directory)
                client, server = self.pair(relay, listener)
                sending = [Task(send_chunks, client, payload(7, 4 * MIB), 91, MIB),
                           Task(send_chunks, server, payload(8, 4 * MIB), 92, MIB)]
                receiving = Task(receive_all, server)
                receive_all(client)
                for task in (*sending, receiving):
                    task.result()
                name = name_of(client)
                self.finish(client, server)
                self.end_of(relay, name)
                self.assertEqual(self.verified(directory), [])
                relay.close()

    def test_file_size_limit(self):
        # A recording that failed has what it has.
        server = self.serve(EchoServer())
        relay = self.start(server, "-t", directory=self.directory, prefix=("prlimit", "--fsize=3000"))
        self.exchange(relay.address, b"a line\r\n" * 1000)
        self.assertEqual(relay.wait_ends(1)[0]["recording"], "failed")
        self.assertEqual(self.verified(self.directory), [])

    def test_template_and_index_elsewhere(self):
        index = tempfile.mkdtemp(dir=self.directory)
        os.mkdir(self.path("127.0.0.1"))
        ids = self.record("-t", "--index", index, directory_option=self.path("%{ip}"), index=index)
        self.finds(arguments=("--index", index, self.directory))
        self.finds(arguments=("--index", index, self.path("127.0.0.1")))
        os.unlink(self.path(f"127.0.0.1/{ids[0]}.out"))
        self.finds("out: missing", arguments=("--index", index, self.directory))
        self.finds("out: missing", arguments=("--index", index, self.path("127.0.0.1")))
        self.refused(self.directory)

    def test_killed_relay(self):
        listener = self.listener()
        relay = self.start(listener, "-t", directory=self.directory)
        client, server = self.pair(relay, listener)
        client.sendall(b"hello\r\n")
        receive_exactly(server, 7)
        stem = wait_until(lambda: relay.records("start"))[0]["id"]
        self.finds(f"{stem}: no end in the index")
        relay.signal(signal.SIGKILL)
        relay.wait()
        self.finds(f"{stem}: no end in the index")


class Tampering(Verify):
    def setUp(self):
        super().setUp()
        self.ids = self.record("-t", sessions=3)
        self.stem = self.path(self.ids[0])
        self.assertEqual(self.verified(self.directory), [])

    def index(self):
        with open(self.path("sessions.jsonl"), encoding="utf-8") as file:
            return file.read().splitlines()

    def change_index(self, lines):
        with open(self.path("sessions.jsonl"), "w", encoding="utf-8") as file:
            file.write("".join(line + "\n" for line in lines))

    def test_files(self):
        size = os.path.getsize(self.stem + ".in")
        os.truncate(self.stem + ".in", size - 1)
        self.finds(f"{self.ids[0]}.in: 1 of {size} bytes are missing")
        self.finds("1 of", arguments=(self.stem + ".in",))
        self.finds(arguments=(self.stem + ".out",))
        self.finds("1 of", arguments=(self.stem,))
        with open(self.stem + ".in", "ab") as file:
            file.write(b"\nmore")
        self.finds(f"{self.ids[0]}.in: 4 bytes more than the {size}")
        os.truncate(self.stem + ".in", size)
        self.finds()
        # The same size, and a line end that was none.
        with open(self.stem + ".in", "r+b") as file:
            file.seek(20)
            file.write(b"\n")
        self.finds("line 2 has no stamp")

    def test_modes_and_kinds(self):
        os.chmod(self.stem + ".out", 0o640)
        self.finds("mode 0640 and not 0600")
        os.rename(self.stem + ".out", self.path("real"))
        self.finds(".out: missing")
        os.symlink("real", self.stem + ".out")
        self.finds("symbolic link")
        os.unlink(self.stem + ".out")
        os.mkfifo(self.stem + ".out", 0o600)
        self.finds("a FIFO")

    def test_names(self):
        shutil.copy2(self.stem + ".in", self.path("copy.in"))
        os.rename(self.stem + ".in", self.path("20200101-000000.1.1.in"))
        self.finds("copy.in: the name is not that of a recording", "20200101-000000.1.1: no entry in the index",
                   f"{self.ids[0]}.in: missing")

    def test_index(self):
        lines = self.index()
        ends = [number for number, line in enumerate(lines) if '"event":"end"' in line]
        # A session whose end is gone, one whose records are, a line that is torn.
        self.change_index(lines[:ends[0]] + lines[ends[0] + 1:])
        self.finds("no end in the index")
        self.change_index([line for line in lines if self.ids[1] not in line])
        self.finds(f"{self.ids[1]}: no entry in the index")
        self.change_index([lines[0], lines[1][:50], *lines[1:]])
        self.finds("line 2 is torn")
        self.change_index(lines + [lines[-1]])
        self.finds(f"line {len(lines) + 1} is another 'end'")
        with open(self.path("sessions.jsonl"), "a", encoding="utf-8") as file:
            file.write('{"event"')
        self.change_index(lines)
        os.chmod(self.path("sessions.jsonl"), 0o644)
        self.finds("sessions.jsonl: mode 0644")

    def test_numbers(self):
        lines = self.index()
        number = next(n for n, line in enumerate(lines) if '"event":"end"' in line)
        record = json.loads(lines[number])
        for change, *words in (({"in_bytes": 12}, "more than the 12 relayed"),
                               ({"in_bytes": 14}, "'complete', and has 13 of 14"), ({"dropped": 3}, "'dropped' is 3"),
                               ({"in_recorded": 12, "in_bytes": 12}, "holds 13 relayed bytes, and the index says 12"),
                               ({"recording": "none"}, "'none', and has 49 bytes", "'none', and has 49 bytes")):
            with self.subTest(change=change):
                self.change_index(lines[:number] + [json.dumps({**record, **change})] + lines[number + 1:])
                self.finds(*words)

    def test_any_byte_of_a_stamped_file_that_is_gone(self):
        with open(self.stem + ".in", "rb") as file:
            whole = file.read()
        for place in range(len(whole)):
            with open(self.stem + ".in", "wb") as file:
                file.write(whole[:place] + whole[place + 1:])
            self.finds("1 of", arguments=(self.stem + ".in",))


class BadInput(Verify):
    def test_what_is_not_there(self):
        self.assertIn("cannot find", self.refused(self.path("missing")))
        self.assertIn("--index", self.refused(self.directory))
        with open(self.path("a.in"), "wb"):
            pass
        self.assertIn("no index", self.refused(self.path("a.in")))
        self.refused("--index", self.path("missing"), self.directory)
        self.refused("--index", self.path("a.in"), self.directory)
        os.mkdir(self.path("sessions.jsonl"))
        self.assertIn("a directory", self.refused(self.directory))

    def test_indexes_that_are_none(self):
        with open(PROGRAM, "rb") as program:
            binary = program.read(200_000)
        for name, data in (("binary", binary), ("long", b"x" * 5 * MIB), ("nul", b"\0" * MIB), ("deep", b"[" * MIB + b"\n")):
            with self.subTest(name=name):
                with open(self.path("sessions.jsonl"), "wb") as file:
                    file.write(data)
                os.chmod(self.path("sessions.jsonl"), 0o600)
                findings = self.verified(self.directory)
                self.assertTrue(findings and all("sessions.jsonl: line " in finding for finding in findings))
                self.assertTrue(all(finding.isprintable() for finding in findings))

    def test_wrong_command_lines(self):
        for arguments in ((), ("",), ("--index", "", "x"), ("--frobnicate", "x"), ("x", "y"), ("--index",),
                          ("--index", "a", "--index", "b", "x"), ("--follow", "x")):
            with self.subTest(arguments=arguments):
                self.assertIn("see 'uring-rawlog verify --help'", self.refused(*arguments, code=64))

    def test_help(self):
        code, output, errors = run("verify", "--help")
        self.assertEqual((code, errors), (0, ""))
        for word in ("--index", "FILE|STEM|DIRECTORY", "65", "66"):
            self.assertIn(word, output)
        self.assertIn("verify", run("--help")[1])

    def test_output_that_is_full(self):
        self.record()
        with open("/dev/full", "wb") as full:
            done = subprocess.run([PROGRAM, "verify", self.directory], stdin=subprocess.DEVNULL, stdout=full,
                                  stderr=subprocess.PIPE, timeout=60)
        self.assertEqual(done.returncode, 74)
        self.assertIn(b"cannot write to standard output", done.stderr)
