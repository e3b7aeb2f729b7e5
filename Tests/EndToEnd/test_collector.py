"""`--dir tcp:HOST:PORT`: recordings go to a collector, which may be slow, dead or absent; mail does not notice."""

import contextlib
import math
import os
import resource
import socket
import tempfile
import time
import unittest

import merged
from collector import Collector
from peers import (MIB, EchoServer, EndToEnd, Task, connect, free_port, has_ipv6, name_of, payload, receive_all,
                   receive_exactly, receive_until_end, send_chunks)
from relay import run, wait_until
from test_recording import say


class CollectorTest(EndToEnd):
    def collector(self, **keywords):
        return self.serve(Collector(**keywords))

    def start_collected(self, connect_to, collector, *options, **keywords):
        """A relay that records to `collector`, a Collector or an address."""
        temporary = tempfile.TemporaryDirectory(prefix="uring-rawlog-index-")
        self.addCleanup(temporary.cleanup)
        index = temporary.name
        address = getattr(collector, "address", collector)
        return self.start(connect_to, "--layout", "merged", "--index", index, *options, directory=index, index=index,
                          directory_option=f"tcp:{address}", **keywords)

    def record_of(self, relay, client, server):
        name = name_of(client)
        self.finish(client, server)
        return self.end_of(relay, name)

    def assert_complete(self, record, stream, up, down):
        self.assertEqual((record["recording"], record["gaps"], record["dropped"]), ("complete", [], 0))
        self.assertEqual(record["in_file"] + record["out_file"], len(stream))
        self.assertTrue(merged.decode(stream) == {"in": up, "out": down}, "the stream differs")
        self.assertEqual((record["in_recorded"], record["out_recorded"]), (len(up), len(down)))

    def assert_adds_up(self, record, sent):
        """Every byte is recorded or listed as lost."""
        lost = {"in": 0, "out": 0}
        for gap in record["gaps"]:
            lost[gap["direction"]] += gap["bytes"]
        for direction, data in sent.items():
            self.assertEqual(record[direction + "_bytes"], len(data))
            self.assertEqual(record[direction + "_recorded"] + lost[direction], len(data), direction)
        self.assertEqual(record["dropped"], sum(lost.values()))
        if record["dropped"]:
            self.assertEqual(record["recording"], "lossy")

    def said(self, relay, text):
        """Lines on standard error with this text."""
        return [line for line in relay.lines if text in line]


