"""Peers that mean harm: what each can cost is bounded, and the others are served meanwhile. docs/PRESSURE.md has the
figures. Limits for each address are in test_client_limits, slow readers in test_relay."""

import socket
import time
import unittest

import tls
from faulty_disk import FaultyDisk
from peers import (MIB, EchoServer, EndToEnd, ScriptedServer, Task, connect, name_of, receive_all,
                   receive_exactly, receive_until_end, reset, send_chunks)
from relay import wait_until

PROXY_LINE = b"PROXY TCP4 192.0.2.7 198.51.100.25 4711 143\r\n"


class Hostile(EndToEnd):
    def settled(self, relay, most):
        """Waits until the relay's memory is below a bound: staging is given back a moment after it was used."""
        wait_until(lambda: relay.resident_bytes() < most, 30, f"less than {most} bytes, of {relay.resident_bytes()}")

    def dribble(self, client, data):
        """Sends byte by byte until it is cut off; how many bytes that were."""
        for place in range(len(data)):
            try:
                client.sendall(data[place:place + 1])
            except OSError:
                return place
            time.sleep(0.05)
        return len(data)


class SlowBeforeLogin(Hostile):
    """Slowloris: many connections, a byte now and then."""

    def test_handshakes_have_a_time_limit_whatever_moves(self):
        server = self.serve(EchoServer())
        cases = [(("--proxy-from", "127.0.0.1"), PROXY_LINE, "proxy-error")]
        if tls.why_unavailable() is None:
            # The beginning of a ClientHello that announces more than ever comes.
            hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100)
            cases.append((tls.CERTIFICATES.pair(), hello, "tls-error"))
        for options, data, reason in cases:
            with self.subTest(reason):
                relay = self.start(server, *options, "--handshake-timeout", "500ms")
                client = self.client(relay)
                sent = self.dribble(client, data)
                self.assertLess(sent, len(data))
                record, = relay.wait_ends(1)
                self.assertEqual((record["reason"], record["in_bytes"]), (reason, 0))

    def test_a_login_that_never_ends(self):
        """It costs no buffer for long, nobody else waits, and what the server decides about it is passed on."""
        listener = self.listener()
        relay = self.start(listener, "--protocol", "imap", "--log-memory", "1M")
        self.exchange_with(relay, listener)
        before = relay.resident_bytes()
        slow = []
        for number in range(200):
            client, server = self.pair(relay, listener)
            server.sendall(b"* OK ready\r\n")
            slow.append((client, server))
        for byte in b"a LOGIN alice {10}":
            for client, _ in slow:
                client.sendall(bytes([byte]))
        for _, server in slow:
            self.assertEqual(receive_exactly(server, 18), b"a LOGIN alice {10}")
        self.exchange_with(relay, listener)
        # 1 MiB of staging at most, and a few KiB each: tables, and what is kept of a login under way.
        self.settled(relay, before + (1 << 20) + len(slow) * 4096)
        for client, server in slow:
            server.sendall(b"* BYE too slow\r\n")
            server.close()
            self.assertTrue(receive_until_end(client)[0].endswith(b"too slow\r\n"))
            client.close()
        ends = relay.wait_ends(202)
        self.assertEqual({record["recording"] for record in ends}, {"complete"})

    def exchange_with(self, relay, listener):
        client, server = self.pair(relay, listener)
        client.sendall(b"a LOGOUT\r\n")
        self.assertEqual(receive_exactly(server, 10), b"a LOGOUT\r\n")
        self.finish(client, server)

    def test_a_peer_that_goes_silent_after_its_login(self):
        listener = self.listener()
        relay = self.start(listener, "--protocol", "imap", "--idle-timeout", "400ms")
        client, server = self.pair(relay, listener)
        client.sendall(b"a LOGIN alice secret\r\n")
        receive_exactly(server, 22)
        server.sendall(b"a OK done\r\n")
        self.assertEqual(receive_until_end(client)[0], b"a OK done\r\n")
        self.assertEqual(receive_until_end(server)[0], b"")
        record, = relay.wait_ends(1)
        self.assertEqual((record["reason"], record["login"]), ("idle", "ok"))

    def test_a_window_that_stays_zero(self):
        """Its sender is not read from, and when nothing moves for long the session ends."""
        listener = self.listener(receive_buffer=4096)
        relay = self.start(listener, "--idle-timeout", "1s")
        before = relay.resident_bytes()
        client, server = self.pair(relay, listener, send_buffer=65536)
        sending = Task(self._push, client)
        self.assertLess(sending.result(), 16 * MIB)
        record, = relay.wait_ends(1)
        self.assertEqual(record["reason"], "idle")
        self.assertLess(relay.resident_bytes() - before, 12 * MIB)
        self.assertLessEqual(len(receive_until_end(server)[0]), record["in_bytes"])

    @staticmethod
    def _push(client):
        """Sends until the relay ends it; how many bytes it took."""
        taken = 0
        try:
            while True:
                taken += client.send(bytes(65536))
        except OSError:
            return taken


