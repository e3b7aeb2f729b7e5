"""Layout merged: one file a session, whose lines say when they came and which direction they are of."""

import contextlib
import os
import random
import resource
import signal
import tempfile
import threading
import time
import unittest

import merged
from peers import (MIB, EchoServer, EndToEnd, Task, connect, name_of, payload, receive_all, receive_until_end, reset,
                   send_chunks)
from relay import run, wait_until
from test_recording import files, mounted, say

INDEX_FIELDS = ("in_bytes", "out_bytes", "in_recorded", "out_recorded", "in_file", "out_file", "dropped")


class MergedTest(EndToEnd):
    def start_merged(self, connect_to, *options, **keywords):
        return self.start(connect_to, "--layout", "merged", *options, **keywords)

    def path(self, relay, record):
        return os.path.join(relay.directory, record["id"] + ".rawlog")

    def file(self, relay, record):
        with open(self.path(relay, record), "rb") as file:
            return file.read()

    def file_of_only_session(self, relay):
        """The recording of a session that goes on."""
        stem = wait_until(lambda: [r["id"] for r in relay.records("start")], what="the start record")[0]
        return self.file(relay, {"id": stem})

    def wait_file(self, relay, expected, what="the recording"):
        """Waits until the recording of the only session is `expected`, stamps aside."""
        try:
            wait_until(lambda: merged.shown(self.file_of_only_session(relay)) == expected, what=what)
        except AssertionError:
            self.assertEqual(merged.shown(self.file_of_only_session(relay)), expected, what)

    def record_of(self, relay, client, server):
        """Ends a session and returns its end record."""
        name = name_of(client)
        self.finish(client, server)
        return self.end_of(relay, name)

    def assert_whole(self, relay, record, up, down):
        """The recording holds every byte, and the index says so."""
        recorded = self.file(relay, record)
        self.assertEqual(record["recording"], "complete")
        self.assertEqual((record["gaps"], record["dropped"]), ([], 0))
        self.assert_counts(record, recorded)
        for direction, data in (("in", up), ("out", down)):
            self.assertTrue(merged.decode(recorded)[direction] == data, f"the {direction} differs")
            self.assertEqual(record[direction + "_bytes"], len(data))
            self.assertEqual(record[direction + "_recorded"], len(data))
        return recorded

    def assert_counts(self, record, recorded):
        """What the index says of the file is what is in it."""
        self.assertEqual(record["in_file"] + record["out_file"], len(recorded))
        for letter, direction in ((b"I", "in"), (b"O", "out")):
            # Pieces of one file are told apart by their letter; a last line may be cut off.
            size = sum(len(line) + 1 for line in recorded.split(b"\n")[:-1] if line[18:19] == letter)
            last = recorded.split(b"\n")[-1]
            if last[18:19] == letter or (len(last) < 19 and direction == "in"):
                size += len(last)
            self.assertEqual(record[direction + "_file"], size, direction)


