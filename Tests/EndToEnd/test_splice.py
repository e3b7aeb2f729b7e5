"""--relay: bytes that are not recorded arrive whole and in order whichever way they travel, and so do ends."""

import os
import resource
import socket
import tempfile
import time
import unittest

from peers import (MIB, EchoServer, EndToEnd, Task, all_results, digest, name_of, payload, receive_all, receive_digest,
                   receive_exactly, receive_until_end, reset, send_chunks, send_pattern, wait_stalled)
from relay import wait_until

MODES = ("auto", "copy", "splice")
NOBODY = ("--only", "192.0.2.1")  # no client of these tests comes from there


def pipes(relay):
    """Ends of pipes that the relay has, its standard output and error not counted."""
    count = 0
    for name in os.listdir(f"/proc/{relay.pid}/fd"):
        try:
            target = os.readlink(f"/proc/{relay.pid}/fd/{name}")
        except FileNotFoundError:
            continue
        count += int(name) > 2 and target.startswith("pipe:")
    return count


class Splice(EndToEnd):
    def unix_directory(self):
        directory = tempfile.TemporaryDirectory(prefix="uring-rawlog-test-")
        self.addCleanup(directory.cleanup)
        return directory.name

    def relays(self, *options):
        """Every mode over TCP and over unix sockets: a name, the relay, what clients connect to, and the listener."""
        for mode in MODES:
            for is_unix in (False, True):
                with self.subTest(mode=mode, unix=is_unix):
                    if is_unix:
                        base = self.unix_directory()
                        listener = self.listener(address=f"unix:{base}/server")
                        relay = self.start(listener, "--relay", mode, *options, listen=(f"unix:{base}/relay",))
                        yield mode, relay, f"unix:{base}/relay", listener
                    else:
                        listener = self.listener()
                        relay = self.start(listener, "--relay", mode, *options)
                        yield mode, relay, relay.address, listener

    def session(self, address, listener, **keywords):
        client = self.client(address, **keywords)
        server = listener.accept()
        self.addCleanup(server.close)
        return client, server


class Bytes(Splice):
    def test_both_ways_at_once(self):
        for _, relay, address, listener in self.relays(*NOBODY):
            for number, (size, largest) in enumerate(((30_000, 64), (3 * MIB, 4096), (12 * MIB, MIB)), 1):
                up, down = payload(number, size), payload(100 + number, size - 7)
                client, server = self.session(address, listener)
                sending = [Task(send_chunks, client, up, 1, largest), Task(send_chunks, server, down, 2, largest)]
                receiving = Task(receive_all, server)
                self.assertTrue(receive_all(client) == down, "server to client differs")
                self.assertTrue(receiving.result() == up, "client to server differs")
                all_results(sending)
                client.close()
                server.close()
                record = relay.wait_ends(number)[-1]
                self.assertEqual((record["in_bytes"], record["out_bytes"]), (len(up), len(down)))
                self.assertEqual(record["recording"], "none")
            self.assertEqual(os.listdir(relay.directory), ["sessions.jsonl"])
            self.assertEqual(relay.terminate(), 0)

    def test_half_close(self):
        # One direction ends, and the other moves bulk all the same.
        for _, relay, address, listener in self.relays(*NOBODY):
            client, server = self.session(address, listener)
            up, down = payload(1, 5 * MIB), payload(2, 5 * MIB)
            sending = Task(send_chunks, client, up, 1)
            self.assertTrue(receive_all(server) == up)
            sending.result()
            sending = Task(send_chunks, server, down, 2)
            self.assertTrue(receive_all(client) == down)
            sending.result()
            client.close()
            server.close()
            record, = relay.wait_ends(1)
            self.assertEqual((record["reason"], record["client_close"], record["server_close"]),
                             ("client-eof", "clean", "clean"))

    def test_bulk_and_small_messages_in_turn(self):
        for _, relay, address, listener in self.relays(*NOBODY):
            client, server = self.session(address, listener)
            for turn in range(3):
                for source, sink in ((client, server), (server, client)):
                    data = payload(turn, 4 * MIB)
                    sending = Task(source.sendall, data)
                    self.assertTrue(receive_exactly(sink, len(data)) == data)
                    sending.result()
                for number in range(60):
                    message = payload(number, 1 + 40 * number)
                    for source, sink in ((client, server), (server, client)):
                        source.sendall(message)
                        self.assertEqual(receive_exactly(sink, len(message)), message)
            self.finish(client, server)
            record, = relay.wait_ends(1)
            self.assertEqual(record["in_bytes"], record["out_bytes"])

    def test_the_way_that_is_taken(self):
        for mode, relay, address, listener in self.relays(*NOBODY):
            client, server = self.session(address, listener)
            client.sendall(b"hello")
            receive_exactly(server, 5)
            self.assertEqual(pipes(relay) > 0, mode == "splice")
            # Bulk, most of which stays in the relay and the kernel.
            sent = [0]
            sending = Task(send_pattern, client, 1, 32 * MIB, sent)
            self.assertGreater(receive_digest(server, 8 * MIB)[0], 0)
            wait_stalled(lambda: sent[0], 0.3)
            self.assertEqual(pipes(relay) > 0, mode != "copy")
            receive_digest(server)
            sending.result()
            client.close()
            server.close()
            relay.wait_ends(1)

    def test_many_sessions(self):
        # More than there are pipes, each with a receiver that is slow at first.
        count, size = 100, 3 * MIB
        for mode, relay, address, listener in self.relays(*NOBODY):
            pairs = [self.session(address, listener) for _ in range(count)]
            sent = [[0] for _ in pairs]
            sending = [Task(send_pattern, client, number, size, sent[number])
                       for number, (client, _) in enumerate(pairs)]
            wait_stalled(lambda: sum(s[0] for s in sent), 0.5)
            self.assertLessEqual(pipes(relay), 2 * 64)
            if mode == "splice" and listener.family == socket.AF_UNIX:
                # The sockets themselves hold little, so as many are in use as there may be. A user without privilege,
                # who has other pipes, gets some less.
                self.assertGreater(pipes(relay), 2 * 32)
            receiving = [Task(receive_digest, server) for _, server in pairs]
            for task, received in zip(sending, receiving):
                self.assertEqual(received.result(), (size, task.result()))
            for client, server in pairs:
                client.close()
                server.close()
            for record in relay.wait_ends(count):
                self.assertEqual(record["in_bytes"], size)
            # Only a few empty ones are kept.
            self.assertLessEqual(pipes(relay), 2 * 16)
            self.assertEqual(relay.terminate(), 0)