class Streams(CollectorTest):
    def test_what_is_sent(self):
        collector, listener = self.collector(), self.listener()
        relay = self.start_collected(listener, collector)
        client, server = self.pair(relay, listener)
        say(server, client, (b"* OK\r\n",))
        say(client, server, (b"a LOG", b"OUT\r\nb"))
        say(server, client, (b"* BYE\r\na OK\r\nlast\0\xff",))
        record = self.record_of(relay, client, server)
        stream = collector.whole()
        self.assert_complete(record, stream, b"a LOGOUT\r\nb", b"* OK\r\n* BYE\r\na OK\r\nlast\0\xff")
        self.assertEqual(merged.shown(stream),
                         b"@T O: * OK\r\n@T I: a LOGOUT\r\n@T O: * BYE\r\n@T O: a OK\r\n@T I> b\n@T O> last\0\xff\n")
        self.assertEqual(collector.count, 1)
        self.assertEqual(os.listdir(relay.directory), ["sessions.jsonl"])

    def test_within_the_flush_interval(self):
        # Whole lines are sent while the session goes on; a line without its end waits for that.
        collector, listener = self.collector(), self.listener()
        relay = self.start_collected(listener, collector)
        client, server = self.pair(relay, listener)
        say(client, server, (b"first\r\nsec",))
        stream = collector.wait(1)[0]
        wait_until(lambda: merged.shown(bytes(stream.data)) == b"@T I: first\r\n", what="the line")
        say(client, server, (b"ond\r\n",))
        wait_until(lambda: merged.shown(bytes(stream.data)) == b"@T I: first\r\n@T I: second\r\n", what="the line")
        self.assert_complete(self.record_of(relay, client, server), collector.whole(), b"first\r\nsecond\r\n", b"")

    def test_bulk(self):
        collector, listener = self.collector(), self.listener()
        relay = self.start_collected(listener, collector, "--log-memory", "512M")
        up, down = payload(1, 8 * MIB), b"".join(b"%08d\r\n" % number for number in range(500_000))
        client, server = self.pair(relay, listener)
        sending = [Task(send_chunks, client, up, 1, MIB), Task(send_chunks, server, down, 2, MIB)]
        receiving = Task(receive_all, server)
        self.assertTrue(receive_all(client) == down)
        self.assertTrue(receiving.result() == up)
        for task in sending:
            task.result()
        self.assert_complete(self.record_of(relay, client, server), collector.whole(), up, down)

    def test_many_sessions(self):
        # One connection each.
        collector, server = self.collector(), self.serve(EchoServer())
        relay = self.start_collected(server, collector)

        def talk(number):
            data = b"".join(b"session %d, line %d\r\n" % (number, line) for line in range(300))
            with connect(relay.address) as client:
                sending = Task(send_chunks, client, data, number, 1000)
                self.assertTrue(receive_all(client) == data)
                sending.result()
            return data

        sent = {task.result() for task in [Task(talk, number) for number in range(100)]}
        records = relay.wait_ends(100)
        self.assertEqual({record["recording"] for record in records}, {"complete"})
        self.assertEqual(collector.count, 100)
        found = [merged.decode(collector.whole(number)) for number in range(100)]
        self.assertEqual({stream["in"] for stream in found}, sent)
        self.assertEqual({stream["out"] for stream in found}, sent)
        # Nothing stays behind.
        wait_until(lambda: relay.descriptors() < 50, what="the descriptors to be closed")

    def test_nothing_said(self):
        collector, listener = self.collector(), self.listener()
        relay = self.start_collected(listener, collector)
        for _ in range(30):
            record = self.record_of(relay, *self.pair(relay, listener))
            self.assertEqual((record["recording"], record["in_file"], record["out_file"]), ("complete", 0, 0))
        # Sessions that end before they have reached it say nothing against it.
        self.assertEqual(self.said(relay, "cannot reach"), [])
        client, server = self.pair(relay, listener)
        say(client, server, (b"line\n",))
        self.assertEqual(self.record_of(relay, client, server)["recording"], "complete")
        streams = [bytes(stream.data) for stream in collector.wait(1)]
        self.assertEqual([merged.shown(stream) for stream in streams if stream], [b"@T I: line\n"])

    def test_options(self):
        listener = self.listener()
        for options, expected, recording in (
                (("-f", "in"), b"@T I: up\n", "complete"), (("-f", "out"), b"@T O: down\n", "complete"),
                (("-I",), b"@T I: up\n@T O: down\n", "complete"),
                (("--max-recording", "2"), b"@T I> up\n@T O> do\n", "truncated"),
                (("--only", "127.0.0.2"), None, "none")):
            with self.subTest(options=options):
                collector = self.collector()
                relay = self.start_collected(listener, collector, *options)
                client, server = self.pair(relay, listener)
                say(client, server, (b"up\n",))
                say(server, client, (b"down\n",))
                record = self.record_of(relay, client, server)
                self.assertEqual(record["recording"], recording)
                self.assertEqual(record["id"].startswith("127.0.0.1-"), "-I" in options)
                if expected is None:
                    self.assertEqual(collector.count, 0)
                else:
                    self.assertEqual(merged.shown(collector.whole()), expected)
                relay.close()

    @unittest.skipUnless(has_ipv6(), "no IPv6 here")
    def test_ipv6(self):
        collector, listener = self.collector(address=("::1", 0)), self.listener()
        relay = self.start_collected(listener, collector)
        client, server = self.pair(relay, listener)
        say(client, server, (b"line\n",))
        self.assert_complete(self.record_of(relay, client, server), collector.whole(), b"line\n", b"")

    def test_every_address_of_a_name(self):
        # localhost may be ::1 first, where nobody listens: the next is tried without a pause, and without a word.
        collector, listener = self.collector(), self.listener()
        relay = self.start_collected(listener, f"localhost:{collector.port}")
        for _ in range(3):
            client, server = self.pair(relay, listener)
            say(client, server, (b"line\n",))
            self.assertEqual(self.record_of(relay, client, server)["recording"], "complete")
        self.assertEqual(self.said(relay, "cannot reach"), [])
        self.assertEqual(collector.count, 3)