class Samples(MergedTest):
    """Who says what, chunk by chunk, and what is recorded of it; @T stands for a stamp and its space."""

    IN, OUT = "in", "out"
    FIVE = [(IN, b"abc"), (IN, b"def"), (IN, b"\r\nghi"), (IN, b"\n"), (IN, b"last")]
    SAMPLES = (
        # Nothing at all.
        ([], b""),
        # Lines over several reads, and one without an end.
        (FIVE, b"@T I: abcdef\r\n@T I: ghi\n@T I> last\n"),
        # Several lines in a read, empty ones too.
        ([(IN, b"four\nfive"), (IN, b"\nsix\n")], b"@T I: four\n@T I: five\n@T I: six\n"),
        ([(OUT, b"\n\n\n")], b"@T O: \n@T O: \n@T O: \n"),
        ([(OUT, b"\r\n"), (IN, b"\r")], b"@T O: \r\n@T I> \r\n"),
        # NUL and bytes beyond ASCII are bytes like others, and so is what looks like a header.
        ([(IN, b"a\0b\r\xff"), (IN, b"\r\n\0"), (IN, b"\n")], b"@T I: a\0b\r\xff\r\n@T I: \0\n"),
        ([(IN, b"1700000000.000000 O: no\n"), (OUT, b"I> \n")],
         b"@T I: 1700000000.000000 O: no\n@T O: I> \n"),
        # Both directions, in the order in which their lines end.
        ([(OUT, b"* OK\r\n"), (IN, b"a NOOP\r\n"), (OUT, b"a OK\r\n"), (IN, b"b LOGOUT\r\n"), (OUT, b"* BYE\r\n"),
          (OUT, b"b OK\r\n")],
         b"@T O: * OK\r\n@T I: a NOOP\r\n@T O: a OK\r\n@T I: b LOGOUT\r\n@T O: * BYE\r\n@T O: b OK\r\n"),
        ([(IN, b"a LOG"), (OUT, b"* BYE"), (IN, b"OUT\r\n"), (OUT, b" soon\r\n")],
         b"@T I: a LOGOUT\r\n@T O: * BYE soon\r\n"),
        ([(IN, b"half"), (OUT, b"whole\n"), (OUT, b"half")], b"@T O: whole\n@T I> half\n@T O> half\n"),
    )

    def check(self, *options, **keywords):
        listener = self.listener()
        relay = self.start_merged(listener, *options, **keywords)
        for said, expected in self.SAMPLES:
            with self.subTest(options=options, said=said):
                before = time.time()
                client, server = self.pair(relay, listener)
                for who, chunk in said:
                    say(*((client, server) if who == self.IN else (server, client)), (chunk,))
                record = self.record_of(relay, client, server)
                after = time.time()
                sent = {who: b"".join(chunk for other, chunk in said if other == who) for who in (self.IN, self.OUT)}
                recorded = self.assert_whole(relay, record, sent["in"], sent["out"])
                self.assertEqual(merged.shown(recorded), expected)
                for line in merged.lines(recorded):
                    # A coarse clock may be behind by a tick.
                    self.assertTrue(before - 1 < line.stamp < after + 1, (before, line.stamp, after))

    def test_samples(self):
        self.check()

    def test_stamps_are_always_there(self):
        self.check("-t")

    def test_every_write_at_once(self):
        # Each unfinished line is written, and written over.
        self.check("--flush", "0")

    def test_a_flush_that_never_comes(self):
        self.check("--flush", "700")

    def test_with_the_kernels_workers(self):
        self.check("--flush", "0", env={"URING_RAWLOG_WITHOUT": "loop-files"})

    def test_bytes_one_by_one(self):
        listener = self.listener()
        relay = self.start_merged(listener, "--flush", "1")
        client, server = self.pair(relay, listener)
        up, down = b"a LOGIN x y\r\nb", b"* OK\r\n+ \r\n\r\n"
        say(client, server, [bytes([byte]) for byte in up])
        say(server, client, [bytes([byte]) for byte in down])
        record = self.record_of(relay, client, server)
        recorded = self.assert_whole(relay, record, up, down)
        self.assertEqual(merged.shown(recorded),
                         b"@T I: a LOGIN x y\r\n@T O: * OK\r\n@T O: + \r\n@T O: \r\n@T I> b\n")

    def test_stamp_is_that_of_the_end_of_the_line(self):
        listener = self.listener()
        relay = self.start_merged(listener)
        client, server = self.pair(relay, listener)
        say(client, server, (b"a NO",))
        self.wait_file(relay, b"@T I> a NO\n")
        middle = time.time()
        say(client, server, (b"OP\r\n",))
        line, = merged.lines(self.file(relay, self.record_of(relay, client, server)))
        self.assertGreater(line.stamp, middle - 0.05)  # a coarse clock may be behind by a tick