class SlowAndBroken(Splice):
    def test_slow_reader(self):
        size = 96 * MIB
        for mode, relay, address, listener in self.relays(*NOBODY):
            client, server = self.session(address, listener, send_buffer=128 * 1024)
            before = relay.resident_bytes()
            sent = [0]
            sending = Task(send_pattern, client, 7, size, sent)
            stalled = wait_stalled(lambda: sent[0])
            self.assertLess(stalled, 32 * MIB)
            self.assertLess(relay.resident_bytes() - before, 16 * MIB)
            # The other direction is not held up.
            server.sendall(b"hello")
            self.assertEqual(receive_exactly(client, 5), b"hello")
            self.assertEqual(receive_digest(server), (size, sending.result()))
            client.close()
            server.close()
            record, = relay.wait_ends(1)
            self.assertEqual(record["in_bytes"], size)

    def test_server_resets_while_bytes_wait_for_it(self):
        for mode, relay, address, listener in self.relays(*NOBODY):
            # Only TCP has resets; a unix socket that is closed with bytes unread is the same.
            client, server = self.session(address, listener)
            descriptors = relay.descriptors() - pipes(relay)
            sent = [0]
            Task(send_pattern, client, 7, 64 * MIB, sent)
            receive_exactly(server, 4 * MIB)
            wait_stalled(lambda: sent[0], 0.3)
            if server.family == socket.AF_UNIX:
                server.close()
            else:
                reset(server)
            receive_until_end(client)
            client.close()
            record, = relay.wait_ends(1)
            self.assertEqual(record["reason"], "server-reset")
            wait_until(lambda: relay.descriptors() - pipes(relay) < descriptors, what="the sockets to be closed")
            self.assertLessEqual(pipes(relay), 2 * 16)
            # And the next session is as good as any.
            client, server = self.session(address, listener)
            data = payload(3, 3 * MIB)
            sending = Task(send_chunks, client, data, 1)
            self.assertTrue(receive_all(server) == data, "bytes of another session, or not all")
            sending.result()

    def test_client_resets(self):
        for mode, relay, address, listener in self.relays(*NOBODY):
            client, server = self.session(address, listener)
            data = payload(4, 4 * MIB)
            sending = Task(client.sendall, data)
            self.assertTrue(receive_exactly(server, len(data)) == data)
            sending.result()
            if client.family == socket.AF_UNIX:
                # Closed with something unread.
                server.sendall(b"x")
                time.sleep(0.2)
                client.close()
            else:
                reset(client)
            self.assertEqual(receive_until_end(server)[0], b"")
            server.close()
            record, = relay.wait_ends(1)
            self.assertEqual((record["in_bytes"], record["client_close"]), (len(data), "reset"))

    def test_idle_timeout(self):
        for _, relay, address, listener in self.relays(*NOBODY, "--idle-timeout", "900ms"):
            client, server = self.session(address, listener)
            data = payload(5, 2 * MIB)
            sending = Task(client.sendall, data)
            self.assertTrue(receive_exactly(server, len(data)) == data)
            sending.result()
            # Whatever moves keeps it alive.
            for _ in range(5):
                time.sleep(0.4)
                client.sendall(b"x")
                receive_exactly(server, 1)
            receive_until_end(client)
            record, = relay.wait_ends(1)
            self.assertEqual(record["reason"], "idle")
            self.assertGreater(record["seconds"], 2)

    def test_end_with_bytes_in_pipes(self):
        for _, relay, address, listener in self.relays(*NOBODY, "--drain", "500ms"):
            client, server = self.session(address, listener)
            sent = [0]
            Task(send_pattern, client, 7, 64 * MIB, sent)
            receive_exactly(server, 4 * MIB)
            wait_stalled(lambda: sent[0], 0.3)
            self.assertEqual(relay.terminate(), 0)
            record, = relay.records("end")
            self.assertEqual(record["reason"], "drain")

    def test_few_descriptors(self):
        count = 60
        for mode in MODES:
            with self.subTest(mode=mode):
                server = self.serve(EchoServer())
                relay = self.start(server, "--relay", mode, *NOBODY,
                                   preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)))
                clients = [self.client(relay) for _ in range(count)]

                def talk(number):
                    data = payload(number, 2 * MIB)
                    sending = Task(send_chunks, clients[number], data, number)
                    self.assertTrue(receive_all(clients[number]) == data)
                    sending.result()
                    clients[number].close()
                all_results([Task(talk, number) for number in range(count)])
                relay.wait_ends(count)
                self.assertFalse(any("cannot accept" in line for line in relay.lines), relay.stderr)
                self.assertEqual(relay.terminate(), 0)


