"""Recording: the bytes on disk, the files' names and modes, the index, and what happens when it fails."""

import contextlib
import datetime
import fcntl
import json
import os
import stat
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

from peers import (MIB, EchoServer, EndToEnd, Task, connect, has_ipv6, name_of, payload, receive_all, receive_exactly,
                   receive_until_end, reset, send_chunks, send_pattern)
from relay import wait_until

STAMP = re.compile(rb"(\d{10}\.\d{6}) ")
STEM = re.compile(r"(?:(?P<ip>[0-9a-f.:]+|unix)-)?(?P<time>\d{8}-\d{6})\.(?P<pid>\d+)\.(?P<number>\d+)")


def say(sender, receiver, chunks):
    """Sends each chunk when the one before has arrived: the relay reads them one by one."""
    for chunk in chunks:
        sender.sendall(chunk)
        data = receive_exactly(receiver, len(chunk))
        if data != chunk:
            raise AssertionError(f"{data!r} arrived instead of {chunk!r}")


def files(directory):
    """What lies in a directory, but for the index."""
    return sorted(name for name in os.listdir(directory) if name != "sessions.jsonl")


# Where a disk that the tests keep busy holds nothing up.
IN_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


class Recording(EndToEnd):
    def record_of(self, relay, client, server):
        """Ends a session and returns its end record."""
        name = name_of(client)
        self.finish(client, server)
        return self.end_of(relay, name)


class Samples(Recording):
    """Bytes as Dovecot's rawlog writes them; @T stands for a stamp and its space."""

    LINES = (b"abc", b"def", b"\r\nghi", b"\n", b"last")
    SAMPLES = {
        "": [
            (LINES, b"abcdef\r\nghi\nlast"),
            ((b"<<<\nfake\n>>>\n", b"12345.678 "), b"<<<\nfake\n>>>\n12345.678 "),
        ],
        "t": [
            (LINES, b"@T abcdef\r\n@T ghi\n@T last"),
            ((b"four\nfive", b"\nsix\n"), b"@T four\n@T five\n@T six\n"),
            ((b"\n\n\n",), b"@T \n@T \n@T \n"),
            ((b"one\n", b"two\n", b"three"), b"@T one\n@T two\n@T three"),
            ((b"a\0b\r\xff", b"\r\n\0", b"\n"), b"@T a\0b\r\xff\r\n@T \0\n"),
        ],
        "b": [
            (LINES, b"<<<\nabc>>>\n<<<\ndef>>>\n<<<\n\r\nghi>>>\n<<<\n\n>>>\n<<<\nlast>>>\n"),
            ((b"\n\n\n",), b"<<<\n\n\n\n>>>\n"),
        ],
        "bt": [
            (LINES, b"<<<\n@T abc>>>\n<<<\ndef>>>\n<<<\n\r\n@T ghi>>>\n<<<\n\n>>>\n<<<\n@T last>>>\n"),
            ((b"\n\n\n",), b"<<<\n@T \n@T \n@T \n>>>\n"),
            ((b"<<<\nfake\n>>>\n", b">>>", b"\n<<<\n"),
             b"<<<\n@T <<<\n@T fake\n@T >>>\n>>>\n<<<\n@T >>>>>>\n<<<\n\n@T <<<\n>>>\n"),
            ((b"CGJE2 SELECT INBOX\r\n", b"x"), b"<<<\n@T CGJE2 SELECT INBOX\r\n>>>\n<<<\n@T x>>>\n"),
        ],
    }

    def _samples(self, flags, *spellings):
        listener = self.listener()
        for options in spellings:
            with self.subTest(options=options):
                relay = self.start(listener, *options)
                for chunks, expected in self.SAMPLES[flags]:
                    before = time.time()
                    client, server = self.pair(relay, listener)
                    say(client, server, chunks)
                    say(server, client, chunks)
                    record = self.record_of(relay, client, server)
                    after = time.time()
                    self.assertEqual(record["recording"], "complete")
                    for direction in ("in", "out"):
                        recorded = relay.recording(record, direction)
                        shown = STAMP.sub(b"@T ", recorded) if "t" in flags else recorded
                        self.assertEqual(shown, expected)
                        stamps = [float(s) for s in STAMP.findall(recorded)] if "t" in flags else []
                        self.assertEqual(stamps, sorted(stamps))
                        for stamp in stamps:
                            # A coarse clock may be behind by a tick.
                            self.assertTrue(before - 1 < stamp < after + 1, (before, stamp, after))
                        size = sum(len(chunk) for chunk in chunks)
                        self.assertEqual(record[direction + "_bytes"], size)
                        self.assertEqual(record[direction + "_recorded"], size)
                        self.assertEqual(record[direction + "_file"], len(recorded))
                relay.close()

    def test_no_flags(self):
        self._samples("", ())

    def test_timestamps(self):
        self._samples("t", ("-t",), ("--timestamps",))

    def test_boundaries(self):
        self._samples("b", ("-b",), ("--boundaries",))

    def test_both(self):
        self._samples("bt", ("-b", "-t"), ("-bt",), ("-tb",), ("--timestamps", "--boundaries"))

    def test_both_with_the_address_in_the_name(self):
        listener = self.listener()
        for options in (("-tbI",), ("-Itb",), ("-tI", "--boundaries"), ("-bt", "--ip-in-name")):
            with self.subTest(options=options):
                relay = self.start(listener, *options)
                client, server = self.pair(relay, listener)
                say(client, server, self.LINES)
                record = self.record_of(relay, client, server)
                self.assertTrue(record["id"].startswith("127.0.0.1-"), record["id"])
                self.assertEqual(STAMP.sub(b"@T ", relay.recording(record, "in")), self.SAMPLES["bt"][0][1])
                relay.close()

    def test_stamps_do_not_depend_on_how_the_bytes_came(self):
        # Without -b the recording is that of the bytes and the stamps, whatever the reads were.
        listener = self.listener()
        relay = self.start(listener, "-t")
        data = b"".join(b"line %d of many\r\n" % i for i in range(20_000)) + b"and a last one"
        client, server = self.pair(relay, listener)
        sending = Task(send_chunks, client, data, 3, 4096)
        self.assertTrue(receive_all(server) == data)
        sending.result()
        record = self.record_of(relay, client, server)
        recorded = relay.recording(record, "in")
        self.assertTrue(STAMP.sub(b"@T ", recorded) == b"@T " + data.replace(b"\n", b"\n@T "), "the .in differs")
        self.assertEqual(record["in_file"], len(recorded))

    def test_boundaries_of_random_reads(self):
        # What each read returned is up to chance, but taking the marks off must give the bytes.
        listener = self.listener()
        relay = self.start(listener, "-b")
        data = payload(61, MIB).replace(b"<", b"(").replace(b">", b")")
        client, server = self.pair(relay, listener)
        sending = Task(send_chunks, client, data, 61, 65536)
        self.assertTrue(receive_all(server) == data)
        sending.result()
        record = self.record_of(relay, client, server)
        recorded = relay.recording(record, "in")
        self.assertTrue(recorded.startswith(b"<<<\n") and recorded.endswith(b">>>\n"))
        self.assertTrue(b"".join(recorded[4:-4].split(b">>>\n<<<\n")) == data, "the .in differs")