class LongLines(MergedTest):
    def exchange_up(self, parts, *options):
        """What is recorded when the client says this, part by part."""
        listener = self.listener()
        relay = self.start_merged(listener, *options)
        client, server = self.pair(relay, listener)
        say(client, server, parts)
        record = self.record_of(relay, client, server)
        recorded = self.assert_whole(relay, record, b"".join(parts), b"")
        relay.close()
        return merged.lines(recorded)

    def test_what_fits(self):
        # Up to 8191 bytes are kept until the line feed comes.
        for parts in ([b"x" * 8191, b"\n"], [b"x" * 4000, b"y" * 4191, b"z" * 3000 + b"\n"], [b"x" * 50_000 + b"\n"]):
            with self.subTest(parts=[len(part) for part in parts]):
                self.assertEqual([line.kind for line in self.exchange_up(parts)], [":"])

    def test_what_does_not(self):
        for parts, expected in (
                ([b"x" * 8192, b"\n"], [(">", 8192), (":", 1)]),
                ([b"x" * 8000, b"y" * 192, b"z"], [(">", 8192), (">", 1)]),
                ([b"x" * 8000, b"y" * 4000, b"z\nlast"], [(">", 12000), (":", 2), (">", 4)]),
                ([b"x" * 8191, b"y" * 8191, b"\n"], [(">", 16382), (":", 1)])):
            with self.subTest(parts=[len(part) for part in parts]):
                found = [(line.kind, len(line.text)) for line in self.exchange_up(parts)]
                self.assertEqual(found, expected)

    def test_larger_than_every_buffer(self):
        # A read may be cut anywhere; the line is put together again by its pieces.
        for size in (65_536, 65_537, 300_000, 2 * MIB):
            with self.subTest(size=size):
                line = payload(size, size).replace(b"\n", b" ") + b"\n"
                found = self.exchange_up([line, b"next\r\n"])
                self.assertEqual([entry.kind for entry in found[-2:]], [":", ":"])
                self.assertEqual(found[-1].text, b"next\r\n")
                self.assertTrue(all(entry.kind == ">" for entry in found[:-2]))

    def test_little_memory(self):
        # Blocks that are smaller than a line: it comes in more pieces.
        with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
            listener = self.listener()
            relay = self.start_merged(listener, "--log-memory", "64K", "--log-wait", "60s", directory=directory)
            up = b"".join(payload(number, 5000 + number).replace(b"\n", b" ") + b"\n" for number in range(200))
            down = b"".join(payload(number, 7000 + number).replace(b"\n", b" ") + b"\n" for number in range(200))
            client, server = self.pair(relay, listener)
            sending = [Task(send_chunks, client, up, 1), Task(send_chunks, server, down, 2)]
            receiving = Task(receive_all, server)
            self.assertTrue(receive_all(client) == down)
            self.assertTrue(receiving.result() == up)
            for task in sending:
                task.result()
            self.assert_whole(relay, self.record_of(relay, client, server), up, down)
            relay.close()


class Bulk(MergedTest):
    def transfer(self, relay, listener, up, down, seed):
        client, server = self.pair(relay, listener)
        sending = [Task(send_chunks, client, up, seed, MIB), Task(send_chunks, server, down, seed + 1, MIB)]
        receiving = Task(receive_all, server)
        self.assertTrue(receive_all(client) == down, "server to client differs")
        self.assertTrue(receiving.result() == up, "client to server differs")
        for task in sending:
            task.result()
        return self.record_of(relay, client, server)

    def test_both_ways_at_once(self):
        # Lines of 256 bytes on the average, and lines of 72.
        up = payload(11, 8 * MIB)
        down = b"".join(b"%07d " % number + b"x" * 63 + b"\n" for number in range(100_000))
        listener = self.listener()
        for options in ((), ("--flush", "1"), ("--log-wait", "60s", "--log-memory", "256K")):
            for where in (None, "/dev/shm"):
                with self.subTest(options=options, where=where), tempfile.TemporaryDirectory(dir=where) as directory:
                    relay = self.start_merged(listener, *options, directory=directory)
                    record = self.transfer(relay, listener, up, down, 12)
                    self.assert_whole(relay, record, up, down)
                    relay.close()

    def test_many_sessions(self):
        server = self.serve(EchoServer())
        relay = self.start_merged(server, "--flush", "5")

        def talk(number):
            data = b"".join(b"%d.%d: %s\r\n" % (number, line, payload(line, line % 50).hex().encode())
                            for line in range(200))
            with connect(relay.address) as client:
                name = name_of(client)
                sending = Task(send_chunks, client, data, number, 2000)
                self.assertTrue(receive_all(client) == data)
                sending.result()
            return name, data

        sessions = [task.result() for task in [Task(talk, number) for number in range(50)]]
        records = {record["client"]: record for record in relay.wait_ends(50)}
        for name, data in sessions:
            self.assert_whole(relay, records[name], data, data)
        self.assertEqual(len(files(relay.directory)), 50)

    def test_reset(self):
        # What came before it is recorded, also a line without an end.
        listener = self.listener()
        relay = self.start_merged(listener)
        client, server = self.pair(relay, listener)
        say(client, server, (b"one\ntwo",))
        say(server, client, (b"three",))
        name = name_of(client)
        reset(client)
        receive_until_end(server)
        server.close()
        self.assert_whole(relay, self.end_of(relay, name), b"one\ntwo", b"three")