class Recorded(Splice):
    def _exchange(self, relay, address, listener, size=3 * MIB):
        client, server = self.session(address, listener)
        up, down = payload(8, size), payload(9, size)
        sending = [Task(send_chunks, client, up, 1), Task(send_chunks, server, down, 2)]
        receiving = Task(receive_all, server)
        self.assertTrue(receive_all(client) == down)
        self.assertTrue(receiving.result() == up)
        all_results(sending)
        client.close()
        server.close()
        record, = relay.wait_ends(1)
        self.assertEqual((record["in_bytes"], record["out_bytes"]), (size, size))
        return record, up, down

    def test_recordings_are_complete(self):
        for _, relay, address, listener in self.relays():
            record, up, down = self._exchange(relay, address, listener)
            self.assertEqual(record["recording"], "complete")
            self.assertTrue(relay.recording(record, "in") == up)
            self.assertTrue(relay.recording(record, "out") == down)
            self.assertEqual(pipes(relay), 0)

    def test_one_direction(self):
        for mode, relay, address, listener in self.relays("-f", "in"):
            record, up, _ = self._exchange(relay, address, listener)
            self.assertEqual(record["recording"], "complete")
            self.assertTrue(relay.recording(record, "in") == up)
            self.assertEqual(record["out_recorded"], 0)

    def test_recording_that_ends(self):
        # What comes behind --max-recording is not recorded, and may be spliced.
        for mode, relay, address, listener in self.relays("--max-recording", "100K"):
            record, up, down = self._exchange(relay, address, listener, 8 * MIB)
            self.assertEqual(record["recording"], "truncated")
            self.assertTrue(relay.recording(record, "in") == up[:100 << 10])
            self.assertTrue(relay.recording(record, "out") == down[:100 << 10])
            # Whether auto finds that this is bulk depends on how much comes at a time.
            if mode != "auto":
                self.assertEqual(pipes(relay) > 0, mode == "splice")

    def test_recorded_and_not_side_by_side(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                listener = self.listener()
                relay = self.start(listener, "--relay", mode, "--only", "127.0.0.2/32")
                talks = []
                for number in range(8):
                    source = ("127.0.0.2" if number % 2 else "127.0.0.1", 0)
                    client, server = self.session(relay.address, listener, source=source)
                    data = payload(number, 3 * MIB)
                    talks.append((name_of(client), data, Task(send_chunks, client, data, number),
                                  Task(receive_all, server), client, server))
                for name, data, sending, receiving, client, server in talks:
                    self.assertTrue(receiving.result() == data)
                    sending.result()
                    client.close()
                    server.close()
                    record = self.end_of(relay, name)
                    if name.startswith("127.0.0.2:"):
                        self.assertEqual(record["recording"], "complete")
                        self.assertEqual(digest(relay.recording(record, "in")), digest(data))
                    else:
                        self.assertEqual(record["recording"], "none")


if __name__ == "__main__":
    unittest.main()