class Filter(Recording):
    def test_one_direction(self):
        listener = self.listener()
        for wanted, spellings in (("in", (("-f", "in"), ("-fin",), ("--filter", "in"), ("--filter=in",))),
                                  ("out", (("-f", "out"), ("-fout",), ("--filter", "out"), ("--filter=out",)))):
            other = "out" if wanted == "in" else "in"
            for options in spellings:
                with self.subTest(options=options):
                    relay = self.start(listener, *options)
                    client, server = self.pair(relay, listener)
                    say(client, server, (b"from the client\n",))
                    say(server, client, (b"from the server\n",))
                    record = self.record_of(relay, client, server)
                    self.assertEqual(files(relay.directory), [f"{record['id']}.{wanted}"])
                    expected = b"from the client\n" if wanted == "in" else b"from the server\n"
                    self.assertEqual(STAMP.sub(b"", relay.recording(record, wanted)), expected)
                    self.assertEqual(record["recording"], "complete")
                    self.assertEqual(record[wanted + "_recorded"], 16)
                    self.assertEqual((record[other + "_bytes"], record[other + "_recorded"], record[other + "_file"]),
                                     (16, 0, 0))
                    relay.close()


    def test_filter_at_the_end_of_a_cluster(self):
        listener = self.listener()
        for options in (("-tfin",), ("-tf", "in"), ("-btfin",)):
            with self.subTest(options=options):
                relay = self.start(listener, *options)
                client, server = self.pair(relay, listener)
                say(client, server, (b"a line\n",))
                record = self.record_of(relay, client, server)
                self.assertEqual(files(relay.directory), [f"{record['id']}.in"])
                self.assertTrue(STAMP.search(relay.recording(record, "in")))


class Files(Recording):
    def test_names(self):
        listener = self.listener()
        relay = self.start(listener)
        seen = set()
        for _ in range(5):
            before = datetime.datetime.now().replace(microsecond=0)
            client, server = self.pair(relay, listener)
            record = self.record_of(relay, client, server)
            match = STEM.fullmatch(record["id"])
            self.assertTrue(match, record["id"])
            self.assertIsNone(match["ip"])
            self.assertEqual(int(match["pid"]), relay.pid)
            when = datetime.datetime.strptime(match["time"], "%Y%m%d-%H%M%S")
            slack = datetime.timedelta(seconds=1)
            self.assertTrue(before - slack <= when <= datetime.datetime.now() + slack, record["id"])
            seen.add(int(match["number"]))
            self.assertTrue(os.path.exists(f"{relay.directory}/{record['id']}.in"))
            self.assertTrue(os.path.exists(f"{relay.directory}/{record['id']}.out"))
        self.assertEqual(len(seen), 5, "sessions share a number")
        self.assertEqual(len(files(relay.directory)), 10)

    def test_local_time(self):
        listener = self.listener()
        relay = self.start(listener, env={"TZ": "XXX-05:30"})
        client, server = self.pair(relay, listener)
        record = self.record_of(relay, client, server)
        when = datetime.datetime.strptime(STEM.fullmatch(record["id"])["time"], "%Y%m%d-%H%M%S")
        there = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
        now = datetime.datetime.now(there).replace(tzinfo=None)
        self.assertLess(abs(now - when), datetime.timedelta(minutes=5))

    def test_address_in_the_name(self):
        listener = self.listener()
        addresses = ["127.0.0.1:0"] + (["[::1]:0"] if has_ipv6() else [])
        with tempfile.TemporaryDirectory(prefix="rawlog-", dir="/tmp") as directory:
            addresses.append(f"unix:{directory}/in.sock")
            relay = self.start(listener, "-I", listen=addresses)
            for address, expected in zip(relay.addresses, ["127.0.0.1"] + (["::1"] if has_ipv6() else []) + ["unix"]):
                with self.subTest(address=address):
                    known = {r["id"] for r in relay.records("end")}
                    self.finish(*self.pair(address, listener))
                    record, = wait_until(lambda: [r for r in relay.records("end") if r["id"] not in known])
                    match = STEM.fullmatch(record["id"])
                    self.assertTrue(match, record["id"])
                    self.assertEqual(match["ip"], expected)
                    self.assertIn(record["id"] + ".in", files(relay.directory))
                    self.assertIn(record["id"] + ".out", files(relay.directory))
            relay.close()

    def test_modes(self):
        listener = self.listener()
        relay = self.start(listener, preexec_fn=lambda: os.umask(0))
        client, server = self.pair(relay, listener)
        self.record_of(relay, client, server)
        for name in os.listdir(relay.directory):
            self.assertEqual(os.stat(os.path.join(relay.directory, name)).st_mode & 0o7777, 0o600, name)

    def test_both_files_are_there_from_the_start(self):
        listener = self.listener()
        relay = self.start(listener)
        client, server = self.pair(relay, listener)
        self.addCleanup(server.close)
        wait_until(lambda: len(files(relay.directory)) == 2, what="the files of a session without a byte")
        client.close()

    def _taken(self, make):
        """Takes the names that the relay is about to use; the sessions must find others and leave these alone."""
        listener = self.listener()
        relay = self.start(listener)
        now = datetime.datetime.now()
        taken = []
        for second in range(-1, 30):
            when = (now + datetime.timedelta(seconds=second)).strftime("%Y%m%d-%H%M%S")
            for number in range(0, 4):
                taken += make(os.path.join(relay.directory, f"{when}.{relay.pid}.{number}"))
        ids = []
        for number in range(3):
            client, server = self.pair(relay, listener)
            say(client, server, (b"in %d" % number,))
            say(server, client, (b"out %d" % number,))
            record = self.record_of(relay, client, server)
            self.assertEqual(record["recording"], "complete")
            self.assertEqual(relay.recording(record, "in"), b"in %d" % number)
            self.assertEqual(relay.recording(record, "out"), b"out %d" % number)
            ids.append(record["id"])
        self.assertEqual(len(set(ids)), 3)
        starts = {record["id"] for record in relay.records("start")}
        self.assertEqual(starts, set(ids))
        own = [f"{stem}.{direction}" for stem in ids for direction in ("in", "out")]
        self.assertEqual(set(own) & {os.path.basename(name) for name in taken}, set())
        # Nor is half of a pair left over from a name whose other half was taken.
        self.assertEqual(files(relay.directory), sorted(own + [os.path.basename(name) for name in taken]))

    def test_taken_names_are_left_alone(self):
        contents = {}

        def make(stem):
            made = []
            for direction in ("in", "out"):
                contents[f"{stem}.{direction}"] = payload(len(contents), 40)
                with open(f"{stem}.{direction}", "wb") as file:
                    file.write(contents[f"{stem}.{direction}"])
                made.append(f"{stem}.{direction}")
            return made

        self._taken(make)
        for name, content in contents.items():
            with open(name, "rb") as file:
                self.assertEqual(file.read(), content, name)

    def test_one_taken_half_moves_the_pair(self):
        for direction in ("in", "out"):
            with self.subTest(taken=direction):
                def make(stem):
                    with open(f"{stem}.{direction}", "wb"):
                        return [f"{stem}.{direction}"]
                self._taken(make)

    def test_links_are_not_followed(self):
        with tempfile.TemporaryDirectory() as elsewhere:
            def make(stem):
                made = []
                for direction in ("in", "out"):
                    # Dangling ones too: O_CREAT through them would create a file at the other end.
                    target = os.path.join(elsewhere, "target-" + os.path.basename(stem) + "." + direction)
                    os.symlink(target, f"{stem}.{direction}")
                    made.append(f"{stem}.{direction}")
                return made
            self._taken(make)
            self.assertEqual(os.listdir(elsewhere), [])

    def test_two_relays_share_a_directory(self):
        listener = self.listener()
        first = self.start(listener)
        second = self.start(listener, directory=first.directory)
        records = []
        for relay in (first, second):
            client, server = self.pair(relay, listener)
            say(client, server, (b"to %d" % relay.pid,))
            records.append((relay, self.record_of(relay, client, server)))
        for relay, record in records:
            self.assertEqual(relay.recording(record, "in"), b"to %d" % relay.pid)
        self.assertEqual(len(first.records()), 4)