class Options(MergedTest):
    def test_one_direction(self):
        listener = self.listener()
        for wanted, expected in (("in", b"@T I: from the client\n@T I> rest\n"), ("out", b"@T O: from the server\n")):
            with self.subTest(filter=wanted):
                relay = self.start_merged(listener, "-f", wanted)
                client, server = self.pair(relay, listener)
                say(client, server, (b"from the client\n", b"rest"))
                say(server, client, (b"from the server\n",))
                record = self.record_of(relay, client, server)
                self.assertEqual(record["recording"], "complete")
                recorded = self.file(relay, record)
                self.assertEqual(merged.shown(recorded), expected)
                self.assert_counts(record, recorded)
                other = "out" if wanted == "in" else "in"
                self.assertEqual((record[other + "_recorded"], record[other + "_file"]), (0, 0))
                self.assertGreater(record[other + "_bytes"], 0)
                relay.close()

    def test_address_in_the_name(self):
        listener = self.listener()
        relay = self.start_merged(listener, "-I")
        client, server = self.pair(relay, listener)
        record = self.record_of(relay, client, server)
        self.assertTrue(record["id"].startswith("127.0.0.1-"), record["id"])
        self.assertEqual(files(relay.directory), [record["id"] + ".rawlog"])

    def test_only(self):
        listener = self.listener()
        relay = self.start_merged(listener, "--only", "127.0.0.2")
        client, server = self.pair(relay, listener)
        say(client, server, (b"not recorded\n",))
        record = self.record_of(relay, client, server)
        self.assertEqual((record["recording"], record["in_file"], files(relay.directory)), ("none", 0, []))

    def test_template(self):
        listener = self.listener()
        with tempfile.TemporaryDirectory() as directory:
            relay = self.start_merged(listener, directory=directory, directory_option=directory + "/%{ip}")
            client, server = self.pair(relay, listener)
            say(client, server, (b"nobody wants this\n",))
            self.assertEqual(self.record_of(relay, client, server)["recording"], "none")
            os.mkdir(directory + "/127.0.0.1")
            client, server = self.pair(relay, listener)
            say(client, server, (b"line\n",))
            record = self.record_of(relay, client, server)
            self.assertEqual(record["recording"], "complete")
            self.assertEqual(os.listdir(directory + "/127.0.0.1"), [record["id"] + ".rawlog"])
            relay.close()

    def test_max_recording(self):
        listener = self.listener()
        relay = self.start_merged(listener, "--max-recording", "1000")
        client, server = self.pair(relay, listener)
        up = b"".join(b"line %4d\n" % number for number in range(200))
        say(client, server, (up[:700], up[700:1500], up[1500:]))
        say(server, client, (b"short\n",))
        record = self.record_of(relay, client, server)
        self.assertEqual((record["recording"], record["in_bytes"], record["in_recorded"]), ("truncated", 2000, 1000))
        recorded = self.file(relay, record)
        self.assert_counts(record, recorded)
        self.assertEqual(merged.decode(recorded), {"in": up[:1000], "out": b"short\n"})

    def test_max_recording_that_is_just_reached(self):
        listener = self.listener()
        relay = self.start_merged(listener, "--max-recording", "10")
        for parts, expected in (((b"12345\n", b"789\n"), "complete"), ((b"12345\n", b"7890"), "complete"),
                                ((b"12345\n", b"7890", b"1"), "truncated")):
            with self.subTest(parts=parts):
                client, server = self.pair(relay, listener)
                say(client, server, parts)
                record = self.record_of(relay, client, server)
                self.assertEqual(record["recording"], expected)
                recorded = self.file(relay, record)
                self.assert_counts(record, recorded)
                self.assertEqual(merged.decode(recorded)["in"], b"".join(parts)[:10])

    def test_what_contradicts_it(self):
        with tempfile.TemporaryDirectory() as directory:
            base = ["--listen", "127.0.0.1:0", "--connect", "127.0.0.1:1", "--dir", directory]
            for options, name in ((("--layout", "merged", "-b"), "--boundaries"),
                                  (("--layout", "merged", "--boundaries"), "--boundaries"),
                                  (("--layout", "both"), "both"), (("--layout=",), "--layout"),
                                  (("--layout", "MERGED"), "MERGED"), (("--layout",), "--layout"),
                                  (("--layout", "merged", "--layout", "pair"), "--layout")):
                with self.subTest(options=options):
                    code, output, errors = run(*base, *options)
                    self.assertEqual((code, output, len(errors.splitlines())), (64, "", 1), errors)
                    self.assertIn(name, errors)
            self.assertEqual(os.listdir(directory), [])