class Dead(CollectorTest):
    """It is not there, leaves, or comes back."""

    def test_absent_at_the_start(self):
        with contextlib.ExitStack() as stack:
            collector = stack.enter_context(Collector())
            collector.stop()
            listener = self.listener()
            relay = self.start_collected(listener, collector)
            client, server = self.pair(relay, listener)
            say(client, server, (b"before\r\n",))
            say(server, client, (b"answer\r\n",))
            wait_until(lambda: self.said(relay, "cannot reach"), what="the message")
            # Nobody is held up, also not who comes later.
            for _ in range(5):
                say(*self.pair(relay, listener), (b"others\r\n",))
            collector.start()
            wait_until(lambda: self.said(relay, "reached again"), what="the message")
            say(client, server, (b"after\r\n",))
            record = self.record_of(relay, client, server)
            self.assertEqual((record["recording"], record["gaps"]), ("complete", []))
            streams = [merged.shown(bytes(stream.data)) for stream in collector.wait(6)]
            self.assertIn(b"@T I: before\r\n@T O: answer\r\n@T I: after\r\n", streams)
            self.assertEqual(len(self.said(relay, "cannot reach")), 1, relay.stderr)

    def test_it_comes_too_late(self):
        # What its session could not be rid of within a moment is lost, and listed.
        listener = self.listener()
        relay = self.start_collected(listener, f"127.0.0.1:{self.refused_port()}")
        client, server = self.pair(relay, listener)
        say(client, server, (b"one\r\n", b"half"))
        say(server, client, (b"two\r\n",))
        record = self.record_of(relay, client, server)
        self.assert_adds_up(record, {"in": b"one\r\nhalf", "out": b"two\r\n"})
        self.assertEqual((record["recording"], record["dropped"]), ("lossy", 14))
        self.assertEqual((record["in_recorded"], record["in_file"], record["out_file"]), (0, 0, 0))
        self.assertEqual(sorted((gap["direction"], gap["offset"], gap["bytes"]) for gap in record["gaps"]),
                         [("in", 0, 9), ("out", 0, 5)])

    def comes_back(self, abort):
        collector, listener = self.collector(), self.listener()
        relay = self.start_collected(listener, collector)
        client, server = self.pair(relay, listener)
        say(client, server, (b"one\r\n",))
        say(server, client, (b"two\r\nthr",))
        first = collector.wait(1)[0]
        wait_until(lambda: len(merged.lines(bytes(first.data))) == 2, what="the lines")
        collector.stop(abort)
        for number in range(20):
            say(client, server, (b"alone %d\r\n" % number,))
        say(server, client, (b"ee\r\n",))
        collector.start()
        second = collector.wait(2)[1]
        say(client, server, (b"back\r\n",))
        wait_until(lambda: b"back" in second.data, what="the last line")
        record = self.record_of(relay, client, server)
        # It had taken all that it was sent before: nothing is missing. But nobody can know that.
        self.assertEqual((record["recording"], record["gaps"]), ("lossy", []))
        self.assert_adds_up(record, {"in": b"one\r\n" + b"".join(b"alone %d\r\n" % n for n in range(20)) + b"back\r\n",
                                     "out": b"two\r\nthree\r\n"})
        self.assertEqual(merged.dialogue(bytes(first.data)), [("in", b"one\r\n"), ("out", b"two\r\n")])
        later = merged.dialogue(collector.whole(1))
        self.assertEqual([line for who, line in later if who == "out"], [b"three\r\n"])
        self.assertEqual([line for who, line in later if who == "in"],
                         [b"alone %d\r\n" % number for number in range(20)] + [b"back\r\n"])

    def test_it_ends_and_comes_back(self):
        self.comes_back(abort=False)

    def test_it_breaks_and_comes_back(self):
        self.comes_back(abort=True)

    def test_it_breaks_while_it_is_sent_to(self):
        # Half of a line was taken: over the next connection it comes whole.
        collector, listener = self.collector(receive_buffer=4096), self.listener()
        relay = self.start_collected(listener, collector, "--log-memory", "512M")
        client, server = self.pair(relay, listener)
        collector.stall()
        data = b"".join(b"%07d %s\n" % (number, b"z" * (number % 120)) for number in range(150_000))
        sending = Task(send_chunks, client, data, 3, 65536)
        self.assertTrue(receive_all(server) == data)
        sending.result()
        collector.stop(abort=True)
        collector.resume()
        collector.start()
        name = name_of(client)
        server.close()
        receive_until_end(client)
        record = self.end_of(relay, name)
        self.assertEqual((record["recording"], record["gaps"]), ("lossy", []))
        self.assertEqual(collector.count, 2)
        stream = collector.whole(1)
        texts = merged.decode(stream)["in"]  # whole lines from the very beginning, or it would not decode
        self.assertTrue(data.endswith(texts), "the second stream is not the rest")
        # Only what the kernel had taken is not in it.
        self.assertGreater(len(texts), len(data) - 6 * MIB)

    def test_many_sessions_when_it_leaves(self):
        # All connections break at once; it is asked again by one after the other, and soon.
        collector, server = self.collector(), self.serve(EchoServer())
        relay = self.start_collected(server, collector)
        clients = [self.client(relay) for _ in range(200)]
        for client in clients:
            client.sendall(b"before\n")
            receive_exactly(client, 7)
        collector.wait(200)
        wait_until(lambda: all(b"O: before" in stream.data for stream in collector.wait(200)), what="the lines")
        collector.stop()
        for client in clients:
            client.sendall(b"between\n")
            receive_exactly(client, 8)
        wait_until(lambda: self.said(relay, "cannot reach"), what="the message")
        collector.start()
        collector.wait(400)
        for client in clients:
            client.sendall(b"after\n")
            receive_exactly(client, 6)
            client.close()
        records = relay.wait_ends(200)
        self.assertEqual({(record["recording"], record["dropped"]) for record in records}, {("lossy", 0)})
        later = [merged.decode(collector.whole(number)) for number in range(200, 400)]
        self.assertEqual({stream["in"] for stream in later}, {b"between\nafter\n"})
        self.assertEqual(len(self.said(relay, "cannot reach")), 1, relay.stderr)

    def most_attempts(self, seconds):
        """How often it may be asked within so many seconds, with pauses that double from 100 ms to 10 s."""
        return 3 + int(math.log2(1 + seconds / 0.1)) + int(seconds / 10)

    def test_it_accepts_and_closes(self):
        # As a balancer whose servers are dead. Each attempt may cost what it was sent, and no mail.
        def slam(connection):
            connection.close()
            return False

        collector, listener = self.collector(greet=slam), self.listener()
        begun = time.monotonic()
        relay = self.start_collected(listener, collector)
        client, server = self.pair(relay, listener)
        data = b""
        for number in range(60):
            line = b"line %d\r\n" % number
            say(client, server, (line,))
            say(server, client, (line,))
            data += line
            time.sleep(0.05)
        attempts = collector.count
        # Counted before the time is taken: it can only be more.
        self.assertLessEqual(attempts, self.most_attempts(time.monotonic() - begun), "it is asked too often")
        self.assertGreater(attempts, 1)
        record = self.record_of(relay, client, server)
        self.assertEqual(record["recording"], "lossy")
        self.assert_adds_up(record, {"in": data, "out": data})
        self.assertLessEqual(len(self.said(relay, "cannot reach")), attempts)

    def test_it_ends_its_side_only(self):
        # Collectors that only read may say so. They are sent everything all the same.
        def shut(connection):
            connection.shutdown(socket.SHUT_WR)

        collector, listener = self.collector(greet=shut), self.listener()
        relay = self.start_collected(listener, collector)
        for number in range(50):
            client, server = self.pair(relay, listener)
            up = b"".join(b"line %d of %d.\r\n" % (line, number) for line in range(50))
            for position in range(0, len(up), 100):
                say(client, server, (up[position:position + 100],))
                time.sleep(0.01)
            say(server, client, (b"end of %d.\r\n" % number,))
            record = self.record_of(relay, client, server)
            self.assertEqual((record["gaps"], record["in_recorded"]), ([], len(up)))

            def everything():
                # The first sessions may have taken it for leaving, and come again.
                streams = [merged.decode(bytes(stream.data)) for stream in collector.wait(1) if stream.ended.is_set()]
                return b"".join(stream["in"] for stream in streams).count(b"of %d.\r\n" % number) == 50 \
                    and any(b"end of %d.\r\n" % number in stream["out"] for stream in streams)
            wait_until(everything, what=f"all of session {number}")
            if record["recording"] == "complete" and number >= 4:
                return
        # By then it is known: a session has one connection, and nothing to fear for.
        self.fail(f"sessions are {record['recording']} for ever")

    def test_a_thousand_sessions(self):
        listener = self.serve(EchoServer())
        relay = self.start_collected(listener, f"127.0.0.1:{self.refused_port()}", "--log-memory", "8M")
        if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 4000:
            self.skipTest("not enough descriptors")
        clients = [self.client(relay) for _ in range(1000)]
        for client in clients:
            client.sendall(b"hello\n" * 1000)
        for client in clients:
            self.assertEqual(receive_exactly(client, 6000), b"hello\n" * 1000)
        # Two sockets each, and whoever tries just now.
        self.assertLess(relay.descriptors(), 2000 + 40)
        # A dead collector is asked seldom: the relay rests.
        cpu, begun = self.cpu_seconds(relay), time.monotonic()
        time.sleep(2)
        self.assertLess(self.cpu_seconds(relay) - cpu, (time.monotonic() - begun) / 2, "the relay spins")
        self.assertLess(relay.resident_bytes(), 200 * MIB)
        for client in clients:
            client.close()
        for record in relay.wait_ends(1000):
            self.assert_adds_up(record, {"in": b"hello\n" * 1000, "out": b"hello\n" * 1000})
        self.assertEqual(len(self.said(relay, "cannot reach")), 1, relay.stderr)
        self.assertEqual(relay.terminate(), 0)

    def cpu_seconds(self, relay):
        with open(f"/proc/{relay.pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def test_it_swallows_connections(self):
        # A full backlog: connecting to it neither succeeds nor fails.
        hole = socket.socket()
        self.addCleanup(hole.close)
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            self.addCleanup(filler.close)
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(hole.getsockname())
            fillers.append(filler)
        listener = self.listener()
        relay = self.start_collected(listener, "127.0.0.1:%d" % hole.getsockname()[1], "--drain", "1s")
        client, server = self.pair(relay, listener)
        for number in range(100):
            say(client, server, (b"line %d\r\n" % number,))
            say(server, client, (b"answer %d\r\n" % number,))
        record = self.record_of(relay, client, server)
        self.assertEqual((record["recording"], record["in_recorded"], record["reason"]), ("lossy", 0, "client-eof"))
        # And with a session under way it can be ended.
        client, server = self.pair(relay, listener)
        say(client, server, (b"line\r\n",))
        self.assertEqual(relay.terminate(), 0)
        self.assertEqual(relay.records("end")[-1]["reason"], "drain")
        self.assertEqual(relay.records("end")[-1]["recording"], "lossy")


class Stalled(CollectorTest):
    """It is there and does not read."""

    def stalled(self, *options):
        collector, listener = self.collector(receive_buffer=65536), self.listener()
        relay = self.start_collected(listener, collector, "--log-memory", "8M", *options)
        client, server = self.pair(relay, listener)
        say(client, server, (b"first\r\n",))
        stream = collector.wait(1)[0]
        wait_until(lambda: b"first" in stream.data, what="the first line")
        collector.stall()
        return collector, relay, listener, client, server, stream

    def pour(self, client, server, data):
        """Through the session, from both sides, while the collector does not read."""
        sending = [Task(send_chunks, client, data, 1, MIB, False), Task(send_chunks, server, data, 2, MIB, False)]
        receiving = Task(receive_exactly, server, len(data))
        self.assertTrue(receive_exactly(client, len(data)) == data, "server to client differs")
        self.assertTrue(receiving.result() == data, "client to server differs")
        for task in sending:
            task.result()

    DATA = b"".join(b"%08d %s\r\n" % (number, b"q" * (number % 150)) for number in range(250_000))  # 21 MB each way

    def test_and_reads_again(self):
        collector, relay, _, client, server, stream = self.stalled()
        before = relay.resident_bytes()
        self.pour(client, server, self.DATA)
        self.assertLess(relay.resident_bytes() - before, 60 * MIB)
        collector.resume()
        # All that it lacks is told of as soon as anything can be recorded again, which is when it has read enough.
        said = 0

        def is_recorded_again():
            nonlocal said
            said += 1
            say(client, server, (b"again\r\n",))
            say(server, client, (b"again\r\n",))
            return b"I: again\r\n" in stream.data and b"O: again\r\n" in stream.data

        wait_until(is_recorded_again, what="a line of each side")
        record = self.record_of(relay, client, server)
        again = b"again\r\n" * said
        sent = {"in": b"first\r\n" + self.DATA + again, "out": self.DATA + again}
        self.assert_adds_up(record, sent)
        self.assertEqual(record["recording"], "lossy")
        whole = collector.whole()
        self.assertEqual(record["in_file"] + record["out_file"], len(whole))
        for direction, data in sent.items():
            listed = [(gap["offset"], gap["bytes"]) for gap in record["gaps"] if gap["direction"] == direction]
            self.assertEqual(merged.gaps(whole, direction), listed)
            self.assertGreater(len(listed), 0)
            expected, position = b"", 0
            for offset, count in listed:
                expected += data[position:offset]
                position = offset + count
            self.assertTrue(merged.decode(whole)[direction] == expected + data[position:], direction)

    def test_and_never_reads_again(self):
        # The session ends all the same, and what is not sent is listed.
        collector, relay, listener, client, server, _ = self.stalled()
        self.pour(client, server, self.DATA)
        record = self.record_of(relay, client, server)
        self.assert_adds_up(record, {"in": b"first\r\n" + self.DATA, "out": self.DATA})
        self.assertEqual((record["recording"], record["reason"]), ("lossy", "client-eof"))
        # What it held back is free again.
        for _ in range(3):
            client, server = self.pair(relay, listener)
            self.pour(client, server, self.DATA[:2 * MIB])
            self.assertEqual(self.record_of(relay, client, server)["reason"], "client-eof")
        collector.resume()
        client, server = self.pair(relay, listener)
        say(client, server, (b"well again\r\n",))
        self.assertEqual(self.record_of(relay, client, server)["recording"], "complete")

    def test_many_sessions_at_once(self):
        # Together they fill the memory, and all of them end while nothing of it comes back.
        collector, relay, listener, client, server, _ = self.stalled()
        sessions = [(client, server)] + [self.pair(relay, listener) for _ in range(19)]
        for pair in sessions:
            self.pour(*pair, self.DATA[:3 * MIB])
        names = [name_of(client) for client, _ in sessions]
        for client, server in sessions:
            self.finish(client, server)
        for name in names:
            record = self.end_of(relay, name)
            first = b"first\r\n" if name == names[0] else b""
            self.assert_adds_up(record, {"in": first + self.DATA[:3 * MIB], "out": self.DATA[:3 * MIB]})

    def test_and_breaks(self):
        collector, relay, _, client, server, _ = self.stalled()
        self.pour(client, server, self.DATA[:MIB])
        collector.stop(abort=True)
        collector.resume()
        collector.start()
        say(client, server, (b"again\r\n",))
        stream = collector.wait(2)[1]
        wait_until(lambda: b"again\r\n" in stream.data, what="the last line")
        record = self.record_of(relay, client, server)
        self.assertEqual(record["recording"], "lossy")
        merged.lines(collector.whole(1))

    def test_end(self):
        collector, relay, _, client, server, _ = self.stalled("--drain", "500ms")
        self.pour(client, server, self.DATA[:4 * MIB])
        self.assertEqual(relay.terminate(), 0)
        record, = relay.records("end")
        self.assertEqual((record["reason"], record["recording"]), ("drain", "lossy"))
        self.assert_adds_up(record, {"in": b"first\r\n" + self.DATA[:4 * MIB], "out": self.DATA[:4 * MIB]})

    def test_log_full_wait(self):
        # Asked for, it holds the senders back; then nothing is lost.
        collector, relay, _, client, server, _ = self.stalled("--log-full", "wait", "--log-wait", "60s")
        sending = Task(send_chunks, client, self.DATA, 1, MIB)
        receiving = Task(receive_all, server)
        time.sleep(1)
        self.assertFalse(sending.done, "the sender was not held back")
        collector.resume()
        self.assertTrue(receiving.result() == self.DATA)
        sending.result()
        record = self.record_of(relay, client, server)
        self.assert_complete(record, collector.whole(), b"first\r\n" + self.DATA, b"")

    def test_log_full_wait_at_the_end(self):
        # Who waits for a collector that reads no more does not keep its session for as long as --log-wait.
        collector, relay, _, client, server, _ = self.stalled("--log-full", "wait", "--log-wait", "1h")
        name = name_of(client)
        with contextlib.suppress(OSError):
            client.settimeout(2)
            client.sendall(self.DATA)
        server.close()
        client.close()
        record = self.end_of(relay, name)
        self.assertEqual(record["recording"], "lossy")
        self.assertEqual(record["in_recorded"] + record["dropped"], record["in_bytes"])


class CommandLine(CollectorTest):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.index = temporary.name

    def refused(self, code, *options, names=(), listen="127.0.0.1:0"):
        status, output, errors = run("--listen", listen, "--connect", "127.0.0.1:1", *options, timeout=30)
        self.assertEqual((status, output, len(errors.splitlines())), (code, "", 1), errors)
        for name in names:
            self.assertIn(name, errors)
        self.assertEqual(os.listdir(self.index), [])

    def test_what_contradicts(self):
        merged_index = ("--layout", "merged", "--index", self.index)
        collector = ("--dir", "tcp:127.0.0.1:9")
        self.refused(64, *collector, "--index", self.index, names=("--layout merged",))
        self.refused(64, *collector, "--layout", "pair", "--index", self.index, names=("--layout merged",))
        self.refused(64, *collector, "--layout", "merged", names=("--index",))
        self.refused(64, *collector, *merged_index, "-b", names=("--boundaries",))
        self.refused(64, *collector, *merged_index, "--log-wait", "1s", names=("--log-wait",))
        self.refused(64, "--dir", self.index, *merged_index, "--collector-insecure", names=("--collector-insecure",))
        for target in ("", "9", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:99999", "unix:/run/collector",
                       "[::1]", "::1:9", "fd:3", "127.0.0.1:9/logs"):
            with self.subTest(target=target):
                self.refused(64, "--dir", "tcp:" + target, *merged_index)

    def test_another_machine(self):
        merged_index = ("--layout", "merged", "--index", self.index)
        for target in ("192.0.2.1:9", "0.0.0.0:9", "[2001:db8::1]:9"):
            with self.subTest(target=target):
                self.refused(64, "--dir", "tcp:" + target, *merged_index, names=("--collector-insecure", target))
        listener = self.listener()
        relay = self.start_collected(listener, "0.0.0.0:%d" % free_port(), "--collector-insecure")
        client, server = self.pair(relay, listener)
        say(client, server, (b"line\n",))
        self.assertEqual(self.record_of(relay, client, server)["recording"], "lossy")

    def test_name_that_does_not_resolve(self):
        # A label of more than 63 octets never leaves this machine.
        name = "a" * 64 + ".invalid"
        self.refused(69, "--dir", f"tcp:{name}:9", "--layout", "merged", "--index", self.index, names=(name,))

    def test_itself(self):
        # Each recording would be a session to be recorded.
        port = free_port()
        for listen in (f"127.0.0.1:{port}", f":{port}"):
            self.refused(64, "--dir", f"tcp:127.0.0.1:{port}", "--layout", "merged", "--index", self.index,
                         names=(str(port),), listen=listen)

    def check(self, *options):
        code, output, errors = run("check", "--layout", "merged", "--index", self.index, *options)
        self.assertEqual(errors, "")
        self.assertEqual(os.listdir(self.index), [])
        return code, [line for line in output.splitlines() if "collector" in line], output

    def test_check(self):
        with Collector() as collector:
            code, lines, output = self.check("--dir", "tcp:" + collector.address)
            self.assertEqual((code, len(lines)), (0, 1), output)
            self.assertTrue(lines[0].startswith("ok"), lines)
            self.assertIn(collector.address, lines[0])
            self.assertIn(self.index, output)
        code, lines, output = self.check("--dir", "tcp:" + collector.address)
        self.assertEqual((code, len(lines)), (69, 1), output)
        self.assertTrue(lines[0].startswith("failed"), lines)
        code, lines, output = self.check("--dir", "tcp:192.0.2.1:9")
        self.assertEqual((code, len(lines)), (69, 1), output)
        self.assertIn("--collector-insecure", lines[0])
        code, lines, output = self.check("--dir", "tcp:" + "a" * 64 + ".invalid:9")
        self.assertEqual((code, len(lines)), (69, 1), output)

    def test_check_counts_descriptors(self):
        # A session has two sockets and one connection to the collector; the pair has two files.
        def fitting(*options):
            code, output, _ = run("check", *options, preexec_fn=lambda: resource.setrlimit(
                resource.RLIMIT_NOFILE, (1000, 1000)))
            line, = [line for line in output.splitlines() if "descriptors" in line]
            return int(line.split("fits ")[1].split()[0])
        pair = fitting()
        self.assertGreater(fitting("--layout", "merged"), pair * 5 // 4)
        self.assertGreater(fitting("--layout", "merged", "--dir", "tcp:127.0.0.1:9", "--index", self.index),
                           pair * 5 // 4)


if __name__ == "__main__":
    unittest.main()