class Selection(Recording):
    def test_max_recording(self):
        listener = self.listener()
        relay = self.start(listener, "--max-recording", 1000)
        client, server = self.pair(relay, listener)
        up, down = payload(71, 3000), payload(72, 500)
        for position in range(0, 3000, 300):
            say(client, server, (up[position:position + 300],))
        say(server, client, (down,))
        record = self.record_of(relay, client, server)
        self.assertEqual(record["recording"], "truncated")
        self.assertEqual(relay.recording(record, "in"), up[:1000])
        self.assertEqual(relay.recording(record, "out"), down)
        self.assertEqual((record["in_bytes"], record["in_recorded"], record["in_file"]), (3000, 1000, 1000))
        self.assertEqual((record["out_bytes"], record["out_recorded"], record["out_file"]), (500, 500, 500))
        self.assertEqual((record["gaps"], record["dropped"]), ([], 0))

    def test_max_recording_in_bulk(self):
        listener = self.listener()
        relay = self.start(listener, "--max-recording", "1M")
        client, server = self.pair(relay, listener)
        sending = Task(send_chunks, client, payload(73, 3 * MIB + 5), 73)
        self.assertTrue(receive_all(server) == payload(73, 3 * MIB + 5))
        sending.result()
        record = self.record_of(relay, client, server)
        self.assertEqual((record["recording"], record["in_recorded"]), ("truncated", MIB))
        self.assertTrue(relay.recording(record, "in") == payload(73, 3 * MIB + 5)[:MIB])

    def test_max_recording_that_is_just_reached(self):
        listener = self.listener()
        relay = self.start(listener, "--max-recording", 1000)
        client, server = self.pair(relay, listener)
        say(client, server, (payload(74, 600), payload(75, 400)))
        record = self.record_of(relay, client, server)
        self.assertEqual((record["recording"], record["in_recorded"]), ("complete", 1000))
        self.assertEqual(relay.recording(record, "in"), payload(74, 600) + payload(75, 400))

    def test_max_recording_does_not_count_stamps(self):
        listener = self.listener()
        relay = self.start(listener, "-t", "--max-recording", 1000)
        client, server = self.pair(relay, listener)
        data = b"".join(b"line %4d\n" % number for number in range(200))
        say(client, server, (data[:700], data[700:]))
        record = self.record_of(relay, client, server)
        self.assertEqual((record["recording"], record["in_recorded"]), ("truncated", 1000))
        recorded = relay.recording(record, "in")
        self.assertEqual(record["in_file"], len(recorded))
        self.assertGreater(len(recorded), 1000)
        self.assertEqual(STAMP.sub(b"", recorded), data[:1000])

    def _recorded(self, relay, listener, source):
        client, server = self.pair(relay, listener, source=(source, 0))
        say(client, server, (b"whoever I am\n",))
        say(server, client, (b"welcome\n",))
        record = self.record_of(relay, client, server)
        self.assertTrue(record["client"].startswith(source + ":"))
        self.assertEqual((record["in_bytes"], record["out_bytes"], record["reason"]), (13, 8, "client-eof"))
        if record["recording"] == "complete":
            self.assertEqual(relay.recording(record, "in"), b"whoever I am\n")
            self.assertEqual(relay.recording(record, "out"), b"welcome\n")
            return True
        self.assertEqual(record["recording"], "none")
        self.assertEqual((record["in_recorded"], record["out_recorded"], record["in_file"], record["out_file"]),
                         (0, 0, 0, 0))
        self.assertEqual([name for name in files(relay.directory) if record["id"] in name], [])
        return False

    def test_only(self):
        listener = self.listener()
        for options, expected in (
                (("--only", "127.0.0.2"), {"127.0.0.1": False, "127.0.0.2": True}),
                (("--only", "127.0.0.2/32"), {"127.0.0.1": False, "127.0.0.2": True}),
                (("--only", "127.0.0.0/30"), {"127.0.0.3": True, "127.0.0.4": False}),
                (("--only", "127.0.1.0/24", "--only", "127.0.0.7"),
                 {"127.0.0.1": False, "127.0.0.7": True, "127.0.1.200": True}),
                (("--only", "10.0.0.0/8", "--only", "::1"), {"127.0.0.1": False}),
                (("--only", "0.0.0.0/0"), {"127.0.0.1": True}),
                (("--only", "::/0"), {"127.0.0.1": False})):
            with self.subTest(options=options):
                relay = self.start(listener, *options)
                self.assertEqual({source: self._recorded(relay, listener, source) for source in expected}, expected)
                self.assertEqual(len(relay.records("start")), len(expected))
                relay.close()

    @unittest.skipUnless(has_ipv6(), "no IPv6 here")
    def test_only_with_both_families_on_one_listener(self):
        server = self.serve(EchoServer())
        relay = self.start(server, "--only", "::1", listen=(":0",))
        for host, expected in (("127.0.0.1", "none"), ("::1", "complete")):
            with connect((host, relay.port)) as client:
                name = name_of(client)
            self.assertEqual(self.end_of(relay, name)["recording"], expected)