class Names(MergedTest):
    def test_one_file(self):
        listener = self.listener()
        relay = self.start_merged(listener, preexec_fn=lambda: os.umask(0))
        client, server = self.pair(relay, listener)
        # Made when the session starts, before a byte has come.
        name, = wait_until(lambda: files(relay.directory), what="the file")
        self.assertRegex(name, rf"\A\d{{8}}-\d{{6}}\.{relay.pid}\.\d+\.rawlog\Z")
        record = self.record_of(relay, client, server)
        self.assertEqual(files(relay.directory), [record["id"] + ".rawlog"])
        self.assertEqual(os.stat(self.path(relay, record)).st_mode & 0o7777, 0o600)
        self.assertEqual(self.file(relay, record), b"")

    def taken(self, make):
        """Takes the names that the relay is about to use; sessions must find others."""
        listener = self.listener()
        relay = self.start_merged(listener)
        now = time.time()
        taken = []
        for second in range(-1, 30):
            when = time.strftime("%Y%m%d-%H%M%S", time.localtime(now + second))
            for number in range(4):
                name = f"{when}.{relay.pid}.{number}.rawlog"
                make(os.path.join(relay.directory, name))
                taken.append(name)
        ids = []
        for number in range(3):
            client, server = self.pair(relay, listener)
            say(client, server, (b"in %d\n" % number,))
            say(server, client, (b"out %d" % number,))
            record = self.record_of(relay, client, server)
            self.assert_whole(relay, record, b"in %d\n" % number, b"out %d" % number)
            ids.append(record["id"])
        self.assertEqual(len(set(ids)), 3)
        self.assertEqual({record["id"] for record in relay.records("start")}, set(ids))
        own = [stem + ".rawlog" for stem in ids]
        self.assertEqual(set(own) & set(taken), set())
        self.assertEqual(files(relay.directory), sorted(own + taken))
        return relay

    def test_taken_names_are_left_alone(self):
        def make(path):
            with open(path, "wb") as file:
                file.write(path.encode())

        relay = self.taken(make)
        for name in files(relay.directory):
            with open(os.path.join(relay.directory, name), "rb") as file:
                content = file.read()
            self.assertIn(content[:1], (b"/", b"1", b"2"))
            if content.startswith(b"/"):
                self.assertEqual(content, os.path.join(relay.directory, name).encode())

    def test_links_are_not_followed(self):
        with tempfile.TemporaryDirectory() as elsewhere:
            self.taken(lambda path: os.symlink(os.path.join(elsewhere, os.path.basename(path)), path))
            self.assertEqual(os.listdir(elsewhere), [])