class Floods(Hostile):
    def test_connects_that_are_reset_at_once(self):
        server = self.serve(EchoServer())
        relay = self.start(server, "--only", "127.0.0.1")
        with connect(relay.address) as client:
            client.sendall(b"1")
            self.assertEqual(receive_exactly(client, 1), b"1")
        relay.wait_ends(1)
        descriptors = relay.descriptors()
        count = 1500
        for number in range(count):
            # Clients of 127.0.0.2 are not recorded: files are not what this is about.
            client = connect(relay.address, source=("127.0.0.2", 0))
            if number % 3:
                client.sendall(b"x" * (number % 3))
            reset(client)
            if number % 500 == 0:
                self.exchange(relay.address)
        ends = relay.wait_ends(count + 4, 60)
        self.assertEqual(len({record["id"] for record in ends}), count + 4)
        self.assertEqual(len(relay.records("start")), count + 4)
        wait_until(lambda: relay.descriptors() == descriptors, what="all descriptors to be closed")

    def test_one_byte_segments(self):
        """Each costs a completion, but not a write: the disk hears of them at every flush."""
        disk = FaultyDisk(self)
        listener = self.listener()
        relay = self.start(listener, "--filter", "in", directory=disk.directory)
        client, server = self.pair(relay, listener)
        data = bytes(range(256)) * 16
        for byte in data:
            client.sendall(bytes([byte]))
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(receive_all(server), data)
        name = name_of(client)
        client.close()
        server.close()
        record = self.end_of(relay, name)
        self.assertEqual(relay.recording(record, "in"), data)
        self.assertLess(disk.writes, len(data) / 8)

    def test_urgent_bytes_without_end(self):
        listener = self.listener()
        relay = self.start(listener)
        client, server = self.pair(relay, listener)
        for _ in range(2000):
            client.send(b"!", socket.MSG_OOB)
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(receive_all(server), b"!" * 2000)


class EndlessLines(Hostile):
    """Lines without an end, in all that reads lines: scanners, layout merged, stamps."""

    LOG_MEMORY = 1 << 20
    REST = 16 << 20  # receive buffers (8 MiB), and what is queued both ways

    def check(self, *options):
        with ScriptedServer(self._swallow) as server:
            relay = self.start(server, "--log-memory", "1M", "--log-wait", "60s", *options)
            before = relay.resident_bytes()
            line = b"x" * (24 * MIB)
            with connect(relay.address) as client:
                self.assertEqual(receive_exactly(client, 3), b"+OK")
                sending = Task(send_chunks, client, line, 1, 1 << 18)
                self.assertEqual(receive_all(client), b" " + b"y" * len(line))
                sending.result()
                name = name_of(client)
            record = self.end_of(relay, name)
            self.assertEqual((record["in_bytes"], record["out_bytes"]), (len(line), len(line) + 4))
            self.assertEqual((record["recording"], record["dropped"]), ("complete", 0))
            self.assertLess(relay.resident_bytes() - before, self.LOG_MEMORY + self.REST)
            self.assertEqual(relay.terminate(), 0)
            relay.close()

    @staticmethod
    def _swallow(connection):
        connection.sendall(b"+OK")
        connection.sendall(b" ")
        while data := connection.recv(MIB):
            connection.sendall(b"y" * len(data))

    def test_every_protocol(self):
        for protocol in ("raw", "imap", "pop3", "smtp", "lmtp", "sieve"):
            with self.subTest(protocol):
                self.check("--protocol", protocol)

    def test_every_layout(self):
        for options in (("-t",), ("-b", "-t"), ("--layout", "merged"), ("--layout", "pcapng")):
            with self.subTest(options):
                self.check(*options)
                self.check("--protocol", "imap", *options)


if __name__ == "__main__":
    unittest.main()