class Templates(Recording):
    def setUp(self):
        self.base = tempfile.mkdtemp(prefix="rawlog-", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.base)

    def _template(self, template, listen=("127.0.0.1:0",), **keywords):
        listener = self.listener()
        relay = self.start(listener, directory=self.base, directory_option=os.path.join(self.base, template),
                           listen=listen, **keywords)
        return relay, listener

    def _session(self, relay, listener, address=None, source=None):
        known = {r["id"] for r in relay.records("end")}
        client, server = self.pair(address or relay, listener, source=source)
        say(client, server, (b"one way\n",))
        say(server, client, (b"and the other\n",))
        self.finish(client, server)
        record, = wait_until(lambda: [r for r in relay.records("end") if r["id"] not in known])
        self.assertEqual((record["in_bytes"], record["out_bytes"]), (8, 14))
        return record

    def _assert_recorded(self, record, directory):
        self.assertEqual(record["recording"], "complete")
        self.assertEqual(sorted(os.listdir(directory)), [record["id"] + ".in", record["id"] + ".out"])
        with open(os.path.join(directory, record["id"] + ".in"), "rb") as file:
            self.assertEqual(file.read(), b"one way\n")

    def _assert_not_recorded(self, relay, record):
        self.assertEqual((record["recording"], record["in_recorded"], record["in_file"]), ("none", 0, 0))

    def test_ip(self):
        relay, listener = self._template("%{ip}")
        os.mkdir(os.path.join(self.base, "127.0.0.1"))
        self._assert_recorded(self._session(relay, listener), os.path.join(self.base, "127.0.0.1"))
        # Nobody has opted in for this one.
        self._assert_not_recorded(relay, self._session(relay, listener, source=("127.0.0.2", 0)))
        # Until somebody does, while it runs.
        os.mkdir(os.path.join(self.base, "127.0.0.2"))
        self._assert_recorded(self._session(relay, listener, source=("127.0.0.2", 0)),
                              os.path.join(self.base, "127.0.0.2"))
        self.assertEqual(sorted(os.listdir(self.base)), ["127.0.0.1", "127.0.0.2", "sessions.jsonl"])
        self.assertEqual(len(relay.records()), 6)

    def test_ip_of_a_unix_client(self):
        path = os.path.join(self.base, "in.sock")
        relay, listener = self._template("%{ip}", listen=(f"unix:{path}",))
        os.mkdir(os.path.join(self.base, "unix"))
        self._assert_recorded(self._session(relay, listener, f"unix:{path}"), os.path.join(self.base, "unix"))

    def test_date(self):
        relay, listener = self._template("%{date}")
        # Not the day on which a test at midnight began.
        directories = [os.path.join(self.base, (datetime.datetime.now() + datetime.timedelta(days=days))
                                    .strftime("%Y%m%d")) for days in (0, 1)]
        self._assert_not_recorded(relay, self._session(relay, listener))
        for directory in directories:
            os.mkdir(directory)
        record = self._session(relay, listener)
        self._assert_recorded(record, os.path.join(self.base, record["id"][:8]))

    def test_listener(self):
        path = os.path.join(self.base, "in.sock")
        relay, listener = self._template("%{listener}", listen=("127.0.0.1:0", f"unix:{path}"))
        # As given, so with port 0, and with the slashes of a path replaced.
        os.mkdir(os.path.join(self.base, "127.0.0.1:0"))
        os.mkdir(os.path.join(self.base, "unix:" + path.replace("/", "_")))
        self._assert_recorded(self._session(relay, listener), os.path.join(self.base, "127.0.0.1:0"))
        self._assert_recorded(self._session(relay, listener, f"unix:{path}"),
                              os.path.join(self.base, "unix:" + path.replace("/", "_")))

    def test_local_port(self):
        relay, listener = self._template("port-%{local_port}/in", listen=("127.0.0.1:0", "127.0.0.2:0"))
        port = relay.addresses[1].rsplit(":", 1)[1]
        if port == str(relay.port):
            self.skipTest("both listeners were given the same port")
        os.makedirs(os.path.join(self.base, f"port-{port}", "in"))
        self._assert_not_recorded(relay, self._session(relay, listener, relay.addresses[0]))
        self._assert_recorded(self._session(relay, listener, relay.addresses[1]),
                              os.path.join(self.base, f"port-{port}", "in"))

    def test_several_in_one_component(self):
        os.mkdir(os.path.join(self.base, "fixed"))
        listener = self.listener()
        prefix = os.path.join(self.base, "fixed")
        relay = self.start(listener, directory=prefix, directory_option=prefix + "/a-%{ip}-%{local_port}-z/%{date}/b")
        day = datetime.datetime.now()
        for days in (0, 1):
            date = (day + datetime.timedelta(days=days)).strftime("%Y%m%d")
            os.makedirs(os.path.join(prefix, f"a-127.0.0.1-{relay.port}-z", date, "b"))
        record = self._session(relay, listener)
        self._assert_recorded(record, os.path.join(prefix, f"a-127.0.0.1-{relay.port}-z", record["id"][:8], "b"))
        # The index lies in front of the first component that varies.
        self.assertEqual(len(relay.records()), 2)

    def test_index_elsewhere(self):
        index = os.path.join(self.base, "index")
        os.mkdir(index)
        listener = self.listener()
        relay = self.start(listener, "--index", index, index=index)
        record = self._session(relay, listener)
        self._assert_recorded(record, relay.directory)
        self.assertEqual(os.listdir(index), ["sessions.jsonl"])
        relay.close()
        os.mkdir(os.path.join(self.base, "recordings"))
        relay = self.start(listener, "--index", index, index=index, directory=self.base,
                           directory_option=self.base + "/recordings/%{ip}")
        self._assert_not_recorded(relay, self._session(relay, listener))
        self.assertEqual(len(relay.records()), 4)


@contextlib.contextmanager
def mounted(kind, source, options, make=None):
    """A file system of the test's own, unmounted in the end; skips where that is not allowed."""
    if os.geteuid() != 0:
        raise unittest.SkipTest("mounting needs root")
    directory = tempfile.mkdtemp(prefix="rawlog-mount-", dir="/tmp")
    try:
        command = ["mount", "-t", kind, "-o", options, source, directory]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise unittest.SkipTest(f"cannot mount {kind} here: {done.stderr.strip()}")
        try:
            yield directory
        finally:
            # The kernel lets go of the files of a process that is gone a little later.
            wait_until(lambda: subprocess.run(["umount", directory], stderr=subprocess.DEVNULL).returncode == 0,
                       what="the disk to be free")
    finally:
        os.rmdir(directory)