class Unfinished(MergedTest):
    """Lines whose end has not come are in the file within --flush, and later nothing is left of that."""

    def test_written_over(self):
        listener = self.listener()
        for env in ({}, {"URING_RAWLOG_WITHOUT": "loop-files"}):
            for directory in (None, "/dev/shm"):
                with self.subTest(env=env, directory=directory), contextlib.ExitStack() as stack:
                    if directory:
                        directory = stack.enter_context(tempfile.TemporaryDirectory(dir=directory))
                    relay = self.start_merged(listener, "--flush", "20", env=env, directory=directory)
                    client, server = self.pair(relay, listener)
                    say(client, server, (b"a APP",))
                    self.wait_file(relay, b"@T I> a APP\n")
                    say(server, client, (b"* BY",))
                    self.wait_file(relay, b"@T I> a APP\n@T O> * BY\n")
                    say(client, server, (b"END {10}\r",))
                    self.wait_file(relay, b"@T I> a APPEND {10}\r\n@T O> * BY\n")
                    say(server, client, (b"E\r\n+",))
                    self.wait_file(relay, b"@T O: * BYE\r\n@T I> a APPEND {10}\r\n@T O> +\n")
                    say(client, server, (b"\nx",))
                    self.wait_file(relay, b"@T O: * BYE\r\n@T I: a APPEND {10}\r\n@T I> x\n@T O> +\n")
                    record = self.record_of(relay, client, server)
                    recorded = self.assert_whole(relay, record, b"a APPEND {10}\r\nx", b"* BYE\r\n+")
                    self.assertEqual(merged.shown(recorded),
                                     b"@T O: * BYE\r\n@T I: a APPEND {10}\r\n@T I> x\n@T O> +\n")
                    relay.close()

    def test_at_random(self):
        # Whatever is flushed when: at each rest the file holds all that was said, and in the end nothing else.
        draw = random.Random(77)
        listener = self.listener()
        relay = self.start_merged(listener, "--flush", "4")
        client, server = self.pair(relay, listener)
        sent = {"in": b"", "out": b""}
        for number in range(300):
            direction = draw.choice(("in", "out"))
            size = draw.choice((1, 3, 20, 300, 5000))
            chunk = bytes(draw.choice(b"abc\n") if draw.random() < 0.05 else 120 for _ in range(size))
            say(*((client, server) if direction == "in" else (server, client)), (chunk,))
            sent[direction] += chunk
            if number % 10 == 9:
                def whole():
                    try:
                        return merged.decode(self.file_of_only_session(relay)) == sent
                    except AssertionError:
                        return False  # between two writes
                wait_until(whole, what=f"all bytes up to step {number} to be in the file")
        self.assert_whole(relay, self.record_of(relay, client, server), sent["in"], sent["out"])

    def killed(self, relay):
        relay.signal(signal.SIGKILL)
        relay.wait()
        return self.file_of_only_session(relay)

    def test_kill(self):
        listener = self.listener()
        for flush in ("10", "100", "500"):
            with self.subTest(flush=flush):
                relay = self.start_merged(listener, "--flush", flush)
                client, server = self.pair(relay, listener)
                say(server, client, (b"* OK\r\n* half a li",))
                say(client, server, (b"a LOGIN al",))
                expected = b"@T O: * OK\r\n@T I> a LOGIN al\n@T O> * half a li\n"
                self.wait_file(relay, expected)
                self.assertEqual(merged.shown(self.killed(relay)), expected)
                relay.close()

    def test_kill_amid_the_other_directions_bulk(self):
        # Writes that the other direction causes, far more often than --flush, must not put this one off.
        listener = self.listener()
        relay = self.start_merged(listener)
        client, server = self.pair(relay, listener)
        say(client, server, (b"a FETCH 1",))
        ending = threading.Event()
        block = b"".join(b"%06d %s\r\n" % (number, b"y" * 70) for number in range(10_000))

        def pour():
            with contextlib.suppress(OSError):
                while not ending.is_set():
                    server.sendall(block)

        def drink():
            with contextlib.suppress(OSError):
                while client.recv(MIB):
                    pass

        tasks = [Task(pour), Task(drink)]
        try:
            wait_until(lambda: b" I> a FETCH 1\n" in self.tail(relay), 10,
                       "the half line to be in the file, while the other direction never rests")
        finally:
            ending.set()
            relay.signal(signal.SIGKILL)
            relay.wait()
            for task in tasks:
                task.result()

    def tail(self, relay):
        """The end of the only session's recording, which grows fast."""
        stem = wait_until(lambda: [r["id"] for r in relay.records("start")], what="the start record")[0]
        with open(os.path.join(relay.directory, stem + ".rawlog"), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 100_000))
            return file.read()