class Failures(Recording):
    """The recording may fail, the relay may not notice."""

    def whole_records(self, relay, event=None):
        # A line torn by the full disk is ended with a newline, and is no record.
        with open(relay.index_path, "rb") as file:
            lines = file.read().split(b"\n")
        records = []
        for line in lines:
            try:
                records.append(json.loads(line))
            except ValueError:
                pass
        return [r for r in records if event is None or r["event"] == event]

    def wait_whole_ends(self, relay, count):
        wait_until(lambda: len(self.whole_records(relay, "end")) >= count, 60, f"{count} end records")
        return {record["client"]: record for record in self.whole_records(relay, "end")}

    def assert_truthful(self, relay, record, data_in, data_out):
        """The files are an exact prefix, as long as the index says."""
        for direction, data in (("in", data_in), ("out", data_out)):
            path = os.path.join(relay.directory, f"{record['id']}.{direction}")
            recorded = b""
            if os.path.exists(path):
                with open(path, "rb") as file:
                    recorded = file.read()
            self.assertEqual(record[direction + "_file"], len(recorded), direction)
            self.assertEqual(record[direction + "_recorded"], len(recorded), direction)
            self.assertEqual(record[direction + "_bytes"], len(data), direction)
            self.assertTrue(recorded == data[:len(recorded)], f"the .{direction} is no prefix")

    def test_disk_full(self):
        # Linked in the order of cleanup: the relay is closed before the file system goes.
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        directory = stack.enter_context(mounted("tmpfs", "tmpfs", "size=4m,mode=0700"))
        server = self.serve(EchoServer())
        relay = self.start(server, directory=directory)
        names = [self.exchange_named(relay, b"there is space\n")]
        self.wait_whole_ends(relay, 1)
        filler = os.path.join(directory, "filler")
        with open(filler, "wb") as file:
            file.write(bytes(2 * MIB))
        big = payload(81, 6 * MIB)
        names.append(self.exchange_named(relay, big))
        # It is full now. Enough sessions that their index lines need new blocks, which there are none of.
        small = payload(82, 20_000)
        names += [self.exchange_named(relay, small) for _ in range(30)]
        self.assertIsNone(relay.process.poll())
        os.unlink(filler)
        records = self.wait_whole_ends(relay, len(names))
        names.append(self.exchange_named(relay, b"there is space again\n"))
        records = self.wait_whole_ends(relay, len(names))
        self.assertEqual(records[names[0]]["recording"], "complete")
        self.assertEqual(records[names[-1]]["recording"], "complete")
        self.assert_truthful(relay, records[names[-1]], b"there is space again\n", b"there is space again\n")
        self.assertEqual(records[names[1]]["recording"], "failed")
        self.assert_truthful(relay, records[names[1]], big, big)
        for name in names[2:-1]:
            self.assertIn(records[name]["recording"], ("failed", "complete"))
            self.assert_truthful(relay, records[name], small, small)
        self.assertTrue(any(records[name]["recording"] == "failed" for name in names[2:-1]))
        for event in ("start", "end"):
            ids = [record["id"] for record in self.whole_records(relay, event)]
            self.assertEqual(len(ids), len(names))
            self.assertEqual(len(set(ids)), len(names))
        self.assertEqual(relay.terminate(), 0)
        for name in names:
            record = records[name]
            self.assertEqual(record["reason"], "client-eof")
            # Of many messages alike some may be left out, never that of the first.
            most = 1 if record["recording"] == "failed" else 0
            least = 1 if name == names[1] else 0
            self.assertIn(len(self.lines_about(relay, record)), range(least, most + 1), relay.stderr)

    def test_disk_that_stays_full(self):
        # Nothing may wait for space for ever, least of all the end.
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        directory = stack.enter_context(mounted("tmpfs", "tmpfs", "size=1m,mode=0700"))
        server = self.serve(EchoServer())
        relay = self.start(server, "--drain", "1s", directory=directory)
        for _ in range(10):
            self.exchange_named(relay, payload(83, MIB))
        self.assertEqual(relay.terminate(), 0)

    def test_file_size_limit(self):
        limit = 200_000
        server = self.serve(EchoServer())
        relay = self.start(server, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        small, big = payload(84, 5000), payload(85, MIB)
        names = [self.exchange_named(relay, data) for data in (small, big, small)]
        records = self.wait_whole_ends(relay, 3)
        for name, data, expected in zip(names, (small, big, small), ("complete", "failed", "complete")):
            record = records[name]
            self.assertEqual((record["recording"], record["reason"]), (expected, "client-eof"))
            self.assert_truthful(relay, record, data, data)
        self.assertEqual(relay.terminate(), 0)
        for name, expected in zip(names, (0, 1, 0)):
            self.assertEqual(len(self.lines_about(relay, records[name])), expected, relay.stderr)

    def test_file_size_limit_with_stamps(self):
        # The number of relayed bytes that the recording covers is told apart from the bytes on disk.
        limit = 200_000
        listener = self.listener()
        relay = self.start(listener, "-t",
                           preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        data = b"".join(b"a line of letters\n" for _ in range(40_000))
        client, server = self.pair(relay, listener)
        sending = Task(send_chunks, client, data, 86)
        self.assertTrue(receive_all(server) == data)
        sending.result()
        record = self.record_of(relay, client, server)
        self.assertEqual((record["recording"], record["in_bytes"]), ("failed", len(data)))
        recorded = relay.recording(record, "in")
        self.assertEqual(record["in_file"], len(recorded))
        # The limit may have cut through a stamp.
        covered = re.sub(rb"\n[0-9.]+ ?\Z", b"\n", recorded)
        covered = STAMP.sub(b"", covered)
        self.assertEqual(covered, data[:len(covered)])
        self.assertEqual(record["in_recorded"], len(covered))

    def test_directory_removed(self):
        with tempfile.TemporaryDirectory() as base:
            directory, index = os.path.join(base, "recordings"), os.path.join(base, "index")
            os.mkdir(directory)
            os.mkdir(index)
            listener = self.listener()
            relay = self.start(listener, "--index", index, directory=directory, index=index)
            client, server = self.pair(relay, listener)
            say(client, server, (b"before\n",))
            wait_until(lambda: len(files(directory)) == 2, what="the files, which are made while the session moves")
            shutil.rmtree(directory)
            # The session that is under way goes on.
            say(client, server, (b"after\n",))
            say(server, client, (payload(87, 100_000),))
            self.record_of(relay, client, server)
            # So do new ones, unrecorded.
            client, server = self.pair(relay, listener)
            say(client, server, (b"too late\n",))
            say(server, client, (b"I see\n",))
            record = self.record_of(relay, client, server)
            self.assertEqual((record["recording"], record["reason"]), ("failed", "client-eof"))
            self.assertEqual((record["in_bytes"], record["in_recorded"], record["in_file"]), (9, 0, 0))
            self.assertFalse(os.path.exists(directory))
            self.assertEqual(relay.terminate(), 0)
            self.assertEqual(len(self.lines_about(relay, record)), 1, relay.stderr)

    def test_directory_made_again(self):
        # Recordings and index go where the path leads now, not into what was removed.
        with tempfile.TemporaryDirectory() as base:
            directory = os.path.join(base, "recordings")
            os.mkdir(directory)
            listener = self.listener()
            relay = self.start(listener, directory=directory)
            client, server = self.pair(relay, listener)
            say(client, server, (b"before\n",))
            self.record_of(relay, client, server)
            shutil.rmtree(directory)
            os.mkdir(directory)

            def recorded_again():
                client, server = self.pair(relay, listener)
                say(client, server, (b"again\n",))
                name = name_of(client)
                client.close()
                server.close()
                time.sleep(0.2)  # the index is written at intervals
                return [r for r in relay.records("end") if r["client"] == name and r["recording"] == "complete"]
            record, = wait_until(recorded_again, what="a recording in the new directory")
            self.assertEqual(relay.recording(record, "in"), b"again\n")
            self.assertEqual(relay.terminate(), 0)

    def test_index_moved_away(self):
        # As a rotation of logs does: move, then SIGHUP.
        listener = self.listener()
        relay = self.start(listener)
        client, server = self.pair(relay, listener)
        self.record_of(relay, client, server)
        os.rename(relay.index_path, relay.index_path + ".1")
        relay.signal(signal.SIGHUP)
        wait_until(lambda: any("resolved" in line for line in relay.lines), what="the answer to SIGHUP")
        client, server = self.pair(relay, listener)
        name = name_of(client)
        record = self.record_of(relay, client, server)
        self.assertEqual(record["client"], name)
        self.assertEqual(stat.S_IMODE(os.stat(relay.index_path).st_mode), 0o600)
        with open(relay.index_path + ".1", encoding="utf-8") as file:
            self.assertNotIn(name, file.read())

    def test_log_error_close(self):
        limit = 100_000
        listener = self.listener()
        relay = self.start(listener, "--log-error", "close",
                           preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        client, server = self.pair(relay, listener)
        name = name_of(client)

        def send():
            try:
                send_pattern(client, 88, 16 * MIB, end=False)
            except OSError:
                pass  # the relay has closed, as it should
        sending = Task(send)
        received = Task(receive_until_end, server)
        data, _ = received.result()
        sending.result()
        receive_until_end(client)
        record = self.end_of(relay, name)
        self.assertEqual((record["reason"], record["recording"]), ("log-error", "failed"))
        recorded = relay.recording(record, "in")
        self.assertLessEqual(len(recorded), limit)
        self.assertEqual((record["in_file"], record["in_recorded"]), (len(recorded), len(recorded)))
        common = min(len(recorded), len(data))
        self.assertTrue(recorded[:common] == data[:common])
        # Others are served until their own recording fails.
        client, server = self.pair(relay, listener)
        say(client, server, (b"small\n",))
        record = self.record_of(relay, client, server)
        self.assertEqual((record["reason"], record["recording"]), ("client-eof", "complete"))

    def test_log_error_close_when_the_files_cannot_be_made(self):
        with tempfile.TemporaryDirectory() as base:
            directory, index = os.path.join(base, "recordings"), os.path.join(base, "index")
            os.mkdir(directory)
            os.mkdir(index)
            server = self.serve(EchoServer())
            relay = self.start(server, "--index", index, "--log-error", "close", directory=directory, index=index)
            os.rmdir(directory)
            client = self.client(relay)
            receive_until_end(client)
            record, = relay.wait_ends(1)
            self.assertEqual((record["reason"], record["recording"]), ("log-error", "failed"))

    def test_kill_leaves_what_is_older_than_the_flush_interval(self):
        listener = self.listener()
        for options in ((), ("-t",), ("--flush", "10"), ("--flush", "1000")):
            with self.subTest(options=options):
                relay = self.start(listener, *options)
                client, server = self.pair(relay, listener)
                up, down = [b"a1 LOGIN\r\n", b"a2 SELECT\r\n"], [b"* OK\r\n", b"line\n" * 60_000]
                say(client, server, up)
                say(server, client, down)
                stem = wait_until(lambda: [r["id"] for r in relay.records("start")])[0]

                def on_disk():
                    shown = []
                    for direction in ("in", "out"):
                        with open(os.path.join(relay.directory, f"{stem}.{direction}"), "rb") as file:
                            shown.append(STAMP.sub(b"", file.read()))
                    return shown == [b"".join(up), b"".join(down)]
                # Nothing more happens in the session: only the interval can bring it to the disk.
                wait_until(on_disk, 20, "the flush")
                relay.signal(signal.SIGKILL)
                relay.wait()
                self.assertTrue(on_disk())
                self.assertEqual([r["id"] for r in relay.records("start")], [stem])
                self.assertEqual(relay.records("end"), [])
                client.close()
                server.close()
                relay.close()


def fast_directory():
    """On memory, where there is such: so that a slow disk cannot be what fills the log memory."""
    return tempfile.TemporaryDirectory(prefix="rawlog-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)


FREEZE, THAW = 0xC0045877, 0xC0045878  # FIFREEZE, FITHAW of linux/fs.h


class LogMemory(Recording):
    def assert_adds_up(self, relay, record, sent):
        """What the index calls gaps, and only this, is missing from the files."""
        total = 0
        for direction, data in sent.items():
            gaps = sorted((gap["offset"], gap["bytes"]) for gap in record["gaps"] if gap["direction"] == direction)
            expected = bytearray()
            position = 0
            for offset, count in gaps:
                self.assertGreater(count, 0)
                self.assertGreaterEqual(offset, position)
                expected += data[position:offset]
                position = offset + count
                total += count
            self.assertLessEqual(position, len(data))
            expected += data[position:]
            self.assertEqual(record[direction + "_bytes"], len(data))
            self.assertEqual(record[direction + "_recorded"], len(expected))
            self.assertEqual(record[direction + "_file"], len(expected))
            self.assertTrue(relay.recording(record, direction) == expected, f"the .{direction} differs")
        self.assertEqual(record["dropped"], total)
        self.assertEqual(record["recording"], "lossy" if total else "complete")

    def _transfer(self, relay, listener, size=32 * MIB):
        up, down = payload(91, size), payload(92, size)
        client, server = self.pair(relay, listener)
        tasks = [Task(send_chunks, client, up, 91, MIB), Task(send_chunks, server, down, 92, MIB)]
        receiving = Task(receive_all, server)
        self.assertTrue(receive_all(client) == down, "server to client differs")
        self.assertTrue(receiving.result() == up, "client to server differs")
        for task in tasks:
            task.result()
        return self.record_of(relay, client, server), {"in": up, "out": down}

    def test_little_memory_and_wait(self):
        listener = self.listener()
        with fast_directory() as directory:
            # A machine that hangs for seconds must not make this lossy, which it then rightly would be.
            relay = self.start(listener, "--log-memory", "256K", "--log-full", "wait", "--log-wait", "60s",
                               directory=directory)
            record, sent = self._transfer(relay, listener)
            self.assertEqual((record["recording"], record["dropped"], record["gaps"]), ("complete", 0, []))
            self.assert_adds_up(relay, record, sent)
            relay.close()

    def test_little_memory_and_drop(self):
        listener = self.listener()
        with fast_directory() as directory:
            relay = self.start(listener, "--log-memory", "256K", "--log-full", "drop", directory=directory)
            record, sent = self._transfer(relay, listener)
            self.assert_adds_up(relay, record, sent)
            relay.close()

    def test_little_memory_and_many_sessions(self):
        # More sessions than the memory has blocks for.
        server = self.serve(EchoServer())
        with fast_directory() as directory:
            relay = self.start(server, "--log-memory", "256K", "--log-wait", "60s", directory=directory)
            clients = [self.client(relay) for _ in range(64)]
            data = [payload(number, 300_000) for number in range(64)]
            names = [name_of(client) for client in clients]
            sending = [Task(send_chunks, client, bytes_, 1) for client, bytes_ in zip(clients, data)]
            receiving = [Task(receive_all, client) for client in clients]
            for task, bytes_ in zip(receiving, data):
                self.assertTrue(task.result() == bytes_)
            for task in sending:
                task.result()
            records = {record["client"]: record for record in relay.wait_ends(64, 60)}
            for name, bytes_ in zip(names, data):
                self.assertEqual(records[name]["recording"], "complete")
                self.assert_adds_up(relay, records[name], {"in": bytes_, "out": bytes_})
            relay.close()

    @contextlib.contextmanager
    def _freezable(self):
        """A directory on a small disk which can be made to hang: `freeze` and `thaw` come with it."""
        if os.geteuid() != 0:
            self.skipTest("mounting needs root")
        for tool in ("mkfs.ext4", "losetup"):
            if not shutil.which(tool):
                self.skipTest(f"no {tool} here")
        with tempfile.TemporaryDirectory(prefix="rawlog-", dir="/tmp") as directory:
            image = os.path.join(directory, "disk")
            with open(image, "wb") as file:
                file.truncate(128 * MIB)
            subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
            with mounted("ext4", image, "loop") as disk:
                root = os.open(disk, os.O_RDONLY | os.O_DIRECTORY)
                frozen = [False]

                def freeze():
                    fcntl.ioctl(root, FREEZE, 0)
                    frozen[0] = True

                def thaw():
                    if frozen[0]:
                        fcntl.ioctl(root, THAW, 0)
                        frozen[0] = False
                try:
                    yield os.path.join(disk), freeze, thaw
                finally:
                    # Whatever happened: a frozen disk holds its writers in the kernel, beyond SIGKILL.
                    thaw()
                    os.close(root)

    def _hung_disk(self, *options):
        with self._freezable() as (disk, freeze, thaw), tempfile.TemporaryDirectory(dir=IN_MEMORY) as index:
            listener = self.listener()
            relay = self.start(listener, "--log-memory", "1M", "--index", index, *options,
                               directory=disk, index=index)
            try:
                client, server = self.pair(relay, listener)
                say(client, server, (b"before\n",))
                unrecorded = self.pair(relay, listener, source=("127.0.0.2", 0))
                # The files of both have been made, or not, before nothing can be made.
                wait_until(lambda: len(files(disk)) == 3, what="the files")  # and lost+found
                up, down = payload(93, 8 * MIB), payload(94, 8 * MIB)
                freeze()
                sending = [Task(send_chunks, client, up, 93, MIB), Task(send_chunks, server, down, 94, MIB)]
                receiving = Task(receive_all, server)
                # One whose recording is not held up is not slowed down.
                for number in range(20):
                    say(*unrecorded, (payload(number, 10_000),))
                    say(*reversed(unrecorded), (payload(number, 10_000),))
                # Nor do new sessions wait for their files.
                late = self.pair(relay, listener)
                say(*late, (b"late\n",))
                self.assertTrue(receive_all(client) == down, "server to client differs")
                self.assertTrue(receiving.result() == up, "client to server differs")
                for task in sending:
                    task.result()
                thaw()
                late_record = self.record_of(relay, *late)
                self.assert_adds_up(relay, late_record, {"in": b"late\n", "out": b""})
                record = self.record_of(relay, client, server)
                self.assertEqual(record["recording"], "lossy")
                self.assert_adds_up(relay, record, {"in": b"before\n" + up, "out": down})
                self.assertEqual(self.record_of(relay, *unrecorded)["recording"], "none")
                self.assertEqual(relay.terminate(), 0)
            finally:
                thaw()
                relay.close()

    def test_hung_disk_and_drop(self):
        self._hung_disk("--log-full", "drop", "--only", "127.0.0.1")

    def test_hung_disk_and_wait(self):
        # It waits, but not for ever.
        self._hung_disk("--log-full", "wait", "--log-wait", "300ms", "--only", "127.0.0.1")

    def test_end_while_the_disk_hangs(self):
        # Nobody waits for ever for a recording; the index, on another disk, says which was given up.
        with self._freezable() as (disk, freeze, thaw), tempfile.TemporaryDirectory(dir=IN_MEMORY) as index:
            listener = self.listener()
            relay = self.start(listener, "--index", index, "--drain", "100ms", directory=disk, index=index)
            try:
                client, server = self.pair(relay, listener)
                say(client, server, (b"before\n",))
                wait_until(lambda: len(files(disk)) == 3, what="the files")  # and lost+found
                freeze()
                say(client, server, (b"after\n",))
                name = name_of(client)
                relay.signal(signal.SIGTERM)
                record, = wait_until(lambda: [r for r in relay.records("end") if r["client"] == name], 60,
                                     "the end record")
                self.assertEqual((record["recording"], record["in_bytes"]), ("failed", 13))
                thaw()
                self.assertEqual(relay.wait(), 0)
            finally:
                thaw()
                relay.close()

    def test_disk_that_hangs_for_less_than_the_wait(self):
        with self._freezable() as (disk, freeze, thaw), tempfile.TemporaryDirectory(dir=IN_MEMORY) as index:
            listener = self.listener()
            relay = self.start(listener, "--log-memory", "1M", "--log-wait", "60s", "--index", index,
                               directory=disk, index=index)
            try:
                client, server = self.pair(relay, listener)
                wait_until(lambda: len(files(disk)) == 3, what="the files")
                up = payload(95, 16 * MIB)
                freeze()
                sending = Task(send_chunks, client, up, 95, MIB)
                receiving = Task(receive_all, server)
                time.sleep(1)
                # The sender is held back: otherwise the recording would have to lose something.
                self.assertFalse(sending.done)
                thaw()
                self.assertTrue(receiving.result() == up)
                sending.result()
                record = self.record_of(relay, client, server)
                self.assertEqual(record["recording"], "complete")
                self.assert_adds_up(relay, record, {"in": up, "out": b""})
            finally:
                thaw()
                relay.close()


class Index(Recording):
    COMMON = {"event": str, "id": str, "time": str, "listener": str, "protocol": str, "client": str, "server": str,
              "via": type(None), "tls": type(None)}
    END = {"user": type(None), "login": str, "reason": str, "seconds": (int, float), "in_bytes": int,
           "out_bytes": int, "in_recorded": int, "out_recorded": int, "in_file": int, "out_file": int,
           "dropped": int, "gaps": list, "client_close": str, "server_close": str, "failed_logins": int,
           "server_tls": type(None), "redacted": int, "recording": str}
    TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)")
    ADDRESS = re.compile(r"\d{1,3}(\.\d{1,3}){3}:\d{1,5}|\[[0-9a-f:.]+\]:\d{1,5}|unix:.*")
    REASONS = ("client-eof", "server-eof", "client-reset", "server-reset", "connect-failed", "idle", "drain",
               "limit", "log-error", "tls-error", "proxy-error")

    def when(self, record):
        self.assertRegex(record["time"], self.TIME)
        return datetime.datetime.fromisoformat(record["time"].replace("Z", "+00:00"))

    def check(self, relay):
        """Every rule that holds for any index."""
        with open(relay.index_path, "rb") as file:
            text = file.read()
        self.assertTrue(text == b"" or text.endswith(b"\n"))
        starts, ends = {}, {}
        for line in text.splitlines():
            record = json.loads(line.decode("utf-8"))
            self.assertIn(record["event"], ("start", "end"))
            is_end = record["event"] == "end"
            fields = {**self.COMMON, **self.END} if is_end else self.COMMON
            for name, kind in fields.items():
                self.assertIn(name, record)
                # A leg that was never there may have no way of having closed.
                if name == "server_close" and record["reason"] == "connect-failed" and record[name] is None:
                    continue
                self.assertIsInstance(record[name], kind, name)
                self.assertNotIsInstance(record[name], bool, name)
            self.assertRegex(record["id"], f"^(?:{STEM.pattern})$")
            self.assertEqual(record["protocol"], "raw")
            self.assertTrue(self.ADDRESS.fullmatch(record["client"]), record["client"])
            self.assertTrue(self.ADDRESS.fullmatch(record["server"]), record["server"])
            when = self.when(record)
            self.assertLess(abs((datetime.datetime.now(datetime.timezone.utc) - when).total_seconds()), 600)
            if not is_end:
                self.assertNotIn(record["id"], starts, "two starts")
                starts[record["id"]] = record
                continue
            self.assertNotIn(record["id"], ends, "two ends")
            self.assertIn(record["id"], starts, "an end without a start")
            ends[record["id"]] = record
            start = starts[record["id"]]
            for name in self.COMMON:
                if name not in ("event", "time", "server"):  # the server may be one of several, known later
                    self.assertEqual(record[name], start[name], name)
            self.assertLessEqual(self.when(start), when)
            self.assertGreaterEqual(record["seconds"], 0)
            self.assertIn(record["reason"], self.REASONS)
            self.assertEqual((record["login"], record["failed_logins"], record["redacted"]), ("none", 0, 0))
            for side in ("client_close", "server_close"):
                self.assertIn(record[side], ("clean", "cut", "reset", None))
            self.assertIn(record["recording"], ("complete", "truncated", "lossy", "failed", "none"))
            for direction in ("in", "out"):
                self.assertLessEqual(record[direction + "_recorded"], record[direction + "_bytes"])
        self.assertEqual(set(starts), set(ends), "a session without its end")
        return list(starts.values()), list(ends.values())

    def test_every_kind_of_session(self):
        listener = self.listener()
        with tempfile.TemporaryDirectory(prefix="rawlog-", dir="/tmp") as directory:
            addresses = ["127.0.0.1:0", f"unix:{directory}/in.sock"] + (["[::1]:0"] if has_ipv6() else [])
            relay = self.start(listener, "-t", "--drain", "1s", "--only", "127.0.0.0/8", listen=addresses)
            expected = []
            for address in relay.addresses:
                for how in ("client-eof", "server-eof", "client-reset", "server-reset"):
                    if "reset" in how and address.startswith("unix:"):
                        continue  # a unix socket has no RST
                    client, server = self.pair(address, listener)
                    say(client, server, (b"a\n",))
                    say(server, client, (b"bc\n",))
                    first, second = (client, server) if how.startswith("client") else (server, client)
                    if how.endswith("reset") and first.family != socket.AF_UNIX:
                        reset(first)
                    else:
                        first.close()
                    receive_until_end(second)
                    second.close()
                    expected.append(how)
            relay.wait_ends(len(expected))
            client, server = self.pair(relay, listener)
            relay.signal(signal.SIGTERM)
            receive_until_end(client)
            receive_until_end(server)
            expected.append("drain")
            self.assertEqual(relay.wait(), 0)
            starts, ends = self.check(relay)
            self.assertEqual(sorted(record["reason"] for record in ends), sorted(expected))
            self.assertEqual(len({record["listener"] for record in starts}), len(addresses))
            for record in ends:
                if record["reason"] != "drain":
                    self.assertEqual((record["in_bytes"], record["out_bytes"]), (2, 3))
                self.assertEqual(record["server"], listener.address)
                recorded = record["client"].startswith("127.")
                self.assertEqual(record["recording"], "complete" if recorded else "none")

    def test_failed_connects(self):
        port = self.refused_port()
        relay = self.start(f"127.0.0.1:{port}")
        for _ in range(20):
            receive_until_end(self.client(relay))
        relay.wait_ends(20)
        starts, ends = self.check(relay)
        self.assertEqual((len(starts), len(ends)), (20, 20))
        for record in ends:
            self.assertEqual((record["reason"], record["server"]), ("connect-failed", f"127.0.0.1:{port}"))

    def test_a_few_hundred_at_once(self):
        server = self.serve(EchoServer())
        relay = self.start(server)

        def work(worker):
            for number in range(25):
                self.exchange(relay.address, b"%d.%d\r\n" % (worker, number))
        for task in [Task(work, worker) for worker in range(16)]:
            task.result()
        relay.wait_ends(400)
        starts, ends = self.check(relay)
        self.assertEqual((len(starts), len(ends)), (400, 400))
        self.assertEqual(len({record["client"] for record in ends}), len({record["client"] for record in starts}))

    def test_start_is_there_while_the_session_lives(self):
        listener = self.listener()
        relay = self.start(listener)
        client, server = self.pair(relay, listener)
        record, = wait_until(lambda: relay.records())
        self.assertEqual((record["event"], record["client"]), ("start", name_of(client)))
        for name, kind in self.COMMON.items():
            self.assertIsInstance(record[name], kind, name)
        self.record_of(relay, client, server)
        self.check(relay)

    def test_a_second_run_appends(self):
        listener = self.listener()
        with tempfile.TemporaryDirectory() as directory:
            for number in range(1, 3):
                relay = self.start(listener, directory=directory)
                client, server = self.pair(relay, listener)
                self.record_of(relay, client, server)
                self.assertEqual(relay.terminate(), 0)
                self.assertEqual(len(relay.records()), 2 * number)
            self.check(relay)
            relay.close()

    def test_a_link_is_not_followed(self):
        listener = self.listener()
        with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryDirectory() as elsewhere:
            os.symlink(os.path.join(elsewhere, "target"), os.path.join(directory, "sessions.jsonl"))
            relay = self.start(listener, directory=directory, wait=False)
            # Whether it refuses to start or goes on without an index is its own affair.
            wait_until(lambda: relay.addresses or relay.process.poll() is not None, what="the relay to decide")
            if relay.addresses:
                client, server = self.pair(relay, listener)
                say(client, server, (b"x",))
                client.close()
                server.close()
                relay.terminate()
            else:
                self.assertIn(relay.wait(), (69, 73, 74, 77))
            self.assertEqual(os.listdir(elsewhere), [])
            relay.close()


if __name__ == "__main__":
    unittest.main()