class Failures(MergedTest):
    """The recording may fail; the session goes on, and the index tells no lies."""

    def assert_prefix(self, relay, record, data):
        """The file is as long as the index says, and what it holds is what was said first."""
        path = self.path(relay, record)
        recorded = b""
        if os.path.exists(path):
            recorded = self.file(relay, record)
        self.assertEqual(record["in_file"] + record["out_file"], len(recorded))
        # The end may have cut through a line.
        whole, _, last = recorded.rpartition(b"\n")
        decoded = merged.decode(whole + b"\n" if whole else b"")
        header = merged.LINE.match(last)
        if header:
            decoded[merged.DIRECTIONS[header.group(2)]] += last[header.end():]
        for direction in ("in", "out"):
            self.assertTrue(data.startswith(decoded[direction]), f"the {direction} is no prefix")
            self.assertEqual(record[direction + "_recorded"], len(decoded[direction]), direction)
            self.assertEqual(record[direction + "_bytes"], len(data), direction)

    def test_disk_full(self):
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        directory = stack.enter_context(mounted("tmpfs", "tmpfs", "size=4m,mode=0700"))
        index = stack.enter_context(tempfile.TemporaryDirectory())
        server = self.serve(EchoServer())
        relay = self.start_merged(server, "--flush", "5", "--index", index, directory=directory, index=index)
        small = b"".join(b"line %d\r\n" % number for number in range(100)) + b"no end"
        big = b"".join(b"%06d %s\n" % (number, b"x" * (number % 200)) for number in range(60_000))
        names = [self.exchange_named(relay, small), self.exchange_named(relay, big), self.exchange_named(relay, small)]
        records = {record["client"]: record for record in relay.wait_ends(3)}
        self.assertEqual(records[names[0]]["recording"], "complete")
        for name, data in zip(names[1:], (big, small)):
            self.assertEqual((records[name]["recording"], records[name]["reason"]), ("failed", "client-eof"))
            self.assert_prefix(relay, records[name], data)
        self.assertEqual(relay.terminate(), 0)
        self.assertEqual(len([line for line in relay.lines if records[names[1]]["id"] in line]), 1, relay.stderr)

    def test_file_size_limit(self):
        # Wherever the limit cuts: within a stamp, a line, or a line that has no end yet.
        server = self.serve(EchoServer())
        data = b"".join(b"%05d %s\r\n" % (number, b"x" * (number % 90)) for number in range(3000)) + b"no end"
        for limit in (100_000, 100_001, 100_013, 100_019, 100_020, 100_021, 100_050):
            for env in ({}, {"URING_RAWLOG_WITHOUT": "loop-files"}):
                with self.subTest(limit=limit, env=env):
                    relay = self.start_merged(
                        server, "--flush", "1", env=env,
                        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
                    name = self.exchange_named(relay, data, limit)
                    record = self.end_of(relay, name)
                    self.assertEqual((record["recording"], record["reason"]), ("failed", "client-eof"))
                    self.assert_prefix(relay, record, data)
                    relay.close()

    def test_unfinished_line_at_the_limit(self):
        # What was written of a line tentatively, and is no part of the recording, is cut off when the recording fails.
        limit = 2000
        listener = self.listener()
        for where in (None, "/dev/shm"):
            with self.subTest(where=where), tempfile.TemporaryDirectory(dir=where) as directory:
                relay = self.start_merged(
                    listener, "--flush", "5", directory=directory,
                    preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
                client, server = self.pair(relay, listener)
                say(server, client, (b"x" * 1500,))
                self.wait_file(relay, b"@T O> " + b"x" * 1500 + b"\n")
                say(client, server, (b"y" * 1500 + b"\n",))
                say(server, client, (b"\n",))
                record = self.record_of(relay, client, server)
                self.assertEqual(record["recording"], "failed")
                recorded = self.file(relay, record)
                self.assertEqual(record["in_file"] + record["out_file"], len(recorded))
                self.assertLessEqual(len(recorded), limit)
                relay.close()

    def test_others_files_are_not_cut(self):
        # A failed recording's file is closed when it was cut: by then its descriptor must not be another's.
        limit = 400_000
        server = self.serve(EchoServer())
        with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
            relay = self.start_merged(
                server, "--flush", "1", directory=directory,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
            good, bad = b"fine\n" * 20, (b"x" * 1400 + b"\n") * 150 + b"y" * 1400

            def talk(number):
                return [self.exchange_named(relay, bad if (number + turn) % 2 else good, turn) for turn in range(20)]

            names = [name for task in [Task(talk, number) for number in range(16)] for name in task.result()]
            records = {record["client"]: record for record in relay.wait_ends(len(names))}
            for name in names:
                record = records[name]
                if record["in_bytes"] == len(good):
                    self.assert_whole(relay, record, good, good)
                else:
                    self.assertEqual(record["recording"], "failed")
                    self.assert_prefix(relay, record, bad)
            relay.close()

    def test_file_that_cannot_be_made(self):
        listener = self.listener()
        with tempfile.TemporaryDirectory() as base:
            directory, index = os.path.join(base, "recordings"), os.path.join(base, "index")
            os.mkdir(directory)
            os.mkdir(index)
            for action in ("continue", "close"):
                with self.subTest(action=action):
                    relay = self.start_merged(listener, "--index", index, "--log-error", action,
                                              directory=directory, index=index)
                    os.rename(directory, directory + ".away")
                    os.rmdir(directory + ".away")
                    client = self.client(relay)
                    name = name_of(client)
                    if action == "continue":
                        server = listener.accept()
                        say(client, server, (b"on it goes\n",))
                        self.finish(client, server)
                    else:
                        receive_until_end(client)
                    record = self.end_of(relay, name)
                    self.assertEqual((record["recording"], record["in_file"], record["out_file"]), ("failed", 0, 0))
                    self.assertEqual(record["reason"], "client-eof" if action == "continue" else "log-error")
                    self.assertEqual(relay.terminate(), 0)
                    self.assertEqual(len([line for line in relay.lines if record["id"] in line]), 1, relay.stderr)
                    os.mkdir(directory)
                    relay.close()


class LogMemory(MergedTest):
    """What a full memory loses is told by the index, and where it was by the recording."""

    def assert_adds_up(self, relay, record, sent):
        recorded = self.file(relay, record)
        self.assert_counts(record, recorded)
        total = 0
        for direction, data in sent.items():
            found = [(gap["offset"], gap["bytes"]) for gap in record["gaps"] if gap["direction"] == direction]
            self.assertEqual(merged.gaps(recorded, direction), found, direction)
            expected = bytearray()
            position = 0
            for offset, count in found:
                self.assertGreater(count, 0)
                self.assertGreater(offset, position if position else -1, "gaps touch")
                expected += data[position:offset]
                position = offset + count
                total += count
            expected += data[position:]
            self.assertEqual(record[direction + "_recorded"], len(expected))
            self.assertTrue(merged.decode(recorded)[direction] == expected, f"the {direction} differs")
        self.assertEqual(record["dropped"], total)
        self.assertEqual(record["recording"], "lossy" if total else "complete")
        # A gap stands where the bytes are missing: what came before it is before it.
        for direction in sent:
            place = 0
            for line in merged.lines(recorded):
                if line.direction != direction:
                    continue
                if line.kind == "!":
                    self.assertEqual(line.offset, place)
                    place += line.count
                place += len(line.text)

    def test_drop(self):
        listener = self.listener()
        lost = 0
        with tempfile.TemporaryDirectory() as directory:
            for seed, memory in ((1, "64K"), (2, "64K"), (3, "256K"), (4, "1M")):
                with self.subTest(seed=seed, memory=memory):
                    relay = self.start_merged(listener, "--log-memory", memory, "--log-full", "drop",
                                              directory=directory)
                    # Lines of every length, so that some fit into what is left and others do not.
                    draw = random.Random(seed)
                    up = b"".join(b"x" * int(2 ** draw.uniform(0, 13)) + b"\n" for _ in range(8000))
                    down = payload(seed, 4 * MIB)
                    client, server = self.pair(relay, listener)
                    sending = [Task(send_chunks, client, up, seed, MIB), Task(send_chunks, server, down, seed, MIB)]
                    receiving = Task(receive_all, server)
                    self.assertTrue(receive_all(client) == down)
                    self.assertTrue(receiving.result() == up)
                    for task in sending:
                        task.result()
                    record = self.record_of(relay, client, server)
                    lost += record["dropped"]
                    self.assert_adds_up(relay, record, {"in": up, "out": down})
                    relay.close()
        self.assertGreater(lost, 0, "nothing was lost that the test is about")

    def test_many_unfinished_lines_leave_memory_for_others(self):
        # As many as there are blocks: each has a little of a line, and never sends the rest.
        listener = self.listener()
        relay = self.start_merged(listener, "--log-memory", "1M", "--flush", "20")
        idle = [self.pair(relay, listener) for _ in range(300)]
        for client, server in idle:
            say(client, server, (b"a",))
        client, server = self.pair(relay, listener)
        data = b"".join(b"line %d\r\n" % number for number in range(20_000))
        sending = Task(send_chunks, client, data, 5, 5000)
        self.assertTrue(receive_all(server) == data)
        sending.result()
        record = self.record_of(relay, client, server)
        self.assert_whole(relay, record, data, b"")
        for client, server in idle:
            record = self.record_of(relay, client, server)
            self.assert_whole(relay, record, b"a", b"")


if __name__ == "__main__":
    unittest.main()
